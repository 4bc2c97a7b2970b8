"""The exporter as a process that sends spans on: to other collectors, past faults of backends."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections import Counter
from pathlib import Path

import pytest
import yaml
from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.integration.collector.backends import (
    for_ever,
    grpc_backend,
    http_backend,
)
from tests.integration.collector.onward_rig import MIB, ids_of, record_of, running
from tests.integration.collector.test_exporter_process import (
    ExporterProcess,
    some_records,
    span_ids,
    stored_spans,
)
from tests.integration.receiver_rig import ReceiverProcess, request_of, span
from tracequill_collector.otlp import all_spans, decompress, parse_traces
from tracequill_collector.pipeline import Record, RecordKind

pytestmark = pytest.mark.integration


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
                parse_traces(decompress(record.payload, record.content_encoding, MIB), "")
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


async def test_an_entry_that_cannot_work_is_refused_at_the_start_in_one_sentence(
    tmp_path: Path,
) -> None:
    process = ExporterProcess(tmp_path, None)
    config = tmp_path / "tracequill.yaml"
    entry = {"endpoint": "http://a", "headers": {"Authorization": "${env:NOT_SET}"}}
    config.write_text(yaml.safe_dump({"exporters": {"x": entry}}))
    process.environment["TRACEQUILL_CONFIG"] = str(config)

    process.start()

    assert process.process
    assert await asyncio.to_thread(process.process.wait, 20) == 1
    assert "'x' needs the variable NOT_SET" in process.log
    assert "Traceback" not in process.log


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


async def test_a_backend_that_is_busy_or_forbids_is_asked_again_when_it_wants_to_be(
    tmp_path: Path,
) -> None:
    asked_at: list[float] = []
    answers = [
        web.Response(status=503, headers={"Retry-After": "1"}),
        web.Response(status=429),
        web.Response(status=401),
    ]

    async def answer(number: int, request: ExportTraceServiceRequest) -> web.Response | None:
        asked_at.append(asyncio.get_running_loop().time())
        return answers.pop(0) if answers else None

    async with http_backend(answer) as backend:
        async with running(tmp_path, x={"endpoint": backend.url}) as rig:
            await rig.keep(record_of(1, 2))
            await rig.until(lambda: bool(backend.requests))
            await rig.until(lambda: rig.onward("x").get("waiting") == "")

    assert backend.span_ids == ids_of(1, 2)
    assert asked_at[1] - asked_at[0] >= 1
    told = [line for line in rig.process.log.splitlines() if "not sent on now" in line]
    assert [("WARNING" in line, "ERROR" in line) for line in told] == [
        (True, False),
        (True, False),
        (False, True),
    ]
    assert rig.process.dead_letters.list() == []


async def test_bad_spans_are_dead_letters_until_they_are_replayed_and_all_others_arrive(
    tmp_path: Path,
) -> None:
    is_cured = False

    async def refuse(number: int, request: ExportTraceServiceRequest) -> web.Response | None:
        names = {one.name for _, _, one in all_spans(request)}
        if is_cured:
            return None
        if len(request.SerializeToString()) > 2_000:
            return web.Response(status=413)
        return web.Response(status=400, text="span 7!") if names & {"span 7", "span 11"} else None

    async with http_backend(refuse) as backend:
        async with running(tmp_path, x={"endpoint": backend.url}) as rig:
            await rig.keep(record_of(*range(1, 101)), record_of(*range(101, 111)))
            await rig.until(lambda: rig.onward("x").get("dead_letters") == 2)
            await rig.until(lambda: rig.onward("x").get("sent_spans") == 108)
            await rig.until(lambda: rig.onward("x").get("backlog_bytes") == 0)
            arrived = backend.span_ids
            letters = rig.process.dead_letters.list()
            is_cured = True
            replayed = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "tracequill", "dead-letters", "replay", "--all",
                env=rig.process.environment, stdout=asyncio.subprocess.PIPE,
            )  # fmt: skip
            said, _ = await replayed.communicate()

    assert b"2 dead letters solved" in said
    assert sorted(backend.span_ids[len(arrived) :]) == ids_of(7, 11)
    assert rig.process.dead_letters.list() == []
    wanted = set(ids_of(*range(1, 111))) - set(ids_of(7, 11))
    own = {one.span_id.hex() for one in backend.spans if one.name.startswith("tracequill asks")}
    assert set(arrived) - own == wanted
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
        await asyncio.sleep(0.05)  # no wait for anything: so slow is this backend
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
