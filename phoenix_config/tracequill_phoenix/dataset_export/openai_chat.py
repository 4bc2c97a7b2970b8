"""OpenAI's supervised chat format: a conversation becomes a row, and a row is held to the rules.

One row is one line of the training file: ``messages``, ``tools``, ``parallel_tool_calls``. The
validator knows nothing of how a row was made: it checks any row, ours or another's, against what
the platform documents (the ``FineTuneChatRequestInput`` schema and the fine-tuning guides), so
that a file that passes is not sent back. Azure OpenAI takes the same rows.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import orjson

from tracequill_phoenix.dataset_export.conversation import Conversation, Message, ToolCall
from tracequill_phoenix.dataset_export.finding import Finding

MIN_EXAMPLES = 10  # fewer, and the platform refuses the job
MAX_FILE_BYTES = 512 * 1024 * 1024
MAX_IMAGE_ROWS = 50_000
MAX_IMAGES = 64  # in one row
MAX_IMAGE_BYTES = 10 * 1024 * 1024
MAX_TOOLS = 128

_ROW_KEYS = frozenset({"messages", "tools", "parallel_tool_calls", "functions"})
_MESSAGE_KEYS = {
    "system": frozenset({"role", "content", "name"}),
    "user": frozenset({"role", "content", "name"}),
    "assistant": frozenset(
        {"role", "content", "name", "refusal", "tool_calls", "function_call", "weight"}
    ),
    "tool": frozenset({"role", "content", "tool_call_id"}),
    "function": frozenset({"role", "content", "name"}),  # deprecated, still taken
}
_FUNCTION_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}\Z")
_PARTICIPANT_NAME = re.compile(r"[^\s<|\\/>]{1,64}\Z")
_IMAGE_URL = re.compile(r"https?://[^\s/]+|data:image/(?:png|jpe?g|webp);base64,[A-Za-z0-9+/]")


# --- a conversation becomes a row --------------------------------------------------------


def to_row(conversation: Conversation, *, train_history: bool = False) -> dict[str, Any]:
    """Give the row for *conversation*, valid or not: ``validate`` says which.

    Only the answer is trained, since only it was judged: earlier turns of the assistant get
    ``weight`` 0 unless *train_history*.
    """
    messages = [_message(turn) for turn in conversation.history]
    if not train_history:
        for message in messages:
            if message["role"] == "assistant":
                message["weight"] = 0
    if conversation.answer is not None:
        messages.append(_message(conversation.answer))
    row: dict[str, Any] = {"messages": messages}
    if conversation.tools:
        row["tools"] = conversation.tools
        if conversation.parallel_tool_calls is not None:
            row["parallel_tool_calls"] = conversation.parallel_tool_calls
    return row


def _message(turn: Message) -> dict[str, Any]:
    message: dict[str, Any] = {"role": turn.role}
    if turn.role == "tool":
        if turn.tool_call_id:
            message["tool_call_id"] = turn.tool_call_id
    elif _PARTICIPANT_NAME.match(turn.name):
        message["name"] = turn.name
    if len(turn.parts) == 1 and turn.parts[0].kind == "text":
        message["content"] = turn.parts[0].value
    elif turn.parts:
        message["content"] = [
            {"type": "text", "text": part.value}
            if part.kind == "text"
            else {"type": "image_url", "image_url": {"url": part.value}}
            for part in turn.parts
        ]
    elif not turn.tool_calls:
        message["content"] = ""
    if turn.tool_calls:
        message["tool_calls"] = [_tool_call(call) for call in turn.tool_calls]
    return message


def _tool_call(call: ToolCall) -> dict[str, Any]:
    function = {"name": call.name, "arguments": call.arguments}
    return {"id": call.id, "type": "function", "function": function}


# --- a row is held to the rules ----------------------------------------------------------


def validate_line(line: str | bytes) -> list[Finding]:
    """Check one line of a training file."""
    try:
        row = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        return [Finding("not_json", f"the line is not JSON: {error}")]
    return validate(row)


def validate(row: object) -> list[Finding]:
    """Check *row* against every rule; an empty list means that the platform takes it."""
    if not isinstance(row, dict):
        return [Finding("not_an_object", f"the row is a {type(row).__name__}, not an object")]
    findings = [
        Finding("unknown_key", f"the row has the key {key!r}")
        for key in row
        if key not in _ROW_KEYS
    ]
    declared: set[str] = set()
    findings += _check_tools(row, declared)
    messages = row.get("messages")
    if not isinstance(messages, list) or not messages:
        findings.append(Finding("messages_missing", "messages must be a list with an entry"))
        return findings
    for position, message in enumerate(messages):
        findings += _check_message(message, f"message {position}")
    if all(isinstance(message, dict) for message in messages):
        findings += _check_turns(messages)
        findings += _check_answer(messages[-1], declared)
        images = sum(1 for message in messages for _ in _images(message))
        if images > MAX_IMAGES:
            text = f"the row holds {images} images; at most {MAX_IMAGES} are taken"
            findings.append(Finding("too_many_images", text))
    return findings


def has_image(row: dict[str, Any]) -> bool:
    """Whether a valid *row* holds an image, of which a file may have so many."""
    return any(True for message in row["messages"] for _ in _images(message))


def check_file(rows: int, image_rows: int, size_bytes: int) -> list[Finding]:
    """Check what only the whole file shows."""
    findings = []
    if rows < MIN_EXAMPLES:
        findings.append(
            Finding(
                "too_few_examples",
                f"the file has {rows} examples; the platform asks for at least {MIN_EXAMPLES}",
                False,
            )
        )
    if image_rows > MAX_IMAGE_ROWS:
        text = f"{image_rows} examples hold images; the platform takes {MAX_IMAGE_ROWS}"
        findings.append(Finding("too_many_image_examples", text, False))
    if size_bytes > MAX_FILE_BYTES:
        text = f"the file has {size_bytes} bytes; the platform takes {MAX_FILE_BYTES}"
        findings.append(Finding("file_too_large", text, False))
    return findings


def _check_message(message: object, where: str) -> Iterator[Finding]:
    if not isinstance(message, dict):
        yield Finding("message_not_an_object", f"{where} is not an object")
        return
    role = message.get("role")
    if not isinstance(role, str) or role not in _MESSAGE_KEYS:
        roles = ", ".join(_MESSAGE_KEYS)
        yield Finding("unknown_role", f"{where} has the role {role!r}; roles are {roles}")
        return
    for key in message:
        if key not in _MESSAGE_KEYS[role]:
            yield Finding("unknown_message_key", f"{where} ({role}) has the key {key!r}")
    name = message.get("name")
    if name is not None and not (isinstance(name, str) and _PARTICIPANT_NAME.match(name)):
        yield Finding("name_invalid", f"{where} has the name {name!r}")
    yield from _check_content(message, role, where)
    if role == "assistant":
        yield from _check_assistant(message, where)
    elif role == "tool" and not _is_text(message.get("tool_call_id")):
        yield Finding("tool_call_id_missing", f"{where} (tool) does not say which call it answers")
    elif role == "function" and not _is_text(name):
        yield Finding("name_invalid", f"{where} (function) does not say which function it is of")


def _check_content(message: dict[str, Any], role: str, where: str) -> Iterator[Finding]:
    content = message.get("content")
    if content is None or content == "" or content == []:
        said = role == "assistant" and any(
            message.get(key) for key in ("tool_calls", "function_call", "refusal")
        )
        silent = role in ("tool", "function") and content == ""
        if not said and not silent:
            yield Finding("content_missing", f"{where} ({role}) has no content")
    elif isinstance(content, list):
        for part in content:
            yield from _check_part(part, role, where)
    elif not isinstance(content, str):
        kind = type(content).__name__
        yield Finding("content_invalid", f"{where} has a {kind} as content, not a text or parts")


def _check_part(part: object, role: str, where: str) -> Iterator[Finding]:
    kind = part.get("type") if isinstance(part, dict) else None
    if not isinstance(part, dict) or kind not in ("text", "image_url", "refusal"):
        yield Finding("part_invalid", f"{where} has a part of the type {kind!r}")
    elif kind == "image_url":
        if role != "user":
            yield Finding("image_not_allowed", f"{where} ({role}) holds an image; only users may")
        yield from _check_image(part.get("image_url"), where)
    elif kind == "refusal" and role != "assistant":
        yield Finding("part_invalid", f"{where} ({role}) holds a refusal")
    elif not isinstance(part.get(kind), str):
        yield Finding("part_invalid", f"{where} has a {kind} part without {kind}")


def _check_image(image: object, where: str) -> Iterator[Finding]:
    url = image.get("url") if isinstance(image, dict) else None
    if not isinstance(image, dict) or not isinstance(url, str):
        yield Finding("image_invalid", f"{where} holds an image without a URL")
        return
    if image.get("detail", "auto") not in ("auto", "low", "high"):
        yield Finding("image_invalid", f"{where}: an image's detail is {image['detail']!r}")
    if not _IMAGE_URL.match(url):
        text = "must be http, https or a base64 data URL of PNG, JPEG or WEBP"
        yield Finding("image_invalid", f"{where}: an image is {url[:40]!r}; it {text}")
    elif url.startswith("data:") and len(url) * 3 // 4 > MAX_IMAGE_BYTES:
        yield Finding("image_too_large", f"{where} holds an image over {MAX_IMAGE_BYTES} bytes")


def _check_assistant(message: dict[str, Any], where: str) -> Iterator[Finding]:
    weight = message.get("weight", 1)
    if isinstance(weight, bool) or weight not in (0, 1) or not isinstance(weight, int):
        yield Finding("weight_invalid", f"{where} has the weight {weight!r}; it must be 0 or 1")
    if not isinstance(message.get("refusal", ""), str | None):
        yield Finding("content_invalid", f"{where} has a refusal that is not a text")
    if (call := message.get("function_call")) is not None:
        yield from _check_function(call, f"{where}, function_call")
    if (calls := message.get("tool_calls")) is None:
        return
    if not isinstance(calls, list) or not calls:
        yield Finding("tool_calls_invalid", f"{where}: tool_calls must be a list with an entry")
        return
    seen: set[str] = set()
    for number, tool_call in enumerate(calls):
        at = f"{where}, tool call {number}"
        if not isinstance(tool_call, dict):
            yield Finding("tool_calls_invalid", f"{at} is not an object")
            continue
        identity = tool_call.get("id")
        if not isinstance(identity, str) or not identity:
            yield Finding("tool_call_id_missing", f"{at} has no id")
        elif identity in seen:
            yield Finding("tool_call_id_twice", f"{at} has the id {identity!r} of another call")
        else:
            seen.add(identity)
        if tool_call.get("type") != "function":
            kind = tool_call.get("type")
            yield Finding("tool_call_type", f"{at} has the type {kind!r}; it must be 'function'")
        yield from _check_function(tool_call.get("function"), at)


def _check_function(function: object, where: str) -> Iterator[Finding]:
    if not isinstance(function, dict):
        yield Finding("tool_calls_invalid", f"{where} names no function")
        return
    name = function.get("name")
    if not isinstance(name, str) or not _FUNCTION_NAME.match(name):
        yield Finding("function_name_invalid", f"{where} calls {name!r}; {_NAME_RULE}")
    arguments = function.get("arguments")
    if not isinstance(arguments, str):
        kind = type(arguments).__name__
        yield Finding("arguments_not_text", f"{where}: arguments are a {kind}, not JSON as text")
        return
    try:
        parsed = orjson.loads(arguments)
    except orjson.JSONDecodeError:
        yield Finding("arguments_not_json", f"{where}: arguments are not JSON")
        return
    if not isinstance(parsed, dict):
        yield Finding("arguments_not_json", f"{where}: arguments are not a JSON object")


def _check_turns(messages: list[dict[str, Any]]) -> Iterator[Finding]:
    """Each call is answered directly after it, and each reply answers a call before it."""
    waiting: set[str] = set()
    for position, message in enumerate(messages):
        if message.get("role") == "tool":
            identity = message.get("tool_call_id")
            if _is_text(identity) and identity not in waiting:
                text = f"message {position} answers {identity!r}, which no call before it has as id"
                yield Finding("tool_reply_unpaired", text)
            waiting.discard(str(identity))
            continue
        if waiting:
            text = f"message {position} stands where the replies to {sorted(waiting)} are missing"
            yield Finding("tool_reply_missing", text)
        calls = message.get("tool_calls")
        waiting = {
            str(call["id"])
            for call in (calls if isinstance(calls, list) else ())
            if isinstance(call, dict) and _is_text(call.get("id"))
        }


def _check_answer(last: dict[str, Any], declared: set[str]) -> Iterator[Finding]:
    if last.get("role") != "assistant":
        role = last.get("role")
        yield Finding(
            "last_not_assistant", f"the last message is of {role!r}; it must be the answer"
        )
        return
    if last.get("weight") == 0:
        yield Finding("nothing_to_train", "the last message has weight 0: nothing is learned of it")
    calls = last.get("tool_calls")
    for call in calls if isinstance(calls, list) else ():
        function = call.get("function") if isinstance(call, dict) else None
        name = function.get("name") if isinstance(function, dict) else None
        if isinstance(name, str) and name not in declared:
            yield Finding(
                "tool_not_declared", f"the answer calls {name!r}, which tools do not list"
            )


def _check_tools(row: dict[str, Any], declared: set[str]) -> Iterator[Finding]:
    """Check tools and functions, and put their names into *declared*."""
    parallel = row.get("parallel_tool_calls")
    if parallel is not None and not isinstance(parallel, bool):
        yield Finding("parallel_tool_calls_invalid", "parallel_tool_calls must be true or false")
    if parallel is not None and not row.get("tools"):
        yield Finding("parallel_tool_calls_invalid", "parallel_tool_calls is set without tools")
    for key in ("tools", "functions"):
        if (tools := row.get(key)) is None:
            continue
        if not isinstance(tools, list) or not tools or len(tools) > MAX_TOOLS:
            yield Finding("tools_invalid", f"{key} must be a list of 1 to {MAX_TOOLS} entries")
            continue
        for number, tool in enumerate(tools):
            where = f"tool {number}"
            function = tool
            if key == "tools":
                if not isinstance(tool, dict) or tool.get("type") != "function":
                    yield Finding("tools_invalid", f"{where} is not of the type 'function'")
                    continue
                function = tool.get("function")
            yield from _check_declaration(function, where, declared)


def _check_declaration(function: object, where: str, declared: set[str]) -> Iterator[Finding]:
    if not isinstance(function, dict):
        yield Finding("tools_invalid", f"{where} declares no function")
        return
    name = function.get("name")
    if not isinstance(name, str) or not _FUNCTION_NAME.match(name):
        yield Finding("function_name_invalid", f"{where} is named {name!r}; {_NAME_RULE}")
    elif name in declared:
        yield Finding("tool_declared_twice", f"{where} is named {name!r} like another")
    else:
        declared.add(name)
    if not isinstance(function.get("description", ""), str):
        yield Finding("tools_invalid", f"{where} has a description that is not a text")
    parameters = function.get("parameters", {})
    if not isinstance(parameters, dict) or parameters.get("type", "object") != "object":
        yield Finding("tool_parameters_invalid", f"{where}: parameters are no schema of an object")


_NAME_RULE = "names are 1 to 64 letters, digits, underscores and hyphens"


def _images(message: dict[str, Any]) -> Iterator[dict[str, Any]]:
    content = message.get("content")
    for part in content if isinstance(content, list) else ():
        if isinstance(part, dict) and part.get("type") == "image_url":
            yield part


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value)
