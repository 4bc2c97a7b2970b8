"""Differences from the instrumentor for OpenAI's library. No input or output."""

from __future__ import annotations

from typing import Any

from tracequill_collector.recorder.differences.difference import (
    OUTPUT,
    Difference,
    equal_after,
    has_more,
    only,
    without_nulls,
)


def _with_wire_names(value: Any) -> Any:
    if isinstance(value, list):
        return [_with_wire_names(item) for item in value]
    if not isinstance(value, dict):
        return value
    names = {"schema_": "schema", "async_": "async"}
    return {names.get(key, key): _with_wire_names(item) for key, item in value.items()}


OPENAI: tuple[Difference, ...] = (
    Difference(
        "openai-extra-body",
        "ChatCompletion|Completion|Response|CreateEmbeddings",
        r"input\.value|(llm|embedding)\.invocation_parameters",
        ours="the request as it crossed",
        theirs="the request without what was given as extra_body",
        reason="The library adds extra_body after the instrumentor has looked.",
        tolerates=has_more,
    ),
    Difference(
        "openai-response-tools",
        "Response",
        r"llm\.tools\.\d+\.tool\.json_schema",
        ours="the tool as the vendor sent it",
        theirs="the tool with a null for each field that the library knows",
        reason="Which fields these are depends on the version of the library.",
        tolerates=equal_after(lambda value: without_nulls(_with_wire_names(value))),
    ),
    Difference(
        "openai-python-names",
        "Response",
        r"output\.value",
        ours="schema, async",
        theirs="schema_, async_",
        reason="The library's Python names, where the vendor's are taken in Python.",
        tolerates=equal_after(_with_wire_names),
    ),
    Difference(
        "openai-response-without-completion",
        "Response",
        OUTPUT,
        ours="the output as far as it came",
        theirs="none, unless the stream ends with response.completed",
        reason="What was said and paid for belongs in the span.",
    ),
    Difference(
        "openai-response-failed",
        "Response",
        r"events|status|status_message|exception\.(type|message|escaped)",
        ours="ERROR, with the message of response.failed",
        theirs="OK",
        reason="The call failed; the library raises nothing, so the instrumentor cannot know.",
    ),
    Difference(
        "provider-of-route",
        "ChatCompletion|Completion|Response|CreateEmbeddings",
        r"llm\.provider",
        ours="the vendor of the route",
        theirs="none, when the host tells no vendor",
        reason="The route knows whose server it leads to.",
        tolerates=only("ours"),
    ),
    Difference(
        "mistral-content-parts",
        "ChatCompletion",
        r"output\.value|llm\.output_messages\.\d+\.message\.content.*",
        ours="thinking and text, each a part of the content",
        theirs="none of an answer in parts; of a stream the pieces that are no parts",
        reason="What was said and paid for belongs in the span.",
    ),
    Difference(
        "groq-stream-usage",
        "ChatCompletion",
        r"llm\.token_count\..*",
        ours="the token counts in x_groq",
        theirs="none",
        reason="What was said and paid for belongs in the span.",
        tolerates=only("ours"),
    ),
    Difference(
        "openai-images-usage",
        "ImagesResponse",
        r"llm\.(model_name|token_count\..*)",
        ours="model and token counts",
        theirs="none",
        reason="What was asked and paid for belongs in the span.",
        tolerates=only("ours"),
    ),
    Difference(
        "openai-images-partial",
        "ImagesResponse",
        r"output\..*",
        ours="the last partial image",
        theirs="none, unless the stream ends with a completed image",
        reason="What came before a stream was cut belongs in the span.",
        tolerates=only("ours"),
    ),
    Difference(
        "openai-embeddings-base64",
        "CreateEmbeddings",
        r"output\.value",
        ours="vectors as numbers",
        theirs="vectors in base64, when the application itself asked for base64",
        reason="The library asks for base64 anyway and decodes it; what crosses is the same.",
    ),
)
