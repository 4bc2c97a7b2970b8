"""boto3's clients of Bedrock's agents and of SageMaker get the same through the proxy, and what the
proxy keeps gives the spans that the case gives.

The upstream replays the cases of ``tests/data/exchanges``: every shape, errors and streams too.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest
from botocore.exceptions import ClientError, EventStreamError

from tests.exchange_cases import Case, own_cases
from tests.integration.clients.ways import Ways
from tests.integration.sdk.bedrock_agent_application import BedrockAgentApplication
from tests.integration.sdk.sagemaker_application import SageMakerApplication
from tracequill_collector.recorder.interpret import interpret
from tracequill_collector.recorder.span import RecordedSpan

pytestmark = pytest.mark.integration

_APPLICATIONS: dict[str, Callable[[str], BedrockAgentApplication | SageMakerApplication]] = {
    "bedrock-agent": BedrockAgentApplication,
    "sagemaker": SageMakerApplication,
}
_TRACE_ID = "x-tracequill-trace-id"
_OF_THE_CALL = ("date", _TRACE_ID, "x-tracequill-span-id")


@pytest.fixture
def replay(ways: Ways) -> Iterator[Ways]:
    yield ways
    ways.vendor.replay = ()


@pytest.mark.parametrize(
    "case",
    [case for case in own_cases() if case.vendor in _APPLICATIONS],
    ids=lambda case: case.name,
)
def test_every_call_gives_the_same_and_is_kept(replay: Ways, case: Case) -> None:
    trace_ids: list[str] = []

    def call(url: str) -> Any:
        with closing(_APPLICATIONS[case.vendor](url)) as application:
            try:
                answer: Any = application.answer(case)
            except EventStreamError as error:
                return error.response
            except ClientError as error:
                answer = error.response
        headers = answer["ResponseMetadata"]["HTTPHeaders"]
        trace_ids.append(headers.get(_TRACE_ID, ""))
        for name in _OF_THE_CALL:
            headers.pop(name, None)
        return answer

    replay.vendor.replay = [case]
    _, requests = replay.compare(call, f"/{case.vendor}/us-east-1")

    assert requests == 1
    # An exception in a stream comes without the head of the answer.
    if trace_ids:
        exchange = asyncio.run(replay.proxy.exchange(trace_ids[-1]))
        assert (exchange.vendor, exchange.region) == (case.vendor, "us-east-1")
        assert exchange.response_body == case.response_body
        assert _said(interpret(exchange, "p")) == _said(interpret(case.exchange(), "p"))


def _said(span: RecordedSpan) -> Any:
    """Give what a span and those below it say of the answer."""
    said = {
        name: value
        for name, value in span.attributes.items()
        if name.startswith(("output.", "llm.output_messages.", "llm.token_count.", "retrieval."))
    }
    return span.name, span.status, said, [_said(child) for child in span.children]
