"""A TCP connection that can be bad: a proxy between the exporter and Postgres' Unix socket.

Listens on 127.0.0.1 only. A link passes, swallows what is sent (black hole), is slow, delivers a
few bytes and resets, or lets only one direction through (half open).
"""

from __future__ import annotations

import asyncio
import socket
import struct
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

Mode = Literal["pass", "black hole", "half open", "slow", "refuse"]

_CHUNK_BYTES = 64 * 1024
_SLOW_CHUNK_BYTES = 512
_SLOW_SECONDS = 0.02


class Link:
    """The proxy and its present mood."""

    def __init__(self, target: Path) -> None:
        self.mode: Mode = "pass"
        self.port = 0
        self.opened = 0
        self._target = target
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._stranded = 0
        self._bytes_to_reset = 0
        self._better = asyncio.Event()
        self._better.set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._server is not None
        self._server.close()
        self.become("pass")
        self.reset()
        await self._server.wait_closed()

    def become(self, mode: Mode) -> None:
        """Change for what is open and for what opens later."""
        self.mode = mode
        if mode in ("black hole", "half open"):
            self._better.clear()
        else:
            self._better.set()

    def reset(self) -> None:
        """Reset every open connection now."""
        for writer in list(self._writers):
            _reset(writer)

    def strand(self) -> None:
        """Let every open connection go silent for good, as when a machine is gone."""
        self._stranded = self.opened

    def reset_after(self, count: int) -> None:
        """Reset the connection that passes the next *count* bytes to Postgres, in their midst."""
        self._bytes_to_reset = count

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.opened += 1
        number = self.opened
        self._writers.add(writer)
        try:
            if self.mode == "refuse":
                return
            await self._better.wait()
            await self._join(number, reader, writer)
        except OSError:
            pass
        finally:
            self._writers.discard(writer)
            _reset(writer)

    async def _join(
        self, number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        there_reader, there_writer = await asyncio.open_unix_connection(str(self._target))
        self._writers.add(there_writer)
        try:
            async with asyncio.TaskGroup() as tasks:
                forth = tasks.create_task(self._pump(number, True, reader, there_writer))
                back = tasks.create_task(self._pump(number, False, there_reader, writer))
                await asyncio.wait({forth, back}, return_when=asyncio.FIRST_COMPLETED)
                forth.cancel()
                back.cancel()
        finally:
            self._writers.discard(there_writer)
            _reset(there_writer)

    async def _pump(
        self,
        number: int,
        to_postgres: bool,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        with suppress(OSError):
            while data := await reader.read(_CHUNK_BYTES):
                if number <= self._stranded:
                    continue
                if self.mode == "black hole" or (self.mode == "half open" and not to_postgres):
                    await self._better.wait()
                if to_postgres and self._bytes_to_reset:
                    if len(data) >= self._bytes_to_reset:
                        data, self._bytes_to_reset = data[: self._bytes_to_reset], 0
                        writer.write(data)
                        await writer.drain()
                        return
                    self._bytes_to_reset -= len(data)
                if self.mode == "slow":
                    await _dribble(writer, data)
                else:
                    writer.write(data)
                    await writer.drain()


async def _dribble(writer: asyncio.StreamWriter, data: bytes) -> None:
    for start in range(0, len(data), _SLOW_CHUNK_BYTES):
        writer.write(data[start : start + _SLOW_CHUNK_BYTES])
        await writer.drain()
        await asyncio.sleep(_SLOW_SECONDS)


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close without a farewell: over TCP the other side gets a reset."""
    found = writer.get_extra_info("socket")
    if found is not None and found.family == socket.AF_INET:
        with suppress(OSError):
            found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
