"""Differences from the instrumentor for Anthropic's library. No input or output."""

from __future__ import annotations

from typing import Any

from tracequill_collector.recorder.body import parse_json
from tracequill_collector.recorder.differences.difference import (
    Difference,
    equal_after,
    has_more,
    holds,
    only,
    without_nulls,
)
from tracequill_collector.recorder.message import mapping

_MESSAGES = r"(beta\.)?messages\.(create|stream|parse|count_tokens)"
_PARAMETERS = r"input\.value|llm\.invocation_parameters"
# What an application gives a method of the library beside the fields of the body.
_OPTIONS = ("betas", "extra_body", "extra_headers", "extra_query", "timeout")


def _as_sent(value: Any) -> Any:
    """Give a JSON value, or a text that holds one, without nulls."""
    parsed = parse_json(value) if isinstance(value, str) else value
    return without_nulls(value if parsed is None else parsed)


def _is_cut(ours: Any, theirs: Any) -> bool:
    """Tolerate that the arguments of a call are a text in ours, and a value in theirs."""
    if not isinstance(ours, dict):
        return isinstance(ours, str) and isinstance(theirs, dict)
    contents = [without_nulls(mapping(value).get("content") or []) for value in (ours, theirs)]
    cut = [isinstance(block.get("input"), str) for block in contents[0]]
    for content in contents:
        for block, is_cut in zip(content, cut, strict=True):
            if is_cut:
                del block["input"]
    return any(cut) and contents[0] == contents[1]


def _without_options(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    return {key: item for key, item in value.items() if key not in _OPTIONS}


ANTHROPIC: tuple[Difference, ...] = (
    Difference(
        "anthropic-nulls",
        _MESSAGES,
        r"output\.value|llm\.output_messages\..*\.text|metadata",
        ours="the answer as the vendor sent it",
        theirs="a null for each field that the library knows, or no nulls, in the library's order",
        reason="Which fields these are depends on the version of the library.",
        tolerates=equal_after(_as_sent),
    ),
    Difference(
        "anthropic-stream-fields",
        _MESSAGES,
        r"output\.value|llm\.output_messages\..*\.text",
        ours="every field of every event",
        theirs="the fields that the library puts together",
        reason="Nothing that was sent is left out for a client's age.",
        tolerates=lambda ours, theirs: holds(_as_sent(ours), _as_sent(theirs)),
    ),
    Difference(
        "anthropic-stream-flag",
        r"(beta\.)?messages\.stream",
        r"input\.value",
        ours="the request as it crossed, with stream: true",
        theirs="the request without it, as the helper's name says it",
        reason="What crossed is what is recorded.",
        tolerates=has_more,
    ),
    Difference(
        "anthropic-call-options",
        _MESSAGES,
        _PARAMETERS,
        ours="the body as it crossed, and the header anthropic-beta as betas",
        theirs="the arguments of the method, with its options, without what the library adds",
        reason="How the application said it does not cross; some headers are secrets.",
        tolerates=lambda ours, theirs: has_more(ours, _without_options(theirs)),
    ),
    Difference(
        "anthropic-parse",
        r"(beta\.)?messages\.parse",
        r"name|input\.value",
        ours="messages.create, with the schema of the answer as it crossed",
        theirs="messages.parse, with the schema as a Python class",
        reason="Nothing that crosses tells the two methods apart; the class does not cross.",
    ),
    Difference(
        "anthropic-cut-call",
        _MESSAGES,
        r"output\.value|llm\.output_messages\..*\.function\.arguments",
        ours="the arguments of a call that was cut, as the text that came",
        theirs="what the beginning of that text means, without its last value",
        reason="Half a value must not look like a whole one.",
        tolerates=_is_cut,
    ),
    Difference(
        "anthropic-no-json",
        _MESSAGES,
        r"output\.(value|mime_type)",
        ours="the answer as text",
        theirs="none",
        reason="What came belongs in the span, also when it is no message.",
        tolerates=only("ours"),
    ),
)
