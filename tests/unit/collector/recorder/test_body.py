from __future__ import annotations

import gzip
import random
import tracemalloc
import zlib
from collections.abc import Callable

import brotli  # type: ignore[import-untyped]
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from tracequill_collector.recorder.body import (
    MAX_DECODED_BYTES,
    Body,
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


def _zstd(data: bytes) -> bytes:
    return zstandard.ZstdCompressor(write_checksum=True).compress(data)


def _zstd_stream(data: bytes) -> bytes:
    """Compress as a server does that does not know the length yet."""
    packer = zstandard.ZstdCompressor().compressobj()
    return packer.compress(data) + packer.flush()


def _decode(body: bytes, encoding: str) -> Body:
    return decode_body(body, (("content-encoding", encoding),))


_PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "deflate": zlib.compress,
    "br": lambda data: brotli.compress(data, quality=4),
    "zstd": _zstd,
}
_EACH = pytest.mark.parametrize("encoding", _PACKERS)


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
        pytest.param("br", brotli.compress(_TEXT), id="br"),
        pytest.param("br", brotli.compress(b""), id="br of nothing"),
        pytest.param("zstd", _zstd(_TEXT), id="zstd"),
        pytest.param("zstd", _zstd_stream(_TEXT), id="zstd of a stream"),
        pytest.param("zstd", _zstd(_TEXT[:9]) + _zstd(_TEXT[9:]), id="two frames"),
        pytest.param("zstd", b"\x50\x2a\x4d\x18\1\0\0\0x" + _zstd(_TEXT), id="a skippable frame"),
        pytest.param("deflate, gzip", gzip.compress(zlib.compress(_TEXT)), id="two encodings"),
        pytest.param("br,zstd , gzip", gzip.compress(_zstd(brotli.compress(_TEXT))), id="three"),
    ],
)
def test_a_content_encoding_is_undone(encoding: str, body: bytes) -> None:
    expected = b"" if body == brotli.compress(b"") else _TEXT

    assert decode_body(body, (("Content-Encoding", encoding),)) == (expected, "")


def test_encodings_in_two_headers_are_undone_from_the_last() -> None:
    headers = (("content-encoding", "br"), ("x", "y"), ("Content-Encoding", "gzip"))

    assert decode_body(gzip.compress(brotli.compress(_TEXT)), headers) == (_TEXT, "")


@_EACH
def test_a_large_body_is_undone_whole(encoding: str) -> None:
    large = bytes(range(256)) * 20_000

    assert _decode(_PACKERS[encoding](large), encoding) == (large, "")


@_EACH
def test_a_cut_body_gives_what_it_holds(encoding: str) -> None:
    text = random.Random(1).randbytes(200_000).hex().encode()
    packed = _PACKERS[encoding](text)
    data, problem = _decode(packed[: len(packed) // 2], encoding)

    assert len(data) > len(text) // 10
    assert text.startswith(data)
    assert problem == "compressed body is cut"


@_EACH
def test_a_body_that_breaks_in_the_middle_gives_what_came_before(encoding: str) -> None:
    text = random.Random(1).randbytes(600_000).hex().encode()
    packed = bytearray(_PACKERS[encoding](text))
    middle = len(packed) // 2
    packed[middle : middle + 64] = b"\xff" * 64
    data, problem = _decode(bytes(packed), encoding)

    assert text[:100_000] == data[:100_000]
    # br has no checksum.
    assert encoding == "br" or "compressed body is" in problem


@_EACH
def test_a_body_that_is_not_what_it_says_is_given_as_it_came_and_told(encoding: str) -> None:
    """C12: a body that is only called gzip is recorded safely (mitmproxy#8124)."""
    data, problem = _decode(b'{"plain": "text"}', encoding)

    assert data == b'{"plain": "text"}' or encoding == "deflate"
    assert "body is" in problem


@pytest.mark.parametrize("truth", _PACKERS)
@pytest.mark.parametrize("label", _PACKERS)
def test_one_encoding_under_the_name_of_another_is_told(label: str, truth: str) -> None:
    data, problem = _decode(_PACKERS[truth](_TEXT), label)

    if problem:
        assert data != _TEXT
    else:
        # gzip and deflate are told apart by their first bytes.
        assert data == _TEXT


def test_an_encoding_that_is_not_told_leaves_the_body_as_it_is() -> None:
    assert decode_body(gzip.compress(_TEXT), ()) == (gzip.compress(_TEXT), "")


def test_an_unknown_encoding_is_told_and_gives_nothing() -> None:
    body = _decode(b"\x0b", "compress")

    assert body == (b"", "content encoding 'compress' is not known to the recorder")


def test_more_encodings_than_any_server_uses_are_not_undone() -> None:
    body = _decode(_TEXT, "gzip, " * 5)

    assert body == (b"", "body has 5 content encodings, more than 4")


@_EACH
def test_a_bomb_is_cut(encoding: str) -> None:
    """Class: gzip bomb in the log decoder; litellm's JSON of large bodies killed pods (26181)."""
    packed = _PACKERS[encoding](bytes(MAX_DECODED_BYTES + 5_000_000))
    tracemalloc.start()
    try:
        data, problem = _decode(packed, encoding)
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert len(data) == MAX_DECODED_BYTES
    assert "larger than" in problem
    # The pieces, the pieces joined, and their beginning.
    assert peak_bytes < 3.5 * MAX_DECODED_BYTES


@pytest.mark.parametrize(
    ("encoding", "empty"),
    [("gzip", gzip.compress(b"")), ("zstd", _zstd(b""))],
    ids=["gzip", "zstd"],
)
def test_members_without_end_are_cut(encoding: str, empty: bytes) -> None:
    """Each member may cost a copy of what follows it."""
    data, problem = _decode(_PACKERS[encoding](_TEXT) + empty * 20_000, encoding)

    assert data == _TEXT
    assert "more than 10000" in problem


@given(st.binary(), st.sampled_from(sorted(_PACKERS)))
def test_no_bytes_raise(body: bytes, encoding: str) -> None:
    _decode(body, encoding)


@given(st.binary(max_size=50), st.binary(max_size=20), st.sampled_from(sorted(_PACKERS)))
def test_no_broken_body_raises(body: bytes, tail: bytes, encoding: str) -> None:
    packed = _PACKERS[encoding](body)
    _decode(packed[: len(packed) - len(tail) // 2] + tail, encoding)


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
