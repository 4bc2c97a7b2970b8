"""Signs requests on their way to an upstream, with the proxy's own AWS credentials.

A request that is to be signed comes in with its body still on the way. The signature holds the
body's hash, so the body is awaited, in memory or in a file, before anything is sent; then it goes
out with a length. Each request is signed anew, at the moment it is sent. All other requests, and
every answer, pass untouched.
"""

from __future__ import annotations

import hashlib
import logging
import time
import weakref
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

from tracequill_collector.proxy.body import memory_share_bytes
from tracequill_collector.proxy.sigv4 import (
    Credentials,
    Scope,
    sign,
    unsigned_headers,
    unsigned_path,
)
from tracequill_collector.proxy.spool import Spool
from tracequill_collector.proxy.upstream import (
    ClientBodyError,
    Upstream,
    UpstreamError,
    UpstreamRequest,
    UpstreamResponse,
)

SIGNED_BODY_MAX_BYTES = 256 * 1024 * 1024
"""AWS takes 25 MB; the rest is for whoever stands before it."""

_log = logging.getLogger(__name__)


class SigningUpstream:
    """Stands before another upstream and signs what is to be signed."""

    def __init__(
        self,
        upstream: Upstream,
        credentials: Callable[[], Awaitable[Credentials]],
        spool_folder: Path,
        *,
        body_max_bytes: int = SIGNED_BODY_MAX_BYTES,
        unix_seconds: Callable[[], float] = time.time,
    ) -> None:
        self._upstream = upstream
        self._credentials = credentials
        self._spool_folder = spool_folder
        self._body_max_bytes = body_max_bytes
        self._unix_seconds = unix_seconds
        self._awaited = 0

    async def send(self, request: UpstreamRequest) -> UpstreamResponse:
        """Send *request*, signed where it has a scope; UpstreamError when it cannot be signed."""
        scope = request.scope
        if scope is None:
            return await self._upstream.send(request)
        if request.read_more is None:
            body_sha256 = hashlib.sha256(request.body).hexdigest()
            return await self._send(request, scope, body_sha256, len(request.body))
        spool = Spool(self._spool_folder, memory_share_bytes(self._awaited))
        try:
            self._awaited += 1
            try:
                await self._fill(spool, request)
            finally:
                self._awaited -= 1
            if spool.is_in_memory:
                whole = replace(request, body=spool.take(), read_more=None)
                return await self._send(whole, scope, spool.sha256, spool.size)
            spool.rewind()
            whole = replace(request, body=b"", read_more=spool.read)
            response = await self._send(whole, scope, spool.sha256, spool.size)
        except BaseException:
            spool.close()
            raise
        # The upstream may answer before it has taken all of the body.
        weakref.finalize(response, spool.close)
        return response

    async def _send(
        self, request: UpstreamRequest, scope: Scope, body_sha256: str, size: int
    ) -> UpstreamResponse:
        credentials = await self._credentials()
        path = unsigned_path(request.path)
        headers = unsigned_headers(request.headers)
        if request.chunked:
            headers = [item for item in headers if item[0].lower() != b"transfer-encoding"]
            headers.append((b"Content-Length", str(size).encode("ascii")))
        headers += sign(
            request.method, path, headers, body_sha256, credentials, scope, self._unix_seconds()
        )
        return await self._upstream.send(
            replace(request, path=path, headers=headers, chunked=False, scope=None)
        )

    async def _fill(self, spool: Spool, request: UpstreamRequest) -> None:
        assert request.read_more is not None
        chunk = request.body
        while True:
            if spool.size + len(chunk) > self._body_max_bytes:
                raise ClientBodyError(
                    f"a call that is signed here has at most {self._body_max_bytes} bytes.",
                    status=413,
                )
            try:
                spool.add(chunk)
            except OSError as error:
                _log.error("a body cannot be kept for signing", extra={"error": error.strerror})
                raise UpstreamError("no room to keep the body for signing.", status=503) from error
            if not (chunk := await request.read_more()):
                return
