"""Generated requests: a seed enters, ready OTLP bytes leave, each time with ids of their own.

Encoding a request takes longer than storing it, so a few are encoded once. Each time one is sent,
its ids, sessions and times are written over in place, which costs less than a microsecond a span.
Whoever knows a request's number knows its ids: what was acknowledged can be looked for afterwards.
"""

from __future__ import annotations

import json
import random
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

SPANS_A_TRACE = 3
PROJECT = "bench"
MODELS = ("gpt-4o-mini", "gpt-4o", "claude-sonnet-4-20250514")
TRACES_A_SESSION = 4

_BASE_NS = 1_760_000_000_000_000_000
_WORDS = 2_000
_ERROR_SHARE = 0.02

Bytes = NDArray[np.uint8]
Places = NDArray[np.int64]


class _Text:
    """Words with the frequencies of a language: it compresses like prose, not like one line."""

    def __init__(self, chance: random.Random) -> None:
        syllables = [a + b for a in "bcdfghklmnprstvw" for b in ("a", "e", "i", "o", "u", "ea")]
        self._chance = chance
        self._words = [
            "".join(chance.choices(syllables, k=chance.choice((1, 2, 2, 3, 4))))
            for _ in range(_WORDS)
        ]
        weights = [1 / (rank + 3) for rank in range(_WORDS)]
        self._weights = np.cumsum(weights).tolist()
        lengths = [len(word) + 1 for word in self._words]
        self._mean_length = float(np.average(lengths, weights=weights))

    def of(self, characters: int) -> str:
        """Give prose of about *characters*."""
        count = max(1, round(characters / self._mean_length))
        return " ".join(self._chance.choices(self._words, cum_weights=self._weights, k=count))


@dataclass(frozen=True, slots=True)
class Ids:
    """The ids of all spans of one request, in its order."""

    traces: Bytes
    """One row of 16 bytes a trace."""
    spans: Bytes
    """One row of 8 bytes a span."""

    def span_ids(self) -> list[str]:
        """Give the span ids as Phoenix stores them."""
        return [row.tobytes().hex() for row in self.spans]


def ids_of(salt: int, number: int, traces: int) -> Ids:
    """Give the ids of request *number* of the sender with this *salt*."""
    chance = np.random.default_rng((salt, number))
    return Ids(
        np.frombuffer(chance.bytes(traces * 16), np.uint8).reshape(traces, 16),
        np.frombuffer(chance.bytes(traces * SPANS_A_TRACE * 8), np.uint8).reshape(-1, 8),
    )


@dataclass(slots=True)
class Template:
    """One encoded request and where in it the ids, sessions and times are."""

    traces: int
    _bytes: Bytes
    _trace_ids: Places
    _span_ids: Places
    _parent_ids: Places
    _sessions: Places
    _times: Places
    _base_times: NDArray[np.int64] = field(repr=False)

    @property
    def span_count(self) -> int:
        return self.traces * SPANS_A_TRACE

    @property
    def size_bytes(self) -> int:
        return len(self._bytes)

    def fresh(self, ids: Ids, now_unix_ns: int) -> bytes:
        """Give the request with *ids*, as if it had just been recorded."""
        content = self._bytes.copy()
        content[self._trace_ids] = np.repeat(ids.traces, SPANS_A_TRACE, axis=0)
        content[self._span_ids] = ids.spans
        spans = ids.spans.reshape(self.traces, SPANS_A_TRACE, 8)
        # Within a trace the root comes last: it ends last.
        roots = np.repeat(spans[:, -1], SPANS_A_TRACE - 1, axis=0)
        content[self._parent_ids] = roots
        sessions = np.repeat(ids.traces[::TRACES_A_SESSION, :8], TRACES_A_SESSION, axis=0)
        text = np.frombuffer(sessions[: self.traces].tobytes().hex().encode(), np.uint8)
        content[self._sessions] = np.repeat(text.reshape(-1, 16), SPANS_A_TRACE, axis=0)
        times = self._base_times + (now_unix_ns - _BASE_NS)
        content[self._times] = times.astype("<i8").view(np.uint8).reshape(-1, 8)
        return content.tobytes()


def make_templates(seed: int, count: int, traces: int) -> list[Template]:
    """Give *count* templates of *traces* traces each; the same seed gives the same ones."""
    chance = random.Random(seed)
    text = _Text(chance)
    return [_template(chance, text, traces) for _ in range(count)]


def _template(chance: random.Random, text: _Text, traces: int) -> Template:
    request = ExportTraceServiceRequest()
    resource = request.resource_spans.add()
    _put(resource.resource.attributes, "openinference.project.name", PROJECT)
    _put(resource.resource.attributes, "service.name", "support-bot")
    _put(resource.resource.attributes, "telemetry.sdk.language", "python")
    scope = resource.scope_spans.add()
    scope.scope.name, scope.scope.version = "openinference.instrumentation.langchain", "0.1.50"
    for number in range(traces):
        scope.spans.extend(_trace(chance, text, number))
    return _locate(request.SerializeToString(), list(scope.spans), traces)


def _locate(content: bytes, spans: list[Span], traces: int) -> Template:
    """Find the places to write over: every placeholder is unlike any other bytes."""
    trace_ids, span_ids, parent_ids, sessions, times = [], [], [], [], []
    at = 0
    for span in spans:
        at = content.index(span.trace_id, at)
        trace_ids.append(at)
        at = content.index(span.span_id, at + 16)
        span_ids.append(at)
        if span.parent_span_id:
            at = content.index(span.parent_span_id, at + 8)
            parent_ids.append(at)
        for unix_ns in (span.start_time_unix_nano, span.end_time_unix_nano):
            at = content.index(unix_ns.to_bytes(8, "little"), at + 8)
            times.append(at)
        session = next(item for item in span.attributes if item.key == "session.id")
        at = content.index(session.value.string_value.encode(), at + 8)
        sessions.append(at)
    base = [
        unix_ns
        for span in spans
        for unix_ns in (span.start_time_unix_nano, span.end_time_unix_nano)
    ]
    return Template(
        traces,
        np.frombuffer(content, np.uint8),
        _places(trace_ids, 16),
        _places(span_ids, 8),
        _places(parent_ids, 8),
        _places(sessions, 16),
        _places(times, 8),
        np.array(base, np.int64),
    )


def _places(starts: list[int], length: int) -> Places:
    return np.array(starts, np.int64)[:, None] + np.arange(length, dtype=np.int64)[None, :]


# --- one trace ------------------------------------------------------------------------------


def _trace(chance: random.Random, text: _Text, number: int) -> list[Span]:
    """Give retriever, LLM and chain of one trace; the chain is the parent of both."""
    trace_id, root_id = chance.randbytes(16), chance.randbytes(8)
    session, user = chance.randbytes(8).hex(), f"user-{chance.randrange(1000)}"
    began = _BASE_NS + number * 7_000_003
    question, answer = text.of(385), text.of(590)
    made = []
    for kind, start_ms, end_ms in (("RETRIEVER", 3, 45), ("LLM", 50, 1900), ("CHAIN", 0, 1950)):
        span = Span(
            trace_id=trace_id,
            span_id=root_id if kind == "CHAIN" else chance.randbytes(8),
            parent_span_id=b"" if kind == "CHAIN" else root_id,
            name={"RETRIEVER": "VectorStoreRetriever", "LLM": "ChatOpenAI"}.get(kind, "answer"),
            kind=Span.SPAN_KIND_INTERNAL,
            start_time_unix_nano=began + start_ms * 1_000_000 + chance.randrange(1_000_000),
            end_time_unix_nano=began + end_ms * 1_000_000 + chance.randrange(1_000_000),
            status=Status(code=Status.STATUS_CODE_OK),
        )
        _put(span.attributes, "openinference.span.kind", kind)
        _put(span.attributes, "session.id", session)
        _put(span.attributes, "user.id", user)
        _put(span.attributes, "metadata", json.dumps({"tenant": "acme", "tier": 3, "beta": True}))
        _put(span.attributes, "input.value", question)
        if kind == "RETRIEVER":
            _documents(span, text, chance)
        elif kind == "LLM":
            _messages(span, text, chance, question, answer)
        else:
            _chain(span, answer)
        made.append(span)
    return made


def _documents(span: Span, text: _Text, chance: random.Random) -> None:
    for place in range(5):
        prefix = f"retrieval.documents.{place}.document"
        _put(span.attributes, f"{prefix}.id", f"doc-{chance.randrange(10**6)}")
        _put(span.attributes, f"{prefix}.score", round(0.95 - place / 20 - chance.random() / 50, 6))
        _put(span.attributes, f"{prefix}.content", text.of(262))
        _put(span.attributes, f"{prefix}.metadata", json.dumps({"source": "kb", "page": place}))


def _messages(span: Span, text: _Text, chance: random.Random, question: str, answer: str) -> None:
    attributes = span.attributes
    _put(attributes, "llm.model_name", chance.choice(MODELS))
    _put(attributes, "llm.provider", "openai")
    _put(attributes, "llm.system", "openai")
    parameters = {"temperature": 0.2, "max_tokens": 512, "top_p": 1}
    _put(attributes, "llm.invocation_parameters", json.dumps(parameters))
    contents = [text.of(330), text.of(130), text.of(240), question]
    for place, (role, content) in enumerate(
        zip(("system", "user", "assistant", "user"), contents, strict=True)
    ):
        _put(attributes, f"llm.input_messages.{place}.message.role", role)
        _put(attributes, f"llm.input_messages.{place}.message.content", content)
    _put(attributes, "llm.output_messages.0.message.role", "assistant")
    _put(attributes, "llm.output_messages.0.message.content", answer)
    prompt, completion = chance.randrange(300, 900), chance.randrange(60, 300)
    _put(attributes, "llm.token_count.prompt", prompt)
    _put(attributes, "llm.token_count.completion", completion)
    _put(attributes, "llm.token_count.total", prompt + completion)
    _put(attributes, "llm.token_count.prompt_details.cache_read", prompt // 4)
    _put(attributes, "input.mime_type", "text/plain")
    _put(attributes, "output.value", answer)
    _put(attributes, "output.mime_type", "text/plain")
    if chance.random() < _ERROR_SHARE:
        span.status.code, span.status.message = Status.STATUS_CODE_ERROR, "RateLimitError"
        event = span.events.add()
        event.name, event.time_unix_nano = "exception", span.end_time_unix_nano - 1
        _put(event.attributes, "exception.type", "openai.RateLimitError")
        _put(event.attributes, "exception.message", text.of(120))
        _put(event.attributes, "exception.stacktrace", text.of(900))


def _chain(span: Span, answer: str) -> None:
    _put(span.attributes, "input.mime_type", "text/plain")
    _put(span.attributes, "output.value", answer)
    _put(span.attributes, "output.mime_type", "text/plain")
    _put(span.attributes, "tag.tags", json.dumps(["support", "production"]))


def _put(attributes: object, key: str, value: str | int | float) -> None:
    item = attributes.add()  # type: ignore[attr-defined]
    item.key = key
    if isinstance(value, str):
        item.value.string_value = value
    elif isinstance(value, int):
        item.value.int_value = value
    else:
        item.value.double_value = value
