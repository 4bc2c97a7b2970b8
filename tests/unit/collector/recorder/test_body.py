from __future__ import annotations

import gzip
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracequill_collector.recorder.body import (
    MAX_DECODED_BYTES,
    decode_body,
    header,
    media_type,
    parse_json,
    to_json,
    to_text,
)

_TEXT = b'{"answer": "In the Havel."}' * 50


def _raw_deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(data) + packer.flush()


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        pytest.param("", _TEXT, id="none"),
        pytest.param("identity", _TEXT, id="identity"),
        pytest.param("gzip", gzip.compress(_TEXT), id="gzip"),
        pytest.param("GZip", gzip.compress(_TEXT), id="in any case"),
        pytest.param("gzip", gzip.compress(_TEXT[:9]) + gzip.compress(_TEXT[9:]), id="two members"),
        pytest.param("deflate", zlib.compress(_TEXT), id="deflate"),
        pytest.param("deflate", _raw_deflate(_TEXT), id="deflate without its header"),
        pytest.param("deflate, gzip", gzip.compress(zlib.compress(_TEXT)), id="two encodings"),
    ],
)
def test_a_content_encoding_is_undone(encoding: str, body: bytes) -> None:
    assert decode_body(body, (("Content-Encoding", encoding),)) == (_TEXT, "")


def test_a_cut_body_gives_what_it_holds() -> None:
    data, problem = decode_body(gzip.compress(_TEXT)[:-12], (("content-encoding", "gzip"),))

    assert _TEXT.startswith(data)
    assert problem == "compressed body is cut"


def test_a_body_that_is_not_what_it_says_is_told() -> None:
    assert "broken" in decode_body(b"plain text", (("content-encoding", "gzip"),)).problem


def test_an_unknown_encoding_is_told_and_gives_nothing() -> None:
    body = decode_body(b"\x0b", (("content-encoding", "br"),))

    assert body == (b"", "content encoding 'br' is not known to the recorder")


def test_a_bomb_is_cut() -> None:
    packed = gzip.compress(bytes(MAX_DECODED_BYTES + 5_000_000))
    data, problem = decode_body(packed, (("content-encoding", "gzip"),))

    assert len(data) == MAX_DECODED_BYTES
    assert "larger than" in problem


@given(st.binary(), st.sampled_from(["gzip", "deflate"]))
def test_no_bytes_raise(body: bytes, encoding: str) -> None:
    decode_body(body, (("content-encoding", encoding),))


def test_headers_are_found_in_any_case_and_the_first_counts() -> None:
    headers = (("Content-Type", "Text/HTML; charset=utf-8"), ("content-type", "other"))

    assert header(headers, "content-type") == "Text/HTML; charset=utf-8"
    assert media_type(headers) == "text/html"
    assert header(headers, "etag") == ""


@pytest.mark.parametrize(
    ("text", "value"),
    [
        pytest.param('{"a": 1}', {"a": 1}, id="an object"),
        pytest.param('{"a": NaN}', {"a": None}, id="not a number"),
        pytest.param('{"a": "\\ud83d"}', {"a": "\ud83d"}, id="half a character"),
        pytest.param('{"a": ', None, id="cut"),
        pytest.param("[" * 100_000, None, id="nested without end"),
        pytest.param("9" * 5000, None, id="a number without end"),
    ],
)
def test_json_is_read_as_clients_read_it(text: str, value: object) -> None:
    parsed = parse_json(text.encode())
    if isinstance(parsed, dict) and parsed["a"] != parsed["a"]:
        parsed = {"a": None}

    assert parsed == value


def test_json_is_written_as_the_instrumentors_write_it() -> None:
    deep: list[object] = []
    for _ in range(10_000):
        deep = [deep]

    assert to_json({"a": ["ü", 1]}) == '{"a": ["ü", 1]}'
    assert to_json(deep) == '"nested too deeply"'


@pytest.mark.parametrize(
    ("data", "content_type", "text"),
    [
        pytest.param("ü".encode(), "text/plain", "ü", id="text"),
        pytest.param(b"{}", "application/problem+json", "{}", id="JSON by suffix"),
        pytest.param(b"abc", "image/png", None, id="not text by type"),
        pytest.param(b"\xff\x00abcdef", "text/plain", None, id="not text by content"),
        pytest.param("aü".encode()[:-1], "text/plain", "a", id="cut inside a character"),
    ],
)
def test_only_text_is_text(data: bytes, content_type: str, text: str | None) -> None:
    assert to_text(data, content_type) == text
