from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracequill_collector.recorder.usage import (
    counts_tokens,
    token_attributes,
    usage_of,
    usage_of_events,
)

_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=5,
)
_NAMES = st.sampled_from(
    ["usage", "usageMetadata", "response", "meta", "tokens", "input_tokens", "total_tokens"]
)


def _counts(body: Any) -> dict[str, int]:
    pairs = token_attributes(usage_of(body))
    return {
        name.removeprefix("llm.token_count."): value for name, value in pairs if value is not None
    }


@pytest.mark.parametrize(
    ("body", "counts"),
    [
        pytest.param(
            {"usage": {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}},
            (3, 4, 7),
            id="OpenAI",
        ),
        pytest.param({"usage": {"prompt_tokens": 3, "total_tokens": 3}}, (3, None, 3), id="input"),
        pytest.param({"usage": {"input_tokens": 3, "output_tokens": 4}}, (3, 4, 7), id="responses"),
        pytest.param(
            {"usage": {"inputTokens": 3, "outputTokens": 4, "totalTokens": 9}}, (3, 4, 9), id="AWS"
        ),
        pytest.param(
            {
                "usageMetadata": {
                    "promptTokenCount": 3,
                    "candidatesTokenCount": 4,
                    "thoughtsTokenCount": 5,
                    "totalTokenCount": 12,
                }
            },
            (3, 9, 12),
            id="Google",
        ),
        pytest.param(
            {"meta": {"tokens": {"input_tokens": 3.0, "output_tokens": 4.0}}},
            (3, 4, 7),
            id="Cohere",
        ),
        pytest.param(
            {
                "usage": {
                    "billed_units": {"input_tokens": 1, "output_tokens": 2},
                    "tokens": {"input_tokens": 3, "output_tokens": 4},
                }
            },
            (3, 4, 7),
            id="Cohere's second version",
        ),
        pytest.param(
            {"type": "message-end", "delta": {"usage": {"tokens": {"input_tokens": 3}}}},
            (3, None, 3),
            id="its event",
        ),
        pytest.param(
            {"response": {"meta": {"tokens": {"input_tokens": 3, "output_tokens": 4}}}},
            (3, 4, 7),
            id="its older event",
        ),
        pytest.param(
            {"x_groq": {"usage": {"prompt_tokens": 3, "completion_tokens": 4}}},
            (3, 4, 7),
            id="Groq",
        ),
        pytest.param({"prompt_eval_count": 3, "eval_count": 4}, (3, 4, 7), id="Ollama"),
        pytest.param(
            {"response": {"usage": {"input_tokens": 3, "output_tokens": 4}}}, (3, 4, 7), id="event"
        ),
    ],
)
def test_counts_are_found_under_every_name(body: Any, counts: tuple[int, int | None, int]) -> None:
    names = ("prompt", "completion", "total")

    assert _counts(body) == {
        name: count for name, count in zip(names, counts, strict=True) if count is not None
    }


def test_a_total_alone_is_a_total() -> None:
    assert _counts({"usage": {"total_tokens": 7}}) == {"total": 7}


def test_what_is_read_from_a_cache_is_told_and_belongs_to_the_prompt() -> None:
    beside = {"input_tokens": 3, "cache_read_input_tokens": 5, "cache_creation_input_tokens": 2}
    within = {"prompt_tokens": 10, "prompt_tokens_details": {"cached_tokens": 5}}

    for usage in (beside, within):
        counts = _counts({"usage": {**usage, "output_tokens": 1}})
        assert counts["prompt"] == 10
        assert counts["prompt_details.cache_read"] == 5
        assert counts["total"] == 11


@pytest.mark.parametrize(
    "body",
    [
        None,
        [],
        {},
        {"usage": None},
        {"usage": 7},
        {"usage": {"type": "duration", "seconds": 4}},
        {"usage": {"prompt_tokens": True, "completion_tokens": "4"}},
        {"usage": {"prompt_tokens": -1, "completion_tokens": 2**60}},
        {"usage": {"prompt_tokens": 1.5, "completion_tokens": float("inf")}},
        {"totalTokens": 9},
    ],
    ids=str,
)
def test_what_counts_no_tokens_gives_none(body: Any) -> None:
    assert _counts(body) == {}


def test_of_a_stream_what_was_said_last_counts() -> None:
    events = [
        {"type": "start", "usage": {"input_tokens": 9, "output_tokens": 1}},
        {"type": "delta"},
        "no object",
        {"type": "end", "usage": {"input_tokens": None, "output_tokens": 7}},
    ]

    assert usage_of_events(events) == {"input_tokens": 9, "output_tokens": 7}


@pytest.mark.parametrize(
    ("method", "path", "response", "counted"),
    [
        ("POST", "v1/moderations", {"id": "modr-1"}, True),
        ("POST", "v1/conversations/c-1", {"id": "resp-1"}, True),
        ("POST", "v1/audio/transcriptions", {}, True),
        ("GET", "v1/responses/resp-1", {"id": "resp-1"}, False),
        ("POST", "v1/responses/resp-1/cancel", {"id": "resp-1"}, False),
        ("POST", "v1/responses/input_tokens", {}, False),
        ("POST", "v1/chat/completions/chatcmpl-1", {"id": "chatcmpl-1"}, False),
        ("POST", "v1/batches", {"id": "batch-1"}, False),
        ("POST", "v1/fine_tuning/jobs", {"id": "job-1"}, False),
        ("POST", "v1beta/cachedContents", {"name": "cachedContents/1"}, False),
    ],
)
def test_tokens_of_other_calls_are_not_counted_again(
    method: str, path: str, response: Any, counted: bool
) -> None:
    assert counts_tokens(method, path.split("/"), response) is counted


@given(st.recursive(_VALUES, lambda inner: st.dictionaries(_NAMES, inner), max_leaves=5))
def test_no_json_raises(body: Any) -> None:
    _counts(body)
    usage_of_events([body, body])
    counts_tokens("POST", ["a"], body)
