"""Requests that hypothesis draws: what applications send, and what nobody should.

Spans have few ids, so that duplicates, late parents, late children and moved sessions are common.
A parent has a smaller number than its children, so that there are no circles, and a span id always
has the same trace: both are cases apart. So are bytes, NUL and numbers that JSON cannot hold.
"""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span, Status

from tests.otlp_values import pairs

Requests = list[tuple[bytes, str | None]]
"""Each with its x-project-name."""

_TRACES = 3
_MAX_SPANS = 15
_BEGIN_UNIX_NS = 1_770_000_000_123_456_789


# --- values ---------------------------------------------------------------------------------

_NO_NUMBERS = (float("nan"), float("inf"), float("-inf"))
_INTEGERS = (0, 1, -1, 2**31, 2**53 + 1, 2**63 - 1, -(2**63))
_NUMBERS = st.sampled_from((*_INTEGERS, 0.0, -0.0, 0.1, 1e300, 5e-324, 3.0, *_NO_NUMBERS))
_TEXT = st.sampled_from(
    ("", " ", "text", "é😀\u2028", "\x01\x7f\ufffd", "a\\u0000b", "0", "x" * 100)
)
_PLAIN = st.one_of(st.none(), st.booleans(), _NUMBERS, _TEXT)
_VALUES = st.recursive(
    _PLAIN,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from(["a", "b.c", "0", "", "é"]), inner, max_size=3),
    ),
    max_leaves=6,
)
_COUNTS = st.one_of(
    st.sampled_from((0, 1, 12, 400_000, -5, "12", 3.7)),
    st.sampled_from((" 7 ", "many", "", -2.5, True, None, [3], {"a": 1}, *_NO_NUMBERS)),
    st.sampled_from((2**31, -(2**31) - 1, 2**63 - 1)),
)
_JSON = st.one_of(
    st.sampled_from(
        ('{"a": {"b": [1, 2.5, null]}}', "[1, 2]", "3", "null", '"text"', "no", "", "{")
    ),
    st.sampled_from(('{"a": NaN}', '{"a": Infinity}', '{"a": 1e400}', '{"a": 1, "a": 2}')),
    st.sampled_from(('{"a.b": "é"}', '{"big": 18446744073709551615}', "[" * 50 + "]" * 50)),
    st.sampled_from((7, ["x"], True)),
)
_KINDS = st.one_of(
    st.sampled_from(("LLM", "LLM", "LLM", "CHAIN", "TOOL", "DECISION", "PROMPT")),
    st.sampled_from(("llm", "Retriever", "unheard of", "", "cha\u0131n", "LLM ", 5, None, True)),
)
_MODELS = st.one_of(
    st.sampled_from(("gpt-4o", "gpt-4o-mini", "claude-3-5-haiku-latest", "gemini-2.5-pro")),
    st.sampled_from((" gpt-4o ", "o1-mini", "our-own-7b", "gpt-4", "nobody knows me", "", 4)),
)
_PROVIDERS = st.sampled_from(("openai", "azure", "anthropic", "Azure", "", 3, None))
_SESSIONS = st.one_of(
    st.sampled_from(("s1", "s2")),
    st.sampled_from(("s1 ", "", "  ", 5, "5", True, 1.5, ["s1"], {"a": 1})),
)
_DETAILS = ("audio", "cache_read", "cache_write", "input", "reasoning", "output", "our own")

_MESSAGE = '[{"role": "user", "parts": [{"type": "text", "content": "Hi"}]}]'
_GEN_AI: st.SearchStrategy[list[tuple[str, Any]]] = st.sampled_from(
    [
        [("gen_ai.operation.name", "chat"), ("gen_ai.request.model", "gpt-4o")],
        [("gen_ai.usage.input_tokens", 11), ("gen_ai.usage.output_tokens", 7)],
        [("gen_ai.input.messages", _MESSAGE), ("gen_ai.output.messages", _MESSAGE)],
        [("gen_ai.provider.name", "azure"), ("gen_ai.conversation.id", "s2")],
        [("gen_ai.operation.name", "execute_tool"), ("gen_ai.tool.name", "search")],
        [("gen_ai.input.messages", "not json"), ("gen_ai.usage.input_tokens", "eleven")],
    ]
)

# --- spans ----------------------------------------------------------------------------------

_DOCUMENTS = "retrieval.documents"
_OTHERS = (
    ("input.value", _VALUES),
    ("input.mime_type", st.sampled_from(["text/plain", "application/json", ""])),
    ("output.value", _VALUES),
    ("metadata", _JSON),
    ("llm.prompt_template.variables", _JSON),
    ("tool.parameters", _JSON),
    ("llm.invocation_parameters", _JSON),
    (f"{_DOCUMENTS}.0.document.metadata", _JSON),
    (f"{_DOCUMENTS}.0.document.content", _TEXT),
    (f"{_DOCUMENTS}.2.document.score", _NUMBERS),
    ("llm.input_messages.0.message.role", _TEXT),
    ("llm.input_messages.0.message.content", _TEXT),
    ("llm.input_messages.1.message.tool_calls.0.tool_call.function.name", _TEXT),
    ("llm.cost.total", _NUMBERS),
    ("llm.cost.prompt", _NUMBERS),
    ("llm.provider", _PROVIDERS),
    ("user.id", _PLAIN),
    ("tag.tags", st.lists(_TEXT, max_size=3)),
    ("our.own", _VALUES),
    ("our.other.0.key", _VALUES),
)


@st.composite
def _attributes(draw: st.DrawFn) -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    is_call = draw(st.booleans())
    if is_call or draw(st.integers(0, 9)):
        found.append(("openinference.span.kind", "LLM" if is_call else draw(_KINDS)))
    if draw(st.integers(0, 2)) == 0:
        found.append(("session.id", draw(_SESSIONS)))
    if is_call or draw(st.booleans()):
        found.append(("llm.model_name", draw(_MODELS)))
        for side in ("prompt", "completion", "total"):
            if draw(st.booleans()):
                found.append((f"llm.token_count.{side}", draw(_COUNTS)))
        for side in ("prompt", "completion"):
            for kind in draw(st.sets(st.sampled_from(_DETAILS), max_size=2)):
                found.append((f"llm.token_count.{side}_details.{kind}", draw(_COUNTS)))
    found += [
        (key, draw(values))
        for key, values in draw(st.lists(st.sampled_from(_OTHERS), max_size=4, unique_by=_key))
    ]
    if draw(st.integers(0, 5)) == 0:
        found += draw(_GEN_AI)
    if draw(st.integers(0, 5)) == 0:
        found.append(("our.own", draw(_VALUES)))  # perhaps a second time
    return draw(st.permutations(found))


def _key(other: tuple[str, Any]) -> str:
    return other[0]


@st.composite
def _events(draw: st.DrawFn) -> list[Span.Event]:
    keys = st.sampled_from(
        (*(f"exception.{name}" for name in ("type", "message", "escaped", "stacktrace")), "a.b", "")
    )
    return [
        Span.Event(
            name=draw(st.sampled_from(["exception", "exception", "token", "", "é"])),
            time_unix_nano=draw(_TIMES),
            attributes=pairs(draw(st.dictionaries(keys, _VALUES, max_size=4))),
        )
        for _ in range(draw(st.sampled_from([0, 0, 0, 1, 2])))
    ]


_TIMES = st.one_of(
    st.integers(0, 50).map(lambda seconds: _BEGIN_UNIX_NS + seconds * 1_000_000_000),
    st.integers(0, 3_000).map(lambda ns: _BEGIN_UNIX_NS + ns),
    st.sampled_from([0, 1, 999, 1_500, 2**63 - 1, 2**64 - 1]),
)


def trace_id(number: int) -> bytes:
    """Give the trace of span *number*."""
    return (1 + number % _TRACES).to_bytes(16, "big")


def span_id(number: int) -> bytes:
    """Give the id of span *number*."""
    return (100 + number).to_bytes(8, "big")


_CODES = st.sampled_from(
    [Status.STATUS_CODE_UNSET, Status.STATUS_CODE_OK, Status.STATUS_CODE_ERROR]
)


@st.composite
def _spans(draw: st.DrawFn) -> Span:
    number = draw(st.integers(0, _MAX_SPANS - 1))
    # Most often in its own trace, at times in another, or sent by nobody.
    parent = draw(st.sampled_from([*([-_TRACES] * 6), -2 * _TRACES, -1, 1_000, None]))
    parent = None if parent is None or number + parent < 0 else number + parent
    start = draw(_TIMES)
    lasts = draw(st.sampled_from([0, 1_000, 5_000_000_000, 30_000_000_000, -2_000_000_000]))
    return Span(
        trace_id=trace_id(number),
        span_id=span_id(number),
        parent_span_id=b"" if parent is None else span_id(parent),
        name=draw(_TEXT),
        kind=draw(st.sampled_from(list(Span.SpanKind.values()))),
        trace_state=draw(st.sampled_from(["", "a=b"])),
        start_time_unix_nano=start,
        end_time_unix_nano=min(max(0, start + lasts), 2**64 - 1),
        attributes=pairs(draw(_attributes())),
        events=draw(_events()),
        status=Status(code=draw(_CODES), message=draw(_TEXT)),
    )


_PROJECTS = st.sampled_from([None, "app", "app", "other", "", "é", 5])


_SOME_SPANS = st.lists(_spans(), min_size=1, max_size=5)


@st.composite
def drawn_requests(draw: st.DrawFn) -> Requests:
    """Give requests of a few spans each, most of them of the same three traces."""
    requests: Requests = []
    for _ in range(draw(st.integers(1, 4))):
        request = ExportTraceServiceRequest()
        for _ in range(draw(st.integers(1, 2))):
            project = draw(_PROJECTS)
            named = [] if project is None else [("openinference.project.name", project)]
            request.resource_spans.append(
                ResourceSpans(
                    resource=Resource(attributes=pairs([("service.name", "shop"), *named])),
                    scope_spans=[ScopeSpans(spans=draw(_SOME_SPANS))],
                )
            )
        header = draw(st.sampled_from([None, None, None, "from the header"]))
        requests.append((request.SerializeToString(), header))
    return requests
