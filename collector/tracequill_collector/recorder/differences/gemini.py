"""Differences from the instrumentor for Google's library. No input or output."""

from __future__ import annotations

import re
from typing import Any

from tracequill_collector.recorder.body import parse_json
from tracequill_collector.recorder.differences.difference import (
    ABSENT,
    Difference,
    equal_after,
    has_more,
    only,
)
from tracequill_collector.recorder.gemini.names import snake_case, standard_base64

_GENERATE = r"(Async)?GenerateContent(Stream)?"
_STREAM = r"(Async)?GenerateContentStream"
_EMBED = r"(Async)?EmbedContent"
_CACHE = r"(Async)?Caches\.create"
_INTERACTION = r"(Async)?InteractionsResource\.create"
_TIME = re.compile(r"(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d(?:\.\d{1,6})?)\d*(?:Z|\+00:00)")
_ADDED = ("automatic_function_calling_history", "parsed", "sdk_http_response")


def _without_added(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    return {name: item for name, item in value.items() if name not in _ADDED}


def _with_plain_values(value: Any) -> Any:
    """Write binary data and times in one way."""
    if isinstance(value, list):
        return [_with_plain_values(item) for item in value]
    if isinstance(value, str):
        return _TIME.sub(r"\1T\2Z", value)
    if not isinstance(value, dict):
        return value
    return {
        name: standard_base64(item)
        if name in ("data", "thought_signature")
        else _with_plain_values(item)
        for name, item in _without_added(value).items()
    }


def _with_snake_names(value: Any) -> Any:
    if isinstance(value, list):
        return [_with_snake_names(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {snake_case(name): _with_snake_names(item) for name, item in value.items()}


def _holds(ours: Any, theirs: Any) -> bool:
    """Whether all of theirs stands in ours."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        return all(name in ours and _holds(ours[name], item) for name, item in theirs.items())
    if isinstance(ours, list) and isinstance(theirs, list):
        return len(ours) == len(theirs) and all(map(_holds, ours, theirs))
    return bool(ours == theirs)


def _is_flattened(ours: Any, theirs: Any) -> bool:
    if not isinstance(theirs, dict):
        return False
    names = _with_snake_names({"model": theirs.get("model"), **theirs.get("config", {})})
    return bool(_with_snake_names(ours) == names)


def _is_wrapped(ours: Any, theirs: Any) -> bool:
    return bool(ours == [{"type": "user_input", "content": theirs}])


def _say_the_same(ours: Any, theirs: Any) -> bool:
    """Whether two answers have the same texts, however they are parted."""
    if not isinstance(ours, dict) or not isinstance(theirs, dict):
        return True
    return _texts(ours) == _texts(theirs)


def _texts(response: dict[str, Any]) -> list[str]:
    contents = [candidate["content"] for candidate in response["candidates"]]
    return ["".join(part.get("text", "") for part in content["parts"]) for content in contents]


def _both(ours: Any, theirs: Any) -> bool:
    """Whether both have the attribute."""
    return ABSENT not in (ours, theirs)


GEMINI: tuple[Difference, ...] = (
    Difference(
        "gemini-async-names",
        r"Async.*",
        r"name",
        ours="GenerateContent",
        theirs="AsyncGenerateContent, of an asynchronous client",
        reason="How an application waits does not cross the proxy.",
        tolerates=lambda ours, theirs: theirs == f"Async{ours}",
    ),
    Difference(
        "gemini-added-by-library",
        _GENERATE,
        r"output\.value",
        ours="the answer",
        theirs="the answer, and what the library adds: headers, parsed JSON, calls it made itself",
        reason="That did not cross as the answer; the headers that help stand in tracequill.*.",
        tolerates=equal_after(_without_added),
    ),
    Difference(
        "gemini-python-values",
        rf"{_GENERATE}|{_CACHE}",
        r"output\.value",
        ours="binary data and times as they crossed",
        theirs="binary data in the URL-safe alphabet, times cut to microseconds",
        reason="What crossed can be found again by searching for it.",
        tolerates=equal_after(_with_plain_values),
    ),
    Difference(
        "gemini-new-fields",
        rf"{_GENERATE}|{_CACHE}",
        r"output\.value",
        ours="all fields of the answer",
        theirs="the fields that the installed library knows",
        reason="Nothing that was sent is left out for a client's age.",
        tolerates=lambda ours, theirs: _holds(_with_plain_values(ours), _with_plain_values(theirs)),
    ),
    Difference(
        "gemini-data-names",
        _GENERATE,
        r"input\.value|llm\.(invocation_parameters|tools\.\d+\.tool\.json_schema)",
        ours="names that the application chose as it chose them: bridgeName",
        theirs="all names in snake_case: bridge_name",
        reason="A renamed argument, property or label is another one; JSON Schema has no "
        "additional_properties.",
        tolerates=equal_after(_with_snake_names),
    ),
    Difference(
        "gemini-call-ids",
        _GENERATE,
        r"llm\.output_messages\..*\.tool_call\.id",
        ours="the id of the call",
        theirs="none, though the messages of the next request have it",
        reason="Results are matched with calls by it.",
        tolerates=only("ours"),
    ),
    Difference(
        "gemini-broken-answer",
        _GENERATE,
        r"output\.value",
        ours="the text of an answer that is not JSON",
        theirs="none",
        reason="It says who answered: often a gateway's page.",
        tolerates=only("ours"),
    ),
    Difference(
        "gemini-stream-request",
        _STREAM,
        r"input\..*|llm\.(tools\..*|invocation_parameters)",
        ours="the request",
        theirs="none, when a stream ends or fails before its first chunk",
        reason="What failed is the request.",
        tolerates=only("ours"),
    ),
    Difference(
        "gemini-stream-finish-reason",
        _STREAM,
        r"llm\.finish_reason",
        ours="that of the first candidate",
        theirs="that of the last candidate",
        reason="The instrumentor itself takes the first when nothing is streamed.",
        tolerates=_both,
    ),
    Difference(
        "gemini-stream-parts",
        _STREAM,
        r"output\.value|llm\.output_messages\..*",
        ours="each part on its own, all pieces of a call's arguments",
        theirs="parts of tools that the server runs go into the text before them, of several "
        "signatures or pieces of arguments the last stays",
        reason="The instrumentor does not know these parts.",
        tolerates=_say_the_same,
    ),
    Difference(
        "gemini-embeddings-output",
        _EMBED,
        r"output\..*|llm\.token_count\..*",
        ours="the answer and its token counts",
        theirs="none but the vectors",
        reason="What was said and paid for belongs in the span.",
        tolerates=only("ours"),
    ),
    Difference(
        "gemini-embeddings-one",
        _EMBED,
        r"embedding\.(invocation_parameters|embeddings\..*\.embedding\.text)",
        ours="text and parameters",
        theirs="none, for the endpoint that embeds one content",
        reason="The instrumentor knows the endpoints for many.",
        tolerates=only("ours"),
    ),
    Difference(
        "gemini-cache-arguments",
        _CACHE,
        r"input\.value",
        ours="the request as it crossed",
        theirs="the arguments of the Python method: model and config",
        reason="The request is what the vendor saw.",
        tolerates=_is_flattened,
    ),
    Difference(
        "gemini-interaction-unread",
        _INTERACTION,
        r"llm\.(provider|invocation_parameters|(input|output)_messages\..*)|metadata",
        ours="messages and parameters of agents, and of an input that is one content",
        theirs="none",
        reason="They are asked and answer as models and lists of contents do.",
        tolerates=only("ours"),
    ),
    Difference(
        "gemini-interaction-results",
        _INTERACTION,
        r"llm\.(input|output)_messages\.\d+\.message\.content",
        ours="a function's result as JSON",
        theirs="a function's result as an object, where a text is expected",
        reason="The content of a message is text.",
        tolerates=lambda ours, theirs: parse_json(str(ours)) == theirs,
    ),
    Difference(
        "gemini-interaction-id",
        r"(Async)?InteractionsResource\.get",
        r"metadata",
        ours="none",
        theirs="the id of an interaction that is read again",
        reason="It stands in the name of the span.",
        tolerates=only("theirs"),
    ),
    Difference(
        "gemini-interaction-input",
        _INTERACTION,
        r"input\.value",
        ours="the input as it crossed",
        theirs="the input before the library made a user_input of it",
        reason="The request is what the vendor saw.",
        tolerates=_is_wrapped,
    ),
    Difference(
        "gemini-interaction-parameters",
        _INTERACTION,
        r"llm\.invocation_parameters",
        ours="all other fields of the request",
        theirs="generation_config and response_format alone",
        reason="How it was stored, at which price and after what belongs in the span.",
        tolerates=has_more,
    ),
    Difference(
        "gemini-interaction-model",
        _INTERACTION,
        r"llm\.model_name",
        ours="the model that was asked for",
        theirs="none, when there is no answer",
        reason="A failure is looked for by its model.",
        tolerates=only("ours"),
    ),
    Difference(
        "gemini-interaction-output",
        _INTERACTION,
        r"output\.(value|mime_type)",
        ours="the whole answer as JSON",
        theirs="its steps as Python writes objects",
        reason="JSON can be read again; the answer's id is needed to go on.",
    ),
    Difference(
        "gemini-interaction-stream-content",
        _INTERACTION,
        r"llm\.output_messages\..*",
        ours="each content of a streamed step in its place",
        theirs="an image goes into the text before it",
        reason="The instrumentor expects one content a step.",
    ),
    Difference(
        "gemini-interaction-error",
        _INTERACTION,
        r"events|status|status_message|exception\.(type|message|escaped)",
        ours="ERROR, with the message of the error event",
        theirs="OK",
        reason="The call failed; the library raises nothing, so the instrumentor cannot know.",
    ),
)
"""All of them."""
