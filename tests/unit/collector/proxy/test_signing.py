"""What stands between forwarding and an upstream where calls are signed."""

from __future__ import annotations

import errno
import hashlib
from pathlib import Path

import pytest

from tracequill_collector.proxy.headers import RawHeaders
from tracequill_collector.proxy.route import Origin
from tracequill_collector.proxy.signing import SigningUpstream
from tracequill_collector.proxy.sigv4 import Credentials, Scope, sign
from tracequill_collector.proxy.upstream import (
    ClientBodyError,
    ReadBody,
    Take,
    UpstreamError,
    UpstreamRequest,
    UpstreamResponse,
)

MEGABYTE = 1024 * 1024
KEYS = Credentials("AKIA", "secret", "token")
SCOPE = Scope("us-east-1", "bedrock")
ORIGIN = Origin("https", "h", 443, "h")
HEADERS = [(b"Host", b"h"), (b"Transfer-Encoding", b"chunked")]
NOW = 1_790_000_000.0


class Response:
    status = 200
    reason = "OK"
    headers: RawHeaders = ()
    at_end = True

    def read_now(self) -> bytes:
        return b""

    async def pass_on(self, take: Take) -> None:
        pass

    async def read(self) -> bytes:
        return b""

    async def close(self) -> None:
        pass


class Upstream:
    """Keeps what it was sent, and reads the body to its end."""

    def __init__(self) -> None:
        self.sent: list[UpstreamRequest] = []
        self.bodies: list[bytes] = []

    async def send(self, request: UpstreamRequest) -> UpstreamResponse:
        self.sent.append(request)
        body = request.body
        while request.read_more and (part := await request.read_more()):
            body += part
        self.bodies.append(body)
        return Response()


def coming(*parts: bytes) -> ReadBody:
    left = list(parts)

    async def read_more() -> bytes:
        return left.pop(0) if left else b""

    return read_more


def request(read_more: ReadBody | None = None, body: bytes = b"") -> UpstreamRequest:
    return UpstreamRequest("POST", ORIGIN, "/m", list(HEADERS), body, read_more, True, SCOPE)


async def keys() -> Credentials:
    return KEYS


def signing(upstream: Upstream, folder: Path, **limits: int) -> SigningUpstream:
    return SigningUpstream(upstream, keys, folder, unix_seconds=lambda: NOW, **limits)


@pytest.mark.parametrize("sizes", [[], [1, 2], [MEGABYTE, 1], [700_000, 700_000, 3]])
async def test_a_body_goes_out_whole_with_its_length_and_its_hash(
    tmp_path: Path, sizes: list[int]
) -> None:
    upstream = Upstream()
    parts = [bytes([65 + number]) * size for number, size in enumerate(sizes)]

    await signing(upstream, tmp_path).send(request(coming(*parts), b"first"))

    body = b"first" + b"".join(parts)
    headers = [(b"Host", b"h"), (b"Content-Length", str(len(body)).encode())]
    signed = sign("POST", "/m", headers, hashlib.sha256(body).hexdigest(), KEYS, SCOPE, NOW)
    [sent] = upstream.sent
    assert sent.headers == [*headers, *signed]
    assert (sent.chunked, upstream.bodies) == (False, [body])
    assert list(tmp_path.iterdir()) == []


async def test_a_request_without_a_scope_passes_untouched(tmp_path: Path) -> None:
    upstream = Upstream()
    asked = UpstreamRequest("POST", ORIGIN, "/m", list(HEADERS), b"", coming(b"x"), True)

    await signing(upstream, tmp_path).send(asked)

    assert upstream.sent[0] is asked


async def test_a_body_past_the_limit_is_refused_before_anything_is_sent(tmp_path: Path) -> None:
    upstream = Upstream()

    with pytest.raises(ClientBodyError, match="at most 10 bytes") as caught:
        await signing(upstream, tmp_path, body_max_bytes=10).send(
            request(coming(b"x" * 6, b"y" * 5))
        )

    assert (caught.value.status, upstream.sent) == (413, [])


async def test_a_full_disk_is_503_and_nothing_is_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(**_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("tracequill_collector.proxy.spool.tempfile.TemporaryFile", full)
    upstream = Upstream()

    with pytest.raises(UpstreamError, match="no room") as caught:
        await signing(upstream, tmp_path).send(request(coming(b"x" * 2 * MEGABYTE)))

    assert (caught.value.status, upstream.sent) == (503, [])


async def test_a_broken_body_is_the_clients_and_nothing_is_sent(tmp_path: Path) -> None:
    async def broken() -> bytes:
        raise ClientBodyError("the request body is not valid HTTP.")

    upstream = Upstream()

    with pytest.raises(ClientBodyError):
        await signing(upstream, tmp_path).send(request(broken))

    assert upstream.sent == []
