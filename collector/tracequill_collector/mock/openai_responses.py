"""POST /v1/responses, plain and as a stream of typed server-sent events."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from typing import Any

from tracequill_collector.mock.answers import answer
from tracequill_collector.mock.conversation import (
    Json,
    ToolCall,
    call_tokens,
    count_tokens,
    cut,
    hex_identifier,
    identifier,
    prompt_tokens,
    tokens,
)
from tracequill_collector.mock.openai_chat import cached_tokens, reasoning_tokens
from tracequill_collector.mock.openai_errors import (
    OpenAIError,
    parse_body,
    required_text,
    server_error,
    whole_number,
)
from tracequill_collector.mock.openai_messages import input_items, read_responses
from tracequill_collector.mock.openai_models import chat_model, is_reasoning
from tracequill_collector.mock.reply import MockRequest, Reply, compact_json, pretty_json

_ALPHABET = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOP"
# What a plain answer repeats from the request, and what it says when the request is silent.
_ECHOED: tuple[tuple[str, Any], ...] = (
    ("frequency_penalty", 0.0),
    ("instructions", None),
    ("max_output_tokens", None),
    ("max_tool_calls", None),
    ("parallel_tool_calls", True),
    ("presence_penalty", 0.0),
    ("previous_response_id", None),
    ("prompt_cache_key", None),
    ("prompt_cache_retention", None),
    ("safety_identifier", None),
    ("store", True),
    ("temperature", 1.0),
    ("tool_choice", "auto"),
    ("top_logprobs", 0),
    ("top_p", 1.0),
    ("truncation", "disabled"),
    ("user", None),
    ("metadata", {}),
)


class ResponseMemory:
    """The items of the latest stored responses, so that ``previous_response_id`` works.

    It keeps at most *most_responses* and at most *most_bytes* of request bodies.
    """

    def __init__(self, most_responses: int = 256, most_bytes: int = 8 * 1024 * 1024) -> None:
        self._most_responses = most_responses
        self._most_bytes = most_bytes
        self._bytes = 0
        self._items: OrderedDict[str, tuple[list[Any], int]] = OrderedDict()

    def recall(self, response_id: str) -> list[Any]:
        """Give all items up to and with *response_id*; an OpenAIError when it is not kept."""
        if response_id not in self._items:
            raise OpenAIError(
                400,
                f"Previous response with id '{response_id}' not found.",
                param="previous_response_id",
                code="previous_response_not_found",
            )
        return self._items[response_id][0]

    def keep(self, response_id: str, items: list[Any], size_bytes: int) -> None:
        """Keep *items*, whose request had *size_bytes*, and forget the oldest past the limits."""
        _, replaced = self._items.pop(response_id, (None, 0))
        self._items[response_id] = (items, size_bytes)
        self._bytes += size_bytes - replaced
        while len(self._items) > self._most_responses or self._bytes > self._most_bytes:
            _, (_, dropped) = self._items.popitem(last=False)
            self._bytes -= dropped


def respond(request: MockRequest, memory: ResponseMemory) -> Reply:
    """Answer one request; an OpenAIError when the vendor would refuse it."""
    fields = parse_body(request.body)
    model = required_text(fields, "model")
    served = chat_model(model)
    previous = fields.get("previous_response_id")
    earlier = memory.recall(previous) if isinstance(previous, str) else []
    response = _response(request, fields, served, earlier)
    if response["store"]:
        items = [*earlier, *input_items(fields), *response["output"]]
        memory.keep(response["id"], items, len(request.body))
    if fields.get("stream") is not True:
        headers = [("content-type", "application/json")]
        return Reply(200, headers, [pretty_json(response)])
    events = list(_events(response))
    failed = {"type": "error", "sequence_number": len(events) // 2, **_stream_error()}
    return Reply(
        200,
        [("content-type", "text/event-stream; charset=utf-8")],
        [_frame(event) for event in events],
        broken_off=_frame(failed),
    )


def _stream_error() -> Json:
    fields = server_error().fields
    return {"code": "server_error", "message": fields["message"], "param": None}


def _frame(event: Json) -> bytes:
    return f"event: {event['type']}\ndata: ".encode() + compact_json(event) + b"\n\n"


def _response(request: MockRequest, fields: Json, model: str, earlier: list[Any]) -> Json:
    conversation = read_responses(fields, earlier)
    limit = whole_number(fields, "max_output_tokens", 16, 1_000_000)
    said = answer(conversation)
    text = cut(said.text, limit).text
    was_cut = text != said.text
    thought = reasoning_tokens(model)
    prompt = prompt_tokens(conversation)
    written = (call_tokens(said.calls) if said.calls else count_tokens(text)) + thought
    seed = hex_identifier(50, request.body)
    output: list[Json] = []
    if is_reasoning(model):
        output.append({"id": f"rs_{hex_identifier(50, seed)}", "type": "reasoning", "summary": []})
    if said.calls:
        output.extend(_call_item(call, seed, number) for number, call in enumerate(said.calls))
    else:
        output.append(_message_item(text, seed, "incomplete" if was_cut else "completed"))
    echoed = {
        name: silent if fields.get(name) is None else fields[name] for name, silent in _ECHOED
    }
    return {
        "id": f"resp_{seed}",
        "object": "response",
        "created_at": request.created_unix_seconds,
        "status": "incomplete" if was_cut else "completed",
        "background": False,
        "billing": {"payer": "developer"},
        "completed_at": None if was_cut else request.created_unix_seconds,
        "error": None,
        "incomplete_details": {"reason": "max_output_tokens"} if was_cut else None,
        "model": model,
        "output": output,
        "reasoning": {"effort": "medium" if thought else None, "summary": None},
        "service_tier": "default",
        "text": {"format": _format(fields), "verbosity": "medium"},
        "tools": _tools(fields),
        "usage": {
            "input_tokens": prompt,
            "input_tokens_details": {
                "cache_write_tokens": 0,
                "cached_tokens": cached_tokens(prompt),
            },
            "output_tokens": written,
            "output_tokens_details": {"reasoning_tokens": thought},
            "total_tokens": prompt + written,
        },
        **echoed,
    }


def _format(fields: Json) -> Any:
    text = fields.get("text")
    form = text.get("format") if isinstance(text, dict) else None
    return form if isinstance(form, dict) else {"type": "text"}


def _tools(fields: Json) -> list[Any]:
    """The tools as the vendor repeats them: what the request left open is said."""
    tools = fields.get("tools")
    return [
        {"strict": True, "description": None, **tool}
        if isinstance(tool, dict) and tool.get("type") == "function"
        else tool
        for tool in (tools if isinstance(tools, list) else [])
    ]


def _call_item(call: ToolCall, seed: str, number: int) -> Json:
    return {
        "id": f"fc_{hex_identifier(50, seed, str(number))}",
        "type": "function_call",
        "status": "completed",
        "arguments": call.arguments_text,
        "call_id": "call_" + identifier(24, seed, str(number), call.name),
        "name": call.name,
    }


def _message_item(text: str, seed: str, status: str) -> Json:
    return {
        "id": f"msg_{hex_identifier(50, seed, 'message')}",
        "type": "message",
        "status": status,
        "content": [_part(text)],
        "role": "assistant",
    }


def _part(text: str) -> Json:
    return {"type": "output_text", "annotations": [], "logprobs": [], "text": text}


def _events(response: Json) -> Iterator[Json]:
    """All events of the stream, numbered."""
    for number, event in enumerate(_unnumbered(response)):
        yield {"type": event.pop("type"), "sequence_number": number, **event}


def _unnumbered(response: Json) -> Iterator[Json]:
    begun = {
        **response,
        "status": "in_progress",
        "completed_at": None,
        "incomplete_details": None,
        "output": [],
        "usage": None,
    }
    yield {"type": "response.created", "response": begun}
    yield {"type": "response.in_progress", "response": begun}
    for index, item in enumerate(response["output"]):
        yield from _item_events(item, index)
    yield {"type": f"response.{response['status']}", "response": response}


def _item_events(item: Json, index: int) -> Iterator[Json]:
    if item["type"] == "function_call":
        begun = {**item, "status": "in_progress", "arguments": ""}
        inner = _call_events(item, index)
    elif item["type"] == "message":
        begun = {**item, "status": "in_progress", "content": []}
        inner = _message_events(item, index)
    else:
        begun, inner = item, iter(())
    yield {"type": "response.output_item.added", "output_index": index, "item": begun}
    yield from inner
    yield {"type": "response.output_item.done", "output_index": index, "item": item}


def _call_events(item: Json, index: int) -> Iterator[Json]:
    place = {"item_id": item["id"], "output_index": index}
    kind = "response.function_call_arguments"
    for number, piece in enumerate(tokens(item["arguments"])):
        hidden = _ALPHABET[: number * 7 % 11]
        yield {"type": f"{kind}.delta", **place, "delta": piece, "obfuscation": hidden}
    yield {"type": f"{kind}.done", **place, "arguments": item["arguments"], "name": item["name"]}


def _message_events(item: Json, index: int) -> Iterator[Json]:
    place = {"item_id": item["id"], "output_index": index, "content_index": 0}
    text = item["content"][0]["text"]
    yield {"type": "response.content_part.added", **place, "part": _part("")}
    for number, piece in enumerate(tokens(text)):
        hidden = _ALPHABET[: number * 7 % 11]
        yield {
            "type": "response.output_text.delta",
            **place,
            "delta": piece,
            "logprobs": [],
            "obfuscation": hidden,
        }
    yield {"type": "response.output_text.done", **place, "text": text, "logprobs": []}
    yield {"type": "response.content_part.done", **place, "part": _part(text)}
