"""Gemini through the forwarding process: its streams, its keys, its uploads, with Google's client.

What every case of ``tests/data/exchanges`` gives its client is compared in ``clients``.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
from collections.abc import Iterator
from typing import Any

import httpx2
import orjson
import pytest
from google import genai
from google.genai import errors, types

from tests.exchange_cases import own_case
from tests.integration.proxy_rig import (
    Conversation,
    Message,
    ProxyProcess,
    answering,
    ask,
    chunk,
    plain,
    post,
    read_body,
    read_head,
    upstream,
)
from tracequill_collector.recorder.interpret import interpret

pytestmark = pytest.mark.integration

CANARY = "AIzaSyCanary-0123456789abcdefghijklmnop"
GENERATE = b"/gemini/v1beta/models/gemini-3-small:generateContent"
STREAM = b"/gemini/v1beta/models/gemini-3-small:streamGenerateContent"
FILE = {"name": "files/rivers", "mimeType": "text/plain", "sizeBytes": "20", "state": "ACTIVE"}


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProxyProcess]:
    process = ProxyProcess(tmp_path_factory.mktemp("proxy"))
    process.start()
    yield process
    assert process.stop() == 0, process.log
    assert CANARY not in process.log


class Client:
    """Google's client with the proxy as its base URL; it notes the trace ids of its calls."""

    def __init__(self, proxy: ProxyProcess) -> None:
        self.trace_ids: list[str] = []
        self._http = httpx2.Client(trust_env=False, event_hooks={"response": [self._note]})
        options = types.HttpOptions(base_url=proxy.url("/gemini"), httpx_client=self._http)
        self.genai = genai.Client(api_key=CANARY, http_options=options)

    def _note(self, response: httpx2.Response) -> None:
        self.trace_ids += response.headers.get_list("x-tracequill-trace-id")

    def close(self) -> None:
        self._http.close()


@pytest.fixture
def client(proxy: ProxyProcess) -> Iterator[Client]:
    with contextlib.closing(Client(proxy)) as made:
        yield made


def streaming(content_type: bytes, body: bytes) -> bytes:
    """Answer with *body* in small chunks."""
    pieces = (chunk(body[at : at + 29]) for at in range(0, len(body), 29))
    head = b"HTTP/1.1 200 OK\r\nContent-Type: " + content_type + b"\r\n"
    return head + b"Transfer-Encoding: chunked\r\n\r\n" + b"".join(pieces) + b"0\r\n\r\n"


async def test_a_stream_crosses_and_is_one_span_with_and_without_alt_sse(
    proxy: ProxyProcess,
) -> None:
    """C29: without ``alt=sse`` a stream is one JSON array; clients of REST read either."""
    case = own_case("gemini-stream-thoughts")
    events = case.response_body.decode().split("\n\n")[:-1]
    array = "[" + ",\r\n".join(event.removeprefix("data: ") for event in events) + "\n]"
    spans = []
    for query, kind, body in (
        (b"?alt=sse", b"text/event-stream", case.response_body),
        (b"", b"application/json; charset=UTF-8", array.encode()),
    ):
        request = post(STREAM + query, case.request_body, b"Content-Type: application/json")
        async with upstream(proxy.upstream_port, answering(streaming(kind, body))):
            response = await ask(proxy, request)
        exchange = await proxy.exchange(response.trace_id)
        spans.append(interpret(exchange, "default"))

        assert response.body == exchange.response_body == body
        assert exchange.path == (STREAM + query).decode().removeprefix("/gemini")

    with_sse, without = (
        {name: value for name, value in span.attributes.items() if "tracequill" not in name}
        for span in spans
    )
    assert with_sse == without
    assert with_sse["llm.output_messages.0.message.contents.0.message_content.type"] == "reasoning"
    assert {span.name for span in spans} == {"GenerateContentStream"}


@pytest.mark.parametrize("name", ["key", "%6Bey", "KEY", "access_token"])
async def test_a_key_crosses_and_is_not_kept(proxy: ProxyProcess, name: str) -> None:
    """C27: Gemini takes its key in the query too; LiteLLM wrote it to logs and spans."""
    requests: list[Message] = []
    query = f"?{name}={CANARY}&alt=sse".encode()
    header = b"X-Goog-Api-Key: " + CANARY.encode()
    async with upstream(proxy.upstream_port, answering(plain(b"{}"), requests)):
        response = await ask(proxy, post(GENERATE + query, b"{}", header))
    exchange = await proxy.exchange(response.trace_id)

    assert requests[0].first_line.split()[1] == GENERATE.removeprefix(b"/gemini") + query
    assert requests[0].header(b"x-goog-api-key") == CANARY.encode()
    assert CANARY.encode() not in exchange.to_bytes()
    assert exchange.path.endswith(f"?{name}=***&alt=sse")
    assert CANARY not in repr(interpret(exchange, "default"))


def uploading(url: str, requests: list[Message]) -> Conversation:
    """Answer as Gemini does: the start of an upload with an address, its content with a file."""

    async def conversation(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head = await read_head(reader)
            request = Message(head, await read_body(reader, head))
            requests.append(request)
            if request.header(b"x-goog-upload-command") == b"start":
                address = b"X-Goog-Upload-URL: " + url.encode()
                answer = plain(b"", b"X-Goog-Upload-Status: active", address)
            else:
                body = orjson.dumps({"file": FILE})
                answer = plain(body, b"X-Goog-Upload-Status: final")
            writer.write(answer)
            await writer.drain()

    return conversation


@pytest.mark.parametrize("through", [False, True], ids=["to its address", "through the proxy"])
async def test_a_file_is_uploaded_by_googles_client(
    proxy: ProxyProcess, client: Client, through: bool
) -> None:
    """C29: an absolute address in an answer crosses unchanged, and the client goes there itself;
    unless it is told a base URL for the upload: of that it keeps the host, and comes here.
    """
    requests: list[Message] = []
    path = f"/upload/v1beta/files?upload_id={CANARY}&upload_protocol=resumable"
    host = "unknown.example" if through else f"127.0.0.1:{proxy.upstream_port}"
    content = b"The Trave is a river"
    config: Any = {"mime_type": "text/plain"}
    if through:
        config["http_options"] = {"base_url": proxy.url("/gemini")}
    async with upstream(proxy.upstream_port, uploading(f"http://{host}{path}", requests)):
        file = await asyncio.to_thread(
            client.genai.files.upload, file=io.BytesIO(content), config=config
        )
    exchanges = await proxy.exchanges(client.trace_ids)

    assert file.name == "files/rivers"
    assert [request.first_line.split()[1].decode() for request in requests] == [
        "/upload/v1beta/files",
        path,
    ]
    assert requests[1].body == content
    assert len(exchanges) == (2 if through else 1)
    spans = [interpret(exchange, "default") for exchange in exchanges]
    assert {span.name for span in spans} == {"POST /upload/v1beta/files"}
    assert all(CANARY.encode() not in exchange.to_bytes() for exchange in exchanges)


async def test_googles_client_reads_an_error_of_the_upstream_and_one_of_ours(
    proxy: ProxyProcess, client: Client
) -> None:
    error = {"error": {"code": 429, "message": "Slow down.", "status": "RESOURCE_EXHAUSTED"}}
    limited = plain(
        orjson.dumps(error), b"Content-Type: application/json", status=b"429 Too Many Requests"
    )
    models: Any = client.genai.models
    async with upstream(proxy.upstream_port, answering(limited)):
        with pytest.raises(errors.ClientError, match=r"Slow down\.") as theirs:
            await asyncio.to_thread(
                models.generate_content, model="gemini-3-small", contents="Hello"
            )
    with pytest.raises(errors.ServerError, match="cannot connect") as ours:
        await asyncio.to_thread(models.generate_content, model="gemini-3-small", contents="Hello")

    assert (theirs.value.code, theirs.value.status) == (429, "RESOURCE_EXHAUSTED")
    assert (ours.value.code, ours.value.status) == (502, "UNAVAILABLE")
