"""OpenAI's images: request and response objects enter, flat attributes leave.

A request may be a form with images in it. No input or output.
"""

from __future__ import annotations

import base64
import mimetypes
from collections.abc import Iterable
from typing import Any

from openinference.semconv.trace import ImageAttributes, SpanAttributes

from tracequill_collector.recorder.message import (
    MAX_IMAGE_URL_CHARACTERS,
    REDACTED,
    Pairs,
    image_url,
    objects,
)
from tracequill_collector.recorder.multipart import Form, Part
from tracequill_collector.recorder.usage import token_attributes, usage_of

SPAN_NAME = "ImagesResponse"

_FILES = ("image", "image[]", "mask")
# A form has text only; the library's methods take these as numbers.
_NUMBERS = frozenset(
    {"n", "output_compression", "partial_images", "frame_count", "frame_duration_ms"}
)
_FORMATS = {"png": "png", "jpg": "jpeg", "jpeg": "jpeg", "webp": "webp", "gif": "gif"}
_COMPLETED = ("image_generation.completed", "image_edit.completed")
_PARTIAL = ("image_generation.partial_image", "image_edit.partial_image")


def request_of_form(form: Form) -> dict[str, Any]:
    """Give the fields of a form as the application wrote them; files are not among them."""
    return {
        part.name: _value(part.name, text)
        for part in form.parts
        if (text := part.text) is not None and part.name
    }


def _value(name: str, text: str) -> Any:
    if name in _NUMBERS and text.isdecimal() and len(text) < 10:
        return int(text)
    if name == "stream" and text in ("true", "false"):
        return text == "true"
    return text


def input_image_attributes(form: Form) -> Pairs:
    """Give each image of a form as a data URL."""
    files = (part for part in form.parts if part.name in _FILES and part.filename is not None)
    for index, part in enumerate(files):
        url = REDACTED
        if len(part.data) < MAX_IMAGE_URL_CHARACTERS:
            encoded = base64.b64encode(part.data).decode()
            url = f"data:{_media_type(part)};base64,{encoded}"
        yield f"{SpanAttributes.INPUT_IMAGES}.{index}.{ImageAttributes.IMAGE_URL}", image_url(url)


def _media_type(part: Part) -> str:
    # The library names a type for every file, by its name; a general one says nothing.
    named = part.content_type, mimetypes.guess_type(part.filename or "")[0] or ""
    told = (named[0], _sniffed(part.data), named[1])
    return next((kind for kind in told if kind.startswith("image/")), "image/png")


def _sniffed(data: bytes) -> str:
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if data.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if data.startswith((b"GIF87a", b"GIF89a")):
        return "image/gif"
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return "image/webp"
    return ""


def response_attributes(response: dict[str, Any], request: dict[str, Any]) -> Pairs:
    """Give the images and the token counts of an answer without a stream."""
    image_format = response.get("output_format") or request.get("output_format")
    for index, image in enumerate(objects(response.get("data"))):
        yield from _output_image(index, image.get("url"), image.get("b64_json"), image_format)
    yield from token_attributes(usage_of(response))


def response_of_events(events: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """Give the event that ends a stream, or the last that came before a stream was cut."""
    last: dict[str, Any] = {}
    for event in events:
        kind = event.get("type")
        if kind in _COMPLETED or (kind in _PARTIAL and last.get("type") not in _COMPLETED):
            last = event
    return last


def event_attributes(event: dict[str, Any]) -> Pairs:
    """Give the image and the token counts of the event that stands for a stream."""
    yield from _output_image(0, None, event.get("b64_json"), event.get("output_format"))
    yield from token_attributes(usage_of(event))


def _output_image(index: int, url: Any, encoded: Any, image_format: Any) -> Pairs:
    if not url and encoded and isinstance(encoded, str):
        url = encoded
        if not encoded.startswith("data:image/"):
            name = image_format.lower() if isinstance(image_format, str) else ""
            url = f"data:image/{_FORMATS.get(name, 'png')};base64,{encoded}"
    yield f"{SpanAttributes.OUTPUT_IMAGES}.{index}.{ImageAttributes.IMAGE_URL}", image_url(url)
