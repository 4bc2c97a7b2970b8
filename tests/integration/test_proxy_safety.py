"""Attacks on the forwarding process: smuggling, chosen hosts, paths, and bytes that are no HTTP."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Iterator

import pytest

from tests.integration.proxy_rig import (
    WAIT_SECONDS,
    Message,
    ProxyProcess,
    answering,
    ask,
    client,
    plain,
    post,
    read_body,
    read_head,
    upstream,
)
from tests.ports import free_port

pytestmark = pytest.mark.integration

CANARY = b"canary-7d41b0"


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProxyProcess]:
    process = ProxyProcess(tmp_path_factory.mktemp("proxy"), {"TRACEQUILL_LOG_LEVEL": "DEBUG"})
    process.start()
    yield process
    assert process.stop() == 0, process.log
    assert "unexpectedly" not in process.log


POST = b"POST /openai/v1/x HTTP/1.1\r\nHost: h\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n"


@pytest.mark.parametrize(
    "request_bytes",
    [
        CHUNKED + b"Content-Length: 4\r\n\r\n0\r\n\r\nGET /openai/evil HTTP/1.1\r\n\r\n",
        POST + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        POST + b"Content-Length: 4\r\nContent-Length: 5\r\n\r\nabcde",
        POST + b"Content-Length: 4, 5\r\n\r\nabcde",
        POST + b"Content-Length: +4\r\n\r\nabcd",
        POST + b"Content-Length: -1\r\n\r\n",
        POST + b"Content-Length: 0x4\r\n\r\nabcd",
        POST + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        POST + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
        CHUNKED + b"Transfer-Encoding: identity\r\n\r\n0\r\n\r\n",
        CHUNKED + b"\r\nzz\r\nabc\r\n0\r\n\r\n",
        CHUNKED + b"\r\n-1\r\nabc\r\n0\r\n\r\n",
        CHUNKED + b"\r\n3\r\nabcX\r\n0\r\n\r\n",
        CHUNKED + b"\r\n3\nabc\r\n0\r\n\r\n",
        POST + b"X-A: 1\r\n folded: 2\r\n\r\n",
        POST + b"X A: 1\r\n\r\n",
        POST + b"X-\xc3\xa9: 1\r\n\r\n",
        POST + b"X-A: a\x00b\r\n\r\n",
        POST + b"X-A: a\rb\r\n\r\n",
        POST + b": empty\r\n\r\n",
        b"POST /openai/v1/x HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"POST /openai/v1/x HTTP/1.1\r\n\r\n",
        b"POST /openai/v1/x HTTP/9.9\r\nHost: h\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        POST + b"X-Long: " + b"a" * 100_000 + b"\r\n\r\n",
        POST + b"".join(b"X-%d: 1\r\n" % number for number in range(400)) + b"\r\n",
        b"GET /openai/" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: h\r\n\r\n",
    ],
    ids=lambda value: value[:60].decode("latin-1").encode("unicode_escape").decode(),
)
async def test_a_request_with_two_meanings_is_answered_400_and_goes_no_further(
    proxy: ProxyProcess, request_bytes: bytes
) -> None:
    """Class: request smuggling. Two servers that read one request in two ways let a second one hide
    in it (h11 CVE-2025-43859, aiohttp CVE-2025-69224, its parser in Python CVE-2026-111750).
    """
    reached: list[bytes] = []

    async def conversation(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await read_head(reader)
        # A request that breaks only in its body has begun to cross; it must never be complete.
        await read_body(reader, head)
        reached.append(head)

    async with upstream(proxy.upstream_port, conversation), client(proxy) as (reader, writer):
        writer.write(request_bytes)
        answer = await asyncio.wait_for(reader.read(), WAIT_SECONDS)

    assert answer.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert answer.count(b"HTTP/1.1 ") == 1
    assert b'"error"' in answer
    assert reached == []


@pytest.mark.parametrize(
    "request_bytes",
    [
        POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\nGET /openai/evil HTTP/1.1\r\n",
        b"CONNECT /openai/v1/x HTTP/1.1\r\nHost: h\r\n\r\nGET /openai/evil HTTP/1.1\r\n\r\n",
    ],
    ids=["coding", "tunnel"],
)
async def test_what_the_upstream_would_read_otherwise_is_refused_with_what_follows_it(
    proxy: ProxyProcess, request_bytes: bytes
) -> None:
    """Class: request smuggling. Without its coding the body is another one; after a CONNECT what
    comes is no HTTP for an upstream that grants it.
    """
    reached: list[Message] = []
    async with (
        upstream(proxy.upstream_port, answering(plain(b"{}"), reached)),
        client(proxy) as (reader, writer),
    ):
        writer.write(request_bytes)
        answer = await asyncio.wait_for(reader.read(), WAIT_SECONDS)

    assert answer.startswith(b"HTTP/1.1 501 Not Implemented\r\n")
    assert answer.count(b"HTTP/1.1 ") == 1
    assert reached == []


@pytest.mark.parametrize(
    "request_line",
    [
        b"GET http://127.0.0.1:1/openai/v1/x HTTP/1.1",
        b"GET /openai/../../etc/passwd HTTP/1.1",
        b"GET /openai/v1/%2e%2e/%2e%2e/x HTTP/1.1",
        b"GET /bedrock/us-east-1.evil.example/model/m/converse HTTP/1.1",
        b"GET /bedrock/127.0.0.1:1%2f/model/m/converse HTTP/1.1",
        b"GET /openai@evil.example/v1/x HTTP/1.1",
        b"GET //evil.example/v1/x HTTP/1.1",
        b"OPTIONS * HTTP/1.1",
        b"CONNECT evil.example:443 HTTP/1.1",
    ],
    ids=lambda value: value.decode(),
)
async def test_nothing_in_a_request_chooses_a_host(
    proxy: ProxyProcess, request_line: bytes
) -> None:
    """Class: SSRF. Hosts came from a body (litellm CVE-2024-6587), a header (Portkey
    CVE-2025-66405, CVE-2026-110719) and from `Host` (GitLab's AI gateway CVE-2026-75871).
    """
    reached: list[Message] = []
    async with upstream(proxy.upstream_port, answering(plain(b"{}"), reached)):
        response = await ask(
            proxy,
            request_line
            + b"\r\nHost: evil.example\r\nX-Forwarded-Host: evil.example\r\n"
            + b"Connection: close\r\n\r\n",
        )

    assert response.status in (400, 404)
    assert reached == []


# What gateways, and servers in front of them, take a host from.
CHOOSERS = """Host X-Forwarded-Host X-Forwarded-Server X-Original-Host X-Original-URL X-Rewrite-URL
Forwarded X-Host X-Real-Host X-HTTP-Host-Override X-Upstream X-Target-URL X-Base-URL api-base
x-portkey-custom-host x-portkey-config x-portkey-provider helicone-target-url
helicone-openai-api-base x-litellm-api-base x-bf-base-url x-goog-upload-url
x-tracequill-upstream""".split()


async def test_what_others_take_a_host_from_is_for_the_upstream_to_read(
    proxy: ProxyProcess,
) -> None:
    """Class: SSRF. `api_base` in a body, or nested in `user_config`, led litellm anywhere
    (CVE-2024-6587, PYSEC-2026-4070); a header led Portkey (CVE-2025-66405, CVE-2026-110719).
    """
    reached: list[Message] = []
    elsewhere: list[Message] = []
    port = free_port()
    evil = f"http://127.0.0.1:{port}/v1"
    body = json.dumps(
        {
            "model": f"openai/{evil}",
            "messages": [],
            "user_config": {"model_list": [{"litellm_params": {"api_base": evil}}]},
            **dict.fromkeys(("api_base", "base_url", "custom_host", "url", "endpoint"), evil),
        }
    ).encode()
    lines = [f"{name}: {evil}".encode() for name in CHOOSERS if name != "Host"]
    request = post(f"/openai/v1/chat/completions?api_base={evil}".encode(), body, *lines)
    request = request.replace(b"Host: 127.0.0.1", b"Host: 127.0.0.1:%d" % port)
    async with (
        upstream(port, answering(plain(b"{}"), elsewhere)),
        upstream(proxy.upstream_port, answering(plain(b"{}"), reached)),
    ):
        response = await ask(
            proxy, request.replace(b"Host: 127.0.0.1", b"Host: 127.0.0.1:%d" % port)
        )

    assert (response.status, elsewhere) == (200, [])
    assert reached[0].header(b"host") == b"127.0.0.1:%d" % proxy.upstream_port
    assert reached[0].body == body


async def test_an_upgrade_is_not_passed_on_and_hides_no_second_request(
    proxy: ProxyProcess,
) -> None:
    """C21: HTTP allows to ignore an upgrade. Java's client asks for h2c on each first call."""
    requests: list[Message] = []
    asked = post(
        b"/openai/v1/x",
        b"{}",
        b"Connection: Upgrade, HTTP2-Settings",
        b"Upgrade: h2c",
        b"HTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA",
    )
    async with upstream(proxy.upstream_port, answering(plain(b"{}"), requests)):
        response = await ask(proxy, asked)

    assert response.status == 200
    assert requests[0].body == b"{}"
    assert requests[0].header(b"upgrade") is None
    assert requests[0].header(b"http2-settings") is None


UPGRADE = b"Connection: Upgrade\r\nUpgrade: h2c\r\n"
FIRST = post(b"/openai/v1/first", b"{}", UPGRADE[:-2])
SECOND = b"POST /openai/v1/second HTTP/1.1\r\nHost: h\r\nContent-Length: 59\r\n\r\n"
HIDDEN = b"GET /openai/evil HTTP/1.1\r\nHost: h\r\nX-Long: long enough\r\n\r\n"


@pytest.mark.parametrize(
    "parts",
    [
        [FIRST + SECOND, HIDDEN],
        [FIRST[:20], FIRST[20:] + SECOND, HIDDEN],
        [FIRST[:-2], b"{}" + SECOND, HIDDEN],
        [CHUNKED + UPGRADE + b"\r\n", b"2\r\n{}\r\n0\r\n\r\n" + SECOND, HIDDEN],
        [b"GET /openai/v1/zero HTTP/1.1\r\nHost: h\r\n\r\n" + FIRST + SECOND, HIDDEN],
        [post(b"/openai/v1/first", b"a" * 200_000, UPGRADE[:-2]) + SECOND, HIDDEN],
    ],
    ids=["at once", "head in parts", "body by itself", "chunks", "behind another", "large body"],
)
async def test_behind_an_upgrade_no_request_is_read_from_its_middle_on(
    proxy: ProxyProcess, parts: list[bytes]
) -> None:
    """Class: request smuggling. aiohttp drops what comes together with the end of such a request:
    of one sent ahead the head, so that its body was read as the next.
    """
    requests: list[Message] = []
    async with (
        asyncio.timeout(WAIT_SECONDS),
        upstream(proxy.upstream_port, answering(plain(b"{}"), requests)),
        client(proxy) as (reader, writer),
    ):
        for part in parts:
            writer.write(part)
            await asyncio.sleep(0.02)
        with contextlib.suppress(ConnectionError):
            await reader.read()

    assert 1 <= len(requests) <= 2
    assert not any(b"evil" in request.head for request in requests)


@pytest.mark.parametrize("cut", [len(FIRST), -2])
async def test_a_client_that_asks_for_an_upgrade_each_time_keeps_its_connection(
    proxy: ProxyProcess, cut: int
) -> None:
    """C21: Java's does, and sends heads and bodies together or apart."""
    requests: list[Message] = []
    async with (
        asyncio.timeout(WAIT_SECONDS),
        upstream(proxy.upstream_port, answering(plain(b"{}"), requests)),
        client(proxy) as (reader, writer),
    ):
        for _ in range(3):
            writer.write(FIRST[:cut])
            if FIRST[cut:]:
                await asyncio.sleep(0.02)
                writer.write(FIRST[cut:])
            assert await read_body(reader, await read_head(reader), response=True) == b"{}"

    assert len(requests) == 3


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (b"/openai/v1/realtime?model=gpt-realtime", b'"code":"tracequill_no_websocket"'),
        (b"/gemini/ws/google.ai.generativelanguage.v1beta", b'"status":"UNIMPLEMENTED"'),
        (b"/anthropic/v1/x", b'"type":"api_error"'),
    ],
    ids=["openai", "gemini", "anthropic"],
)
async def test_a_websocket_is_refused_in_words(
    proxy: ProxyProcess, path: bytes, expected: bytes
) -> None:
    """C21: proxies that pass on half of a WebSocket end sessions without a reason (litellm 36088,
    36151, 8828). Without it one request would reach the vendor, whose answer explains nothing.
    """
    reached: list[Message] = []
    head = (
        b"GET %b HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    async with (
        upstream(proxy.upstream_port, answering(plain(b"{}"), reached)),
        client(proxy) as (reader, writer),
    ):
        writer.write(head % path)
        # Frames that a hasty client sends, which also are a request.
        writer.write(b"GET /openai/v1/models HTTP/1.1\r\nHost: h\r\n\r\n")
        answer = await asyncio.wait_for(reader.read(), WAIT_SECONDS)

    assert answer.startswith(b"HTTP/1.1 501 Not Implemented\r\n")
    assert b"WebSocket is not forwarded" in answer
    assert expected in answer
    assert answer.count(b"HTTP/1.1 ") == 1
    assert reached == []


DOTS = [
    b"..",
    b".",
    b"%2e%2e",
    b"%2E.",
    b".%2e",
    b"%252e%252e",
    b"..%2f",
    b"..%5c",
    b"..;a=b",
    b"..%3b",
]


@pytest.mark.parametrize("dots", DOTS, ids=bytes.decode)
@pytest.mark.parametrize(
    "path",
    [b"/%b/openai/v1/x", b"/openai/%b/v1/x", b"/openai/v1/files/%b", b"/openai/v1/a%%2F%b%%2Fb"],
    ids=["before the route", "after it", "at the end", "within a segment"],
)
async def test_a_dot_segment_goes_nowhere_in_any_spelling(
    proxy: ProxyProcess, path: bytes, dots: bytes
) -> None:
    """Class: path traversal. litellm took `/chatgpt/../admin` for a public path (24501), and ids
    with `../` to other endpoints (26938, 26943); openrag let `%2e%2e` through (834).
    """
    reached: list[Message] = []
    async with upstream(proxy.upstream_port, answering(plain(b"{}"), reached)):
        response = await ask(proxy, b"GET %b HTTP/1.1\r\nHost: h\r\n\r\n" % (path % dots))

    assert response.status == 400
    assert b"dot segment" in response.body
    assert reached == []


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
        b"HTTP/1.1 200 OK\r\nContent-Length: +3\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, identity\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nX-A: %b\x00\r\nContent-Length: 0\r\n\r\n" % CANARY,
        b"HTTP/1.1 200 OK\r\nX-A: a\rSet-Cookie: %b\r\nContent-Length: 0\r\n\r\n" % CANARY,
        b"HTTP/1.1 200 OK\r\nX %b: 1\r\nContent-Length: 0\r\n\r\n" % CANARY,
        b"HTTP/1.1 20 OK\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: %b\r\n\r\n" % CANARY,
        b"ICY 200 %b\r\n\r\n" % CANARY,
        CANARY + b"\r\n\r\n",
    ],
    ids=lambda value: value[:70].decode("latin-1").encode("unicode_escape").decode(),
)
async def test_an_answer_with_two_meanings_is_a_502_and_never_quoted(
    proxy: ProxyProcess, answer: bytes
) -> None:
    """Class: response smuggling. What the upstream says wrongly must not reach the client as it
    could be read, nor the log.
    """

    async def conversation(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_body(reader, await read_head(reader))
        writer.write(answer)
        await writer.drain()
        await reader.read()

    async with upstream(proxy.upstream_port, conversation):
        response = await ask(proxy, post(b"/openai/v1/x", b"{}"))

    assert response.status == 502
    assert CANARY not in response.head + response.body
    assert CANARY.decode() not in proxy.log


MALFORMED = [
    CANARY,
    CANARY + b" / HTTP/1.1\r\n\r\n",
    b"GET /" + CANARY + b"\x00 HTTP/1.1\r\nHost: h\r\n\r\n",
    b"GET /openai/x HTTP/1.1 " + CANARY + b"\r\n\r\n",
    POST + CANARY + b"\r\n\r\n",
    POST + b"Authorization: " + CANARY + b"\x00\r\n\r\n",
    POST + b"Authorization: a\r" + CANARY + b"\r\n\r\n",
    POST + CANARY + b"\x01: a\r\n\r\n",
    POST + b"X-Long: " + CANARY * 10_000 + b"\r\n\r\n",
    POST + b"Content-Length: " + CANARY + b"\r\n\r\n",
    POST + b"Transfer-Encoding: " + CANARY + b"\r\n\r\n",
    CHUNKED + b"\r\n" + CANARY + b"\r\n",
    CHUNKED + b"\r\n1;" + CANARY + b"\x00\r\na\r\n0\r\n\r\n",
    CHUNKED + b"\r\n1\r\na" + CANARY + b"\r\n0\r\n\r\n",
    CHUNKED + b"\r\n0\r\n" + CANARY + b"\x00: 1\r\n\r\n",
    CHUNKED + b"\r\n0\r\n\r\n" + CANARY + b"\r\n\r\n",
    b"\x16\x03\x01\x02\x00" + CANARY + b"\r\n\r\n",
]


async def test_bytes_that_are_no_http_are_counted_and_never_logged(proxy: ProxyProcess) -> None:
    """C27, class key exposure: HTTP servers log the head that they could not read, key and all, and
    anybody can fill the log with it.
    """
    before, counted_before = proxy.log, malformed_count(proxy)
    async with upstream(proxy.upstream_port, answering(plain(b"{}"))):
        for request in MALFORMED:
            async with client(proxy) as (reader, writer):
                writer.write(request)
                writer.write_eof()
                with contextlib.suppress(ConnectionError):
                    answer = await asyncio.wait_for(reader.read(), WAIT_SECONDS)
                    assert CANARY not in answer
    # One that breaks only after its answer is none of them.
    assert malformed_count(proxy) >= counted_before + 10
    assert CANARY.decode() not in proxy.log
    assert len(proxy.log.splitlines()) - len(before.splitlines()) < 3


def malformed_count(proxy: ProxyProcess) -> float:
    lines = proxy.page("/metrics")[1].splitlines()
    name = "tracequill_proxy_malformed_requests_total "
    return float(next(line for line in lines if line.startswith(name)).removeprefix(name))
