"""Differences from the instrumentor for boto3's client of Bedrock's agents. No input or output."""

from __future__ import annotations

import ast
import base64
import binascii
import re
from typing import Any

from tracequill_collector.recorder.differences.difference import (
    ABSENT,
    OUTPUT,
    Difference,
    equal_after,
    only,
)

_KEY_ERROR = re.compile(r"KeyError|^'(citations|retrievalResults)'$")
_AGENT = r"bedrock_agent\.invoke_(inline_)?agent"


def _with_decoded_data(value: Any) -> Any:
    """Give the bytes in every field ``data``, whether in base64 or as Python writes bytes."""
    if isinstance(value, list):
        return [_with_decoded_data(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        key: _bytes(item) if key == "data" else _with_decoded_data(item)
        for key, item in value.items()
    }


def _bytes(item: Any) -> Any:
    if str(item).startswith(("b'", 'b"')):
        return ast.literal_eval(str(item))
    try:
        return base64.b64decode(item)
    except (binascii.Error, TypeError, ValueError):
        return item


BEDROCK_AGENT: tuple[Difference, ...] = (
    Difference(
        "bedrock-agent-binary",
        r"bedrock\.retrieve_and_generate",
        r"llm\.invocation_parameters",
        ours="files in base64",
        theirs="files as Python writes bytes: b'...'",
        reason="Base64 is what crosses, it is shorter, and it can be read again.",
        tolerates=equal_after(_with_decoded_data),
    ),
    Difference(
        "bedrock-agent-empty",
        r"bedrock\.retrieve(_and_generate)?",
        r"events|exception\..*|status|status_message",
        ours="a success without documents",
        theirs="a KeyError, which the instrumentor raises into the application",
        reason="The call succeeded; the error is the instrumentor's.",
        tolerates=lambda ours, theirs: (
            ours in ([], "OK", "", ABSENT)
            and (
                theirs in (["exception"], "ERROR", "False")
                or _KEY_ERROR.search(str(theirs)) is not None
            )
        ),
    ),
    Difference(
        "bedrock-agent-failure",
        _AGENT,
        r"output\.(value|mime_type)",
        ours="code and reason, on the span of a failed step",
        theirs="none",
        reason="It is what the trace says of the failure, and the first thing to look for.",
        tolerates=lambda ours, theirs: (
            only("ours")(ours, theirs)
            and (str(ours).startswith("Failure ") or ours == "text/plain")
        ),
    ),
    Difference(
        "bedrock-agent-generate-exception",
        r"bedrock_agent\.retrieve_and_generate_stream",
        rf"{OUTPUT}|retrieval\..*|status_message",
        ours="the output as far as it came, and the exception's message",
        theirs="none",
        reason="What was said and paid for belongs in the span, and why it ended.",
        tolerates=lambda ours, theirs: only("ours")(ours, theirs) or theirs == "",
    ),
    Difference(
        "bedrock-agent-no-text",
        _AGENT,
        r"output\.(value|mime_type)",
        ours="where the agent says nothing: what it asks the application to do, the names of the "
        "files it gives",
        theirs="none",
        reason="It is the answer.",
        tolerates=lambda ours, theirs: (
            only("ours")(ours, theirs)
            and (isinstance(ours, dict | list) or ours == "application/json")
        ),
    ),
    Difference(
        "bedrock-agent-silence",
        _AGENT,
        r"output\.(value|mime_type)",
        ours="no output of code that wrote none",
        theirs='the text "None"',
        reason="The code did not write it.",
        tolerates=lambda ours, theirs: (
            only("theirs")(ours, theirs) and theirs in ("None", "text/plain")
        ),
    ),
)
