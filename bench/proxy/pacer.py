"""An upstream that streams by the clock: ``python -m bench.proxy.pacer PORT CHUNKS MILLISECONDS``.

Every request is answered with so many server-sent events, one each so many milliseconds, the first
at once. In each event stands when it was sent, by the monotonic clock that all processes share, so
that whoever reads it knows how long it was on its way. Sockets without a framework, so that it is
not the limit: an event costs about ten microseconds.
"""

from __future__ import annotations

import contextlib
import gc
import heapq
import re
import select
import socket
import sys
import time

_BACKLOG = 4096
_RECEIVE_BYTES = 8 * 1024
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.IGNORECASE)
_HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n"
    b"Cache-Control: no-cache\r\nTransfer-Encoding: chunked\r\n\r\n"
)
_EVENT = (
    b'data: {"id":"chatcmpl-B5mock","object":"chat.completion.chunk","created":1790000000,'
    b'"model":"mock-model","choices":[{"index":0,"delta":{"role":"assistant","content":"t%dx "},'
    b'"finish_reason":null}]}\n\n'
)
_LAST = (
    b'data: {"id":"chatcmpl-B5mock","object":"chat.completion.chunk","created":1790000000,'
    b'"model":"mock-model","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
    b"data: [DONE]\n\n"
)


class _Connection:
    """One client: what it has sent so far, and how many events it still gets."""

    __slots__ = ("left", "received", "socket")

    def __init__(self, connected: socket.socket) -> None:
        self.socket = connected
        self.received = b""
        self.left = 0


class Pacer:
    """Serves until the process ends."""

    def __init__(self, port: int, chunks: int, interval_ms: float) -> None:
        self._chunks = chunks
        self._interval_ns = int(interval_ms * 1_000_000)
        self._listening = socket.create_server(("127.0.0.1", port), backlog=_BACKLOG)
        self._listening.setblocking(False)
        self._poll = select.epoll()
        self._poll.register(self._listening.fileno(), select.EPOLLIN)
        self._connections: dict[int, _Connection] = {}
        # Moment, number of the connection's socket: the next event of each stream.
        self._due: list[tuple[int, int]] = []

    def serve(self) -> None:
        """Answer for ever."""
        while True:
            wait = -1.0
            if self._due:
                wait = max(0.0, (self._due[0][0] - time.monotonic_ns()) / 1e9)
            for number, _ in self._poll.poll(wait):
                if number == self._listening.fileno():
                    self._accept()
                elif number in self._connections:
                    self._receive(self._connections[number])
            while self._due and self._due[0][0] <= time.monotonic_ns():
                due, number = heapq.heappop(self._due)
                if (connection := self._connections.get(number)) and connection.left:
                    self._send(connection, due, b"")

    def _accept(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while True:
                connected, _ = self._listening.accept()
                connected.setblocking(False)
                connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._connections[connected.fileno()] = _Connection(connected)
                self._poll.register(connected.fileno(), select.EPOLLIN)

    def _receive(self, connection: _Connection) -> None:
        try:
            data = connection.socket.recv(_RECEIVE_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._close(connection)
            return
        connection.received += data
        if connection.left == 0 and _take_request(connection):
            connection.left = self._chunks
            self._send(connection, time.monotonic_ns(), _HEAD)

    def _send(self, connection: _Connection, due: int, before: bytes) -> None:
        connection.left -= 1
        event = _EVENT % time.monotonic_ns()
        if not connection.left:
            event += _LAST
        data = before + b"%x\r\n%b\r\n" % (len(event), event)
        if not connection.left:
            data += b"0\r\n\r\n"
        try:
            is_whole = connection.socket.send(data) == len(data)
        except OSError:
            is_whole = False
        if not is_whole:
            # Who does not read for so long has failed already.
            self._close(connection)
        elif connection.left:
            heapq.heappush(self._due, (due + self._interval_ns, connection.socket.fileno()))

    def _close(self, connection: _Connection) -> None:
        self._connections.pop(connection.socket.fileno(), None)
        connection.left = 0
        connection.socket.close()


def _take_request(connection: _Connection) -> bool:
    """Take one whole request off what was received; False while some of it is missing."""
    head, mark, rest = connection.received.partition(b"\r\n\r\n")
    if not mark:
        return False
    if match := _LENGTH.search(head + b"\r\n"):
        length = int(match[1])
    elif b"chunked" in head.lower():
        end = rest.find(b"0\r\n\r\n")
        if end < 0:
            return False
        length = end + 5
    else:
        length = 0
    if len(rest) < length:
        return False
    connection.received = rest[length:]
    return True


if __name__ == "__main__":
    gc.disable()
    pacer = Pacer(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]))
    print("ready", flush=True)
    pacer.serve()
