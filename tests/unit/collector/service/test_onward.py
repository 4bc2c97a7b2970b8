"""Sending on: in which order it is done, what is kept in memory, how it ends."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest

from tests.unit.collector.service.onward_rig import (
    BUSY,
    DONE,
    Backend,
    Rig,
    until,
)
from tests.unit.collector.service.test_onward_requests import records_of, request_of
from tracequill_collector.exporter.otlp import Answer, Meaning
from tracequill_collector.service import onward

pytestmark = pytest.mark.usefixtures("quick")


async def test_everything_is_sent_and_committed(tmp_path: Path) -> None:
    rig = Rig(tmp_path, Backend(), ("a", "b"), ("c",))

    async with rig.running():
        await rig.all_done()

    assert sorted(rig.backend.taken) == ["a", "b", "c"]
    assert rig.loop.progress.sent_spans == 3
    assert rig.loop.progress.waiting == ""
    assert rig.loop.age_seconds == 0


async def test_nothing_is_committed_past_a_request_that_is_not_taken(tmp_path: Path) -> None:
    busy = True
    backend = Backend(lambda names: BUSY if busy and names == ["a"] else DONE)
    rig = Rig(tmp_path, backend, ("z",), ("a",), ("b",), ("c",))

    async with rig.running():
        await until(lambda: len(backend.taken) == 3)
        await until(lambda: rig.loop.progress.failed_tries > 3)
        assert rig.reader.committed == [8]
        assert rig.loop.progress.waiting == "it answered 503"
        assert rig.loop.age_seconds > 0
        busy = False
        await rig.all_done()

    assert sorted(backend.taken) == ["a", "b", "c", "z"]
    assert rig.loop.progress.waiting == ""


async def test_several_are_under_way_and_no_more_than_is_allowed(tmp_path: Path) -> None:
    backend = Backend()
    backend.hold.clear()
    rig = Rig(tmp_path, backend, *((f"{number}",) for number in range(30)))

    async with rig.running():
        await until(lambda: backend.under_way == onward._IN_FLIGHT)
        await asyncio.sleep(0.05)
        read = 30 - len(rig.reader.batches)
        backend.hold.set()
        await rig.all_done()

    assert backend.most_under_way == onward._IN_FLIGHT
    assert read == onward._IN_FLIGHT + 1


async def test_large_requests_are_under_way_up_to_their_bytes_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onward, "_IN_FLIGHT_BYTES", 2_500)
    backend = Backend()
    backend.hold.clear()
    rig = Rig(tmp_path, backend, *((letter * 1_000,) for letter in "abcd"), ("e" * 5_000,))

    async with rig.running():
        await until(lambda: backend.under_way == 2)
        await asyncio.sleep(0.05)
        assert backend.under_way == 2
        backend.hold.set()
        await rig.all_done()

    assert len(backend.taken) == 5
    assert backend.most_under_way == 2


async def test_what_is_read_past_a_waiting_request_is_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onward, "_WINDOW_RECORDS", 10)
    backend = Backend(lambda names: BUSY if names == ["0"] else DONE)
    rig = Rig(tmp_path, backend, *((f"{number}",) for number in range(30)))

    async with rig.running():
        await until(lambda: len(backend.taken) == 9)
        await until(lambda: rig.loop.progress.failed_tries > 20)

    assert len(backend.taken) == 9
    assert rig.reader.committed == []


async def test_what_the_backend_asks_to_wait_holds_for_every_request(tmp_path: Path) -> None:
    loop = asyncio.get_running_loop()
    began = loop.time()
    asked_at: list[float] = []

    def answer(names: list[str]) -> Answer:
        asked_at.append(loop.time() - began)
        if names == ["a"] and len(asked_at) == 1:
            return Answer(Meaning.RETRY, "it answered 429", delay_seconds=0.3)
        return DONE

    backend = Backend(answer)
    rig = Rig(tmp_path, backend, ("a",))

    async with rig.running():
        await until(lambda: bool(rig.loop.progress.waiting))
        rig.reader.batches += [[record] for record in list(records_of(request_of("b")))]
        await until(lambda: len(asked_at) == 3)

    assert asked_at[1] >= 0.3 and asked_at[2] >= 0.3


async def test_it_stops_within_a_moment_while_a_backend_is_away(tmp_path: Path) -> None:
    rig = Rig(
        tmp_path, Backend(lambda names: Answer(Meaning.RETRY, "no", delay_seconds=300)), ("a",)
    )
    loop = asyncio.get_running_loop()

    async with rig.running():
        await until(lambda: bool(rig.loop.progress.waiting))
        began = loop.time()

    assert loop.time() - began < 1
    assert rig.reader.committed == []


async def test_it_finishes_what_is_under_way_but_not_for_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onward, "_FINISH_SECONDS", 0.2)
    finishing, hanging = (Rig(tmp_path, Backend(), (name,)) for name in "ab")
    for rig in (finishing, hanging):
        rig.backend.hold.clear()

    async with finishing.running(), hanging.running():
        await until(lambda: finishing.backend.under_way + hanging.backend.under_way == 2)
        finishing.stop.set()
        await asyncio.sleep(0.01)
        finishing.backend.hold.set()

    assert finishing.reader.committed == [8]
    assert hanging.reader.committed == []


async def test_records_that_left_the_queue_are_counted_and_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rig = Rig(tmp_path, Backend(), ("a",))
    rig.reader.lost_records = 12

    async with rig.running():
        await rig.all_done()

    assert rig.loop.progress.lost_records == 12
    assert "this backend has lost them" in caplog.text


async def test_a_mistake_of_ours_is_an_alarm_and_a_new_beginning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    mistakes = 2

    def answer(names: list[str]) -> Answer:
        nonlocal mistakes
        if names == ["b"] and mistakes:
            mistakes -= 1
            raise KeyError("a secret prompt")
        return DONE

    rig = Rig(tmp_path, Backend(answer), ("a",), ("b",), ("c",))

    with caplog.at_level(logging.INFO):
        async with rig.running():
            await rig.all_done()

    assert set(rig.backend.taken) == {"a", "b", "c"}
    assert mistakes == 0
    alarms = [vars(record) for record in caplog.records if record.levelno == logging.ERROR]
    assert alarms and all(
        "it failed (KeyError, test_onward.py:" in one["waiting"] for one in alarms
    )
    assert "secret" not in caplog.text + str(alarms)
    assert rig.loop.progress.waiting == ""
