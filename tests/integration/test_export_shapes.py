"""Every shape of call that our hand-written and recorded exchanges have: made with the real client,
traced by the real instrumentor, decoded by the collector, and turned into a row."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans

from tests.exchange_cases import Case, corpus_cases, own_cases
from tests.integration.sdk.replay import Applications, applications
from tracequill_collector.pipeline import Record, RecordKind
from tracequill_collector.processor.decode import decode
from tracequill_phoenix.dataset_export.messages import to_conversation
from tracequill_phoenix.dataset_export.openai_chat import to_row, validate

pytestmark = pytest.mark.integration

VENDORS = ("openai", "bedrock")
CHAT_PATHS = (
    "/chat/completions",
    "/responses",
    "/converse",
    "/converse-stream",
    "/invoke",
    "/invoke-with-response-stream",
)
NO_CHAT = (
    "bedrock-converse-prompt",  # the messages are in a stored prompt
    "bedrock-invoke-claude-profile",  # of a profile's ARN the instrumentor reads no format
    "bedrock-invoke-claude-v2",
    "bedrock-invoke-cohere",
    "bedrock-invoke-embed",
    "bedrock-invoke-image",
    "bedrock-invoke-llama",
    "bedrock-invoke-nova-profile",
    "bedrock-invoke-openai-profile",
    "bedrock-invoke-stream-llama",
    "bedrock-invoke-stream-titan",
    "bedrock-invoke-titan",
    "openai-completions",
    "openai-embeddings",
    "openai-models",
)
# Our own successful chat calls that are no valid row, and why.
REFUSED = {
    "bedrock-converse-empty": "no_answer",
    "bedrock-converse-parts": "unsupported_content",  # a document
    "bedrock-converse-stream-empty": "no_answer",
    "bedrock-converse-stream-guardrail": "content_missing",
    "bedrock-invoke-claude-empty": "no_answer",
    "bedrock-invoke-stream-claude-empty": "no_answer",
    "bedrock-invoke-stream-claude-thinking": "no_answer",  # the instrumentor keeps none
    "bedrock-invoke-stream-claude-tools": "tool_not_declared",
    "openai-chat-empty-answer": "no_answer",
    "openai-chat-functions": "tool_not_declared",  # the instrumentor drops functions
    "openai-chat-parts": "unsupported_content",  # audio
    "openai-chat-refusal": "no_answer",  # the instrumentor drops refusals
    "openai-responses-items": "unsupported_content",  # a file
}


@pytest.fixture(scope="module")
def apps() -> Iterator[Applications]:
    with applications() as running:
        yield running


def errors(apps: Applications, case: Case) -> tuple[list[str], bool]:
    """The errors of the row that *case* becomes, and whether the call itself failed."""
    spans, _ = apps.run(case)
    if not spans:
        return ["no_span"], False
    span = spans[0]
    payload = encode_spans([span]).SerializeToString()
    record = Record(RecordKind.OTLP_TRACES, 0, payload, "application/x-protobuf")
    [decoded] = decode(record, max_bytes=1 << 30).spans
    conversation = to_conversation(decoded.attributes, decoded.span_kind)
    findings = list(conversation.findings)
    if not {"no_messages", "no_answer"} & {finding.code for finding in findings}:
        findings += validate(to_row(conversation))
    failed = span.status.status_code.name == "ERROR"
    return [finding.code for finding in findings if finding.is_error], failed


@pytest.mark.parametrize(
    "case", [c for c in own_cases() if c.vendor in VENDORS], ids=lambda case: case.name
)
def test_our_own_exchanges_become_valid_rows_or_say_why_not(case: Case, apps: Applications) -> None:
    found, failed = errors(apps, case)

    if case.name.startswith(NO_CHAT) or not case.path.endswith(CHAT_PATHS):
        assert found in (["no_messages"], ["no_span"])
    elif case.name in REFUSED:
        assert found[0] == REFUSED[case.name]
    elif failed or case.name.startswith("openai-responses-stream-"):
        assert found in ([], ["no_answer"])
    else:
        assert found == []


@pytest.mark.parametrize("case", corpus_cases(*VENDORS), ids=lambda case: case.name)
def test_recorded_exchanges_become_valid_rows_or_have_no_answer(
    case: Case, apps: Applications
) -> None:
    found, _ = errors(apps, case)

    assert found in ([], ["no_answer"], ["no_messages"])
