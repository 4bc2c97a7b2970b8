from __future__ import annotations

import contextvars
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import botocore.httpsession
import httpx
import httpx2
import pytest
from openinference.instrumentation import suppress_tracing
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider as SdkTracerProvider

from tracequill import _proxy_headers
from tracequill._config import resolve_proxy
from tracequill._processor import InlineProcessor
from tracequill._provider import TracequillProvider, project_resource
from tracequill._proxy_headers import (
    PROJECT,
    TRACED,
    TRACEPARENT,
    ProxyHeaders,
    Target,
    header_value,
)
from tracequill.testing import MemorySender, SequentialIds

PROXY = "http://127.0.0.1:4319/openai/v1/chat/completions"
ELSEWHERE = "http://127.0.0.1:4320/v1/chat/completions"
OF_THE_FIRST_SPAN = {
    TRACEPARENT: "00-00000000000000000000000000000001-0000000000000001-01",
    TRACED: "1",
    PROJECT: "p",
}


@dataclass
class Request:
    url: str
    headers: dict[str, str] = field(default_factory=dict)


@pytest.fixture
def provider() -> TracequillProvider:
    provider = TracequillProvider(SequentialIds())
    provider.follow(project_resource("p"), InlineProcessor(MemorySender(), "memory"))
    return provider


@pytest.fixture
def headers(provider: TracequillProvider) -> Iterator[ProxyHeaders]:
    headers = ProxyHeaders(provider)
    headers.switch_on(resolve_proxy())
    yield headers
    headers.switch_off()


def added(headers: ProxyHeaders, url: str = PROXY) -> dict[str, str]:
    request = Request(url)
    headers.add(request)
    return request.headers


@pytest.mark.parametrize("kind", ["llm", "embedding", "reranker"])
def test_a_call_with_a_span_says_so_to_the_proxy_and_to_no_other(
    provider: TracequillProvider, headers: ProxyHeaders, kind: Any
) -> None:
    tracer = provider.get_tracer("openinference.instrumentation.any")
    with tracer.start_as_current_span("call", openinference_span_kind=kind):
        assert added(headers) == OF_THE_FIRST_SPAN
        assert added(headers, ELSEWHERE) == {}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("support-bot", "support-bot"),
        ("Zürich", "UTF-8''Z%C3%BCrich"),
        ("a\r\nb", "UTF-8''a%0D%0Ab"),
    ],
)
def test_a_project_name_always_fits_a_header(name: str, value: str) -> None:
    assert header_value(name) == value


def test_a_kind_that_is_set_after_the_start_counts(
    provider: TracequillProvider, headers: ProxyHeaders
) -> None:
    with provider.get_tracer("any").start_as_current_span("call") as span:
        assert added(headers) == {}
        span.set_attribute("openinference.span.kind", "LLM")
        assert added(headers) == OF_THE_FIRST_SPAN


def test_every_span_of_the_bedrock_instrumentor_is_a_call(
    provider: TracequillProvider, headers: ProxyHeaders
) -> None:
    tracer = provider.get_tracer("openinference.instrumentation.bedrock")
    with tracer.start_as_current_span("bedrock.invoke_model"):
        assert added(headers) == OF_THE_FIRST_SPAN


def test_without_an_llm_span_of_ours_the_proxy_writes_it(
    provider: TracequillProvider, headers: ProxyHeaders
) -> None:
    assert added(headers) == {}
    with provider.get_tracer("app").start_as_current_span("a", openinference_span_kind="chain"):
        assert added(headers) == {}
    theirs = SdkTracerProvider(shutdown_on_exit=False).get_tracer(
        "openinference.instrumentation.openai"
    )
    with theirs.start_as_current_span("call", attributes={"openinference.span.kind": "LLM"}):
        assert added(headers) == {}
    tracer = provider.get_tracer("openinference.instrumentation.openai")
    with suppress_tracing(), tracer.start_as_current_span("call", openinference_span_kind="llm"):
        assert added(headers) == {}
    ended = tracer.start_span("ended", openinference_span_kind="llm")
    ended.end()
    with trace.use_span(ended):
        assert added(headers) == {}


GEMINI = "http://127.0.0.1:4319/gemini/v1beta/models/g:streamGenerateContent?alt=sse"
CLAUDE = "http://127.0.0.1:4319/anthropic/v1/messages"


def test_a_stream_that_is_asked_for_later_is_its_span_s_call(
    provider: TracequillProvider, headers: ProxyHeaders
) -> None:
    span = provider.get_tracer("openinference.instrumentation.google_genai").start_span("stream")

    assert added(headers, GEMINI) == OF_THE_FIRST_SPAN
    assert added(headers, GEMINI.replace("4319", "4320")) == {}
    # Another call that is made while the stream is read.
    assert added(headers) == {}
    assert added(headers, CLAUDE) == {}
    span.end()
    assert added(headers, GEMINI) == {}


def test_a_span_of_the_library_s_own_around_the_request_hides_ours_from_nobody(
    provider: TracequillProvider, headers: ProxyHeaders
) -> None:
    theirs = SdkTracerProvider(shutdown_on_exit=False).get_tracer("library")
    ours = provider.get_tracer("openinference.instrumentation.anthropic")
    with (
        ours.start_as_current_span("call", openinference_span_kind="llm"),
        theirs.start_as_current_span("theirs"),
    ):
        assert added(headers, CLAUDE) == OF_THE_FIRST_SPAN
        assert added(headers, f"{CLAUDE}/batches") == {}


def test_of_two_streams_that_are_open_each_is_a_call_of_its_own(
    provider: TracequillProvider, headers: ProxyHeaders
) -> None:
    tracer = provider.get_tracer("openinference.instrumentation.anthropic")
    first, second = tracer.start_span("first"), tracer.start_span("second")

    assert added(headers, CLAUDE)[TRACEPARENT].endswith("0000000000000002-01")
    second.end()
    assert added(headers, CLAUDE) == OF_THE_FIRST_SPAN
    first.end()


def test_a_late_call_elsewhere_in_the_program_is_not_this_one(
    provider: TracequillProvider, headers: ProxyHeaders
) -> None:
    def begin() -> object:
        return provider.get_tracer("openinference.instrumentation.google_genai").start_span("a")

    span = contextvars.copy_context().run(begin)

    assert added(headers, GEMINI) == {}
    assert span is not None


def test_a_redirect_to_another_host_takes_neither_header_along(headers: ProxyHeaders) -> None:
    request = Request(ELSEWHERE, {**OF_THE_FIRST_SPAN, "accept": "*/*"})

    headers.add(request)

    assert request.headers == {"accept": "*/*"}


def test_a_traceparent_of_the_application_is_left_alone_elsewhere(headers: ProxyHeaders) -> None:
    request = Request(ELSEWHERE, {TRACEPARENT: "theirs"})

    headers.add(request)

    assert request.headers == {TRACEPARENT: "theirs"}


def test_httpx_follows_a_redirect_without_the_headers(
    provider: TracequillProvider, headers: ProxyHeaders
) -> None:
    seen: list[tuple[str, str | None]] = []

    def answer(request: Any) -> Any:
        seen.append((str(request.url), request.headers.get(TRACED)))
        if request.url.port == 4319:
            return httpx2.Response(307, headers={"location": ELSEWHERE})
        return httpx2.Response(200)

    tracer = provider.get_tracer("any")
    with (
        httpx2.Client(transport=httpx2.MockTransport(answer), follow_redirects=True) as client,
        tracer.start_as_current_span("call", openinference_span_kind="llm"),
    ):
        client.post(PROXY)

    assert seen == [(PROXY, "1"), (ELSEWHERE, None)]


def answering(module: Any, seen: list[str | None]) -> Any:
    """A transport of *module* that notes the traceparent it was sent."""

    def handle(request: Any) -> Any:
        seen.append(request.headers.get(TRACEPARENT))
        return module.Response(200)

    return module.MockTransport(handle)


@pytest.mark.parametrize("module", [httpx, httpx2], ids=lambda module: module.__name__)
def test_both_kinds_of_httpx_are_marked(
    provider: TracequillProvider, headers: ProxyHeaders, module: Any
) -> None:
    seen: list[str | None] = []
    tracer = provider.get_tracer("any")

    with (
        module.Client(transport=answering(module, seen)) as client,
        tracer.start_as_current_span("call", openinference_span_kind="llm"),
    ):
        client.post(PROXY)

    assert seen == [OF_THE_FIRST_SPAN[TRACEPARENT]]


@pytest.mark.parametrize("module", [httpx, httpx2], ids=lambda module: module.__name__)
async def test_their_async_clients_are_marked_too(
    provider: TracequillProvider, headers: ProxyHeaders, module: Any
) -> None:
    seen: list[str | None] = []

    with provider.get_tracer("any").start_as_current_span("call", openinference_span_kind="llm"):
        async with module.AsyncClient(transport=answering(module, seen)) as client:
            await client.post(PROXY)

    assert seen == [OF_THE_FIRST_SPAN[TRACEPARENT]]


def test_everything_replaced_is_put_back(provider: TracequillProvider) -> None:
    before = [
        httpx.Client.__dict__["_send_single_request"],
        httpx2.AsyncClient.__dict__["_send_single_request"],
        botocore.httpsession.URLLib3Session.__dict__["send"],
    ]
    headers = ProxyHeaders(provider)

    for _ in range(2):
        headers.switch_on(resolve_proxy())
        headers.switch_on(resolve_proxy("http://other"))
        assert httpx.Client.__dict__["_send_single_request"] is not before[0]
        headers.switch_off()

    assert before == [
        httpx.Client.__dict__["_send_single_request"],
        httpx2.AsyncClient.__dict__["_send_single_request"],
        botocore.httpsession.URLLib3Session.__dict__["send"],
    ]


class Client:
    """Sends one request; stands for a client of any library."""

    def send(self, request: Request) -> Request:
        return request


def test_a_library_that_is_imported_later_is_marked_too(
    provider: TracequillProvider, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "late_library.py").write_text(
        "class Client:\n    def send(self, request):\n        return request\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(_proxy_headers, "TARGETS", (Target("late_library", "Client", ("send",)),))
    headers = ProxyHeaders(provider)
    headers.switch_on(resolve_proxy())

    import late_library  # type: ignore[import-not-found]

    request = Request(PROXY)
    with provider.get_tracer("any").start_as_current_span("call", openinference_span_kind="llm"):
        assert late_library.Client().send(request) is request
    assert request.headers == OF_THE_FIRST_SPAN
    headers.switch_off()


def test_where_somebody_patched_over_ours_it_stays_and_does_nothing(
    provider: TracequillProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_proxy_headers, "TARGETS", (Target(__name__, "Client", ("send",)),))
    headers = ProxyHeaders(provider)
    original = Client.send
    headers.switch_on(resolve_proxy())
    ours = Client.send

    def theirs(client: Client, request: Request) -> Request:
        return ours(client, request)

    monkeypatch.setattr(Client, "send", theirs)
    headers.switch_off()

    assert Client.send is theirs
    assert ours is not original
    with provider.get_tracer("any").start_as_current_span("call", openinference_span_kind="llm"):
        assert Client().send(Request(PROXY)).headers == {}
    monkeypatch.undo()
    Client.send = original  # type: ignore[method-assign]


def test_a_request_that_we_do_not_understand_is_sent_all_the_same(
    provider: TracequillProvider, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(_proxy_headers, "TARGETS", (Target(__name__, "Client", ("send",)),))
    headers = ProxyHeaders(provider)
    headers.switch_on(resolve_proxy())

    strange: Any = object()

    assert Client().send(strange) is strange
    assert "could not mark a call for the proxy: AttributeError" in caplog.text
    headers.switch_off()


def test_a_library_without_the_method_imports_all_the_same(
    provider: TracequillProvider, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(_proxy_headers, "TARGETS", (Target("json", "Gone", ("send",)),))
    headers = ProxyHeaders(provider)

    headers.switch_on(resolve_proxy())

    assert "cannot mark calls of json for the proxy" in caplog.text
    headers.switch_off()
