"""OpenAI's Responses API: request and response objects enter, flat attributes leave.

Item types that the instrumentor records nothing of are left out here too; they stand in
``input.value`` and ``output.value``. No input or output.
"""

from __future__ import annotations

from typing import Any

from openinference.semconv.trace import (
    ImageAttributes,
    MessageContentAttributes,
    SpanAttributes,
)

from tracequill_collector.recorder.body import to_json
from tracequill_collector.recorder.message import (
    CALL_ARGUMENTS,
    CALL_ID,
    CALL_NAME,
    CONTENT,
    CONTENTS,
    IMAGE_URL,
    INPUT_MESSAGES,
    OUTPUT_MESSAGES,
    ROLE,
    TEXT,
    TOOL_CALL_ID_OF_RESULT,
    TOOL_CALLS,
    TYPE,
    Pairs,
    image_url,
    mapping,
    objects,
    tool_attributes,
)

SPAN_NAME = "Response"

_ENCRYPTED = MessageContentAttributes.MESSAGE_CONTENT_ENCRYPTED_CONTENT
_IMAGE_TYPES = {"png": "png", "jpeg": "jpeg", "jpg": "jpeg", "webp": "webp", "gif": "gif"}


def request_attributes(request: dict[str, Any]) -> Pairs:
    """Give tools, invocation parameters, model and input messages."""
    parameters = {
        key: value
        for key, value in request.items()
        if key not in ("input", "instructions", "tools")
    }
    if isinstance(tools := request.get("tools"), list):
        yield from tool_attributes(tools)
    yield SpanAttributes.LLM_INVOCATION_PARAMETERS, to_json(parameters)
    yield SpanAttributes.LLM_MODEL_NAME, request.get("model")
    if (instructions := request.get("instructions")) is not None:
        yield f"{INPUT_MESSAGES}.0.{ROLE}", "system"
        yield f"{INPUT_MESSAGES}.0.{CONTENT}", instructions
    given = request.get("input")
    if isinstance(given, str):
        yield f"{INPUT_MESSAGES}.1.{ROLE}", "user"
        yield f"{INPUT_MESSAGES}.1.{CONTENT}", given
    elif isinstance(given, list):
        # Index 0 is the place of the instructions, also when there are none.
        for index, item in enumerate(given, 1):
            if isinstance(item, dict):
                yield from _input_item(f"{INPUT_MESSAGES}.{index}.", item)


def _input_item(prefix: str, item: dict[str, Any]) -> Pairs:
    kind = item.get("type", "message" if "role" in item and "content" in item else None)
    match kind:
        case "message":
            yield from _input_message(prefix, item)
        case "function_call_output" | "custom_tool_call_output":
            yield from _tool_result(prefix, item)
            if (output := item.get("output")) is not None:
                yield prefix + CONTENT, output if isinstance(output, str) else to_json(output)
        case "computer_call_output":
            yield from _tool_result(prefix, item)
        case "reasoning":
            yield from _reasoning(prefix, item)
        case _:
            yield from _tool_call_item(prefix, item)


def _input_message(prefix: str, message: dict[str, Any]) -> Pairs:
    yield prefix + ROLE, message.get("role")
    content = message.get("content")
    if isinstance(content, str):
        yield prefix + CONTENT, content
        return
    for index, part in enumerate(content if isinstance(content, list) else []):
        if isinstance(part, dict):
            yield from _content_part(f"{prefix}{CONTENTS}.{index}.", part)


def _content_part(prefix: str, part: dict[str, Any]) -> Pairs:
    kind = part.get("type")
    if kind in ("input_text", "output_text", "refusal"):
        text = part.get("refusal" if kind == "refusal" else "text")
        if text is not None:
            yield prefix + TYPE, "text"
            yield prefix + TEXT, text
    elif kind == "input_image" and (url := part.get("image_url")):
        yield prefix + TYPE, "image"
        yield prefix + IMAGE_URL, image_url(url)


def _tool_result(prefix: str, item: dict[str, Any]) -> Pairs:
    yield prefix + ROLE, "tool"
    yield prefix + TOOL_CALL_ID_OF_RESULT, item.get("call_id")


def _reasoning(prefix: str, item: dict[str, Any]) -> Pairs:
    yield prefix + ROLE, "assistant"
    inner = f"{prefix}{CONTENTS}.0."
    yield inner + TYPE, "reasoning"
    texts = [
        text for part in objects(item.get("summary")) if isinstance(text := part.get("text"), str)
    ]
    if texts:
        yield inner + TEXT, "\n".join(texts)
    yield inner + _ENCRYPTED, item.get("encrypted_content")


def _tool_call_item(prefix: str, item: dict[str, Any]) -> Pairs:
    """Give an item in which the model calls a tool, its own or the caller's."""
    inner = f"{prefix}{TOOL_CALLS}.0."
    match item.get("type"):
        case "function_call":
            yield prefix + ROLE, "assistant"
            yield inner + CALL_ID, item.get("call_id")
            yield inner + CALL_NAME, item.get("name")
            if item.get("arguments") != "{}":
                yield inner + CALL_ARGUMENTS, item.get("arguments")
        case "custom_tool_call":
            yield prefix + ROLE, "assistant"
            yield inner + CALL_ID, item.get("call_id")
            yield inner + CALL_NAME, item.get("name")
            if (given := item.get("input")) is not None:
                yield inner + CALL_ARGUMENTS, to_json({"input": given})
        case "file_search_call" | "web_search_call":
            yield prefix + ROLE, "assistant"
            yield inner + CALL_ID, item.get("id")
            yield inner + CALL_NAME, item.get("type")
        case "computer_call":
            yield prefix + ROLE, "assistant"
            yield from _tool_result(inner, item)


def response_attributes(response: dict[str, Any], request: dict[str, Any]) -> Pairs:
    """Give model, token counts, output messages, images and tools."""
    yield SpanAttributes.LLM_MODEL_NAME, response.get("model")
    yield from _usage(response.get("usage"))
    output = response.get("output")
    images = 0
    for index, item in enumerate(output if isinstance(output, list) else []):
        if not isinstance(item, dict):
            continue
        prefix = f"{OUTPUT_MESSAGES}.{index}."
        match item.get("type"):
            case "message":
                yield from _output_message(prefix, item)
            case "reasoning":
                yield from _reasoning(prefix, item)
            case "image_generation_call" if isinstance(image := item.get("result"), str):
                name = f"{SpanAttributes.OUTPUT_IMAGES}.{images}.{ImageAttributes.IMAGE_URL}"
                image_format = item.get("output_format") or _image_format(request)
                yield name, image_url(_data_url(image, image_format))
                images += 1
            case _:
                yield from _tool_call_item(prefix, item)
    if isinstance(tools := response.get("tools"), list):
        yield from tool_attributes(tools)


def _output_message(prefix: str, message: dict[str, Any]) -> Pairs:
    yield prefix + ROLE, message.get("role")
    content = message.get("content")
    for index, part in enumerate(content if isinstance(content, list) else []):
        if isinstance(part, dict) and part.get("type") in ("output_text", "refusal"):
            yield from _content_part(f"{prefix}{CONTENTS}.{index}.", part)


def _image_format(request: dict[str, Any]) -> Any:
    for tool in objects(request.get("tools")):
        if tool.get("type") == "image_generation" and tool.get("output_format"):
            return tool["output_format"]
    return None


def _data_url(image: str, image_format: Any) -> str:
    if image.startswith("data:image/"):
        return image
    kind = _IMAGE_TYPES.get(str(image_format).lower(), "png")
    return f"data:image/{kind};base64,{image}"


def _usage(usage: Any) -> Pairs:
    usage = mapping(usage)
    yield SpanAttributes.LLM_TOKEN_COUNT_TOTAL, usage.get("total_tokens")
    yield SpanAttributes.LLM_TOKEN_COUNT_PROMPT, usage.get("input_tokens")
    yield SpanAttributes.LLM_TOKEN_COUNT_COMPLETION, usage.get("output_tokens")
    completion = mapping(usage.get("output_tokens_details"))
    yield (
        SpanAttributes.LLM_TOKEN_COUNT_COMPLETION_DETAILS_REASONING,
        completion.get("reasoning_tokens"),
    )
    prompt = mapping(usage.get("input_tokens_details"))
    yield SpanAttributes.LLM_TOKEN_COUNT_PROMPT_DETAILS_CACHE_READ, prompt.get("cached_tokens")
    yield (
        SpanAttributes.LLM_TOKEN_COUNT_PROMPT_DETAILS_CACHE_WRITE,
        prompt.get("cache_write_tokens"),
    )
