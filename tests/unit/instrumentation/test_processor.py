from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator, Sequence
from queue import SimpleQueue

import pytest
from opentelemetry.sdk.trace import ReadableSpan

from tracequill._processor import BackgroundProcessor, BatchLimits, InlineProcessor
from tracequill._sender import RefusedError, UnavailableError
from tracequill.testing import MemorySender

WAIT_MS = 10_000
SOON = BatchLimits(delay_seconds=0.01)


class BlockedSender(MemorySender):
    """An endpoint that takes a request and does not answer until it is opened."""

    def __init__(self) -> None:
        super().__init__()
        self.entered = threading.Event()
        self.opened = threading.Event()

    def send(self, spans: Sequence[ReadableSpan], timeout_seconds: float) -> None:
        self.entered.set()
        self.opened.wait(timeout=WAIT_MS / 1000)
        super().send(spans, timeout_seconds)


@pytest.fixture
def processors() -> Iterator[list[BackgroundProcessor]]:
    made: list[BackgroundProcessor] = []
    yield made
    for processor in made:
        processor.close(timeout_seconds=5.0)


def span(name: str = "span") -> ReadableSpan:
    return ReadableSpan(name=name)


def names(sender: MemorySender) -> list[str]:
    return [one.name for one in sender.spans]


def test_spans_leave_in_the_order_in_which_they_ended(
    processors: list[BackgroundProcessor],
) -> None:
    sender = MemorySender()
    processors.append(processor := BackgroundProcessor(sender, "there", SOON))

    for number in range(1000):
        processor.on_end(span(str(number)))

    assert processor.force_flush(WAIT_MS)
    assert names(sender) == [str(number) for number in range(1000)]
    assert (processor.delivered, processor.lost) == (1000, 0)
    assert sender.attempts < 1000


def test_a_full_batch_leaves_before_its_time(processors: list[BackgroundProcessor]) -> None:
    sender = MemorySender()
    limits = BatchLimits(batch_spans=2, delay_seconds=3600)
    processors.append(processor := BackgroundProcessor(sender, "there", limits))

    for _ in range(4):
        processor.on_end(span())

    assert processor.force_flush(WAIT_MS)
    assert sender.attempts == 2


def test_a_dead_endpoint_costs_the_call_nothing_but_memory_up_to_a_limit(
    processors: list[BackgroundProcessor], caplog: pytest.LogCaptureFixture
) -> None:
    sender = BlockedSender()
    limits = BatchLimits(max_spans=10, batch_spans=5, delay_seconds=0.01)
    processors.append(processor := BackgroundProcessor(sender, "there", limits))
    processor.on_end(span("first"))
    sender.entered.wait(timeout=WAIT_MS / 1000)

    for number in range(110):
        processor.on_end(span(str(number)))

    assert processor.lost == 100
    assert not processor.force_flush(timeout_millis=1)
    sender.opened.set()
    assert processor.force_flush(WAIT_MS)
    assert names(sender) == ["first", *map(str, range(10))]
    lines = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert len(lines) == 1
    assert "10 spans are waiting already" in lines[0].getMessage()


def test_what_was_not_taken_is_sent_again_and_nothing_overtakes_it(
    processors: list[BackgroundProcessor], caplog: pytest.LogCaptureFixture
) -> None:
    sender = MemorySender([UnavailableError("connection refused", 0.001)] * 3)
    processors.append(processor := BackgroundProcessor(sender, "http://there", SOON))

    processor.on_end(span("a"))
    assert processor.force_flush(WAIT_MS)
    processor.on_end(span("b"))
    assert processor.force_flush(WAIT_MS)

    assert names(sender) == ["a", "b"]
    assert processor.lost == 0
    lines = [record.getMessage() for record in caplog.records]
    assert lines == [
        "Tracequill cannot deliver to http://there: connection refused. "
        "1 spans wait and are sent again."
    ]


def test_what_is_refused_is_lost_and_holds_nothing_up(
    processors: list[BackgroundProcessor], caplog: pytest.LogCaptureFixture
) -> None:
    sender = MemorySender([RefusedError("it answered 401 Unauthorized")])
    processors.append(processor := BackgroundProcessor(sender, "http://there", SOON))

    processor.on_end(span("a"))
    processor.force_flush(WAIT_MS)
    processor.on_end(span("b"))
    processor.force_flush(WAIT_MS)

    assert names(sender) == ["b"]
    assert processor.lost == 1
    assert [(record.levelno, record.getMessage()) for record in caplog.records] == [
        (
            logging.ERROR,
            "Tracequill lost 1 spans for http://there: it answered 401 Unauthorized.",
        )
    ]


def test_an_unknown_failure_is_named_but_its_words_are_not_shown(
    processors: list[BackgroundProcessor], caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(MemorySender):
        def send(self, spans: Sequence[ReadableSpan], timeout_seconds: float) -> None:
            raise LookupError("Bearer secret")

    processors.append(processor := BackgroundProcessor(Broken(), "there", SOON))

    processor.on_end(span())
    processor.force_flush(WAIT_MS)

    assert "LookupError" in caplog.text
    assert "secret" not in caplog.text


def test_closing_delivers_what_waits() -> None:
    sender = MemorySender()
    processor = BackgroundProcessor(sender, "there", BatchLimits(delay_seconds=3600))

    processor.on_end(span())
    processor.shutdown()

    assert names(sender) == ["span"]
    assert sender.closed


@pytest.mark.timeout(30)
def test_closing_ends_when_the_thread_ends_first() -> None:
    processor = BackgroundProcessor(sender := MemorySender(), "there", SOON)

    class Late(SimpleQueue[object]):
        """Comes back when the thread has taken the last mark and ended."""

        def put(self, item: object, block: bool = True, timeout: float | None = None) -> None:
            super().put(item)
            if getattr(item, "last", False):
                assert processor._thread is not None
                processor._thread.join(10)

    processor._waiting = Late()  # type: ignore[assignment]
    processor.on_end(span())

    processor.close(timeout_seconds=60.0)

    assert names(sender) == ["span"]


@pytest.mark.timeout(30)
def test_closing_ends_when_another_took_the_last_mark() -> None:
    processor = BackgroundProcessor(MemorySender(), "there", SOON)

    class Taken(SimpleQueue[object]):
        """Loses the last mark to a thread that was being started."""

        def put(self, item: object, block: bool = True, timeout: float | None = None) -> None:
            if not getattr(item, "last", False):
                super().put(item)

    processor._waiting = Taken()  # type: ignore[assignment]

    processor.close(timeout_seconds=0.1)

    assert processor.force_flush(0)


def test_closing_gives_a_dead_endpoint_one_more_attempt() -> None:
    sender = MemorySender([UnavailableError("refused", 3600.0)] * 100)
    processor = BackgroundProcessor(sender, "there", BatchLimits(batch_spans=1, delay_seconds=0.01))

    for _ in range(5):
        processor.on_end(span())
    while not sender.attempts:
        time.sleep(0.001)
    processor.close(timeout_seconds=5.0)

    assert processor.lost == 5
    assert sender.attempts <= 3


def test_closing_takes_no_longer_than_it_may(caplog: pytest.LogCaptureFixture) -> None:
    sender = BlockedSender()
    processor = BackgroundProcessor(sender, "there", SOON)
    processor.on_end(span())
    sender.entered.wait(timeout=WAIT_MS / 1000)
    processor.on_end(span())

    processor.close(timeout_seconds=0.01)

    assert "Tracequill lost 2 spans" in caplog.text
    assert "no time left" in caplog.text
    sender.opened.set()


def test_a_span_that_ends_after_closing_is_counted(caplog: pytest.LogCaptureFixture) -> None:
    sender = MemorySender()
    processor = BackgroundProcessor(sender, "there", SOON)
    processor.shutdown()
    processor.shutdown()

    processor.on_end(span())

    assert (processor.lost, names(sender)) == (1, [])
    assert "after the provider was shut down" in caplog.text


def test_where_no_thread_can_be_started_closing_delivers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't create new thread at interpreter shutdown")

    finished = span()
    monkeypatch.setattr(threading.Thread, "start", refuse)
    sender = MemorySender()
    processor = BackgroundProcessor(sender, "there", SOON)

    processor.on_end(finished)
    processor.close(timeout_seconds=1.0)

    assert names(sender) == ["span"]


def test_limits_are_those_of_opentelemetry(monkeypatch: pytest.MonkeyPatch) -> None:
    assert BatchLimits.from_environment() == BatchLimits()
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "100")
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "250")
    monkeypatch.setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "-1")
    assert BatchLimits.from_environment() == BatchLimits(100, 100, 0.25)
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "many")
    assert BatchLimits.from_environment().max_spans == BatchLimits().max_spans


def test_without_batches_each_span_is_sent_at_once_and_failures_are_swallowed(
    caplog: pytest.LogCaptureFixture,
) -> None:
    sender = MemorySender([RefusedError("it answered 400"), UnavailableError("refused")])
    processor = InlineProcessor(sender, "http://there")

    for name in "abc":
        processor.on_end(span(name))

    assert names(sender) == ["c"]
    assert (processor.delivered, processor.lost) == (1, 2)
    assert "Tracequill lost a span for http://there: it answered 400." in caplog.text
    processor.shutdown()
    assert sender.closed
