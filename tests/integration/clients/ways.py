"""One upstream and two ways to it: straight, and through a proxy process that changes nothing.

A call is made on both ways; the answers must be the same on the wire, byte for byte, and as what
the client made of them. The upstream is the mock, with a clock that stands still, and what the
mock does not have: uploads, and answers that are packed.
"""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import hashlib
import re
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import orjson
from aiohttp import web

from tests.exchange_cases import Case
from tests.integration.clients.wire import Crossing, Tap, same_answer, same_crossing
from tests.integration.proxy_rig import ProxyProcess
from tests.ports import free_port
from tracequill_collector.mock.server import mock_app
from tracequill_collector.mock.upstream import MockResponse, MockUpstream

T = TypeVar("T")

PROXY_KEY = "AKIAPROXY"
# Beside the built-in routes: one whose calls the proxy signs, and one to AWS itself.
ROUTES = """
routes:
  signed:
    upstream: http://127.0.0.1:{port}
    vendor: bedrock
    sign: aws
    sign_region: us-east-1
  aws:
    upstream: https://bedrock-runtime.us-east-1.amazonaws.com
    vendor: bedrock
"""

_NOW = 1_790_000_000.0
_BOUNDARY = re.compile(r'boundary="?([^";]+)"?')


class Vendor(MockUpstream):
    """The mock, made anew for each call, so that two calls in a row get the same answer."""

    def __init__(self) -> None:
        self.replay: Sequence[Case] = ()
        """What to answer with, in turn, the last again and again; empty: the mock answers."""
        self.restart()

    def restart(self, **options: float) -> None:
        """Forget everything; *options* are those of the mock."""
        self._left = list(self.replay)
        self._mock = MockUpstream(**options, clock=lambda: _NOW)  # type: ignore[arg-type]

    async def handle(
        self, method: str, raw_path: str, headers: Sequence[tuple[str, str]], body: bytes
    ) -> MockResponse:
        """Answer one request."""
        if self._left:
            return _replayed(self._left.pop(0) if len(self._left) > 1 else self._left[0])
        if raw_path == "/v1/files" and method == "POST":
            return _uploaded(dict(headers), body)
        answer = await self._mock.handle(method, raw_path, headers, body)
        accepted = "".join(value for name, value in headers if name.lower() == "accept-encoding")
        if raw_path.startswith("/v1/models") and "gzip" in accepted:
            return await _packed(answer)
        return answer


def _replayed(case: Case) -> MockResponse:
    """Answer as *case* says, an event of a stream at a time."""
    body = case.response_body
    streams = case.response_headers[0][1].startswith("text/event-stream")
    pieces = re.split(rb"(?<=\n\n)", body) if streams else [body]

    async def chunks() -> AsyncIterator[bytes]:
        for piece in pieces:
            yield piece

    length = [] if streams else [("content-length", str(len(body)))]
    return MockResponse(case.status, [*case.response_headers, *length], chunks())


async def _packed(answer: MockResponse) -> MockResponse:
    packed = gzip.compress(b"".join([chunk async for chunk in answer.chunks]), mtime=0)
    headers = [item for item in answer.headers if item[0] != "content-length"]
    headers += [("content-encoding", "gzip"), ("content-length", str(len(packed)))]
    return MockResponse(answer.status, headers, _one(packed))


async def _one(chunk: bytes) -> AsyncIterator[bytes]:
    yield chunk


def _uploaded(headers: dict[str, str], body: bytes) -> MockResponse:
    """Say what came, but for the boundary, which a client draws anew each time."""
    content_type = next(value for name, value in headers.items() if name.lower() == "content-type")
    found = _BOUNDARY.search(content_type)
    assert found is not None
    plain = body.replace(found[1].encode(), b"boundary")
    answer = orjson.dumps(
        {
            "id": "file-" + hashlib.sha256(plain).hexdigest()[:24],
            "object": "file",
            "bytes": len(plain),
            "created_at": int(_NOW),
            "filename": re.findall(rb'filename="([^"]*)"', body)[0].decode(),
            "purpose": "fine-tune",
            "status": "processed",
        }
    )

    headers_back = [("content-type", "application/json"), ("content-length", str(len(answer)))]
    return MockResponse(200, headers_back, _one(answer))


class Ways:
    """Both ways, with a tap at each place where bytes pass."""

    def __init__(self, vendor: Vendor, proxy: ProxyProcess, straight: Tap, front: Tap, back: Tap):
        self.vendor = vendor
        self.proxy = proxy
        self._straight = straight
        self._front = front
        self._back = back

    def compare(self, call: Callable[[str], T], route: str, **mock: float) -> tuple[T, int]:
        """Make *call* on both ways; give its result and how many requests it made.

        *call* is given the address that stands before the vendor's path.
        """
        self.vendor.restart(**mock)
        self._straight.take()
        expected = call(self._straight.url)
        straight = self._straight.take()
        self.vendor.restart(**mock)
        self._front.take()
        self._back.take()
        result = call(self._front.url + route)
        front, back = self._front.take(), self._back.take()
        self._same_wire(straight, front, back, route)
        assert result == expected
        return result, len(front)

    def _same_wire(
        self, straight: list[Crossing], front: list[Crossing], back: list[Crossing], route: str
    ) -> None:
        assert straight
        assert len(straight) == len(front) == len(back)
        host = self._back.url.removeprefix("http://")
        for one, before, behind in zip(straight, front, back, strict=True):
            same_crossing(before, behind, route, host, is_signed=route == "/signed")
            same_answer(one.response, before.response)


@contextlib.contextmanager
def two_ways(folder: Path) -> Iterator[Ways]:
    """Start the upstream, the proxy and the taps."""
    vendor = Vendor()
    with _loop() as call:
        runner = web.AppRunner(mock_app(vendor), access_log=None, shutdown_timeout=1)
        call(runner.setup())
        site = web.TCPSite(runner, "127.0.0.1", 0)
        call(site.start())
        vendor_port = runner.addresses[0][1]
        back_port = free_port()
        (folder / "tracequill.yaml").write_text(ROUTES.format(port=back_port))
        keys = {"AWS_ACCESS_KEY_ID": PROXY_KEY, "AWS_SECRET_ACCESS_KEY": "secret-of-the-proxy"}
        proxy = ProxyProcess(folder, keys, upstream_port=back_port)
        taps = Tap(vendor_port), Tap(proxy.port), Tap(vendor_port)
        for tap, port in zip(taps, (0, 0, back_port), strict=True):
            call(tap.start(port))
        proxy.start()
        try:
            yield Ways(vendor, proxy, *taps)
        finally:
            code = proxy.stop()
            for tap in taps:
                call(tap.stop())
            call(runner.cleanup())
    assert code == 0, proxy.log
    assert "unexpectedly" not in proxy.log


@contextlib.contextmanager
def _loop() -> Iterator[Callable[[Coroutine[Any, Any, T]], T]]:
    """Run a loop in a thread of its own, since clients block the test's thread."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    def call(coroutine: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, loop).result(30)

    try:
        yield call
    finally:
        for task in asyncio.all_tasks(loop):
            loop.call_soon_threadsafe(task.cancel)
        call(asyncio.sleep(0.05))
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()
