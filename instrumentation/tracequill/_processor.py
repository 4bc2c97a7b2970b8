"""Finished spans wait here until a background thread has delivered them.

What enters are finished spans, on the application's threads; what leaves goes to a sender, on
ours. Constraints:

- ``on_end`` waits for nothing and takes no plain lock: it may run inside the garbage collector (an
  abandoned stream ends its span there), where a lock of the same thread would never come free.
- Spans leave in the order in which they ended. What cannot be delivered now is kept and tried
  again; past ``max_spans`` the newest are dropped and counted.
- Nothing raises into the application.
"""

from __future__ import annotations

import logging
import os
import random
import threading
import time
import weakref
from collections.abc import Sequence
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue

from openinference.instrumentation import suppress_tracing
from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor

from tracequill._log import SeldomLog
from tracequill._sender import RefusedError, Sender, UnavailableError

# How long a request may take; also what a dead endpoint costs a `batch=False` call at most.
SEND_TIMEOUT_SECONDS = 10.0
# How long the end of the process may take longer because spans are still here.
CLOSE_TIMEOUT_SECONDS = 5.0
_FIRST_BACKOFF_SECONDS = 0.5
_MAX_BACKOFF_SECONDS = 30.0
_MAX_RETRY_AFTER_SECONDS = 60.0
_NO_TIME = "there was no time left to send them"


@dataclass(frozen=True)
class BatchLimits:
    """How many spans wait, how long, and how many go together. OpenTelemetry's variables apply."""

    max_spans: int = 2048
    batch_spans: int = 512
    # Short, because what waits here is lost by kill -9.
    delay_seconds: float = 0.5

    @classmethod
    def from_environment(cls) -> BatchLimits:
        """Read ``OTEL_BSP_*``; a value that is no positive number counts as not set."""
        max_spans = _positive("OTEL_BSP_MAX_QUEUE_SIZE", cls.max_spans)
        return cls(
            max_spans=max_spans,
            batch_spans=min(
                _positive("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", cls.batch_spans), max_spans
            ),
            delay_seconds=_positive("OTEL_BSP_SCHEDULE_DELAY", int(cls.delay_seconds * 1000))
            / 1000,
        )


def _positive(variable: str, default: int) -> int:
    try:
        value = int(os.environ.get(variable, ""))
    except ValueError:
        return default
    return value if value > 0 else default


@dataclass
class _Mark:
    """A place in the queue: reached when all spans before it are settled."""

    last: bool = False
    reached: threading.Event = field(default_factory=threading.Event)


class BackgroundProcessor(SpanProcessor):
    """Hands finished spans to *sender* from a thread of its own."""

    def __init__(
        self,
        sender: Sender,
        shown_url: str,
        limits: BatchLimits | None = None,
        log: SeldomLog | None = None,
    ) -> None:
        self._sender = sender
        self._shown_url = shown_url
        self._limits = limits or BatchLimits.from_environment()
        self._log = log or SeldomLog()
        self._start_lock = threading.RLock()
        self._waiting: SimpleQueue[ReadableSpan | _Mark] = SimpleQueue()
        self._hurry = threading.Event()
        self._thread: threading.Thread | None = None
        self._closing = False
        self._deadline = float("inf")
        self._in_flight = 0
        self.delivered = 0
        self.lost = 0
        _reset_in_children(self)

    # --- on the application's threads -----------------------------------------------------

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Nothing: a span is ours when it has ended."""

    def on_end(self, span: ReadableSpan) -> None:
        """Take *span* over; returns at once."""
        try:
            if self._closing:
                self._lose(1, "it ended after the provider was shut down")
            elif self._waiting.qsize() >= self._limits.max_spans:
                self._lose(1, f"{self._limits.max_spans} spans are waiting already")
            else:
                self._waiting.put(span)
                if self._thread is None:
                    self._start()
        except Exception:
            self._log.write(logging.ERROR, "on_end", "Tracequill could not take a span")

    def force_flush(self, timeout_millis: int | None = None) -> bool:
        """Wait until all that has ended so far is settled; False when time ran out."""
        if self._thread is None or self._closing:
            return self._waiting.empty()
        mark = _Mark()
        self._waiting.put(mark)
        self._hurry.set()
        return mark.reached.wait(
            SEND_TIMEOUT_SECONDS if timeout_millis is None else timeout_millis / 1000
        )

    def shutdown(self) -> None:
        """Deliver what waits, for a bounded time; what is left is lost and counted."""
        self.close(CLOSE_TIMEOUT_SECONDS)

    def close(self, timeout_seconds: float) -> None:
        """Deliver what waits within *timeout_seconds*, one attempt each, and stop."""
        if self._closing:
            return
        self._deadline = time.monotonic() + timeout_seconds
        self._closing = True
        # Asked before the mark is there: with it the thread may end at once.
        thread = self._thread
        has_worker = thread is not None and thread.is_alive()
        self._waiting.put(_Mark(last=True))
        self._hurry.set()
        if thread is not None and has_worker:
            thread.join(timeout_seconds)
        else:  # never started, or could not be: the interpreter starts no thread while it ends
            self._work()
        if thread is not None and thread.is_alive():
            # Not counted here: the thread counts them itself, if the process lives on.
            self._say_lost(self._in_flight + max(self._waiting.qsize() - 1, 0), _NO_TIME)
        self._sender.close()

    def _start(self) -> None:
        with self._start_lock:
            if self._thread is not None:
                return
            # Set before it runs: starting may end a span in the garbage collector, on this thread.
            self._thread = threading.Thread(target=self._work, name="tracequill", daemon=True)
            try:
                self._thread.start()
            except RuntimeError:
                self._thread = None

    def _reset(self) -> None:
        """Begin anew in a forked child: what waited is the parent's to send."""
        self._start_lock = threading.RLock()
        self._waiting = SimpleQueue()
        self._hurry = threading.Event()
        self._thread = None
        self.delivered = self.lost = 0
        self._sender.reopen()

    # --- on our thread --------------------------------------------------------------------

    def _work(self) -> None:
        with suppress_tracing():  # an instrumented HTTP client must not trace our requests
            while True:
                batch, mark = self._collect()
                if batch:
                    self._in_flight = len(batch)
                    self._deliver(batch)
                    self._in_flight = 0
                if mark is not None:
                    mark.reached.set()
                    if mark.last:
                        return

    def _collect(self) -> tuple[list[ReadableSpan], _Mark | None]:
        """Wait for a span, then for others that end soon after it, or for a mark."""
        # At the end two may be at work here, for a thread that is being started is not alive yet.
        # There is one last mark; who does not get it must end as well.
        patience_seconds = max(0.0, self._deadline - time.monotonic()) if self._closing else None
        try:
            item = self._waiting.get(timeout=patience_seconds)
        except Empty:
            return [], _Mark(last=True)
        batch: list[ReadableSpan] = []
        full_at = time.monotonic() + self._limits.delay_seconds
        while True:
            if isinstance(item, _Mark):
                return batch, item
            batch.append(item)
            if len(batch) >= self._limits.batch_spans:
                return batch, None
            try:
                item = self._waiting.get(timeout=max(0.0, full_at - time.monotonic()))
            except Empty:
                return batch, None

    def _deliver(self, batch: Sequence[ReadableSpan]) -> None:
        """Send *batch* until it is settled: delivered, refused, or out of time at the end."""
        backoff_seconds = _FIRST_BACKOFF_SECONDS
        while True:
            remaining = self._deadline - time.monotonic()
            if remaining <= 0:
                return self._lose(len(batch), _NO_TIME)
            # Read before sending: when the process ends meanwhile, one more attempt is made.
            closing = self._closing
            self._hurry.clear()
            try:
                self._sender.send(batch, min(SEND_TIMEOUT_SECONDS, remaining))
            except RefusedError as error:
                return self._lose(error.spans or len(batch), str(error))
            except UnavailableError as error:
                if closing:
                    self._deadline = time.monotonic()
                    return self._lose(len(batch), str(error))
                self._log.write(
                    logging.WARNING,
                    "unavailable",
                    "Tracequill cannot deliver to %s: %s. %d spans wait and are sent again.",
                    self._shown_url,
                    error,
                    len(batch) + self._waiting.qsize(),
                )
                wait_seconds = min(
                    error.retry_after_seconds or backoff_seconds * random.uniform(0.8, 1.2),
                    _MAX_RETRY_AFTER_SECONDS,
                )
                backoff_seconds = min(backoff_seconds * 2, _MAX_BACKOFF_SECONDS)
                if not self._closing:
                    self._hurry.wait(wait_seconds)
            except Exception as error:
                # Its message may hold a header, so it is not shown.
                return self._lose(len(batch), f"sending failed with {type(error).__name__}")
            else:
                self.delivered += len(batch)
                return None

    def _lose(self, spans: int, reason: str) -> None:
        self.lost += spans
        self._say_lost(spans, reason)

    def _say_lost(self, spans: int, reason: str) -> None:
        self._log.write(
            logging.ERROR,
            f"lost {reason}",
            "Tracequill lost %d spans for %s: %s.",
            spans,
            self._shown_url,
            reason,
        )


class InlineProcessor(SpanProcessor):
    """Sends each span before the call returns, for ``batch=False``: no thread, nothing waits."""

    def __init__(self, sender: Sender, shown_url: str, log: SeldomLog | None = None) -> None:
        self._sender = sender
        self._shown_url = shown_url
        self._log = log or SeldomLog()
        self.delivered = 0
        self.lost = 0
        _reset_in_children(self)

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Nothing: a span is ours when it has ended."""

    def on_end(self, span: ReadableSpan) -> None:
        """Send *span*; a failure is logged and the span is lost."""
        try:
            with suppress_tracing():
                self._sender.send([span], SEND_TIMEOUT_SECONDS)
            self.delivered += 1
        except Exception as error:
            known = isinstance(error, (RefusedError, UnavailableError))
            self.lost += 1
            self._log.write(
                logging.ERROR,
                "lost",
                "Tracequill lost a span for %s: %s.",
                self._shown_url,
                error if known else f"sending failed with {type(error).__name__}",
            )

    def force_flush(self, timeout_millis: int | None = None) -> bool:
        """Nothing waits."""
        return True

    def shutdown(self) -> None:
        """Give connections back."""
        self._sender.close()

    def close(self, timeout_seconds: float) -> None:
        """Give connections back."""
        self._sender.close()

    def _reset(self) -> None:
        self._sender.reopen()


def _reset_in_children(processor: BackgroundProcessor | InlineProcessor) -> None:
    """Call ``_reset`` in every process that is forked off this one."""
    if not hasattr(os, "register_at_fork"):  # Windows has no fork
        return
    reset = weakref.WeakMethod(processor._reset)

    def after_in_child() -> None:
        if method := reset():
            method()

    os.register_at_fork(after_in_child=after_in_child)
