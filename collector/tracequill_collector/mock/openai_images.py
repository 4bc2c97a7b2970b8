"""POST /v1/images/generations, plain and as a stream of server-sent events."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tracequill_collector.mock.conversation import Json, count_tokens, hex_identifier
from tracequill_collector.mock.openai_errors import (
    OpenAIError,
    missing,
    parse_body,
    server_error,
    unknown_model,
    whole_number,
    wrong_type,
)
from tracequill_collector.mock.pictures import picture
from tracequill_collector.mock.reply import MockRequest, Reply, compact_json, pretty_json

_GPT_IMAGE = re.compile(r"(gpt-image-|chatgpt-image-|mock-image)[\w.-]*\Z")
_DEFAULT_MODEL = "dall-e-2"
_SIZES = {
    "dall-e-2": ("256x256", "512x512", "1024x1024"),
    "dall-e-3": ("1024x1024", "1792x1024", "1024x1792"),
    "": ("1024x1024", "1024x1536", "1536x1024", "auto"),
}
_QUALITIES = {
    "dall-e-2": ("standard", "auto"),
    "dall-e-3": ("standard", "hd", "auto"),
    "": ("low", "medium", "high", "auto"),
}
_MOST_CHARACTERS = {"dall-e-2": 1_000, "dall-e-3": 4_000, "": 32_000}
_OLD_ONLY = ("response_format", "style")
_NEW_ONLY = (
    "background",
    "moderation",
    "output_compression",
    "output_format",
    "partial_images",
    "stream",
)
# What an image counts in the vendor's price list, by quality and size.
_TOKENS = {
    ("low", "1024x1024"): 272,
    ("low", "1024x1536"): 408,
    ("low", "1536x1024"): 400,
    ("medium", "1024x1024"): 1056,
    ("medium", "1024x1536"): 1584,
    ("medium", "1536x1024"): 1568,
    ("high", "1024x1024"): 4160,
    ("high", "1024x1536"): 6240,
    ("high", "1536x1024"): 6208,
}


@dataclass(frozen=True, slots=True)
class _Wish:
    """What was asked for, every choice that was left open made."""

    model: str
    prompt: str
    count: int
    size: str
    quality: str
    image_format: str
    background: str
    by_url: bool
    partial_images: int
    stream: bool

    @property
    def usage(self) -> Json:
        text = count_tokens(self.prompt)
        made = _TOKENS[self.quality, self.size] * self.count + 100 * self.partial_images
        return {
            "input_tokens": text,
            "input_tokens_details": {"image_tokens": 0, "text_tokens": text},
            "output_tokens": made,
            "total_tokens": text + made,
        }


def generate(request: MockRequest) -> Reply:
    """Answer one request; an OpenAIError when the vendor would refuse it."""
    wish = _read(parse_body(request.body))
    if wish.stream:
        return Reply(
            200,
            [("content-type", "text/event-stream; charset=utf-8")],
            [_frame(event) for event in _events(request, wish)],
            broken_off=_frame({"type": "error", "error": server_error().fields}),
        )
    answer: Json = {"created": request.created_unix_seconds}
    if wish.model in _SIZES:
        answer["data"] = [_by_url_or_bytes(wish, index) for index in range(wish.count)]
    else:
        answer |= _shared(wish)
        answer["data"] = [{"b64_json": _encoded(wish, index)} for index in range(wish.count)]
        answer["usage"] = wish.usage
    return Reply(200, [("content-type", "application/json")], [pretty_json(answer)])


# --- the request --------------------------------------------------------------------------


def _read(fields: Json) -> _Wish:
    prompt = fields.get("prompt")
    if prompt is None:
        raise missing("prompt")
    if not isinstance(prompt, str):
        raise wrong_type("prompt", "a string", prompt)
    model = _model(fields)
    old = model if model in _SIZES else ""
    _check_prompt(prompt, _MOST_CHARACTERS[old])
    for name in _NEW_ONLY if old else _OLD_ONLY:
        if fields.get(name) is not None:
            raise OpenAIError(
                400, f"Unknown parameter: '{name}'.", param=name, code="unknown_parameter"
            )
    count = whole_number(fields, "n", 1, 1 if old == "dall-e-3" else 10) or 1
    size = _one_of(fields, "size", _SIZES[old], "1024x1024" if old else "auto")
    quality = _one_of(fields, "quality", _QUALITIES[old], "auto")
    stream = _flag(fields, "stream")
    if stream and count > 1:
        raise OpenAIError(400, "Streaming is only supported with n=1.", param="n")
    whole_number(fields, "output_compression", 0, 100)
    _one_of(fields, "moderation", ("low", "auto"), "auto")
    _one_of(fields, "style", ("vivid", "natural"), "vivid")
    return _Wish(
        model=model,
        prompt=prompt,
        count=count,
        # The vendor chooses what is left to it.
        size="1024x1024" if size == "auto" else size,
        quality="low" if quality == "auto" else quality,
        image_format=_one_of(fields, "output_format", ("png", "jpeg", "webp"), "png"),
        background=_one_of(fields, "background", ("transparent", "opaque", "auto"), "auto"),
        by_url=_one_of(fields, "response_format", ("url", "b64_json"), "url") == "url",
        partial_images=whole_number(fields, "partial_images", 0, 3) or 0,
        stream=stream,
    )


def _model(fields: Json) -> str:
    model = fields.get("model") or _DEFAULT_MODEL
    if not isinstance(model, str):
        raise wrong_type("model", "a string", model)
    if not _SIZES.get(model) and not _GPT_IMAGE.match(model):
        raise unknown_model(model)
    return model


def _check_prompt(prompt: str, most_characters: int) -> None:
    if not prompt:
        raise OpenAIError(
            400,
            "Invalid 'prompt': empty string. Expected a string with minimum length 1, but got an "
            "empty string instead.",
            param="prompt",
            code="empty_string",
        )
    if len(prompt) > most_characters:
        raise OpenAIError(
            400,
            "Invalid 'prompt': string too long. Expected a string with maximum length "
            f"{most_characters}, but got a string with length {len(prompt)} instead.",
            param="prompt",
            code="string_above_max_length",
        )


def _one_of(fields: Json, name: str, supported: tuple[str, ...], default: str) -> str:
    value = fields.get(name)
    if value is None:
        return default
    if not isinstance(value, str):
        raise wrong_type(name, f"one of {_listed(supported)}", value)
    if value not in supported:
        raise OpenAIError(
            400,
            f"Invalid value: '{value}'. Supported values are: {_listed(supported)}.",
            param=name,
            code="invalid_value",
        )
    return value


def _listed(values: tuple[str, ...]) -> str:
    quoted = [f"'{value}'" for value in values]
    return (
        f"{', '.join(quoted[:-1])}, and {quoted[-1]}" if len(quoted) > 2 else " and ".join(quoted)
    )


def _flag(fields: Json, name: str) -> bool:
    value = fields.get(name)
    if value is not None and not isinstance(value, bool):
        raise wrong_type(name, "a boolean", value)
    return value is True


# --- the answer ---------------------------------------------------------------------------


def _shared(wish: _Wish) -> Json:
    background = "opaque" if wish.background == "auto" else wish.background
    return {
        "background": background,
        "output_format": wish.image_format,
        "quality": wish.quality,
        "size": wish.size,
    }


def _encoded(wish: _Wish, index: int | str) -> str:
    width, _, height = wish.size.partition("x")
    seed = f"{wish.prompt} {index}"
    data = picture(seed, int(width), int(height), wish.image_format)
    return base64.b64encode(data).decode()


def _by_url_or_bytes(wish: _Wish, index: int) -> Json:
    image: Json = {}
    if wish.model == "dall-e-3":
        image["revised_prompt"] = f"{wish.prompt.rstrip('.')}, in plain colours."
    if wish.by_url:
        name = hex_identifier(24, wish.prompt, str(index))
        image["url"] = f"https://images.mock.invalid/{name}.png"
    else:
        image["b64_json"] = _encoded(wish, index)
    return image


def _events(request: MockRequest, wish: _Wish) -> Iterator[Json]:
    shared = {"created_at": request.created_unix_seconds, **_shared(wish)}
    for index in range(wish.partial_images):
        yield {
            "type": "image_generation.partial_image",
            "b64_json": _encoded(wish, f"part {index}"),
            "partial_image_index": index,
            **shared,
        }
    yield {
        "type": "image_generation.completed",
        "b64_json": _encoded(wish, 0),
        **shared,
        "usage": wish.usage,
    }


def _frame(event: dict[str, Any]) -> bytes:
    return f"event: {event['type']}\ndata: ".encode() + compact_json(event) + b"\n\n"
