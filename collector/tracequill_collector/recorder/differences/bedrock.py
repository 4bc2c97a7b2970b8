"""Differences from the instrumentor for boto3's Bedrock clients. No input or output."""

from __future__ import annotations

import base64
import re
from typing import Any

from tracequill_collector.recorder.differences.difference import (
    ERROR,
    OUTPUT,
    Difference,
    equal_after,
    has_more,
    only,
)
from tracequill_collector.recorder.message import without_large_binary


def _with_decoded_binary(value: Any) -> Any:
    """Write base64 as Python writes the bytes in it."""
    if isinstance(value, list):
        return [_with_decoded_binary(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        key: str(base64.b64decode(item))
        if key in ("bytes", "redactedContent") and not str(item).startswith("b'")
        else _with_decoded_binary(item)
        for key, item in value.items()
    }


def _without_retries(value: Any) -> str:
    return re.sub(r" \(reached max retries: \d+\)", "", str(value))


BEDROCK: tuple[Difference, ...] = (
    Difference(
        "bedrock-binary",
        r"bedrock\.converse(_stream)?",
        r"(input|output)\.value",
        ours="binary parts in base64",
        theirs="binary parts as Python writes bytes: b'...'",
        reason="Base64 is what crosses, it is shorter, and it can be read again.",
        tolerates=equal_after(_with_decoded_binary),
    ),
    Difference(
        "bedrock-new-fields",
        r"bedrock\.converse(_stream)?",
        r"output\.value",
        ours="all fields of the answer",
        theirs="the fields that the installed botocore knows",
        reason="Nothing that was sent is left out for a client's age.",
        tolerates=has_more,
    ),
    Difference(
        "bedrock-retries",
        r"bedrock(_agent)?\..*",
        ERROR,
        ours="one span for each attempt",
        theirs="one span for all attempts; the message counts them",
        reason="Each attempt crosses the proxy on its own.",
        tolerates=equal_after(_without_retries),
    ),
    Difference(
        "bedrock-guardrail-exception",
        r"bedrock\.apply_guardrail",
        "events",
        ours="an exception once",
        theirs="an exception twice",
        reason="It was raised once.",
        tolerates=lambda ours, theirs: ours * 2 == theirs,
    ),
    Difference(
        "bedrock-stream-exception",
        r"bedrock\.(converse_stream|invoke_model_with_response_stream)",
        OUTPUT,
        ours="the output as far as it came",
        theirs="none",
        reason="What was said and paid for belongs in the span.",
    ),
    Difference(
        "bedrock-claude-blocks",
        r"bedrock\.invoke_model_with_response_stream",
        r"output\.value|llm\.output_messages\..*",
        ours="each block in its place, thinking in output.value",
        theirs="thinking is skipped and moves the text after it; of several texts the last stays",
        reason="The instrumentor's event types are older than thinking.",
    ),
    Difference(
        "bedrock-claude-image-urls",
        r"bedrock\.invoke_model",
        r"llm\.input_messages\..*\.image\.url",
        ours="the address of the image",
        theirs="data:image/png;base64,None",
        reason="The instrumentor expects base64 only.",
        tolerates=lambda ours, theirs: str(theirs).endswith(";base64,None"),
    ),
    Difference(
        "bedrock-vendor-of-profile",
        r"bedrock\.invoke_model",
        r"output\.value",
        ours="the answer",
        theirs="none, when an inference profile's region stands before the vendor",
        reason="Newer models can only be called through a profile.",
        tolerates=only("ours"),
    ),
    Difference(
        "bedrock-large-binary",
        r"bedrock\.invoke_model(_with_response_stream)?",
        r"llm\.invocation_parameters|input\.value",
        ours="__REDACTED__ for an image of more than 32,000 characters",
        theirs="the image",
        reason="As OpenInference does with images in messages; a span of megabytes helps nobody.",
        tolerates=equal_after(without_large_binary),
    ),
    Difference(
        "bedrock-no-answer",
        r"bedrock\.invoke_model",
        r"output\.value",
        ours="no output where a model answers with something else than text",
        theirs='the text "None"',
        reason="The model did not say it.",
        tolerates=lambda ours, theirs: only("theirs")(ours, theirs) and theirs == "None",
    ),
    Difference(
        "bedrock-prompt-variables",
        r"bedrock\.converse(_stream)?",
        r"input\.value",
        ours="the values for a kept prompt's variables",
        theirs="an empty list, where the prompt has all messages",
        reason="It is what was asked.",
        tolerates=lambda ours, theirs: isinstance(ours, dict) and theirs == [],
    ),
    Difference(
        "bedrock-nova-images",
        r"bedrock\.invoke_model",
        r"input\.value",
        ours="the request",
        theirs="an empty list, for Nova's models that paint",
        reason="What was asked belongs in the span.",
        tolerates=lambda ours, theirs: theirs == [],
    ),
    Difference(
        "bedrock-unnamed-profile",
        r"bedrock\.invoke_model",
        r"llm\.(invocation_parameters|system|provider|model_name|tools\..*|token_count\..*)|"
        r"(input|output)\..*|llm\.(input|output)_messages\..*",
        ours="what was asked and answered, by the shape of the request",
        theirs="none, when an ARN does not name the vendor; the request as its parameters",
        reason="Profiles of an application's own are how teams are told apart on a bill.",
        tolerates=lambda ours, theirs: (
            only("ours")(ours, theirs)
            or str(theirs).startswith("arn:")
            or (isinstance(theirs, dict) and "messages" in theirs)
        ),
    ),
    Difference(
        "bedrock-lists",
        r"bedrock\.invoke_model",
        r"output\.value",
        ours="a list as JSON",
        theirs="a list as Python writes it",
        reason="JSON can be read again.",
        tolerates=lambda ours, theirs: str(ours) == theirs,
    ),
    Difference(
        "bedrock-other-streams",
        r"bedrock\.invoke_model_with_response_stream",
        rf"{OUTPUT}|llm\.provider|status",
        ours="answer, token counts, model and provider",
        theirs="none, for all models but Claude, Nova and OpenAI's",
        reason="What was said and paid for belongs in the span.",
    ),
)
