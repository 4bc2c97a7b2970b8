"""The exporter as a process that sends spans on: to other collectors, and past faults of backends.

The test is the receiver: it writes the queue.
"""

from __future__ import annotations

import asyncio
import datetime
import signal
import ssl
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import pytest
import yaml
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.integration.collector.backends import (
    Backend,
    for_ever,
    grpc_backend,
    http_backend,
)
from tests.integration.collector.test_exporter_process import (
    ExporterProcess,
    some_records,
    span_ids,
    stored_spans,
)
from tests.integration.receiver_rig import ReceiverProcess, request_of, span
from tracequill_collector.errors import QueueFullError
from tracequill_collector.otlp import all_spans, decompress, parse_traces
from tracequill_collector.pipeline import Record, RecordKind
from tracequill_collector.queue.writer import QueueWriter

pytestmark = pytest.mark.integration

_MIB = 1024 * 1024


class Rig:
    """An exporter process, its settings, and the queue that the test writes."""

    def __init__(
        self, folder: Path, database_url: str | None, writer: QueueWriter, settings: object
    ) -> None:
        self.writer = writer
        self.process = ExporterProcess(folder, database_url)
        self._config = folder / "tracequill.yaml"
        self.process.environment["TRACEQUILL_CONFIG"] = str(self._config)
        self.configure(settings)

    def configure(self, settings: object) -> None:
        """Write the settings; they hold at the next start."""
        self._config.write_text(yaml.safe_dump(settings))

    async def keep(self, *records: Record) -> None:
        """Accept *records*."""
        for record in records:
            await self.writer.consume(record)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Return when *condition* is true; the process must live until then."""
        while True:
            if condition():
                return
            assert self.process.process and self.process.process.poll() is None, self.process.log
            await asyncio.sleep(0.02)

    def onward(self, name: str) -> dict[str, object]:
        """What the process says of an exporter; nothing before it says something."""
        status = self.process.status
        return status.values["onward"].get(name, {}) if status else {}


@asynccontextmanager
async def running(
    folder: Path,
    database_url: str | None = None,
    *,
    queue_bytes: int = 64 * _MIB,
    segment_bytes: int = 64 * _MIB,
    variables: dict[str, str] | None = None,
    **exporters: object,
) -> AsyncIterator[Rig]:
    """Run an exporter process with *exporters*; the settings beside them are those of a user."""
    async with asyncio.timeout(60):
        writer = await QueueWriter.open(
            folder / "collector" / "queue", max_bytes=queue_bytes, segment_bytes=segment_bytes
        )
        rig = Rig(folder, database_url, writer, {"exporters": exporters})
        rig.process.environment |= variables or {}
        rig.process.start()
        try:
            yield rig
        finally:
            await writer.close()
            assert rig.process.process
            if rig.process.process.poll() is None:
                assert rig.process.stop() == 0, rig.process.log


def record_of(*numbers: int, **fields: str) -> Record:
    """A record of spans that are known by their numbers."""
    payload = request_of(*(span(number) for number in numbers))
    return Record(RecordKind.OTLP_TRACES, 1_770_000_000_000_000_000, payload, **fields)


def ids_of(*numbers: int) -> list[str]:
    """Their ids."""
    return [number.to_bytes(8, "big").hex() for number in numbers]


# --- other collectors -------------------------------------------------------------------


async def test_spans_reach_another_collector_by_http_and_grpc_as_they_came(tmp_path: Path) -> None:
    records = some_records(31, 20)
    sent = [
        one.SerializeToString(deterministic=True)
        for record in records
        for _, _, one in all_spans(parse_traces(record.payload, ""))
    ]
    (tmp_path / "next").mkdir()
    receiver = ReceiverProcess(tmp_path / "next")
    receiver.start()
    try:
        async with running(
            tmp_path,
            web={"endpoint": receiver.http_url},
            rpc={"endpoint": f"http://{receiver.grpc_address}", "protocol": "grpc"},
        ) as rig:
            await rig.keep(*records)
            await rig.until(
                lambda: all(rig.onward(name).get("sent_spans") == len(sent) for name in _BOTH)
            )
        arrived = await asyncio.to_thread(receiver.spans)
        projects = {
            pair.value.string_value
            for record in await asyncio.to_thread(receiver.records)
            for around, _, _ in all_spans(
                parse_traces(decompress(record.payload, record.content_encoding, _MIB), "")
            )
            for pair in around.resource.attributes
        }
    finally:
        receiver.kill()

    copies = Counter(one.SerializeToString(deterministic=True) for one in arrived)
    assert copies == Counter(sent + sent)
    assert projects == {"first", "second", "third"}
    assert "no database is set: spans are only sent on" in rig.process.log


_BOTH = ("web", "rpc")


async def test_headers_with_keys_from_the_environment_and_projects_by_header_arrive(
    tmp_path: Path,
) -> None:
    headers = {"Authorization": "Bearer ${env:BACKEND_KEY}"}
    async with http_backend() as web_backend, grpc_backend() as rpc_backend:
        async with running(
            tmp_path,
            variables={"BACKEND_KEY": "s3cret\n"},
            web={"endpoint": web_backend.url, "headers": headers},
            rpc={
                "endpoint": rpc_backend.url,
                "protocol": "grpc",
                "headers": headers,
                "compression": "none",
            },
        ) as rig:
            await rig.keep(record_of(1, project_name="by header"))
            await rig.until(lambda: bool(web_backend.requests and rpc_backend.requests))
        backends = web_backend, rpc_backend

    for backend in backends:
        assert backend.headers[0]["authorization"] == "Bearer s3cret"
        [resource_spans] = backend.requests[0].resource_spans
        [pair] = resource_spans.resource.attributes
        assert (pair.key, pair.value.string_value) == ("openinference.project.name", "by header")
    assert "s3cret" not in rig.process.log


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({"headers": {"Authorization": "${env:NOT_SET}"}}, "needs the variable NOT_SET"),
        ({"headers": {"Content-Type": "text/plain"}}, "cannot send a header 'Content-Type'"),
        ({"headers": {"X-Key": "s3crët"}}, "has a value that no header can carry"),
        ({"protocol": "grpc", "endpoint": "http://a/b"}, "a host and a port, nothing more"),
    ],
)
async def test_an_entry_that_cannot_work_is_refused_at_the_start_in_one_sentence(
    tmp_path: Path, entry: dict[str, object], said: str
) -> None:
    process = ExporterProcess(tmp_path, None)
    config = tmp_path / "tracequill.yaml"
    config.write_text(yaml.safe_dump({"exporters": {"x": {"endpoint": "http://a"} | entry}}))
    process.environment["TRACEQUILL_CONFIG"] = str(config)

    process.start()

    assert process.process
    assert await asyncio.to_thread(process.process.wait, 20) == 1
    assert said in process.log and "'x'" in process.log
    assert "Traceback" not in process.log and "s3cr" not in process.log


async def test_what_is_redacted_is_redacted_for_other_backends_too(tmp_path: Path) -> None:
    payload = request_of(span(1, name="write to jane.roe@example.com"), span(2))
    async with http_backend() as backend:
        async with running(
            tmp_path,
            variables={"TRACEQUILL_REDACTION_DETECTORS": "email"},
            x={"endpoint": backend.url},
        ) as rig:
            await rig.keep(Record(RecordKind.OTLP_TRACES, 1, payload))
            await rig.until(lambda: len(backend.spans) == 2)

    assert b"jane.roe" not in backend.requests[0].SerializeToString()
    assert backend.spans[0].name.startswith("write to ")
    assert backend.spans[1].name == "span 2"


# --- faults of backends -----------------------------------------------------------------


async def test_a_backend_that_is_busy_is_asked_again_when_it_wants_to_be(tmp_path: Path) -> None:
    asked_at: list[float] = []

    async def busy(number: int, request: ExportTraceServiceRequest) -> web.Response | None:
        asked_at.append(asyncio.get_running_loop().time())
        if number == 1:
            return web.Response(status=503, headers={"Retry-After": "2"})
        return web.Response(status=429) if number == 2 else None

    async with http_backend(busy) as backend:
        async with running(tmp_path, x={"endpoint": backend.url}) as rig:
            await rig.keep(record_of(1, 2))
            await rig.until(lambda: bool(backend.requests))

    assert backend.span_ids == ids_of(1, 2)
    assert asked_at[1] - asked_at[0] >= 2
    assert rig.process.log.count("spans are not sent on now") == 2
    assert rig.process.dead_letters.list() == []


async def test_bad_spans_are_dead_letters_and_all_others_arrive(tmp_path: Path) -> None:
    async def refuse(number: int, request: ExportTraceServiceRequest) -> web.Response | None:
        names = {one.name for _, _, one in all_spans(request)}
        if len(request.SerializeToString()) > 2_000:
            return web.Response(status=413)
        return web.Response(status=400, text="span 7!") if names & {"span 7", "span 11"} else None

    async with http_backend(refuse) as backend:
        async with running(tmp_path, x={"endpoint": backend.url}) as rig:
            await rig.keep(record_of(*range(1, 101)), record_of(*range(101, 111)))
            await rig.until(lambda: rig.onward("x").get("dead_letters") == 2)
            await rig.until(lambda: rig.onward("x").get("sent_spans") == 108)
            await rig.until(lambda: rig.onward("x").get("backlog_bytes") == 0)

    wanted = set(ids_of(*range(1, 111))) - set(ids_of(7, 11))
    own = {one.span_id.hex() for one in backend.spans if one.name.startswith("tracequill asks")}
    assert Counter(set(backend.span_ids) - own) == Counter(wanted)
    letters = rig.process.dead_letters.list()
    assert [letter.details for letter in letters] == [{"exporter": "otlp-x"}] * 2
    assert {letter.reason for letter in letters} == {"otlp-x: it answered 400. It said: span 7!"}
    assert "span 7!" not in rig.process.log


async def test_a_backend_that_refuses_everything_is_waited_for(tmp_path: Path) -> None:
    refuses = True

    async def refuse(number: int, request: ExportTraceServiceRequest) -> web.Response | None:
        return web.Response(status=400) if refuses else None

    async with http_backend(refuse) as backend:
        async with running(tmp_path, x={"endpoint": backend.url}) as rig:
            await rig.keep(record_of(*range(1, 9)))
            await rig.until(lambda: "it refuses every span" in str(rig.onward("x").get("waiting")))
            assert rig.process.dead_letters.list() == []
            refuses = False
            await rig.until(lambda: rig.onward("x").get("sent_spans") == 8)

    assert set(ids_of(*range(1, 9))) <= set(backend.span_ids)
    assert rig.process.dead_letters.list() == []
    assert "ERROR" in rig.process.log


async def test_a_backend_that_forbids_is_waited_for_with_an_alarm(tmp_path: Path) -> None:
    forbids = True

    async def forbid(number: int, request: ExportTraceServiceRequest) -> web.Response | None:
        return web.Response(status=401) if forbids else None

    async with http_backend(forbid) as backend:
        async with running(tmp_path, x={"endpoint": backend.url}) as rig:
            await rig.keep(record_of(1))
            await rig.until(lambda: rig.onward("x").get("waiting") == "it answered 401")
            forbids = False
            await rig.until(lambda: bool(backend.requests))

    assert "ERROR" in rig.process.log
    assert rig.process.dead_letters.list() == []


async def test_a_hanging_backend_holds_up_neither_postgres_nor_another_one(
    phoenix_database: str, tmp_path: Path
) -> None:
    async def hang(number: int, request: ExportTraceServiceRequest) -> None:
        await for_ever()

    records = some_records(32, 60)
    async with http_backend(hang) as hanging, http_backend() as well:
        async with running(
            tmp_path,
            phoenix_database,
            hanging={"endpoint": hanging.url},
            well={"endpoint": well.url},
        ) as rig:
            await rig.keep(*records)
            found = await stored_spans(phoenix_database, len(span_ids(records)))
            await rig.until(lambda: set(well.span_ids) == span_ids(records))
            await rig.until(lambda: rig.onward("well").get("backlog_bytes") == 0)
            assert rig.onward("hanging").get("sent_spans") == 0
            assert hanging.asked >= 1
            began = asyncio.get_running_loop().time()
            assert rig.process.stop() == 0
            stopped_after = asyncio.get_running_loop().time() - began

    assert set(found) == span_ids(records) and len(found) == len(set(found))
    assert stopped_after < 10


async def test_killed_again_and_again_the_backend_has_all_and_postgres_each_span_once(
    phoenix_database: str, tmp_path: Path
) -> None:
    async def slow(number: int, request: ExportTraceServiceRequest) -> web.Response | None:
        await asyncio.sleep(0.05)
        return web.Response(status=503) if number % 5 == 0 else None

    records = some_records(33, 200)
    async with http_backend(slow) as backend:
        async with running(tmp_path, phoenix_database, x={"endpoint": backend.url}) as rig:
            for place in range(0, 200, 50):
                await rig.keep(*records[place : place + 50])
                asked = backend.asked
                await rig.until(lambda asked=asked: backend.asked > asked)  # type: ignore[misc]
                rig.process.stop(signal.SIGKILL)
                rig.process.start()
            found = await stored_spans(phoenix_database, len(span_ids(records)))
            await rig.until(lambda: set(backend.span_ids) == span_ids(records))
            await rig.until(lambda: rig.onward("x").get("backlog_bytes") == 0)

    assert set(found) == span_ids(records) and len(found) == len(set(found))
    assert rig.process.dead_letters.list() == []


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


async def test_what_a_backend_loses_for_want_of_room_is_counted_and_logged(
    phoenix_database: str, tmp_path: Path
) -> None:
    away = True

    async def be_away(number: int, request: ExportTraceServiceRequest) -> web.Response | None:
        return web.Response(status=503) if away else None

    async with http_backend(be_away) as backend:
        async with running(
            tmp_path,
            phoenix_database,
            queue_bytes=4 * _MIB,
            segment_bytes=_MIB,
            x={"endpoint": backend.url},
        ) as rig:
            await rig.keep(record_of(1_000))
            await rig.until(lambda: bool(rig.onward("x").get("waiting")))
            await _fill(rig, range(1, 101))
            found = await stored_spans(phoenix_database, 101)
            away = False
            await rig.until(lambda: bool(rig.onward("x").get("lost_records")))
            await rig.until(lambda: rig.onward("x").get("backlog_bytes") == 0)
            lost = rig.onward("x")["lost_records"]

    assert len(found) == 101
    assert isinstance(lost, int) and lost > 20
    assert len(set(backend.span_ids)) + lost == 101
    assert ids_of(100)[0] in backend.span_ids
    assert "it has lost them" in rig.process.log


async def test_a_backend_to_be_kept_for_loses_nothing_and_fills_the_queue(
    phoenix_database: str, tmp_path: Path
) -> None:
    away = True

    async def be_away(number: int, request: ExportTraceServiceRequest) -> web.Response | None:
        return web.Response(status=503) if away else None

    async with http_backend(be_away) as backend:
        async with running(
            tmp_path,
            phoenix_database,
            queue_bytes=4 * _MIB,
            segment_bytes=_MIB,
            x={"endpoint": backend.url, "keep": True},
        ) as rig:
            await rig.keep(record_of(1_000))
            await rig.until(lambda: bool(rig.onward("x").get("waiting")))
            with pytest.raises(QueueFullError):
                for number in range(1, 101):
                    payload = request_of(span(number, name="x" * 100 * 1024))
                    await rig.keep(Record(RecordKind.OTLP_TRACES, 1, payload))
            away = False
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
