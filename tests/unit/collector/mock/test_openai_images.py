from __future__ import annotations

import base64
import struct
import zlib
from typing import Any

import pytest

from tests.unit.collector.mock.exchange import NOW, ask, fixed_upstream
from tracequill_collector.mock.pictures import picture

IMAGES = "/v1/images/generations"


def wish(**fields: Any) -> dict[str, Any]:
    return {"model": "gpt-image-1", "prompt": "A spade in the dew", **fields}


async def test_images_have_the_fields_of_the_vendor() -> None:
    got = await ask(IMAGES, wish(n=2))

    assert got.status == 200
    assert list(got.json) == [
        "created",
        "background",
        "output_format",
        "quality",
        "size",
        "data",
        "usage",
    ]
    assert got.json["created"] == int(NOW)
    assert got.json["size"] == "1024x1024"
    first, second = (base64.b64decode(image["b64_json"]) for image in got.json["data"])
    assert first != second
    usage = got.json["usage"]
    assert usage["output_tokens"] == 2 * 272
    assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"]
    assert got.headers["x-request-id"].startswith("req_")


async def test_the_same_request_gets_the_same_images() -> None:
    assert (await ask(IMAGES, wish())).body == (await ask(IMAGES, wish())).body


@pytest.mark.parametrize(("width", "height"), [(1024, 1536), (256, 256), (1, 1)])
def test_a_picture_is_a_png_of_the_size_that_was_asked_for(width: int, height: int) -> None:
    data = picture("a", width, height, "png")

    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    assert struct.unpack(">II", data[16:24]) == (width, height)
    position, chunks = 8, {}
    while position < len(data):
        (length,) = struct.unpack(">I", data[position : position + 4])
        kind, body = data[position + 4 : position + 8], data[position + 8 : position + 8 + length]
        (checksum,) = struct.unpack(">I", data[position + 8 + length : position + 12 + length])
        assert checksum == zlib.crc32(kind + body)
        chunks[kind] = body
        position += 12 + length
    assert len(zlib.decompress(chunks[b"IDAT"])) == height * (1 + (width + 7) // 8)
    assert list(chunks) == [b"IHDR", b"PLTE", b"IDAT", b"IEND"]


@pytest.mark.parametrize(
    ("image_format", "start"), [("jpeg", b"\xff\xd8\xff"), ("webp", b"RIFF"), ("png", b"\x89PNG")]
)
async def test_an_image_has_the_format_that_was_asked_for(image_format: str, start: bytes) -> None:
    got = await ask(IMAGES, wish(output_format=image_format))

    assert got.json["output_format"] == image_format
    assert base64.b64decode(got.json["data"][0]["b64_json"]).startswith(start)


async def test_older_models_answer_with_addresses_and_count_nothing() -> None:
    got = await ask(IMAGES, {"prompt": "A spade", "size": "256x256"})
    third = await ask(IMAGES, {"model": "dall-e-3", "prompt": "A spade."})
    encoded = await ask(IMAGES, {"prompt": "A spade", "response_format": "b64_json"})

    assert list(got.json) == ["created", "data"]
    assert got.json["data"][0]["url"].startswith("https://images.mock.invalid/")
    assert third.json["data"][0]["revised_prompt"] == "A spade, in plain colours."
    assert base64.b64decode(encoded.json["data"][0]["b64_json"]).startswith(b"\x89PNG")


async def test_a_stream_gives_partial_images_and_the_whole_one() -> None:
    got = await ask(IMAGES, wish(stream=True, partial_images=2, size="1536x1024", quality="high"))

    assert got.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert [event["type"] for event in got.events] == [
        "image_generation.partial_image",
        "image_generation.partial_image",
        "image_generation.completed",
    ]
    assert len(got.chunks) == 3
    assert got.chunks[0].startswith(b"event: image_generation.partial_image\ndata: {")
    assert [event.get("partial_image_index") for event in got.events] == [0, 1, None]
    assert got.events[-1]["usage"]["output_tokens"] == 6208 + 200
    assert "content-length" not in got.headers


async def test_a_stream_can_break_off() -> None:
    upstream = fixed_upstream(error_share=1)
    for _ in range(3):
        await ask(IMAGES, wish(), upstream=upstream)
    got = await ask(IMAGES, wish(stream=True, partial_images=3), upstream=upstream)

    assert got.events[-1]["error"]["type"] == "server_error"


@pytest.mark.parametrize(
    ("fields", "status", "param", "code"),
    [
        ({"prompt": None}, 400, "prompt", "missing_required_parameter"),
        ({"prompt": 7}, 400, "prompt", "invalid_type"),
        ({"prompt": ""}, 400, "prompt", "empty_string"),
        ({"prompt": "x" * 32_001}, 400, "prompt", "string_above_max_length"),
        ({"model": "gpt-4o"}, 404, None, "model_not_found"),
        ({"model": 7}, 400, "model", "invalid_type"),
        ({"n": 11}, 400, "n", "integer_above_max_value"),
        ({"n": 0}, 400, "n", "integer_below_min_value"),
        ({"n": "2"}, 400, "n", "invalid_type"),
        ({"model": "dall-e-3", "n": 2}, 400, "n", "integer_above_max_value"),
        ({"size": "256x256"}, 400, "size", "invalid_value"),
        ({"size": 256}, 400, "size", "invalid_type"),
        ({"quality": "hd"}, 400, "quality", "invalid_value"),
        ({"output_format": "gif"}, 400, "output_format", "invalid_value"),
        ({"response_format": "url"}, 400, "response_format", "unknown_parameter"),
        ({"model": "dall-e-2", "stream": True}, 400, "stream", "unknown_parameter"),
        ({"stream": "yes"}, 400, "stream", "invalid_type"),
        ({"stream": True, "n": 2}, 400, "n", None),
        ({"partial_images": 4}, 400, "partial_images", "integer_above_max_value"),
        ({"output_compression": 101}, 400, "output_compression", "integer_above_max_value"),
    ],
    ids=str,
)
async def test_what_the_vendor_refuses_is_refused(
    fields: dict[str, Any], status: int, param: str | None, code: str | None
) -> None:
    got = await ask(IMAGES, wish(**fields))

    assert got.status == status
    assert (got.json["error"]["param"], got.json["error"]["code"]) == (param, code)


async def test_a_message_lists_what_is_supported() -> None:
    got = await ask(IMAGES, wish(size="1x1"))

    assert got.json["error"]["message"] == (
        "Invalid value: '1x1'. Supported values are: '1024x1024', '1024x1536', '1536x1024', "
        "and 'auto'."
    )


async def test_only_post_is_allowed() -> None:
    assert (await ask(IMAGES, method="GET")).status == 405
