"""What the queue keeps for a backend, what a backend loses, and whom it trusts."""

from __future__ import annotations

import asyncio
import datetime
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.integration.collector.backends import (
    Backend,
    grpc_backend,
    http_backend,
)
from tests.integration.collector.onward_rig import MIB, Rig, ids_of, record_of, running
from tests.integration.collector.test_exporter_process import (
    stored_spans,
)
from tests.integration.receiver_rig import request_of, span
from tracequill_collector.errors import QueueFullError
from tracequill_collector.pipeline import Record, RecordKind

pytestmark = pytest.mark.integration


# --- the queue --------------------------------------------------------------------------


async def _fill(rig: Rig, numbers: range) -> None:
    """Accept a record of 100 KiB for each of *numbers*, waiting for room."""
    for number in numbers:
        payload = request_of(span(number, name="x" * 100 * 1024))
        while True:
            try:
                await rig.keep(Record(RecordKind.OTLP_TRACES, 1, payload))
            except QueueFullError:
                await asyncio.sleep(0.02)
            else:
                break


class _Outage:
    """What a backend answers that is away until it is back."""

    def __init__(self) -> None:
        self.is_over = False

    async def __call__(
        self, number: int, request: ExportTraceServiceRequest
    ) -> web.Response | None:
        return None if self.is_over else web.Response(status=503)


@asynccontextmanager
async def _away(
    folder: Path, database_url: str, outage: _Outage, **more: bool
) -> AsyncIterator[tuple[Rig, Backend]]:
    """Run an exporter with a small queue and a backend in *outage*, with a record waiting."""
    async with (
        http_backend(outage) as backend,
        running(
            folder,
            database_url,
            queue_bytes=4 * MIB,
            segment_bytes=MIB,
            x={"endpoint": backend.url, **more},
        ) as rig,
    ):
        await rig.keep(record_of(1_000))
        await rig.until(lambda: bool(rig.onward("x").get("waiting")))
        yield rig, backend


async def test_what_a_backend_loses_for_want_of_room_is_counted_and_logged(
    phoenix_database: str, tmp_path: Path
) -> None:
    outage = _Outage()
    async with _away(tmp_path, phoenix_database, outage) as (rig, backend):
        await _fill(rig, range(1, 101))
        found = await stored_spans(phoenix_database, 101)
        outage.is_over = True
        await rig.until(lambda: bool(rig.onward("x").get("lost_records")))
        await rig.until(lambda: rig.onward("x").get("backlog_bytes") == 0)
        lost = rig.onward("x")["lost_records"]

    assert len(found) == 101
    assert isinstance(lost, int) and lost > 0
    assert len(set(backend.span_ids)) + lost == 101
    assert ids_of(100)[0] in backend.span_ids
    assert "this backend has lost them" in rig.process.log


async def test_a_backend_to_be_kept_for_loses_nothing_and_fills_the_queue(
    phoenix_database: str, tmp_path: Path
) -> None:
    outage = _Outage()
    async with _away(tmp_path, phoenix_database, outage, keep=True) as (rig, backend):
        with pytest.raises(QueueFullError):
            for number in range(1, 101):
                payload = request_of(span(number, name="x" * 100 * 1024))
                await rig.keep(Record(RecordKind.OTLP_TRACES, 1, payload))
        outage.is_over = True
        await _fill(rig, range(1, 101))
        await rig.until(lambda: len(set(backend.span_ids)) == 101)
        assert rig.onward("x")["lost_records"] == 0


async def test_a_new_exporter_gets_what_the_queue_holds_and_a_removed_one_is_forgotten(
    phoenix_database: str, tmp_path: Path
) -> None:
    async with http_backend() as old, http_backend() as new:
        async with running(tmp_path, phoenix_database, old={"endpoint": old.url}) as rig:
            await rig.keep(record_of(1), record_of(2))
            await rig.until(lambda: rig.onward("old").get("sent_spans") == 2)
            consumers = tmp_path / "collector" / "queue" / "consumers"
            assert {path.stem for path in consumers.glob("*.json")} == {"postgres", "otlp-old"}
            assert rig.process.stop() == 0
            rig.configure({"exporters": {"new": {"endpoint": new.url}}})
            rig.process.start()
            await rig.until(lambda: rig.onward("new").get("sent_spans") == 2)
            await rig.keep(record_of(3))
            await rig.until(lambda: rig.onward("new").get("sent_spans") == 3)

    assert {path.stem for path in consumers.glob("*.json")} == {"postgres", "otlp-new"}
    assert "has lost its place in the queue" in rig.process.log
    assert sorted(new.span_ids) == ids_of(1, 2, 3)


# --- TLS --------------------------------------------------------------------------------


def certificate(folder: Path, name: str) -> tuple[Path, Path]:
    """Make a certificate for localhost that signs itself; give its file and that of its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    chain, private = folder / f"{name}.pem", folder / f"{name}.key"
    chain.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return chain, private


@asynccontextmanager
async def tls_backends(chain: Path, private: Path) -> AsyncIterator[tuple[Backend, Backend]]:
    """Run a backend of each protocol with this certificate."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(chain, private)
    pair = private.read_bytes(), chain.read_bytes()
    credentials = grpc.ssl_server_credentials([pair])
    async with http_backend(tls=context) as web, grpc_backend(credentials=credentials) as rpc:
        yield web, rpc


async def test_only_a_certificate_that_is_trusted_gets_spans(tmp_path: Path) -> None:
    trusted, stranger = certificate(tmp_path, "trusted"), certificate(tmp_path, "stranger")
    roots = str(trusted[0])

    async with (
        tls_backends(*trusted) as (web, rpc),
        tls_backends(*stranger) as (strange_web, strange_rpc),
        running(
            tmp_path,
            variables={"SSL_CERT_FILE": roots, "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH": roots},
            web={"endpoint": web.url},
            rpc={"endpoint": rpc.url, "protocol": "grpc"},
            strange1={"endpoint": strange_web.url},
            strange2={"endpoint": strange_rpc.url, "protocol": "grpc"},
        ) as rig,
    ):
        await rig.keep(record_of(1))
        await rig.until(lambda: bool(web.requests and rpc.requests))
        await rig.until(lambda: "not trusted" in str(rig.onward("strange1").get("waiting")))
        await rig.until(lambda: "UNAVAILABLE" in str(rig.onward("strange2").get("waiting")))

    assert [backend.asked for backend in (web, rpc, strange_web, strange_rpc)] == [1, 1, 0, 0]
