"""Where the recorder's span differs from the instrumentor's, and why; nothing else may differ.

The test of equality reads this table. JSON-valued attributes are compared parsed; what Tracequill
adds to every span (``tracequill.*``, session, user, metadata, tags) is no difference.
No input or output, and nothing at run time depends on it.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from tracequill_collector.recorder.secret import REPLACEMENT

Attribute = tuple[str, Any, Any]
"""A name, the recorder's value and the instrumentor's; ABSENT where one has none."""

ABSENT = object()


@dataclass(frozen=True, slots=True)
class Difference:
    """One known difference."""

    name: str
    spans: str
    """Pattern of the span names it can stand on."""
    attributes: str
    """Pattern of the attributes that differ."""
    ours: str
    theirs: str
    reason: str
    tolerates: Callable[[Any, Any], bool] = lambda ours, theirs: True
    """Whether the two values differ in just this way."""

    def covers(self, span_name: str, attribute: Attribute) -> bool:
        """Whether the attribute's two values differ for this reason."""
        name, ours, theirs = attribute
        return (
            re.fullmatch(self.spans, span_name) is not None
            and re.fullmatch(self.attributes, name) is not None
            and self.tolerates(ours, theirs)
        )


def _only(side: Literal["ours", "theirs"]) -> Callable[[Any, Any], bool]:
    def tolerates(ours: Any, theirs: Any) -> bool:
        absent, present = (theirs, ours) if side == "ours" else (ours, theirs)
        return absent is ABSENT and present is not ABSENT

    return tolerates


def _equal_after(change: Callable[[Any], Any]) -> Callable[[Any, Any], bool]:
    return lambda ours, theirs: bool(change(ours) == change(theirs))


def _has_more(ours: Any, theirs: Any) -> bool:
    both_objects = isinstance(ours, dict) and isinstance(theirs, dict)
    return both_objects and all(ours.get(key) == value for key, value in theirs.items())


def _without_nulls(value: Any) -> Any:
    if isinstance(value, list):
        return [_without_nulls(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {key: _without_nulls(item) for key, item in value.items() if item is not None}


def _with_wire_names(value: Any) -> Any:
    if isinstance(value, list):
        return [_with_wire_names(item) for item in value]
    if not isinstance(value, dict):
        return value
    names = {"schema_": "schema", "async_": "async"}
    return {names.get(key, key): _with_wire_names(item) for key, item in value.items()}


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


_LLM = (
    r"ChatCompletion|Completion|Response|CreateEmbeddings|bedrock\.converse(_stream)?"
    r"|bedrock\.invoke_model(_with_response_stream)?"
)
_ERROR = r"status_message|exception\.message"
_OUTPUT = r"output\..*|llm\.(output_messages|token_count)\..*|llm\.(model_name|finish_reason)"

DIFFERENCES: tuple[Difference, ...] = (
    Difference(
        "plain-endpoints",
        rf"(?!({_LLM})$).*",
        r"name|openinference\.span\.kind|(input|output|llm)\..*",
        ours="a span of kind CHAIN, named by method and path",
        theirs="a span of kind LLM, named by a Python class",
        reason="Listing models or reading a stored response is no LLM call; tokens that are read "
        "again would be counted twice.",
    ),
    Difference(
        "no-stack-trace",
        ".*",
        r"exception\.stacktrace",
        ours="none",
        theirs="the application's stack",
        reason="It never crosses the proxy.",
        tolerates=_only("theirs"),
    ),
    Difference(
        "key-in-error",
        ".*",
        _ERROR,
        ours="[key removed]",
        theirs="the key, as the vendor quotes it",
        reason="No key is ever written to a span.",
        tolerates=lambda ours, theirs: REPLACEMENT in str(ours),
    ),
    Difference(
        "openai-extra-body",
        "ChatCompletion|Completion|Response|CreateEmbeddings",
        r"input\.value|(llm|embedding)\.invocation_parameters",
        ours="the request as it crossed",
        theirs="the request without what was given as extra_body",
        reason="The library adds extra_body after the instrumentor has looked.",
        tolerates=_has_more,
    ),
    Difference(
        "openai-response-tools",
        "Response",
        r"llm\.tools\.\d+\.tool\.json_schema",
        ours="the tool as the vendor sent it",
        theirs="the tool with a null for each field that the library knows",
        reason="Which fields these are depends on the version of the library.",
        tolerates=_equal_after(lambda value: _without_nulls(_with_wire_names(value))),
    ),
    Difference(
        "openai-python-names",
        "Response",
        r"output\.value",
        ours="schema, async",
        theirs="schema_, async_",
        reason="The library's Python names, where the vendor's are taken in Python.",
        tolerates=_equal_after(_with_wire_names),
    ),
    Difference(
        "openai-response-without-completion",
        "Response",
        _OUTPUT,
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
        "openai-embeddings-base64",
        "CreateEmbeddings",
        r"output\.value",
        ours="vectors as numbers",
        theirs="vectors in base64, when the application itself asked for base64",
        reason="The library asks for base64 anyway and decodes it; what crosses is the same.",
    ),
    Difference(
        "bedrock-binary",
        r"bedrock\.converse(_stream)?",
        r"(input|output)\.value",
        ours="binary parts in base64",
        theirs="binary parts as Python writes bytes: b'...'",
        reason="Base64 is what crosses, it is shorter, and it can be read again.",
        tolerates=_equal_after(_with_decoded_binary),
    ),
    Difference(
        "bedrock-new-fields",
        r"bedrock\.converse(_stream)?",
        r"output\.value",
        ours="all fields of the answer",
        theirs="the fields that the installed botocore knows",
        reason="Nothing that was sent is left out for a client's age.",
        tolerates=_has_more,
    ),
    Difference(
        "bedrock-retries",
        r"bedrock\..*",
        _ERROR,
        ours="one span for each attempt",
        theirs="one span for all attempts; the message counts them",
        reason="Each attempt crosses the proxy on its own.",
        tolerates=_equal_after(_without_retries),
    ),
    Difference(
        "bedrock-stream-exception",
        r"bedrock\.(converse_stream|invoke_model_with_response_stream)",
        _OUTPUT,
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
        tolerates=_only("ours"),
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
        rf"{_OUTPUT}|llm\.provider|status",
        ours="answer, token counts, model and provider",
        theirs="none, for all models but Claude, Nova and OpenAI's",
        reason="What was said and paid for belongs in the span.",
    ),
)
