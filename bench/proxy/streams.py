"""A client that reads many streams at once: ``python -m bench.proxy.streams JSON``.

An Order goes in, a Report leaves as one line of JSON. Each of so many connections asks for a
stream, reads it to its end and asks again; they begin one after the other, so that events do not
come in bursts. How long an event was on its way is read off the event (``pacer.py``). Sockets
without a framework, so that it is not the limit.
"""

from __future__ import annotations

import gc
import json
import math
import re
import select
import socket
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field

import psutil

_RECEIVE_BYTES = 64 * 1024
_SENT = re.compile(rb"t(\d{9,20})x")
_END = b"[DONE]"
# Longer than an event's stamp, and than what ends a chunked body.
_KEPT_BYTES = 64
_CONNECT_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Order:
    """What to ask for, and how."""

    host: str
    port: int
    path: str
    headers: dict[str, str]
    body: str
    streams: int
    """Read at the same time."""
    chunks: int
    """Events in a stream."""
    interval_ms: float
    warm_seconds: float
    """Streams that begin within them are not counted."""
    seconds: float
    """For so long streams begin that are counted; each is read to its end."""
    grace_seconds: float = 5.0
    """How much longer than planned a stream may take."""


@dataclass(slots=True)
class Report:
    """What came."""

    whole_streams: int = 0
    failed_streams: int = 0
    """Refused, cut, or without some of their events."""
    failures: dict[str, int] = field(default_factory=dict)
    events: int = 0
    transit_ms: dict[str, float] = field(default_factory=dict)
    """From the upstream's sending of an event to its arrival: p50, p99, highest."""
    first_ms: dict[str, float] = field(default_factory=dict)
    """From the request to the first event."""
    late_ms: dict[str, float] = field(default_factory=dict)
    """How much later than by the clock the upstream sent: it was the limit when this is large."""
    cpu_seconds: float = 0.0
    wall_seconds: float = 0.0


class _Stream:
    """One connection and the stream it reads now."""

    __slots__ = ("asked_ns", "first_ns", "is_counted", "kept", "sent", "socket", "transits")

    def __init__(self) -> None:
        self.socket: socket.socket | None = None
        self.begin(0, False)

    def begin(self, asked_ns: int, is_counted: bool) -> None:
        self.asked_ns = asked_ns
        self.first_ns = 0
        self.is_counted = is_counted
        self.kept = b""
        self.sent: list[int] = []
        self.transits: list[int] = []


class _Reader:
    """Reads all of them in one loop."""

    def __init__(self, order: Order) -> None:
        self._order = order
        lines = [f"POST {order.path} HTTP/1.1", f"Host: {order.host}:{order.port}"]
        lines += [f"{name}: {value}" for name, value in order.headers.items()]
        lines += [f"Content-Length: {len(order.body.encode())}", "", order.body]
        self._request = "\r\n".join(lines).encode()
        self._poll = select.epoll()
        # One for all: recv() would ask the system for as much anew for every event, which took
        # more time than all the rest.
        self._received = memoryview(bytearray(_RECEIVE_BYTES))
        self._reading: dict[int, _Stream] = {}
        self._report = Report()
        self._transits: list[int] = []
        self._firsts: list[int] = []
        self._late: list[int] = []
        planned_ns = int(order.chunks * order.interval_ms * 1e6)
        self._began_ns = time.monotonic_ns()
        self._warm_ns = self._began_ns + int(order.warm_seconds * 1e9)
        self._last_ns = self._warm_ns + int(order.seconds * 1e9)
        self._allowed_ns = planned_ns + int(order.grace_seconds * 1e9)
        self._step_ns = planned_ns // order.streams

    def run(self) -> Report:
        """Read until the last stream that is counted has ended."""
        waiting = [
            (self._began_ns + place * self._step_ns, _Stream())
            for place in reversed(range(self._order.streams))
        ]
        while True:
            now = time.monotonic_ns()
            while waiting and waiting[-1][0] <= now < self._last_ns:
                self._ask(waiting.pop()[1])
            if now >= self._last_ns and not any(
                stream.is_counted for stream in self._reading.values()
            ):
                break
            wait = 0.05
            if waiting and now < self._last_ns:
                wait = min(wait, max(0.0, (waiting[-1][0] - now) / 1e9))
            for number, _ in self._poll.poll(wait):
                if number in self._reading:
                    self._receive(self._reading[number])
            self._give_up_on_silent(now)
        return self._result()

    def _ask(self, stream: _Stream) -> None:
        now = time.monotonic_ns()
        if now >= self._last_ns:
            self._forget(stream)
            return
        stream.begin(now, now >= self._warm_ns)
        try:
            if stream.socket is None:
                stream.socket = socket.create_connection(
                    (self._order.host, self._order.port), _CONNECT_SECONDS
                )
                stream.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                stream.socket.setblocking(False)
                self._poll.register(stream.socket.fileno(), select.EPOLLIN)
            self._reading[stream.socket.fileno()] = stream
            stream.socket.send(self._request)
        except OSError as error:
            self._fail(stream, error.strerror or type(error).__name__)

    def _receive(self, stream: _Stream) -> None:
        assert stream.socket is not None
        try:
            count = stream.socket.recv_into(self._received)
        except BlockingIOError:
            return
        except OSError as error:
            self._fail(stream, error.strerror or type(error).__name__)
            return
        now = time.monotonic_ns()
        data = bytes(self._received[:count])
        text = stream.kept + data
        if not stream.sent and not stream.kept and not text.startswith(b"HTTP/1.1 200"):
            self._fail(stream, text[9:12].decode("latin-1") if text else "closed")
            return
        end = 0
        for match in _SENT.finditer(text):
            sent = int(match[1])
            stream.sent.append(sent)
            stream.transits.append(now - sent)
            if len(stream.sent) == 1:
                stream.first_ns = now - stream.asked_ns
            end = match.end()
        stream.kept = text[max(end, len(text) - _KEPT_BYTES) :] or b"\n"
        if not data or text.endswith(b"0\r\n\r\n"):
            self._end(stream, is_closed=not data)

    def _end(self, stream: _Stream, *, is_closed: bool) -> None:
        if len(stream.sent) != self._order.chunks:
            self._fail(stream, f"{len(stream.sent)} of {self._order.chunks} events")
            return
        if stream.is_counted:
            interval_ns = int(self._order.interval_ms * 1e6)
            first = stream.sent[0]
            self._report.whole_streams += 1
            self._firsts.append(stream.first_ns)
            self._transits.extend(stream.transits)
            self._late.extend(
                sent - first - place * interval_ns for place, sent in enumerate(stream.sent)
            )
        if is_closed:
            self._forget(stream)
        self._ask(stream)

    def _fail(self, stream: _Stream, reason: str) -> None:
        if stream.is_counted:
            self._report.failed_streams += 1
            self._report.failures[reason] = self._report.failures.get(reason, 0) + 1
        self._forget(stream)
        stream.is_counted = False
        # Who fails at once must not be asked as fast as can be.
        if self._report.failed_streams < self._order.streams:
            time.sleep(0.001)
            self._ask(stream)

    def _forget(self, stream: _Stream) -> None:
        if stream.socket is not None:
            self._reading.pop(stream.socket.fileno(), None)
            stream.socket.close()
            stream.socket = None

    def _give_up_on_silent(self, now: int) -> None:
        if now < self._last_ns + self._allowed_ns:
            return
        for stream in list(self._reading.values()):
            if stream.is_counted:
                self._report.failed_streams += 1
                self._report.failures["too slow"] = self._report.failures.get("too slow", 0) + 1
            self._forget(stream)

    def _result(self) -> Report:
        report = self._report
        report.events = len(self._transits)
        report.transit_ms = _ranks(self._transits)
        report.first_ms = _ranks(self._firsts)
        report.late_ms = _ranks(self._late)
        report.wall_seconds = (time.monotonic_ns() - self._began_ns) / 1e9
        return report


def _ranks(values_ns: Sequence[int]) -> dict[str, float]:
    if not values_ns:
        return {}
    ordered = sorted(values_ns)

    def rank(share: float) -> float:
        place = max(math.ceil(share * len(ordered) - 1e-9), 1) - 1
        return ordered[place] / 1e6

    return {"p50": rank(0.5), "p99": rank(0.99), "max": ordered[-1] / 1e6}


def main() -> int:
    order = Order(**json.loads(sys.argv[1]))
    gc.disable()
    before = psutil.Process().cpu_times()
    report = _Reader(order).run()
    after = psutil.Process().cpu_times()
    report.cpu_seconds = after.user + after.system - before.user - before.system
    print(json.dumps(asdict(report)), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
