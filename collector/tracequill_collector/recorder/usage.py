"""Token counts in an answer whose format is not known: JSON objects enter, attributes leave.

The vendors count the same things under a handful of names, in a handful of places. Counts are
added up later over all spans, so what was counted for another call must not be taken from here:
``counts_tokens`` says whether an exchange may. No input or output.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from openinference.semconv.trace import SpanAttributes

from tracequill_collector.recorder.message import Pairs, mapping

_PROMPT = (
    "prompt_tokens",
    "input_tokens",
    "inputTokens",
    "promptTokenCount",
    "prompt_eval_count",
)
_COMPLETION = (
    "completion_tokens",
    "output_tokens",
    "outputTokens",
    "eval_count",
)
_TOTAL = ("total_tokens", "totalTokens", "totalTokenCount")
# Anthropic counts what it reads from its cache and writes to it beside the input, not within.
_BESIDE_PROMPT = ("cache_read_input_tokens", "cache_creation_input_tokens")
# Google counts an answer in two parts.
_COMPLETION_PARTS = ("candidatesTokenCount", "thoughtsTokenCount")
# What an answer or an event may wrap around its counts.
_HOLDERS = ("response", "message", "x_groq", "meta", "delta")
# Paths of things that are run apart from the call that asks for them, or are about other calls.
_OF_OTHER_CALLS = frozenset(
    {"batches", "batch", "fine_tuning", "cancel", "cachedContents", "input_tokens", "evals"}
)


def counts_tokens(method: str, segments: list[str], response: Any) -> bool:
    """Whether the answer counts tokens of this call and no other.

    Nothing is counted when something is read or changed again: its id stands in the path.
    """
    if method != "POST" or not _OF_OTHER_CALLS.isdisjoint(segments):
        return False
    made = mapping(response).get("id")
    return not isinstance(made, str) or made not in segments


def usage_of(body: Any) -> dict[str, Any]:
    """Find the object that counts tokens in a JSON answer or event; empty when there is none."""
    body = mapping(body)
    inner = [mapping(body[name]) for name in _HOLDERS if name in body]
    for holder in (body, *inner, *(mapping(item.get("meta")) for item in inner)):
        for name in ("usage", "usageMetadata", "usage_metadata", "tokens"):
            if usage := mapping(holder.get(name)):
                # Cohere tells what a call counted, and beside it what it will be charged for.
                return mapping(usage.get("tokens")) or usage
    return body if "prompt_eval_count" in body else {}


def usage_of_events(events: Iterable[Any]) -> dict[str, Any]:
    """Put together what the events of a stream say: of each count, what was said last."""
    usage: dict[str, Any] = {}
    for event in events:
        found = usage_of(event)
        usage.update({name: value for name, value in found.items() if value is not None})
    return usage


def token_attributes(usage: dict[str, Any]) -> Pairs:
    """Give prompt, completion and total, as far as they are told."""
    prompt, completion = _first(usage, _PROMPT), _first(usage, _COMPLETION)
    total = _first(usage, _TOTAL)
    if (beside := _sum(usage, _BESIDE_PROMPT)) is not None:
        prompt, total = (prompt or 0) + beside, None
    if completion is None:
        completion = _sum(usage, _COMPLETION_PARTS)
    if total is None and (prompt is not None or completion is not None):
        total = (prompt or 0) + (completion or 0)
    yield SpanAttributes.LLM_TOKEN_COUNT_PROMPT, prompt
    yield SpanAttributes.LLM_TOKEN_COUNT_COMPLETION, completion
    yield SpanAttributes.LLM_TOKEN_COUNT_TOTAL, total
    details = mapping(usage.get("prompt_tokens_details") or usage.get("input_tokens_details"))
    cached = (
        _count(details.get("cached_tokens")),
        _count(usage.get("cache_read_input_tokens")),
        _count(usage.get("cachedContentTokenCount")),
    )
    read = next((count for count in cached if count is not None), None)
    yield SpanAttributes.LLM_TOKEN_COUNT_PROMPT_DETAILS_CACHE_READ, read


def _first(usage: dict[str, Any], names: tuple[str, ...]) -> int | None:
    counts = (_count(usage.get(name)) for name in names)
    return next((count for count in counts if count is not None), None)


def _sum(usage: dict[str, Any], names: tuple[str, ...]) -> int | None:
    counts = [count for name in names if (count := _count(usage.get(name))) is not None]
    return sum(counts) if counts else None


def _count(value: Any) -> int | None:
    """Give *value* when it can be a count of tokens: Cohere writes 7.0."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**53:
        return None
    return value
