from __future__ import annotations

import asyncio
from typing import Any

import orjson
import pytest
from botocore.eventstream import EventStreamBuffer
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.unit.collector.mock.exchange import ask, fixed_upstream
from tracequill_collector.mock import MockUpstream
from tracequill_collector.mock.faults import ErrorShare, RateLimit
from tracequill_collector.mock.openai_errors import OpenAIError
from tracequill_collector.mock.openai_responses import ResponseMemory

CHAT = "/v1/chat/completions"
CONVERSE = "/model/amazon.nova-lite-v1%3A0/converse"
HELLO = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hello"}]}
CONVERSE_HELLO = {"messages": [{"role": "user", "content": [{"text": "Hello"}]}]}


@pytest.mark.parametrize(
    ("share", "failed"), [(0, 0), (0.1, 10), (0.25, 25), (0.333, 33), (1, 100)]
)
def test_exactly_the_share_of_calls_fails_and_evenly(share: float, failed: int) -> None:
    errors = ErrorShare(share)
    faults = [errors.next_fault() for _ in range(100)]

    assert sum(fault != "none" for fault in faults) == failed
    again = ErrorShare(share)
    assert [again.next_fault() for _ in range(100)] == faults


def test_the_rate_lets_a_seconds_worth_through_and_says_when_the_next_may_come() -> None:
    limit = RateLimit(4)

    assert [limit.delay_seconds(10.0) for _ in range(4)] == [0, 0, 0, 0]
    assert limit.delay_seconds(10.0) == pytest.approx(0.25)
    assert limit.delay_seconds(10.25) == 0
    assert limit.delay_seconds(10.3) == pytest.approx(0.2)


async def test_past_the_rate_both_vendors_refuse_in_their_own_way() -> None:
    upstream = MockUpstream(requests_per_second=1, monotonic=lambda: 5.0)
    await ask(CHAT, HELLO, upstream=upstream)
    openai = await ask(CHAT, HELLO, upstream=upstream)
    bedrock = await ask(CONVERSE, CONVERSE_HELLO, upstream=upstream)

    assert (openai.status, openai.json["error"]["code"]) == (429, "rate_limit_exceeded")
    assert openai.headers["retry-after"] == "1"
    assert openai.headers["retry-after-ms"] == "1000"
    assert bedrock.status == 429
    assert bedrock.headers["x-amzn-errortype"].startswith("ThrottlingException")


async def test_errors_take_turns() -> None:
    upstream = fixed_upstream(error_share=1)
    statuses = [(await ask(CHAT, HELLO, upstream=upstream)).status for _ in range(5)]

    assert statuses == [500, 429, 503, 500, 500]


async def test_the_fourth_error_breaks_a_stream_off_in_the_middle() -> None:
    for path, fields in ((CHAT, {**HELLO, "stream": True}), (f"{CONVERSE}-stream", CONVERSE_HELLO)):
        upstream = fixed_upstream(error_share=1)
        for _ in range(3):
            await ask(path, fields, upstream=upstream)
        got = await ask(path, fields, upstream=upstream)

        assert got.status == 200
        if path == CHAT:
            assert got.events[-1]["error"]["type"] == "server_error"
            assert b"[DONE]" not in got.body
        else:
            buffer = EventStreamBuffer()
            buffer.add_data(got.body)
            frames: list[Any] = list(buffer)
            last = frames[-1]
            assert last.headers[":message-type"] == "exception"
            assert last.headers[":exception-type"] == "modelStreamErrorException"


async def test_latency_comes_before_the_answer_and_pauses_between_chunks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    upstream = fixed_upstream(latency_seconds=0.5, chunk_seconds=0.02)
    response = await upstream.handle("POST", CHAT, [], orjson.dumps({**HELLO, "stream": True}))
    before_first = list(slept)
    chunks = [chunk async for chunk in response.chunks]

    assert before_first == [0.5]
    assert slept == [0.5] + [0.02] * (len(chunks) - 1)
    assert dict(response.headers)["openai-processing-ms"] == "500"


def test_the_memory_of_responses_forgets_the_oldest_past_its_limits() -> None:
    memory = ResponseMemory(most_responses=2, most_bytes=100)
    memory.keep("a", ["1"], 10)
    memory.keep("b", ["2"], 10)
    memory.keep("c", ["3"], 85)

    with pytest.raises(OpenAIError):
        memory.recall("a")
    assert memory.recall("b") == ["2"]
    memory.keep("d", ["4"], 90)
    with pytest.raises(OpenAIError):
        memory.recall("c")
    assert memory.recall("d") == ["4"]


ODD = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                "role content type text function name parameters properties tool_calls image "
                "toolUse toolResult toolSpec inputSchema json required enum items id".split()
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)
FIELDS = st.sampled_from(
    "model messages input tools tool_choice stream stream_options n stop text response_format "
    "system toolConfig inferenceConfig max_tokens anthropic_version inputText dimensions "
    "thinking temperature".split()
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    path=st.sampled_from(
        [
            CHAT,
            "/v1/responses",
            "/v1/embeddings",
            "/v1/messages",
            CONVERSE,
            f"{CONVERSE}-stream",
            "/model/anthropic.claude-3-haiku-20240307-v1%3A0/invoke",
            "/model/amazon.nova-lite-v1%3A0/invoke-with-response-stream",
            "/model/amazon.titan-embed-text-v2%3A0/invoke",
        ]
    ),
    fields=st.dictionaries(FIELDS, ODD, max_size=6),
    named=st.booleans(),
)
async def test_no_body_makes_the_mock_raise(path: str, fields: dict[str, Any], named: bool) -> None:
    model = "claude-haiku-4-5" if path == "/v1/messages" else "gpt-4o"
    got = await ask(
        path,
        {**fields, "model": model} if named else fields,
        headers=[("anthropic-version", "2023-06-01")] if path == "/v1/messages" else [],
    )

    assert got.status in (200, 400, 403, 404)
    assert got.body


async def test_odd_paths_are_answered_with_an_error() -> None:
    for path in ("", "/", "/model/", "/model//converse", "//v1/models", "/v1/\udcff", "/%2e%2e/x"):
        assert (await ask(path, {})).status == 404
