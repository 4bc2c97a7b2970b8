"""A request with a secret in every place where a request can carry one."""

from __future__ import annotations

import json
from collections.abc import Iterator

from google.protobuf.message import Message
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import (
    AnyValue,
    ArrayValue,
    EntityRef,
    InstrumentationScope,
    KeyValue,
    KeyValueList,
)
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span, Status

from tests.otlp_values import any_value

SECRETS = {
    "card": "4111 1111 1111 1111",
    "iban": "DE89 3704 0044 0532 0130 00",
    "email": "jane.doe@example.com",
    "phone": "+49 30 901820",
    "api_key": "sk-proj-1234567890abcdefghijABCDEFGHIJ",
}
CARD_NUMBER = 4111111111111111
PASSWORD = "correct horse battery"


def text_value(text: str) -> AnyValue:
    """Give a value that is a text."""
    return AnyValue(string_value=text)


def pair(key: str, value: str | int | float | bytes | AnyValue) -> KeyValue:
    """Give an attribute."""
    return KeyValue(key=key, value=value if isinstance(value, AnyValue) else any_value(value))


def span_with(*pairs: KeyValue) -> Span:
    """Give a span with these attributes."""
    return Span(trace_id=b"t" * 16, span_id=b"s" * 8, name="one", attributes=pairs)


def request_of(*spans: Span) -> ExportTraceServiceRequest:
    """Give a request of *spans*."""
    return ExportTraceServiceRequest(
        resource_spans=[ResourceSpans(scope_spans=[ScopeSpans(spans=spans)])]
    )


def _message(text: str) -> dict[str, object]:
    return {"role": "user", "content": [{"type": "text", "text": text}], "n": 1.50}


def _kvlist(text: str) -> AnyValue:
    return AnyValue(
        kvlist_value=KeyValueList(
            values=[
                pair("plain", text),
                pair(text, 1),
                pair(
                    "list", AnyValue(array_value=ArrayValue(values=[text_value(text), AnyValue()]))
                ),
            ]
        )
    )


def _attributes(text: str) -> list[KeyValue]:
    arguments = json.dumps({"to": text, "deep": json.dumps({"again": [text, {text: text}]})})
    return [
        pair("openinference.span.kind", "LLM"),
        pair("input.value", json.dumps({"messages": [_message(text)]}, ensure_ascii=False)),
        pair("output.value", f"Certainly! {text}"),
        pair("llm.input_messages.0.message.content", text),
        pair("llm.input_messages.0.message.contents.0.message_content.text", text),
        pair(
            "llm.output_messages.0.message.tool_calls.0.tool_call.function.arguments",
            arguments,
        ),
        pair("llm.invocation_parameters", json.dumps({"stop": [text]})),
        pair("llm.prompts.0.prompt.text", text),
        pair("llm.prompts", AnyValue(array_value=ArrayValue(values=[text_value(text)]))),
        pair("metadata", json.dumps({"note": text, text: 1})),
        pair("session.id", text),
        pair("user.id", text),
        pair("retrieval.documents.0.document.content", text),
        pair(f"tag.{text}", "a name that is one"),
        pair("bytes", text.encode()),
        pair("bytes.broken", b"\xff\xfe" + text.encode() + b"\xff"),
        pair("kvlist", _kvlist(text)),
        pair("jsonl", f"data: {json.dumps({'a': text})}\n\ndata: [DONE]\n"),
        pair("cut", json.dumps({"a": text, "b": "x" * 20})[:-9]),
        pair("repeated", f'{{"a": {json.dumps(text)}, "a": "x"}}'),
        pair("quoted", json.dumps(text)),
        pair("openai.messages", repr([{"content": text}])),
    ]


def every_place(text: str) -> ExportTraceServiceRequest:
    """Give a request with *text* in every place that holds a text."""
    exception = [
        pair("exception.type", "ValueError"),
        pair("exception.message", f"no such user: {text}"),
        pair("exception.stacktrace", f'Traceback:\n  File "x.py"\nValueError: {text}\n'),
    ]
    gen_ai = [pair("gen_ai.prompt", json.dumps([_message(text)])), pair("content", _kvlist(text))]
    span = Span(
        trace_id=b"t" * 16,
        span_id=b"s" * 8,
        name=f"ask about {text}",
        trace_state=f"vendor={text}",
        start_time_unix_nano=1,
        attributes=_attributes(text),
        events=[
            Span.Event(name="exception", attributes=exception),
            Span.Event(name="gen_ai.content.prompt", attributes=gen_ai),
            Span.Event(name=f"said {text}"),
        ],
        links=[
            Span.Link(
                trace_id=b"u" * 16,
                span_id=b"v" * 8,
                trace_state=f"vendor={text}",
                attributes=[pair("why", text)],
            )
        ],
        status=Status(code=Status.STATUS_CODE_ERROR, message=f"failed: {text}"),
    )
    resource = Resource(
        attributes=[pair("openinference.project.name", f"for {text}"), pair("host.name", text)],
        entity_refs=[EntityRef(schema_url=text, type=text, id_keys=[text])],
    )
    scope = InstrumentationScope(name=f"lib {text}", version=text, attributes=[pair("x", text)])
    return ExportTraceServiceRequest(
        resource_spans=[
            ResourceSpans(
                resource=resource,
                schema_url=f"https://example.com/{text}",
                scope_spans=[ScopeSpans(scope=scope, schema_url=text, spans=[span])],
            )
        ]
    )


def texts(message: Message) -> Iterator[str]:
    """Yield every text and all bytes of *message*, and numbers as they are written."""
    for field, value in message.ListFields():
        for item in value if field.is_repeated else [value]:
            if isinstance(item, Message):
                yield from texts(item)
            elif isinstance(item, bytes):
                yield item.decode("latin-1")
            else:
                yield str(item)
