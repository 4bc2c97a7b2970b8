"""HTTP/2 by hand: what no well-behaved gRPC client sends."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType

from tests.integration.receiver_rig import EXPORT

DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY = 0, 1, 3, 4, 6, 7
ACK = END_STREAM = 1
END_HEADERS = 4
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


@dataclass(frozen=True)
class Frame:
    """One frame as it crosses the wire."""

    kind: int
    flags: int
    stream: int
    payload: bytes

    def encoded(self) -> bytes:
        """The frame's bytes."""
        head = struct.pack(">I", len(self.payload))[1:] + bytes([self.kind, self.flags])
        return head + struct.pack(">I", self.stream) + self.payload


def message(payload: bytes) -> bytes:
    """A gRPC message that is not compressed."""
    return b"\0" + struct.pack(">I", len(payload)) + payload


class Http2Connection:
    """A connection whose frames the test writes itself."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=20)
        self._socket.sendall(PREFACE)
        self.send(SETTINGS)
        self._rest = b""

    def __enter__(self) -> Http2Connection:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Leave without a word."""
        self._socket.close()

    def send(self, kind: int, payload: bytes = b"", *, flags: int = 0, stream: int = 0) -> None:
        """Send one frame."""
        self._socket.sendall(Frame(kind, flags, stream, payload).encoded())

    def send_bytes(self, data: bytes) -> None:
        """Send what may be no frame at all."""
        self._socket.sendall(data)

    def begin_export(self, stream: int = 1) -> None:
        """Open a call of ``Export``; its message is still to come."""
        fields = {
            ":method": "POST",
            ":scheme": "http",
            ":path": EXPORT,
            ":authority": "x",
            "content-type": "application/grpc",
            "te": "trailers",
        }
        block = b"".join(_literal(name, value) for name, value in fields.items())
        self.send(HEADERS, block, flags=END_HEADERS, stream=stream)

    def frames(self) -> Iterator[Frame]:
        """What the server sends, until it closes; its settings are acknowledged."""
        while True:
            while len(self._rest) < 9 or len(self._rest) < 9 + self._length():
                try:
                    received = self._socket.recv(65536)
                except ConnectionResetError:
                    return
                if not received:
                    return
                self._rest += received
            length = self._length()
            frame = Frame(
                self._rest[3],
                self._rest[4],
                int.from_bytes(self._rest[5:9], "big") & 0x7FFF_FFFF,
                self._rest[9 : 9 + length],
            )
            self._rest = self._rest[9 + length :]
            if frame.kind in (SETTINGS, PING) and not frame.flags & ACK:
                with suppress(BrokenPipeError, ConnectionResetError):
                    self.send(frame.kind, frame.payload if frame.kind == PING else b"", flags=ACK)
            yield frame

    def _length(self) -> int:
        return int.from_bytes(self._rest[:3], "big")


def _literal(name: str, value: str) -> bytes:
    """A header without indexing and without Huffman coding."""
    return b"\0" + bytes([len(name)]) + name.encode() + bytes([len(value)]) + value.encode()
