"""Checks a stack and says what to do: each check gives one finding, none raises.

The last one writes a trace and reads it back: sent by OTLP like any other, awaited in the database.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import shutil
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import urlsplit

import aiohttp
import asyncpg
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tracequill.database_url import asyncpg_url, running_database_url
from tracequill.errors import CommandError
from tracequill.settings import Settings, mask_url
from tracequill_collector.errors import RetryableError, StartError
from tracequill_collector.exporter.queries import QUERIES
from tracequill_collector.exporter.schema import schema_problem
from tracequill_collector.proxy.credentials import NONE_FOUND, find_chain, keys_of, reason_of
from tracequill_collector.proxy.route import RouteTable
from tracequill_collector.queue import checkpoint as checkpoints
from tracequill_collector.queue import quarantine
from tracequill_collector.queue.dead_letters import DeadLetters
from tracequill_collector.queue.disk import Disk
from tracequill_collector.queue.segment import list_segments
from tracequill_collector.service import consumers
from tracequill_collector.service.lanes import live_name
from tracequill_collector.service.policies import policy_of
from tracequill_collector.stack.database import check_database
from tracequill_collector.stack.processes import http_status
from tracequill_collector.status import read_status

PROJECT = "tracequill-doctor"
_ROUND_TRIP_SECONDS = 15.0
_LOW_DISK_BYTES = 2 * 1024**3
# Phoenix's ids are int4: past this share of 2,147,483,647 somebody has to plan.
_IDS_WARN_SHARE = 0.5
_UPSTREAM_SECONDS = 3.0
_SILENT_SECONDS = 10.0

Level = Literal["ok", "warning", "failed"]


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found."""

    check: str
    level: Level
    text: str
    """One sentence; where something is wrong, a second one says what to do."""


async def examine(settings: Settings) -> AsyncIterator[Finding]:
    """Run every check in order; a check that needs a failed one is left out."""
    yield _configuration(settings)
    yield _policy(settings)
    yield _disk(settings)
    running = True
    async for finding in _processes(settings):
        running = running and finding.level == "ok"
        yield finding
    for finding in _of_files(settings):
        yield finding
    async for finding in _signing(settings):
        yield finding
    try:
        url = running_database_url(settings)
        version = await check_database(url, is_configured=settings.database_url is not None)
    except CommandError as error:
        yield Finding("database", "failed", str(error))
        return
    yield Finding("database", "ok", f"PostgreSQL {version} at {mask_url(url)}.")
    connection = await asyncpg.connect(asyncpg_url(url))
    try:
        if settings.database_schema:
            await connection.execute(f'SET search_path TO "{settings.database_schema}"')
        schema = await _schema(connection)
        yield schema
        if schema.level == "ok":
            yield await _ids(connection)
            if running:
                yield await _round_trip(settings, connection)
    finally:
        await connection.close()
    for finding in await _upstreams(settings):
        yield finding


def _configuration(settings: Settings) -> Finding:
    if settings.authentication:
        return Finding(
            "configuration",
            "warning",
            "Phoenix asks who you are; the receivers and the proxy do not check its keys yet, so "
            f"all of them listen on {settings.host} only. Put a reverse proxy in front of Phoenix "
            "for other machines.",
        )
    if not settings.is_loopback:
        return Finding(
            "configuration",
            "warning",
            f"Listens on {settings.host} and asks nobody to sign in. Set host to 127.0.0.1 unless "
            "the network is yours alone.",
        )
    return Finding("configuration", "ok", f"Listens on {settings.host} only; nobody signs in.")


def _policy(settings: Settings) -> Finding:
    """Say what is redacted and cut; the rules may be wrong."""
    try:
        policy_of(settings)
    except CommandError as error:
        return Finding("redaction", "failed", str(error))
    rules = [*settings.redaction_detectors, *settings.redaction_patterns]
    rules += [f"the key {key}" for key in settings.redaction_keys]
    cut = [
        f"{name} {limit}"
        for name in ("attribute_max_bytes", "attributes_max", "events_max", "span_max_bytes")
        if (limit := getattr(settings, f"limits_{name}"))
    ]
    return Finding(
        "redaction",
        "ok",
        f"Taken out: {', '.join(rules) or 'nothing'}. Limits: {', '.join(cut) or 'none'}.",
    )


def _disk(settings: Settings) -> Finding:
    folder = settings.data_dir.absolute()
    if not folder.exists():
        return Finding(
            "disk", "failed", f"{folder} does not exist. Run 'tracequill up', or set data_dir."
        )
    free = shutil.disk_usage(folder).free
    text = f"{free / 1024**3:.1f} GiB free at {folder}."
    if free < _LOW_DISK_BYTES:
        return Finding("disk", "warning", f"{text} Free some: a full disk stops the receivers.")
    return Finding("disk", "ok", text)


async def _processes(settings: Settings) -> AsyncIterator[Finding]:
    for name, port in (
        ("Phoenix", settings.phoenix_port),
        ("collector", settings.otlp_http_port),
        ("proxy", settings.proxy_port),
    ):
        status = await http_status(settings.host, port, "/readyz")
        if status == 200:
            yield Finding(name, "ok", f"Takes work on port {port}.")
        elif status == 0:
            yield Finding(name, "failed", f"Nobody answers on port {port}. Start it: tracequill up")
        else:
            yield Finding(
                name,
                "failed",
                f"Answers {status} on port {port}/readyz. See {settings.data_dir}/logs.",
            )
    for name, folder in (("exporter", "collector"), ("recorder", "proxy")):
        found = read_status(settings.data_dir / folder / f"{name}.status.json")
        if found is None or found.age_seconds > _SILENT_SECONDS:
            yield Finding(name, "failed", "Has not said anything for 10 s. Start it: tracequill up")
        elif waiting := found.values.get("waiting"):
            yield Finding(name, "failed", f"Waits: {waiting}")
        else:
            yield Finding(name, "ok", f"Works (pid {found.pid}).")


async def _schema(connection: asyncpg.Connection[Any]) -> Finding:
    try:
        revisions = await connection.fetch("SELECT version_num FROM alembic_version")
        prices = await connection.fetchval("SELECT EXISTS (SELECT FROM token_prices)")
    except asyncpg.UndefinedTableError:
        return Finding("schema", "failed", "Phoenix has not made its tables yet. Start Phoenix.")
    names = [row["version_num"] for row in revisions]
    if problem := schema_problem(names, has_prices=bool(prices)):
        return Finding("schema", "failed", problem)
    return Finding("schema", "ok", f"Phoenix's revision {', '.join(names)} is known.")


async def _ids(connection: asyncpg.Connection[Any]) -> Finding:
    rows = await connection.fetch(QUERIES["ids_used"])
    name, share = rows[0]["name"], rows[0]["share"]
    text = f"{name}, the fullest, has used {share:.1%} of its ids."
    if share > _IDS_WARN_SHARE:
        return Finding("id headroom", "warning", f"{text} Plan a new database before it is full.")
    return Finding("id headroom", "ok", text)


async def _round_trip(settings: Settings, connection: asyncpg.Connection[Any]) -> Finding:
    span_id = secrets.token_bytes(8)
    began = time.monotonic()
    try:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(10)) as client:
            async with client.post(
                f"{settings.collector_base_url}/v1/traces",
                data=_one_span(span_id),
                headers={"Content-Type": "application/x-protobuf"},
            ) as answer:
                if answer.status != 200:
                    return Finding(
                        "round trip",
                        "failed",
                        f"The receiver answers {answer.status}. See {settings.data_dir}/logs.",
                    )
    except (aiohttp.ClientError, TimeoutError) as error:
        return Finding("round trip", "failed", f"The receiver cannot be reached: {error}.")
    accepted = time.monotonic()
    while time.monotonic() - accepted < _ROUND_TRIP_SECONDS:
        if await connection.fetchval("SELECT 1 FROM spans WHERE span_id = $1", span_id.hex()):
            return Finding(
                "round trip",
                "ok",
                f"A trace was accepted after {accepted - began:.2f} s and stored after "
                f"{time.monotonic() - began:.2f} s (project {PROJECT}).",
            )
        await asyncio.sleep(0.05)
    return Finding(
        "round trip",
        "failed",
        f"A trace was accepted but not stored within {_ROUND_TRIP_SECONDS:.0f} s; it is kept in "
        f"the queue. See {settings.data_dir}/logs/exporter.log.",
    )


def _one_span(span_id: bytes) -> bytes:
    request = ExportTraceServiceRequest()
    resource = request.resource_spans.add()
    attribute = resource.resource.attributes.add()
    attribute.key, attribute.value.string_value = "openinference.project.name", PROJECT
    span = resource.scope_spans.add().spans.add()
    span.trace_id, span.span_id, span.name = secrets.token_bytes(16), span_id, "round trip"
    span.start_time_unix_nano = time.time_ns()
    span.end_time_unix_nano = span.start_time_unix_nano + 1_000_000
    return request.SerializeToString()


def _of_files(settings: Settings) -> Iterator[Finding]:
    """Look at what lies in the data directory; needs no database."""
    yield from _backends(settings)
    try:
        yield from _consumers(settings)
        yield _queues(settings)
        yield from _damage(settings)
        yield _dead_letters(settings)
    except (OSError, RetryableError, StartError) as error:
        yield Finding("queues", "failed", f"{settings.data_dir} cannot be read: {error}")


def _backends(settings: Settings) -> Iterator[Finding]:
    """Look at the OTLP backends that get every span as well."""
    status = read_status(settings.data_dir / "collector" / "exporter.status.json")
    if status is None or status.age_seconds > _SILENT_SECONDS:
        return
    known = status.values.get("onward") or {}
    for name in sorted({*settings.exporters, *known}):
        facts = known.get(name)
        yield Finding(f"exporter {name}", *_state_of_backend(name, facts))


def _state_of_backend(name: str, facts: dict[str, Any] | None) -> tuple[Level, str]:
    if facts is None:
        return "warning", "Stands in the settings, but not for the exporter. Restart the collector."
    behind = f"{facts.get('backlog_bytes', 0) / 1024**2:.1f} MiB are waiting for it"
    if waiting := facts.get("waiting"):
        return "warning", f"Waits: {str(waiting).rstrip('.')}. {behind}."
    if lost := facts.get("lost_records"):
        return "warning", (
            f"Was away for so long that {lost} records left the queue without it. Set "
            f"exporters.{name}.keep, or a larger queue.max_bytes, if it must have everything."
        )
    if rejected := facts.get("rejected_spans"):
        return "warning", f"Has rejected {rejected} spans; they are not sent again. See the log."
    return "ok", f"Works; {behind}."


def _consumers(settings: Settings) -> Iterator[Finding]:
    """Find positions that nobody moves on any more: for them the queue keeps everything."""
    own = {consumers.POSTGRES, live_name(consumers.POSTGRES)}
    own |= {consumers.ONWARD_PREFIX + name for name in settings.exporters}
    status = read_status(settings.data_dir / "collector" / "exporter.status.json")
    if status is not None and status.values.get("onward") and "stored_spans" not in status.values:
        own -= {consumers.POSTGRES, live_name(consumers.POSTGRES)}
    for queue, known in (
        (settings.collector_queue_dir, own),
        (settings.proxy_queue_dir, {consumers.RECORDER}),
    ):
        disk = Disk()
        for name, checkpoint in checkpoints.load_all(disk, queue, refuse_unknown=False).items():
            if name in known:
                continue
            size = checkpoints.backlog_bytes(list_segments(disk, queue), checkpoint)
            yield Finding(
                "queue consumers",
                "warning",
                f"Nobody reads for {name!r} any more, and {size / 1024**2:.0f} MiB are kept for "
                f"it. When it does not come back, remove "
                f"{checkpoints.checkpoint_path(queue, name)}.",
            )


def _queues(settings: Settings) -> Finding:
    size = 0
    for folder in (settings.collector_queue_dir, settings.proxy_queue_dir):
        for file in folder.glob("**/*"):
            with contextlib.suppress(FileNotFoundError):  # removed under us: its time was over
                size += file.stat().st_size if file.is_file() else 0
    share = size / (2 * settings.queue_max_bytes)
    text = (
        f"The queues use {size / 1024**2:.0f} MiB of {2 * settings.queue_max_bytes / 1024**2:.0f}."
    )
    return Finding("queues", "warning" if share > 0.8 else "ok", text)


def _damage(settings: Settings) -> Iterator[Finding]:
    """Find accepted records that the disk did not give back."""
    for queue in (settings.collector_queue_dir, settings.proxy_queue_dir):
        if size := quarantine.kept_bytes(Disk(), queue):
            yield Finding(
                "damaged records",
                "warning",
                f"{size} bytes of accepted records were damaged on the disk and lie in "
                f"{queue / quarantine.FOLDER}. Check the disk; remove that folder when nobody "
                "needs them any more.",
            )
    status = read_status(settings.data_dir / "collector" / "exporter.status.json")
    if status is not None and (lost := status.values.get("lost_records")):
        yield Finding(
            "damaged records",
            "warning",
            f"{lost} records were damaged or gone from {settings.collector_queue_dir} before they "
            "were stored, since the exporter's start. Check the disk, and who removes files there.",
        )


def _dead_letters(settings: Settings) -> Finding:
    count = len(DeadLetters(settings.dead_letters_dir).list())
    if count:
        what = "record or span" if count == 1 else "records and spans"
        return Finding(
            "dead letters",
            "warning",
            f"{count} {what} could not be interpreted or stored. See why: "
            "tracequill dead-letters list",
        )
    return Finding("dead letters", "ok", "None.")


async def _signing(settings: Settings) -> AsyncIterator[Finding]:
    """Whether there are credentials for the routes whose calls the proxy signs."""
    try:
        names = RouteTable(settings.routes, settings.upstreams, settings.proxy_sign).signed_names
    except StartError as error:
        yield Finding("routes", "failed", str(error))
        return
    if not names:
        return
    calls = f"calls on {', '.join(names)}"
    try:
        chain = await asyncio.to_thread(find_chain)
        if chain is not None:
            await asyncio.to_thread(keys_of, chain)
    except Exception as error:
        yield Finding("signing", "failed", f"No credentials for {calls}: {reason_of(error)}.")
        return
    if chain is None:
        yield Finding("signing", "failed", f"For {calls} {NONE_FOUND}.")
    else:
        yield Finding("signing", "ok", f"The proxy signs {calls}: keys from {chain.method}.")


async def _upstreams(settings: Settings) -> list[Finding]:
    """Whether configured upstreams accept a connection; nothing is sent to them."""
    urls = {name: one.upstream for name, one in settings.routes.items() if one.upstream}
    urls |= settings.upstreams
    findings = []
    for name, url in sorted(urls.items()):
        parts = urlsplit(url.replace("{region}", "us-east-1"))
        port = parts.port or (443 if parts.scheme == "https" else 80)
        try:
            async with asyncio.timeout(_UPSTREAM_SECONDS):
                _, writer = await asyncio.open_connection(parts.hostname, port)
                writer.close()
                with contextlib.suppress(OSError):
                    await writer.wait_closed()
            findings.append(Finding(f"upstream {name}", "ok", f"{parts.hostname}:{port} answers."))
        except (OSError, TimeoutError) as error:
            reason = str(error) or f"no answer within {_UPSTREAM_SECONDS:.0f} s"
            findings.append(
                Finding(
                    f"upstream {name}",
                    "warning",
                    f"{parts.hostname}:{port} cannot be reached: {reason}. Correct its URL.",
                )
            )
    return findings
