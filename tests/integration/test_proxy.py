"""The forwarding process: the bytes that go in come out, both ways, and are recorded."""

from __future__ import annotations

import asyncio
import gzip
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.proxy_rig import (
    WAIT_SECONDS,
    Message,
    ProxyProcess,
    answering,
    ask,
    chunk,
    client,
    plain,
    post,
    read_body,
    read_head,
    upstream,
)
from tracequill_collector.status import write_status

pytestmark = pytest.mark.integration

MEGABYTE = 1024 * 1024


async def test_a_request_crosses_byte_for_byte(proxy: ProxyProcess) -> None:
    """C10 and C13: gateways that dropped anthropic-beta and User-Agent got 429s (litellm 5060,
    Context-Gateway 37); one that parsed paths took `messages` for a model (litellm 14478). Vendors
    read doubled slashes, `%2F` and repeated keys in their own ways.
    """
    body = b'{"model": "gpt",\r\n "x":  [1,2 ]}\xff\x00'
    requests: list[Message] = []
    sent = post(
        b"/openai//v1/models/a%2Fb%3A1/?api-version=1&x=%20+&x=2&",
        body,
        b"X-Repeated: 1",
        b"user-agent: raw/1.0",
        b"Authorization: Bearer sk-1",
        b"x-repeated: 2",
        b"OpenAI-Organization: org",
        b"x-latin: caf\xe9",
        b"Content-Encoding: gzip",
        b"X-Tracequill-Session-Id: s1",
        b"TE: trailers",
        b"Connection: x-hop, keep-alive",
        b"X-Hop: 1",
    )
    async with upstream(proxy.upstream_port, answering(plain(b"{}"), requests)):
        await ask(proxy, sent)

    [request] = requests
    assert request.head == b"\r\n".join(
        [
            b"POST //v1/models/a%2Fb%3A1/?api-version=1&x=%20+&x=2& HTTP/1.1",
            b"Host: 127.0.0.1:%d" % proxy.upstream_port,
            b"X-Repeated: 1",
            b"user-agent: raw/1.0",
            b"Authorization: Bearer sk-1",
            b"x-repeated: 2",
            b"OpenAI-Organization: org",
            b"x-latin: caf\xe9",
            b"Content-Encoding: gzip",
            b"Content-Length: %d" % len(body),
            b"\r\n",
        ]
    )
    assert request.body == body


async def test_a_request_without_a_body_gets_nothing_added(proxy: ProxyProcess) -> None:
    """C10: HTTP clients inside a proxy add Accept, Accept-Encoding and User-Agent of their own, and
    then the vendor answers somebody else.
    """
    requests: list[Message] = []
    async with upstream(proxy.upstream_port, answering(plain(b"{}"), requests)):
        await ask(proxy, b"GET /openai/v1/models? HTTP/1.1\r\nHost: h\r\n\r\n")

    assert requests[0].head == (
        b"GET /v1/models? HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n\r\n" % proxy.upstream_port
    )


@pytest.mark.parametrize(
    "status",
    [b"200 OK", b"400 Bad", b"429 Too Odd \xe9", b"500 ", b"529 Overloaded", b"599 Unheard"],
    ids=lambda value: value.decode("latin-1"),
)
async def test_a_response_crosses_byte_for_byte(proxy: ProxyProcess, status: bytes) -> None:
    """C08, C09 and C11: litellm unpacked bodies but kept their encoding's name or lost it, and
    joined repeated Set-Cookie headers (25624); agentgateway broke compressed answers (3040); aisix
    lost Retry-After on errors (144, 318); a 429 that reaches the client as 503 is not waited for.
    """
    packed = gzip.compress(b'{"id": 1}')
    headers = [
        b"Set-Cookie: a=1",
        b"content-type: application/json",
        b"Content-Encoding: gzip",
        b"set-cookie: b=2",
        b"X-RateLimit-Remaining: 3",
        b"X-Latin: caf\xe9",
        b"Retry-After: 7",
    ]
    answer = plain(packed, *headers, b"Connection: close", status=status)
    async with upstream(proxy.upstream_port, answering(answer)):
        response = await ask(proxy, post(b"/openai/v1/x", b"{}"))

    assert response.first_line == b"HTTP/1.1 " + status
    assert b"\r\n".join(b": ".join(item) for item in response.without_ids()) == b"\r\n".join(
        [*headers, b"Content-Length: %d" % len(packed)]
    )
    assert response.body == packed
    assert len(response.trace_id) == 32
    assert len(response.header(b"x-tracequill-span-id") or b"") == 16


async def test_a_chunked_request_stays_chunked_and_equal(proxy: ProxyProcess) -> None:
    requests: list[Message] = []
    head = b"POST /openai/v1/files HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
    async with upstream(proxy.upstream_port, answering(plain(b"{}"), requests)):
        await ask(proxy, head + chunk(b"one") + chunk(b"\r\n0\r\n\r\n") + b"0\r\n\r\n")
        await ask(proxy, head + b"0\r\n\r\n")

    assert [request.body for request in requests] == [b"one\r\n0\r\n\r\n", b""]
    assert requests[0].header(b"content-length") is None


async def test_a_chunked_response_stays_chunked_and_equal(proxy: ProxyProcess) -> None:
    answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    answer += chunk(b"data: 1\n\n") + chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n"
    async with upstream(proxy.upstream_port, answering(answer)):
        response = await ask(proxy, post(b"/openai/v1/x", b"{}"))

    assert response.body == b"data: 1\n\ndata: [DONE]\n\n"
    assert response.header(b"content-length") is None


async def test_a_response_with_two_framings_is_not_passed_on(proxy: ProxyProcess) -> None:
    """C09: Portkey sent Content-Length beside Transfer-Encoding (474); where one reader believes
    one and the next the other, answers are cut apart.
    """
    answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n"
    async with upstream(proxy.upstream_port, answering(answer)):
        response = await ask(proxy, post(b"/openai/v1/x", b"{}"))

    assert response.status == 502
    assert b"not valid HTTP" in response.body


@pytest.mark.parametrize(
    ("request_line", "answer"),
    [
        (b"HEAD /openai/v1/x", b"HTTP/1.1 200 OK\r\nContent-Length: 77\r\n\r\n"),
        (b"GET /openai/v1/x", b"HTTP/1.1 204 No Content\r\nX-A: 1\r\n\r\n"),
        (b"GET /openai/v1/x", b'HTTP/1.1 304 Not Modified\r\nETag: "a"\r\n\r\n'),
        (b"DELETE /openai/v1/x", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
    ],
    ids=["HEAD", "204", "304", "an empty body"],
)
async def test_a_response_without_a_body_crosses_and_the_connection_lives(
    proxy: ProxyProcess, request_line: bytes, answer: bytes
) -> None:
    asked = request_line + b" HTTP/1.1\r\nHost: h\r\n\r\n"
    async with upstream(proxy.upstream_port, answering(answer)), client(proxy) as (reader, writer):
        for _ in range(2):
            writer.write(asked)
            head = await asyncio.wait_for(read_head(reader), WAIT_SECONDS)

            expected = answer.rstrip(b"\r\n").split(b"\r\n")[1:]
            assert head.split(b"\r\n")[1 : 1 + len(expected)] == expected


async def test_an_http_1_0_client_gets_a_body_that_ends_with_the_connection(
    proxy: ProxyProcess,
) -> None:
    answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk(b"abc") + b"0\r\n\r\n"
    async with upstream(proxy.upstream_port, answering(answer)), client(proxy) as (reader, writer):
        writer.write(b"GET /openai/v1/x HTTP/1.0\r\n\r\n")
        head, _, body = (await asyncio.wait_for(reader.read(), WAIT_SECONDS)).partition(b"\r\n\r\n")

    assert b"transfer-encoding" not in head.lower()
    assert body == b"abc"


async def test_informational_responses_are_not_the_answer(proxy: ProxyProcess) -> None:
    answer = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + plain(b"late")
    async with upstream(proxy.upstream_port, answering(answer)):
        response = await ask(proxy, post(b"/openai/v1/x", b"{}"))

    assert (response.status, response.body) == (200, b"late")


async def test_requests_in_a_row_are_answered_in_their_order(proxy: ProxyProcess) -> None:
    """A client need not wait for an answer before it sends the next request (RFC 9112 9.3.2)."""
    requests: list[Message] = []
    async with (
        upstream(proxy.upstream_port, answering(plain(b"{}"), requests)),
        client(proxy) as (reader, writer),
    ):
        paths = [b"/openai/v1/%d" % number for number in range(30)]
        writer.write(b"".join(post(path, path) for path in paths) + b"GET /healthz HTTP/1.1\r\n")
        writer.write(b"Host: h\r\nConnection: close\r\n\r\n")
        answers = await asyncio.wait_for(reader.read(), WAIT_SECONDS)

    assert [request.body for request in requests] == paths
    assert answers.count(b"HTTP/1.1 200 OK\r\n") == 31
    assert answers.endswith(b"ok\n")


async def test_expect_100_continue_is_answered_here(proxy: ProxyProcess) -> None:
    requests: list[Message] = []
    async with (
        upstream(proxy.upstream_port, answering(plain(b"{}"), requests)),
        client(proxy) as (reader, writer),
    ):
        writer.write(
            b"POST /openai/v1/x HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\n"
            b"Content-Length: 3\r\n\r\n"
        )
        assert (
            await asyncio.wait_for(read_head(reader), WAIT_SECONDS)
            == b"HTTP/1.1 100 Continue\r\n\r\n"
        )
        writer.write(b"abc")
        assert (await asyncio.wait_for(read_head(reader), WAIT_SECONDS)).startswith(b"HTTP/1.1 200")

    assert requests[0].body == b"abc"
    assert requests[0].header(b"expect") is None


@pytest.mark.parametrize(
    "line",
    [
        b"POST /model/us.anthropic.claude-sonnet-4-5-20250929-v1%3A0/invoke HTTP/1.1",
        b"POST /model/arn%3Aaws%3Abedrock%3Aus-east-1%3A1%3Ainference-profile%2Fx/"
        b"invoke-with-response-stream HTTP/1.1",
        b"GET /inference-profiles?typeEquals=SYSTEM_DEFINED HTTP/1.1",
    ],
    ids=["invoke", "stream", "profiles"],
)
async def test_the_paths_of_claude_code_cross(proxy: ProxyProcess, line: bytes) -> None:
    """B12: proxies that knew only some of Bedrock's paths answered others with a 404 of their own
    (headroom 1589, claude-tap 269). What the vendor says crosses, a 404 included.
    """
    requests: list[Message] = []
    answer = plain(
        b'{"message":"?"}', b"x-amzn-ErrorType: UnknownOperationException", status=b"404 X"
    )
    asked = line.replace(b" /", b" /bedrock/us-east-1/", 1) + b"\r\nHost: h\r\n\r\n"
    async with upstream(proxy.upstream_port, answering(answer, requests)):
        response = await ask(proxy, asked)

    assert requests[0].first_line == line
    assert (response.first_line, response.body) == (b"HTTP/1.1 404 X", b'{"message":"?"}')


async def test_redirects_are_handed_to_the_client(proxy: ProxyProcess) -> None:
    """C28, class redirects: MLflow's gateway followed one to an address that its check had not seen
    (CVE-2026-64849), keys included.
    """
    requests: list[Message] = []
    answer = plain(b"", b"Location: http://127.0.0.1:1/elsewhere", status=b"307 Temporary Redirect")
    async with upstream(proxy.upstream_port, answering(answer, requests)):
        response = await ask(proxy, post(b"/openai/v1/x", b"{}", b"Authorization: Bearer k"))

    assert response.status == 307
    assert response.header(b"location") == b"http://127.0.0.1:1/elsewhere"
    assert len(requests) == 1


async def test_what_crossed_is_in_the_queue(proxy: ProxyProcess) -> None:
    trace, parent = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
    sent = post(
        b"/bedrock/eu-west-1/model/a%2Fb/converse",
        b'{"messages": []}',
        b"Content-Type: application/json",
        b"Authorization: Bearer secret",
        b"traceparent: 00-%b-%b-01" % (trace.encode(), parent.encode()),
        b"x-tracequill-session-id: conv-42",
        b"x-tracequill-user-id: u-7",
        b"x-tracequill-project: support-bot",
        b"x-tracequill-tags: a,b",
        b'x-tracequill-metadata: {"tier": 1}',
        b"x-tracequill-traced: 1",
    )
    requests: list[Message] = []
    answer = plain(b'{"output": 1}', b"x-amzn-RequestId: r-1", b"Set-Cookie: secret=1")
    async with upstream(proxy.upstream_port, answering(answer, requests)):
        response = await ask(proxy, sent)
    exchange = await proxy.exchange(trace)

    assert response.trace_id == trace
    assert requests[0].header(b"traceparent") == f"00-{trace}-{parent}-01".encode()
    assert (exchange.route, exchange.vendor, exchange.region) == ("bedrock", "bedrock", "eu-west-1")
    assert (exchange.method, exchange.path) == ("POST", "/model/a%2Fb/converse")
    assert exchange.span_id == (response.header(b"x-tracequill-span-id") or b"").decode()
    assert exchange.parent_span_id == parent
    assert exchange.traced
    assert (exchange.session_id, exchange.user_id) == ("conv-42", "u-7")
    assert (exchange.project_name, exchange.tags) == ("support-bot", ("a", "b"))
    assert exchange.metadata == '{"tier": 1}'
    assert (exchange.status, exchange.end, exchange.error) == (200, "complete", "")
    assert exchange.request_body == b'{"messages": []}'
    assert exchange.response_body == b'{"output": 1}'
    assert ("x-amzn-RequestId", "r-1") in exchange.response_headers
    assert "secret" not in repr(exchange)
    assert 0 < exchange.start_unix_ns <= exchange.first_byte_unix_ns <= exchange.end_unix_ns


async def test_the_mock_answers_without_a_socket(proxy: ProxyProcess) -> None:
    asked = b'{"model": "gpt-4o", "messages": [{"role": "user", "content": "hello"}]}'
    response = await ask(
        proxy, post(b"/mock/v1/chat/completions", asked, b"Content-Type: application/json")
    )
    exchange = await proxy.exchange(response.trace_id)

    assert response.status == 200
    assert b"choices" in response.body
    assert (exchange.route, exchange.vendor) == ("mock", "openai")
    assert exchange.response_body == response.body


async def test_connections_to_the_upstream_are_kept_and_reused(proxy: ProxyProcess) -> None:
    """C18: a new TLS connection for each call costs more than all else that a proxy does."""
    connections = 0

    async def conversation(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        await answering(plain(b"{}"))(reader, writer)

    async with upstream(proxy.upstream_port, conversation):
        for _ in range(5):
            await ask(proxy, post(b"/openai/v1/x", b"{}"))

    assert connections == 1


@pytest.mark.parametrize(
    ("answer", "closes"),
    [
        (plain(b"{}", b"Connection: close"), True),
        (plain(b"{}", b"Keep-Alive: timeout=1"), False),
        (plain(b"{}") + b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison", False),
    ],
    ids=["the upstream closes", "it is idle only for a second", "bytes nobody asked for"],
)
async def test_a_connection_that_may_not_be_reused_is_not(
    proxy: ProxyProcess, answer: bytes, closes: bool
) -> None:
    """C18: calls failed on connections that the vendor had closed meanwhile (cache-fix 371,
    headroom 1513); bytes nobody asked for would be the next call's answer.
    """
    connections = 0

    async def conversation(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        await read_body(reader, await read_head(reader))
        writer.write(answer)
        await writer.drain()
        if not closes:
            await reader.read()

    async with upstream(proxy.upstream_port, conversation):
        bodies = [(await ask(proxy, post(b"/openai/v1/x", b"{}"))).body for _ in range(2)]

    assert bodies == [b"{}", b"{}"]
    assert connections == 2


async def test_pages_answer_and_metrics_count(proxy: ProxyProcess) -> None:
    write_status(
        proxy.queue_dir.parent / "recorder.status.json", {"exchanges_recorded": 7, "note": "x"}
    )
    async with upstream(proxy.upstream_port, answering(plain(b"{}"))):
        await ask(proxy, post(b"/anthropic/v1/messages", b"{}"))
    metrics = (await asyncio.to_thread(proxy.page, "/metrics"))[1]

    assert await asyncio.to_thread(proxy.page, "/healthz") == (200, "ok\n")
    assert await asyncio.to_thread(proxy.page, "/readyz") == (200, "ok\n")
    assert 'tracequill_proxy_requests_total{route="anthropic",status="200"} 1.0' in metrics
    assert "tracequill_proxy_requests_in_flight 0.0" in metrics
    assert 'tracequill_proxy_unrecorded_total{reason="queue_full"} 0.0' in metrics
    assert "tracequill_proxy_queue_bytes" in metrics
    assert "tracequill_recorder_exchanges_recorded 7.0" in metrics


def test_it_takes_work_within_3_seconds_in_little_memory_and_without_phoenix(
    tmp_path: Path,
) -> None:
    proxy = ProxyProcess(tmp_path)
    seconds = proxy.start()
    cpu_seconds = proxy.cpu_seconds()
    memory_bytes = proxy.memory_bytes()
    loaded = Path(f"/proc/{proxy.pid}/maps").read_text()
    code = proxy.stop(signal.SIGINT)

    # It shares two cores with other tests; alone it takes a second.
    assert seconds < 10
    assert cpu_seconds < 3
    assert memory_bytes < 120 * MEGABYTE
    assert "grpc" not in loaded
    assert code == 0


def test_the_service_imports_neither_phoenix_nor_boto3() -> None:
    code = (
        "import sys, tracequill_collector.service.proxy;"
        "print({'phoenix', 'boto3', 'botocore', 'grpc', 'asyncpg'} & set(sys.modules))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert ran.stdout.strip() == "set()"


def test_a_taken_port_is_one_sentence_and_exit_code_1(tmp_path: Path, proxy: ProxyProcess) -> None:
    second = ProxyProcess(tmp_path, port=proxy.port)
    second.spawn()
    assert second.process is not None
    code = second.process.wait(WAIT_SECONDS)

    assert code == 1
    assert f"port {proxy.port} on 127.0.0.1 is taken" in second.log
    assert "TRACEQUILL_PROXY_PORT" in second.log
    assert "Traceback" not in second.log
