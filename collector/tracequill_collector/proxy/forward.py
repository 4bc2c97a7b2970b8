"""One call: from a client to an upstream and back, unchanged, and noted on the way.

A request comes in from aiohttp's server; its answer goes to the client as it comes from the
upstream; what crossed goes to the queue before the last byte does. Nothing is interpreted here.
"""

from __future__ import annotations

import asyncio
import logging
import time
import traceback
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web
from aiohttp.http import HttpVersion11

from tracequill_collector.proxy.answer import CONTINUE, Answer, ClientGoneError, Written
from tracequill_collector.proxy.body import memory_share_bytes
from tracequill_collector.proxy.callers import reason_to_refuse
from tracequill_collector.proxy.context import read_context
from tracequill_collector.proxy.headers import (
    SPAN_ID,
    TRACE_ID,
    RawHeaders,
    client_headers,
    upstream_headers,
)
from tracequill_collector.proxy.metrics import ProxyMetrics
from tracequill_collector.proxy.record import ExchangeSink, Recording
from tracequill_collector.proxy.refusal import refuse
from tracequill_collector.proxy.route import RouteError, RouteTable, Target
from tracequill_collector.proxy.upstream import (
    ClientBodyError,
    Upstream,
    UpstreamCutError,
    UpstreamError,
    UpstreamRequest,
    UpstreamResponse,
)

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ForwardLimits:
    """How much of it: bodies kept, calls at once."""

    body_max_bytes: int
    calls_max: int


class Forwarder:
    """Forwards calls. One for all calls of a process."""

    def __init__(
        self,
        routes: RouteTable,
        http: Upstream,
        built_in: Upstream,
        sink: ExchangeSink,
        metrics: ProxyMetrics,
        *,
        limits: ForwardLimits,
        spill_folder: Path,
        project_name: str,
    ) -> None:
        self.routes = routes
        self.http = http
        self.built_in = built_in
        self.sink = sink
        self.metrics = metrics
        self.limits = limits
        self.spill_folder = spill_folder
        self.project_name = project_name
        self.stopping = False
        """No connection is kept for a next call."""
        self.cutting = False
        """Calls in flight are ended here, not by their clients."""
        self.calls = 0
        """How many are in flight."""
        self.idle = asyncio.Event()
        """Set while no call is in flight."""
        self.idle.set()

    async def forward(self, request: web.BaseRequest) -> Written:
        """Answer *request*; the answer stands on the wire when this returns."""
        start_unix_ns = time.time_ns()
        answer = Answer(request)
        try:
            target = self.routes.find(request.raw_path)
        except RouteError as error:
            self.metrics.count_request("none", error.status)
            answer.refuse(refuse(error.vendor, error.status, error.code, str(error)))
            return answer.result
        if (reason := self._why_not(request, target)) is not None:
            status, code, message = reason
            self.metrics.count_request(target.route.name, status)
            # What follows an upgrade is no request.
            answer.keep_alive = answer.keep_alive and status != 501
            answer.refuse(refuse(target.vendor, status, code, message))
            return answer.result
        self.calls += 1
        self.idle.clear()
        call = _Call(self, request, answer, target, start_unix_ns)
        try:
            await call.run()
        finally:
            self.metrics.count_request(target.route.name, call.status)
            self.calls -= 1
            if not self.calls:
                self.idle.set()
        return answer.result

    def _why_not(self, request: web.BaseRequest, target: Target) -> tuple[int, str, str] | None:
        if "websocket" in request.headers.get("Upgrade", "").lower():
            # Other upgrades may be ignored (RFC 9110 section 7.8): clients try h2c unasked.
            return 501, "no_websocket", "WebSocket is not forwarded. Call this API directly."
        coding = request.headers.get("Transfer-Encoding", "chunked")
        if coding.strip().lower() != "chunked":
            # It would have to be undone here, or the upstream would take the body for another.
            return 501, "transfer_coding", "no transfer coding but chunked is forwarded."
        if request.method == "CONNECT":
            return 501, "no_tunnel", "CONNECT is not forwarded: this is no tunnel."
        if (reason := reason_to_refuse(target, request.raw_headers)) is not None:
            return 403, "signature", reason
        if self.calls >= self.limits.calls_max:
            return 503, "busy", f"{self.calls} calls are in flight, which is the most. Try again."
        if self.sink.refuses:
            return (
                503,
                "queue_full",
                "this call cannot be recorded now, and proxy_on_queue_full is 'refuse'. "
                "Try again when the recorder has caught up.",
            )
        return None


class _Call:
    """One call in flight."""

    def __init__(
        self,
        proxy: Forwarder,
        request: web.BaseRequest,
        answer: Answer,
        target: Target,
        start_unix_ns: int,
    ) -> None:
        headers = request.raw_headers
        context = read_context(headers, proxy.project_name)
        self.status = 0
        """What the client was told; 0 when it was told nothing."""
        self._proxy = proxy
        self._request = request
        self._answer = answer
        self._target = target
        self._ids: RawHeaders = (
            (TRACE_ID, context.trace_id.encode("ascii")),
            (SPAN_ID, context.span_id.encode("ascii")),
        )
        self._recording = Recording(
            proxy.sink,
            target,
            context,
            method=request.method,
            headers=headers,
            body_max_bytes=proxy.limits.body_max_bytes,
            body_memory_bytes=memory_share_bytes(proxy.calls),
            folder=proxy.spill_folder,
            start_unix_ns=start_unix_ns,
        )

    async def run(self) -> None:
        """Forward the call to its end, whichever end that is, and keep the exchange."""
        recording = self._recording
        try:
            response = await self._send()
            try:
                await self._pass_on(response)
            finally:
                await response.close()
        except UpstreamError as error:
            await recording.finish_aside("upstream_unreachable", str(error))
            self._refuse(error.status, "upstream", str(error))
        except UpstreamCutError as error:
            await recording.finish_aside("upstream_cut", str(error))
            self._answer.cut()
        except ClientBodyError as error:
            await recording.finish_aside("client_disconnected", str(error))
            self._refuse(error.status, "bad_body", str(error))
        except ClientGoneError:
            await recording.finish_aside("client_disconnected", "the client closed the connection.")
        except asyncio.CancelledError:
            # aiohttp cancels a call when its client hangs up, and when the process stops.
            stopped = self._proxy.cutting
            who = "the proxy was stopped." if stopped else "the client closed the connection."
            await recording.finish_aside("client_disconnected", who)
            self._answer.keep_alive = False
            raise
        except Exception as error:
            # The message of an unexpected error may quote a header; its place is enough.
            where = "".join(traceback.format_tb(error.__traceback__))
            failure = type(error).__name__
            _log.error("forwarding failed unexpectedly", extra={"error": failure, "at": where})
            await recording.finish_aside("upstream_cut", f"the proxy failed: {failure}.")
            self._refuse(500, "internal", f"it failed on this call ({failure}).")

    async def _send(self) -> UpstreamResponse:
        request = self._request
        content = request.content
        # No other transfer coding comes this far.
        chunked = "Transfer-Encoding" in request.headers
        recording = self._recording
        body = b""
        complete = content.is_eof()
        if complete:
            body = content.read_nowait()
            recording.request_body.add(body)
        elif request.version >= HttpVersion11 and "Expect" in request.headers:
            assert request.transport is not None
            request.transport.write(CONTINUE)
        origin = self._target.origin
        upstream = self._proxy.built_in if origin is None else self._proxy.http
        host = origin.authority if origin else request.headers.get("Host", "localhost")
        return await upstream.send(
            UpstreamRequest(
                method=request.method,
                origin=origin,
                path=self._target.path,
                headers=upstream_headers(request.raw_headers, host, chunked=chunked),
                body=body,
                read_more=None if complete else self._read_more,
                chunked=chunked,
                scope=self._target.scope,
            )
        )

    async def _read_more(self) -> bytes:
        try:
            chunk = await self._request.content.readany()
        except (web.RequestPayloadError, ConnectionError) as error:
            raise ClientBodyError("the request body is not valid HTTP.") from error
        self._recording.request_body.add(chunk)
        return chunk

    async def _pass_on(self, response: UpstreamResponse) -> None:
        answer = self._answer
        recording = self._recording
        headers = response.headers
        answer.keep_alive = answer.keep_alive and not self._proxy.stopping
        recording.begin_response(response.status, headers)
        has_body = self._request.method != "HEAD" and response.status not in (204, 304)
        names = {name.lower() for name, _ in headers}
        chunked = b"transfer-encoding" in names
        context = recording.context
        answer.begin(
            response.status,
            response.reason,
            client_headers(
                headers, trace_id=context.trace_id, span_id=context.span_id, chunked=chunked
            ),
            has_body=has_body,
            has_length=b"content-length" in names and not chunked,
        )
        self.status = response.status

        def take(piece: bytes) -> bool:
            recording.add_response(piece)
            return answer.write_now(piece)

        data = response.read_now()
        while True:
            if data:
                recording.add_response(data)
            if response.at_end or not has_body:
                break
            if data:
                await answer.write(data)
            else:
                answer.flush()
            await response.pass_on(take)
            await answer.drain()
            data = await response.read()
        # The upstream is let go and the exchange kept before the client can see the end.
        await response.close()
        await recording.finish_aside("complete")
        answer.finish(data)

    def _refuse(self, status: int, code: str, message: str) -> None:
        if self._answer.begun:
            self._answer.cut()
            return
        self.status = status
        # Part of the request may still be on its way; nobody reads it any more.
        self._answer.keep_alive = self._answer.keep_alive and self._request.content.is_eof()
        try:
            self._answer.refuse(refuse(self._target.vendor, status, code, message), self._ids)
        except ClientGoneError:
            self.status = 0
