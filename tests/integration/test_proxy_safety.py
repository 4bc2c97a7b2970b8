"""Attacks on the forwarding process: smuggling, chosen hosts, keys, and a queue that is full."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from tests.integration.proxy_rig import (
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
    reached: list[bytes] = []

    async def conversation(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await read_head(reader)
        # A request that breaks only in its body has begun to cross; it must never be complete.
        await read_body(reader, head)
        reached.append(head)

    async with upstream(proxy.upstream_port, conversation), client(proxy) as (reader, writer):
        writer.write(request_bytes)
        answer = await asyncio.wait_for(reader.read(), 10)

    assert answer.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert answer.count(b"HTTP/1.1 ") == 1
    assert b'"error"' in answer
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


async def test_an_upgrade_is_not_passed_on_and_hides_no_second_request(
    proxy: ProxyProcess,
) -> None:
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


SECRET_HEADERS = [
    b"Authorization: Bearer " + CANARY,
    b"Proxy-Authorization: Basic " + CANARY,
    b"x-api-key: " + CANARY,
    b"api-key: " + CANARY,
    b"x-goog-api-key: " + CANARY,
    b"xi-api-key: " + CANARY,
    b"Ocp-Apim-Subscription-Key: " + CANARY,
    b"X-Amz-Security-Token: " + CANARY,
    b"X-Amz-Date: " + CANARY,
    b"x-amzn-oidc-data: " + CANARY,
    b"Cookie: session=" + CANARY,
    b"Referer: http://h/?" + CANARY,
    b"X-Whatever: " + CANARY,
]


@pytest.mark.parametrize(
    "path",
    [
        b"/openai/v1/chat/completions",
        b"/bedrock/us-east-1/model/m/converse",
        b"/anthropic/v1/messages",
        b"/mock/v1/chat/completions",
        b"/nowhere/v1/x",
        b"/openai/v1/../x",
        b"/metrics",
    ],
    ids=lambda value: value.decode(),
)
async def test_a_key_crosses_and_is_found_nowhere(proxy: ProxyProcess, path: bytes) -> None:
    requests: list[Message] = []
    query = b"?key=%b&api_key=%b&%b&X-Amz-Signature=%b" % ((CANARY,) * 4)
    answer = plain(b"{}", b"Set-Cookie: " + CANARY, b"X-Echo: " + CANARY)
    async with upstream(proxy.upstream_port, answering(answer, requests)):
        response = await ask(proxy, post(path + query, b"{}", *SECRET_HEADERS))
        await ask(proxy, POST + b"Authorization: " + CANARY + b"\x00\r\n\r\n")
    if response.trace_id:
        exchange = await proxy.exchange(response.trace_id)
        assert exchange.path.endswith("?key=***&api_key=***&***&X-Amz-Signature=***")
    if requests:
        assert requests[0].header(b"authorization") == b"Bearer " + CANARY
        assert query in requests[0].head
    # One whose upstream is away, and one that is cut.
    await ask(proxy, post(b"/openai/v1/x" + query, b"{}", *SECRET_HEADERS))
    metrics = (await asyncio.to_thread(proxy.page, "/metrics"))[1]

    kept = b"".join(path.read_bytes() for path in proxy.queue_dir.rglob("*") if path.is_file())
    assert CANARY not in kept
    assert CANARY.decode() not in proxy.log
    assert CANARY.decode() not in metrics
    assert CANARY not in (response.body if path != b"/mock/v1/chat/completions" else b"")


async def test_a_full_queue_never_touches_the_call(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    proxy = ProxyProcess(
        tmp_path_factory.mktemp("full"), {"TRACEQUILL_QUEUE_MAX_BYTES": str(1024 * 1024)}
    )
    proxy.start()
    try:
        async with upstream(proxy.upstream_port, answering(plain(b"{}"))):
            statuses = {
                (await ask(proxy, post(b"/openai/v1/x", b"x" * 100_000))).status for _ in range(15)
            }
        metrics = (await asyncio.to_thread(proxy.page, "/metrics"))[1]
    finally:
        proxy.stop()

    assert statuses == {200}
    lost = next(line for line in metrics.splitlines() if 'unrecorded_total{reason="queue_f' in line)
    assert float(lost.split()[1]) >= 4
    assert "not recorded" in proxy.log


async def test_a_full_queue_refuses_calls_when_told_to(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    proxy = ProxyProcess(
        tmp_path_factory.mktemp("full"),
        {
            "TRACEQUILL_QUEUE_MAX_BYTES": str(1024 * 1024),
            "TRACEQUILL_PROXY_ON_QUEUE_FULL": "refuse",
        },
    )
    proxy.start()
    requests: list[Message] = []
    responses = []
    try:
        async with upstream(proxy.upstream_port, answering(plain(b"{}"), requests)):
            for _ in range(15):
                path = b"/bedrock/us-east-1/model/m/converse"
                responses.append(await ask(proxy, post(path, b"x" * 100_000)))
        metrics = (await asyncio.to_thread(proxy.page, "/metrics"))[1]
    finally:
        proxy.stop()

    refused = [response for response in responses if response.status == 503]
    assert len(refused) >= 4
    assert len(requests) == len(responses) - len(refused)
    assert refused[0].header(b"x-amzn-errortype") == b"ServiceUnavailableException"
    assert refused[0].header(b"retry-after") == b"1"
    # The one call that showed that the queue is full; no other was forwarded unrecorded.
    assert 'unrecorded_total{reason="queue_full"} 1.0' in metrics
