"""Keys: a canary goes in at every header and query position of every route, and is found nowhere.

Proxy and recorder run as processes at the most talkative log level; afterwards every file that they
wrote, every span that they sent and everything that they published is searched.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

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
from tests.integration.recorder_rig import RecorderProcess, StubCollector, until
from tests.ports import free_port

pytestmark = pytest.mark.integration

CANARY = b"sk-canary-7d41b0c2"

CHAT = b'{"model": "m", "messages": [{"role": "user", "content": "hi"}]}'
CONVERSE = b'{"messages": [{"role": "user", "content": [{"text": "hi"}]}]}'
PATHS = {
    b"/openai/v1/chat/completions": CHAT,
    b"/openai/v1/responses": b'{"model": "m", "input": "hi"}',
    b"/openai/v1/files/file-1": b"",
    b"/anthropic/v1/messages": CHAT,
    b"/gemini/v1beta/models/gemini-2.5-flash:generateContent": b'{"contents": []}',
    b"/mistral/v1/chat/completions": CHAT,
    b"/together/v1/chat/completions": CHAT,
    b"/groq/openai/v1/chat/completions": CHAT,
    b"/ollama/api/chat": CHAT,
    b"/bedrock/us-east-1/model/m/converse": CONVERSE,
    b"/bedrock-agent/us-east-1/agents/A/agentAliases/B/sessions/S/text": b'{"inputText": "hi"}',
    b"/sagemaker/us-east-1/endpoints/e/invocations": b'{"inputs": "hi"}',
    b"/azure/openai/deployments/d/chat/completions": CHAT,
    b"/mock/v1/chat/completions": CHAT,
    b"/mock/model/m/converse": CONVERSE,
    b"/mock/v1/messages": CHAT,
    # Answered by the proxy itself.
    b"/nowhere/v1/x": CHAT,
    b"/openai/v1/../x": CHAT,
    b"/bedrock/nowhere/x": CHAT,
    b"/metrics": b"",
}
QUERY = (
    b"?key=%b&api_key=%b&%b&%b=1&X-Amz-Signature=%b&X-Amz-Credential=%b&X-Goog-Signature=%b"
    b"&model=%b&alt=%b&%%6dodel=%b&access_token=%b&=%b"
).replace(b"%b", CANARY)

# Those that carry keys, those that are recorded, those that mean something here, and one unknown.
CARRIERS = """Authorization api-key x-api-key xi-api-key x-goog-api-key Ocp-Apim-Subscription-Key
X-Amz-Security-Token X-Amz-Date X-Amz-Content-Sha256 X-Amz-Credential x-amzn-oidc-data
x-amzn-remapped-authorization x-amzn-bedrock-trace x-amzn-sagemaker-session-id X-Auth-Token Cookie
x-functions-key X-Vault-Token CF-Access-Client-Secret Helicone-Auth x-portkey-api-key Referer Origin
Accept Accept-Encoding Accept-Language anthropic-beta anthropic-version Content-Encoding
OpenAI-Organization OpenAI-Project openai-beta User-Agent x-amzn-trace-id x-client-request-id
X-Request-Id X-Stainless-Lang X-Stainless-Retry-Count x-goog-user-project x-goog-api-client
X-Forwarded-For X-Forwarded-Host Forwarded Via Date From If-None-Match baggage tracestate
traceparent X-Unheard-Of""".split()
STAY_HERE = """Proxy-Authorization Proxy-Authenticate Keep-Alive TE Trailer Upgrade Connection
x-tracequill-api-key""".split()
ANSWERED = """Set-Cookie WWW-Authenticate x-request-id request-id openai-organization
x-ratelimit-remaining-tokens anthropic-ratelimit-reset x-amzn-RequestId retry-after cf-ray
x-goog-request-id Location X-Echo X-Goog-Upload-Url""".split()


def headers_of(names: list[str], before: bytes = b"") -> list[bytes]:
    return [name.encode() + b": " + before + CANARY for name in names]


@pytest.fixture
async def collector() -> AsyncIterator[StubCollector]:
    stub = StubCollector(free_port())
    async with stub.running():
        yield stub


@pytest.fixture
async def proxy(tmp_path: Path) -> AsyncIterator[ProxyProcess]:
    process = ProxyProcess(tmp_path, {"TRACEQUILL_LOG_LEVEL": "DEBUG"})
    (tmp_path / "tracequill.yaml").write_text(
        f"routes:\n  azure:\n    upstream: http://127.0.0.1:{process.upstream_port}\n"
        "    vendor: openai\n"
    )
    await asyncio.to_thread(process.start)
    yield process
    await asyncio.to_thread(process.stop)


async def test_a_key_crosses_every_route_and_is_found_nowhere(
    proxy: ProxyProcess, collector: StubCollector
) -> None:
    """C27, class key exposure: keys stood in litellm's logs, spans, audit ids and health page
    (39964, 35678, 13705, CVE-2024-9606, CVE-2025-11203), in a query kept whole (8075), and behind a
    mask that left five characters.
    """
    recorder = RecorderProcess(
        proxy.folder / "data", collector.port, {"TRACEQUILL_LOG_LEVEL": "DEBUG"}
    )
    collector.refused_span_names = {"ChatCompletion", "InvokeModel", "bedrock.converse"}
    requests: list[Message] = []
    sent = [*headers_of(CARRIERS), *headers_of(STAY_HERE)]
    answer = plain(b'{"id": "1", "choices": []}', *headers_of(ANSWERED))
    recorded = 0
    said: list[bytes] = []
    async with upstream(proxy.upstream_port, answering(answer, requests)):
        for path, body in PATHS.items():
            for query in (b"", QUERY):
                # The mock's answers repeat what it was asked, which is for the caller alone.
                response = await ask(proxy, post(path + query, body, *sent))
                recorded += bool(response.trace_id)
                if response.header(b"X-Echo") is None and not path.startswith(b"/mock"):
                    said.append(response.head + response.body)
    recorded += await go_wrong(proxy, sent, said)
    await recorder.start()
    await until(lambda: recorder.status("recorded_exchanges") == recorded)
    await recorder.end()

    assert_crossed(requests)
    assert recorder.status("dead_letters")
    spans = b"".join(traces.SerializeToString() for _, traces in collector.requests)
    places = written_by(proxy) | {"spans": spans, "answers": b"".join(said)}
    assert {"proxy.log", "recorder.log"} <= {Path(place).name for place in places}
    # What is searched is there, and can be read: the queue and the dead letters among it.
    for folder in ("queue", "dead_letters"):
        kept = [content for place, content in places.items() if f"/{folder}/" in place]
        assert any(b"/chat/completions" in content for content in kept), folder
    assert b"/chat/completions" in spans
    assert [place for place, content in places.items() if b"canary" in content.lower()] == []


def written_by(proxy: ProxyProcess) -> dict[str, bytes]:
    """Every file in the proxy's folder, and what it publishes."""
    files = {str(at): at.read_bytes() for at in proxy.folder.rglob("*") if at.is_file()}
    return files | {"metrics": proxy.page("/metrics")[1].encode()}


async def test_where_the_proxy_signs_neither_its_keys_nor_the_clients_are_found(
    tmp_path: Path,
) -> None:
    """C27 and C28: litellm's Bedrock route carried a client's bearer key beside its own signature
    (27526), and keys of one provider to another (37905).
    """
    proxy = ProxyProcess(
        tmp_path,
        {
            "TRACEQUILL_LOG_LEVEL": "DEBUG",
            "TRACEQUILL_PROXY_SIGN": "bedrock,bedrock-agent,sagemaker",
            "AWS_ACCESS_KEY_ID": "AKIACANARYCANARY",
            "AWS_SECRET_ACCESS_KEY": "secret-canary",
            "AWS_SESSION_TOKEN": "token-canary",
            "AWS_CONFIG_FILE": "/nowhere",
        },
    )
    await asyncio.to_thread(proxy.start)
    requests: list[Message] = []
    said = []
    names = [name for name in CARRIERS if name != "Origin"]
    try:
        async with upstream(proxy.upstream_port, answering(plain(b"{}"), requests)):
            for path, body in PATHS.items():
                if path.startswith((b"/bedrock", b"/sagemaker")):
                    for sent in (headers_of(names), headers_of(CARRIERS)):
                        said.append(await ask(proxy, post(path + QUERY, body, *sent)))
        await ask(proxy, post(b"/bedrock/us-east-1/model/m/converse", b"{}", *headers_of(names)))
        places = await asyncio.to_thread(written_by, proxy)
    finally:
        await asyncio.to_thread(proxy.stop)

    assert len(requests) == 3
    for request in requests:
        assert request.head.count(b"token-canary") == 1
        assert b"secret-canary" not in request.head
        assert (request.header(b"authorization") or b"").startswith(b"AWS4-HMAC-SHA256 ")
    assert sum(b"canary" in (answer.head + answer.body).lower() for answer in said) == 0
    assert [place for place, content in places.items() if b"canary" in content.lower()] == []


async def go_wrong(proxy: ProxyProcess, sent: list[bytes], said: list[bytes]) -> int:
    """Let calls fail in every way; give how many are recorded."""
    path = b"/openai/v1/chat/completions"

    async def cut(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await read_head(reader)
        await read_body(reader, head)
        if b"/silent" in head:
            await reader.read()
            return
        writer.write(b"HTTP/1.1 200 OK\r\nX-Request-Id: " + CANARY + b"\r\n")
        if b"/cut" in head:
            writer.write(b"Content-Length: 9\r\n\r\npart")

    said.append((await ask(proxy, post(path + QUERY, CHAT, *sent))).body)  # nobody listens
    async with upstream(proxy.upstream_port, cut):
        said.append((await ask(proxy, post(path + QUERY, CHAT, *sent))).body)
        with pytest.raises(asyncio.IncompleteReadError):
            await ask(proxy, post(path + b"/cut" + QUERY, CHAT, *sent))
        async with client(proxy) as (_, writer):
            writer.write(post(path + b"/silent" + QUERY, CHAT, *sent))
            await writer.drain()
            await in_flight(proxy)
    bad = b"POST %b HTTP/1.1\r\nHost: h\r\n%b\x00\r\n\r\n" % (path + QUERY, sent[0])
    said.append((await ask(proxy, bad)).body)
    return 4


async def in_flight(proxy: ProxyProcess) -> None:
    """Wait until a call is in flight."""
    async with asyncio.timeout(WAIT_SECONDS):
        while "requests_in_flight 1.0" not in (await asyncio.to_thread(proxy.page, "/metrics"))[1]:  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.01)


def assert_crossed(requests: list[Message]) -> None:
    assert len({request.first_line.split()[1].partition(b"?")[0] for request in requests}) >= 10
    for request in requests:
        names = {name.decode() for name, value in request.headers if value == CANARY}
        assert names == set(CARRIERS)
    assert sum(request.first_line.split()[1].endswith(QUERY) for request in requests) >= 13


async def test_a_key_goes_to_no_other_host(proxy: ProxyProcess) -> None:
    """C28: Bifrost gave the provider's key back to the client (3954); a gateway that follows a
    redirect carries it along. Here only the route's upstream gets it.
    """
    elsewhere: list[Message] = []
    answer = plain(b"{}", b"Location: http://127.0.0.1:%d/steal", status=b"308 Permanent Redirect")
    port = free_port()
    async with (
        upstream(port, answering(plain(b"{}"), elsewhere)),
        upstream(proxy.upstream_port, answering(answer.replace(b"%d", str(port).encode()))),
    ):
        response = await ask(proxy, post(b"/gemini/v1beta/x", b"{}", b"x-goog-api-key: " + CANARY))

    assert response.status == 308
    assert CANARY not in response.head + response.body
    assert elsewhere == []
