"""One connection to an upstream: aiohttp's, with what the proxy needs to know of it.

Three things cost it a good part of the time of every piece of a stream, and are done otherwise
here. It ends one timer and makes another, to notice an upstream that has fallen silent: here a
piece only moves the moment, and one timer looks whether it has come. It wakes a task that reads the
piece: here what waits for it can be called at once (``on_change``). And it parses every chunk: here
one that comes by itself can be taken as it stands (``on_piece``). It knows no call, and what
crosses it is not its business.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable
from typing import Any

from aiohttp import TCPConnector
from aiohttp.client_proto import ResponseHandler
from aiohttp.helpers import set_exception

from tracequill_collector.proxy.chunks import Chunks

# Interim ones included; none of them has been looked at yet.
_ANSWERS_MAX = 1024


class UpstreamConnection(ResponseHandler):
    """One connection; it is used again and again, by one call at a time."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop)
        self.idle_until: float | None = None
        """Until when it may be used again after a call; None while it is new."""
        self.on_change: Callable[[], None] | None = None
        """Called when something came, and when nothing more can come."""
        self.on_piece: Callable[[bytes], None] | None = None
        """Called instead with a chunk that came by itself; what came before must have been read."""
        self._chunks = Chunks()
        self._is_answering = False
        self._silent_at: float | None = None

    def set_response_params(self, **params: Any) -> None:
        """Expect the response to the next request."""
        self._is_answering = False
        super().set_response_params(**params)

    def is_at_rest(self) -> bool:
        """Whether nothing of the call is left: no byte to be sent, none of an answer behind."""
        parser, transport = self._parser, self.transport
        if parser is None or transport is None or transport.get_write_buffer_size():
            return False
        try:
            # The one question that tells whether it holds the beginning of a head.
            return parser.feed_eof() is None
        except Exception:
            return False

    def _reschedule_timeout(self) -> None:
        timeout = self._read_timeout
        if not timeout:
            self._silent_at = None
            return
        self._silent_at = self._loop.time() + timeout
        if self._read_timeout_handle is None:
            self._read_timeout_handle = self._loop.call_at(self._silent_at, self._on_read_timeout)

    def _drop_timeout(self) -> None:
        # The timer finds nothing to do, or serves the next call.
        self._silent_at = None

    def _on_read_timeout(self) -> None:
        self._read_timeout_handle = None
        if self._silent_at is None:
            return
        if self._loop.time() < self._silent_at:
            self._read_timeout_handle = self._loop.call_at(self._silent_at, self._on_read_timeout)
            return
        super()._on_read_timeout()
        self.changed()

    def data_received(self, data: bytes) -> None:
        if self.on_piece is not None and (piece := self._chunks.one(data)) is not None:
            self._reschedule_timeout()
            self.on_piece(piece)
            return
        if self.idle_until is not None:
            # Nobody asked. With a new parser the next call would lose it, or take it for its own.
            self.force_close()
        if self._is_answering:
            self._chunks.follow(data)
        else:
            self._is_answering = True
            self._chunks.begin(data)
        payload = self._payload
        super().data_received(data)
        if self._exception is not None:
            # aiohttp tells who waits for a head that this is no HTTP, and not who reads a body.
            if payload is not None and not payload.is_eof() and payload.exception() is None:
                set_exception(payload, self._exception)
        elif self._payload is not None:
            self._chunks.check(self._payload.total_bytes)
        if len(self._buffer) > _ANSWERS_MAX and self.transport is not None:
            # One was asked for. While a client does not read it, these would pile up.
            self.transport.close()
        if self.on_change is not None:
            self.on_change()

    def resume_reading(self, resume_parser: bool = True) -> None:
        # Asked with every piece that is read; the whole parser runs for it.
        if self._reading_paused:
            super().resume_reading(resume_parser)

    def changed(self) -> None:
        """Tell who waits that there is something to look at."""
        if self.on_change is not None:
            self.on_change()

    def connection_lost(self, exc: BaseException | None) -> None:
        super().connection_lost(exc)
        # Not before: the timer would keep the connection in memory for as long as it waits.
        if self._read_timeout_handle is not None:
            self._read_timeout_handle.cancel()
            self._read_timeout_handle = None
        self.changed()


class UpstreamConnector(TCPConnector):
    """Opens and keeps connections of that kind."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        make: Any = functools.partial(UpstreamConnection, loop=self._loop)
        self._factory = make
