"""Sending on: what each answer leads to, in which order it is done, and what is kept in memory."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.unit.collector.service.test_onward_requests import names_of, records_of, request_of
from tracequill_collector.errors import RetryableError
from tracequill_collector.exporter.otlp import Answer, Meaning
from tracequill_collector.pipeline import QueuedRecord
from tracequill_collector.queue.dead_letters import DeadLetters
from tracequill_collector.queue.reader import QueueReader
from tracequill_collector.service import onward
from tracequill_collector.service.export_metrics import ExportMetrics, ExportRegistry
from tracequill_collector.service.onward import OnwardLoop

_DONE = Answer(Meaning.DONE)
_BUSY = Answer(Meaning.RETRY, "it answered 503")
_BAD = Answer(Meaning.BAD, "it answered 400", said="about a secret prompt")
_TOO_LARGE = Answer(Meaning.TOO_LARGE, "it answered 413")
_BROKEN = Answer(Meaning.DOUBTFUL, "it answered 500")
_FORBIDDEN = Answer(Meaning.WAIT, "it answered 401")
_PLAIN = "tracequill asks whether spans are taken"

pytestmark = pytest.mark.usefixtures("quick")


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Wait for next to nothing between two tries."""
    monkeypatch.setattr(onward, "_FIRST_DELAY_SECONDS", 0.001)
    monkeypatch.setattr(onward, "_MAX_DELAY_SECONDS", 0.01)
    yield


class Backend:
    """A client whose backend answers as told, and keeps what it took."""

    def __init__(self, answer: Callable[[list[str]], Answer] | None = None) -> None:
        self.answer = answer or (lambda names: _DONE)
        self.asked: list[list[str]] = []
        self.taken: list[str] = []
        self.under_way = self.most_under_way = 0
        self.hold = asyncio.Event()
        self.hold.set()

    async def send(self, payload: bytes) -> Answer:
        """Answer."""
        names = names_of(ExportTraceServiceRequest.FromString(payload))
        self.asked.append(names)
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            await self.hold.wait()
        finally:
            self.under_way -= 1
        answer = self.answer(names)
        if answer.meaning is Meaning.DONE:
            self.taken += [name for name in names if name != _PLAIN]
        return answer

    async def close(self) -> None:
        """Have nothing to close."""


class Reader:
    """Gives each of its batches and keeps what is committed."""

    def __init__(self, *batches: list[QueuedRecord]) -> None:
        self.batches = list(batches)
        self.committed: list[int] = []
        self.lost_records = 0
        self.backlog_bytes = 0

    async def read(
        self, *, max_records: int, max_bytes: int, wait_seconds: float
    ) -> list[QueuedRecord]:
        """Give the next batch; wait when there is none."""
        if self.batches:
            return self.batches.pop(0)
        await asyncio.sleep(0.01)
        return []

    async def commit(self, next_sequence: int) -> None:
        """Keep it."""
        self.committed.append(next_sequence)


class Rig:
    """A loop between fakes."""

    def __init__(self, folder: Path, backend: Backend, *names: tuple[str, ...]) -> None:
        records = records_of(*(request_of(*some) for some in names))
        # Each record is read alone, so that each is a request.
        self.reader = Reader(*([record] for record in records))
        self.next_sequence = 7 + len(records)
        self.backend = backend
        self.dead_letters = DeadLetters(folder / "dead_letters")
        self.stop = asyncio.Event()
        self.loop = OnwardLoop(
            "otlp-x",
            cast(QueueReader, self.reader),
            backend,
            self.dead_letters,
            ExportMetrics(ExportRegistry(folder / "metrics"), "otlp-x"),
            self.stop,
            max_bytes=10_000_000,
            policy=None,
        )

    @property
    def buried(self) -> list[str]:
        """The names of the spans that became dead letters."""
        found = [self.dead_letters.show(one.letter_id) for one in self.dead_letters.list()]
        return sorted(
            name
            for one in found
            if one
            for name in names_of(ExportTraceServiceRequest.FromString(one[1].payload))
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run the loop."""
        async with asyncio.timeout(20), asyncio.TaskGroup() as tasks:
            tasks.create_task(self.loop.run())
            yield
            self.stop.set()

    async def all_done(self) -> None:
        """Wait until everything is committed."""
        await until(lambda: self.next_sequence in self.reader.committed)


async def until(condition: Callable[[], bool]) -> None:
    """Return when *condition* is true."""
    while True:
        if condition():
            return
        await asyncio.sleep(0.001)


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
    backend = Backend(lambda names: _BUSY if busy and names == ["a"] else _DONE)
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
    backend = Backend(lambda names: _BUSY if names == ["0"] else _DONE)
    rig = Rig(tmp_path, backend, *((f"{number}",) for number in range(30)))

    async with rig.running():
        await until(lambda: len(backend.taken) == 9)
        await until(lambda: rig.loop.progress.failed_tries > 20)

    assert len(backend.taken) == 9
    assert rig.reader.committed == []


async def test_one_bad_span_goes_to_the_dead_letters_and_costs_no_other(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    backend = Backend(lambda names: _BAD if "bad" in names else _DONE)
    names = tuple(f"{number}" for number in range(50))
    rig = Rig(tmp_path, backend, (*names[:20], "bad", *names[20:]))

    with caplog.at_level(logging.INFO):
        async with rig.running():
            await rig.all_done()

    assert sorted(backend.taken) == sorted(names)
    assert rig.buried == ["bad"]
    [letter] = rig.dead_letters.list()
    assert letter.reason == "otlp-x: it answered 400. It said: about a secret prompt"
    assert letter.details == {"exporter": "otlp-x"}
    assert "secret prompt" not in caplog.text + rig.loop.progress.waiting
    assert len(backend.asked) < 20


async def test_a_bad_span_alone_is_found_out_with_a_plain_one(tmp_path: Path) -> None:
    backend = Backend(lambda names: _BAD if "bad" in names else _DONE)
    rig = Rig(tmp_path, backend, ("bad",))

    async with rig.running():
        await rig.all_done()

    assert backend.asked == [["bad"], [_PLAIN]]
    assert rig.buried == ["bad"]


@pytest.mark.parametrize("refusal", [_BAD, _TOO_LARGE], ids=["bad", "too large"])
async def test_a_backend_that_refuses_everything_makes_no_dead_letters(
    tmp_path: Path, refusal: Answer, caplog: pytest.LogCaptureFixture
) -> None:
    refuses = True
    backend = Backend(lambda names: refusal if refuses else _DONE)
    names = [tuple(f"{number}-{place}" for place in range(64)) for number in range(4)]
    rig = Rig(tmp_path, backend, *names)

    async with rig.running():
        await until(lambda: backend.asked.count([_PLAIN]) > 20)
        assert rig.buried == [] and rig.reader.committed == []
        assert "it refuses every span" in rig.loop.progress.waiting
        # Each request was halved once down to a span, and from then on only plain spans are sent.
        assert sum(asked != [_PLAIN] for asked in backend.asked) == 4 * 7
        refuses = False
        await rig.all_done()

    assert sorted(backend.taken) == sorted(name for some in names for name in some)
    assert rig.buried == []
    [alarm] = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert alarm.getMessage() == "spans are not sent on now"


async def test_a_backend_that_begins_to_refuse_everything_halfway_makes_no_dead_letters(
    tmp_path: Path,
) -> None:
    refuses = False

    def answer(names: list[str]) -> Answer:
        nonlocal refuses
        if names == ["bad"]:
            refuses = True
        return _BAD if refuses or "bad" in names else _DONE

    backend = Backend(answer)
    rig = Rig(tmp_path, backend, ("a", "b", "bad", "c", "d", "e", "f", "g"))

    async with rig.running():
        await until(lambda: backend.asked.count([_PLAIN]) > 5)
        assert rig.buried == []
        backend.answer = lambda names: _BAD if "bad" in names else _DONE
        await rig.all_done()

    assert sorted(backend.taken) == ["a", "b", "c", "d", "e", "f", "g"]
    assert rig.buried == ["bad"]


async def test_a_request_too_large_is_sent_in_pieces_and_only_what_stays_too_large_is_buried(
    tmp_path: Path,
) -> None:
    backend = Backend(lambda names: _TOO_LARGE if len("".join(names)) > 4 else _DONE)
    rig = Rig(tmp_path, backend, ("a", "b", "c", "d", "e", "f"), ("too large",), ("g", "h"))

    def is_too_large(names: list[str]) -> Answer:
        size = 0 if names == [_PLAIN] else len("".join(names))
        return _TOO_LARGE if size > 4 else _DONE

    backend.answer = is_too_large
    async with rig.running():
        await rig.all_done()

    assert sorted(backend.taken) == ["a", "b", "c", "d", "e", "f", "g", "h"]
    assert rig.buried == ["too large"]


async def test_rejected_spans_are_counted_logged_once_and_not_sent_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rejecting = Answer(Meaning.DONE, rejected_spans=2, said="about a secret prompt")
    rig = Rig(tmp_path, Backend(lambda names: rejecting), ("a", "b", "c"), ("d",))

    async with rig.running():
        await rig.all_done()

    assert sorted(rig.backend.asked) == [["a", "b", "c"], ["d"]]
    assert (rig.loop.progress.rejected_spans, rig.loop.progress.sent_spans) == (3, 1)
    assert rig.buried == []
    [alarm] = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert "secret" not in str(vars(alarm))


async def test_a_backend_that_rejects_all_takes_nothing(tmp_path: Path) -> None:
    """A 200 with every span rejected does not prove that a refused span was at fault."""

    def answer(names: list[str]) -> Answer:
        return _BAD if names == ["bad"] else Answer(Meaning.DONE, rejected_spans=len(names))

    rig = Rig(tmp_path, Backend(answer), ("bad",), ("a",))

    async with rig.running():
        await until(lambda: rig.backend.asked.count([_PLAIN]) > 3)
        assert rig.buried == []
        rig.backend.answer = lambda names: _DONE
        await rig.all_done()


async def test_a_missing_right_is_waited_for_with_an_alarm(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    forbids = True
    rig = Rig(tmp_path, Backend(lambda names: _FORBIDDEN if forbids else _DONE), ("a", "b"))

    with caplog.at_level(logging.INFO):
        async with rig.running():
            await until(lambda: rig.loop.progress.failed_tries > 20)
            assert rig.loop.progress.waiting == "it answered 401"
            forbids = False
            await rig.all_done()

    assert rig.backend.taken == ["a", "b"] and rig.buried == []
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("ERROR", "spans are not sent on now"),
        ("INFO", "spans are sent on again"),
    ]


async def test_a_span_on_which_the_backend_breaks_holds_nothing_up_for_ever(
    tmp_path: Path,
) -> None:
    backend = Backend(lambda names: _BROKEN if "poison" in names else _DONE)
    rig = Rig(tmp_path, backend, ("a", "b", "poison", "c"), ("d",))

    async with rig.running():
        await rig.all_done()

    assert sorted(backend.taken) == ["a", "b", "c", "d"]
    assert rig.buried == ["poison"]
    assert backend.asked.count(["a", "b", "poison", "c"]) == onward._SPLIT_TRIES
    assert backend.asked.count(["poison"]) == onward._GIVE_UP_TRIES


async def test_a_backend_that_breaks_on_everything_is_waited_for(tmp_path: Path) -> None:
    breaks = True
    backend = Backend(lambda names: _BROKEN if breaks else _DONE)
    rig = Rig(tmp_path, backend, ("a", "b"), ("c",))

    async with rig.running():
        await until(lambda: len(backend.asked) > 100)
        assert ["a"] not in backend.asked, "it was halved in vain"
        breaks = False
        await rig.all_done()

    assert sorted(backend.taken) == ["a", "b", "c"] and rig.buried == []


async def test_what_the_backend_asks_to_wait_holds_for_every_request(tmp_path: Path) -> None:
    loop = asyncio.get_running_loop()
    began = loop.time()
    asked_at: list[float] = []

    def answer(names: list[str]) -> Answer:
        asked_at.append(loop.time() - began)
        if names == ["a"] and len(asked_at) == 1:
            return Answer(Meaning.RETRY, "it answered 429", delay_seconds=0.3)
        return _DONE

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


async def test_a_full_disk_keeps_a_refused_span_until_it_can_be_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = Rig(tmp_path, Backend(lambda names: _BAD if "bad" in names else _DONE), ("bad",))
    add, is_full = rig.dead_letters.add, True

    def add_or_fail(*arguments: object, **named: object) -> str:
        if is_full:
            raise RetryableError("a dead letter cannot be written: the disk is full.")
        return add(*arguments, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(rig.dead_letters, "add", add_or_fail)

    async with rig.running():
        await until(lambda: "disk is full" in rig.loop.progress.waiting)
        assert rig.reader.committed == []
        is_full = False
        await rig.all_done()

    assert rig.buried == ["bad"]


async def test_records_that_left_the_queue_are_counted_and_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rig = Rig(tmp_path, Backend(), ("a",))
    rig.reader.lost_records = 12

    async with rig.running():
        await rig.all_done()

    assert rig.loop.progress.lost_records == 12
    assert "it has lost them" in caplog.text
