"""Chunks are followed without a doubt, or not at all."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracequill_collector.proxy.chunks import Chunks

HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
EVENT = b"7\r\nevent\r\n\r\n"


def following(*received: bytes) -> Chunks:
    chunks = Chunks()
    chunks.begin(received[0])
    for data in received[1:]:
        chunks.follow(data)
    return chunks


def framed(bodies: list[bytes]) -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(body), body) for body in bodies)


def test_a_chunk_that_comes_by_itself_is_given_without_its_frame() -> None:
    assert following(HEAD).one(EVENT) == b"event\r\n"


def test_a_chunk_with_a_size_in_capitals_and_zeros_before_it_is_one() -> None:
    assert following(HEAD).one(b"00A\r\n0123456789\r\n") == b"0123456789"


@pytest.mark.parametrize(
    "received",
    [
        b"",
        b"0\r\n\r\n",
        b"000\r\n\r\n",
        EVENT + EVENT,
        EVENT + b"0\r\n\r\n",
        EVENT[:-1],
        EVENT[:-2] + b"\n\n",
        EVENT[:3],
        b"7;a=b\r\nevent\r\n\r\n",
        b"7 \r\nevent\r\n\r\n",
        b" 7\r\nevent\r\n\r\n",
        b"+7\r\nevent\r\n\r\n",
        b"0x7\r\nevent\r\n\r\n",
        b"0_7\r\nevent\r\n\r\n",
        b"-7\r\nevent\r\n\r\n",
        b"00000007\r\nevent\r\n\r\n",
        b"7\nevent\r\n\r\n",
        b"\r\n7\r\nevent\r\n\r\n",
        b"event",
    ],
)
def test_whatever_else_comes_is_for_the_parser(received: bytes) -> None:
    assert following(HEAD).one(received) is None


@pytest.mark.parametrize(
    "received",
    [
        [b""],
        [HEAD[:-1]],
        [HEAD[:-2], HEAD[-2:]],
        [HEAD + b"7"],
        [HEAD + b"7\r\nev"],
        [HEAD + EVENT[:-1]],
        [HEAD + EVENT, b"7"],
        [HEAD + EVENT, b"7", EVENT[1:]],
        [HEAD + b"7;a=b\r\nevent\r\n\r\n"],
        [HEAD + EVENT[:-2] + b"\n", b"7"],
        [HEAD + EVENT[:-2] + b"\n7"],
        [HEAD + EVENT[:-2], b"\n", b"7"],
        [HEAD + EVENT[:-1], b"7"],
        [HEAD, b"0\r\n\r\n"],
        [HEAD + EVENT + b"0\r\n"],
        [b"HTTP/1.1 100 Continue\r\n\r\n", HEAD],
        [b"HTTP/1.1 100 Continue\r\n\r\n" + HEAD],
    ],
)
def test_where_a_chunk_begins_is_not_guessed(received: list[bytes]) -> None:
    assert following(*received).one(EVENT) is None


def test_it_begins_anew_with_each_response() -> None:
    chunks = following(HEAD, b"nonsense")

    assert chunks.one(EVENT) is None
    chunks.begin(HEAD)
    assert chunks.one(EVENT) == b"event\r\n"


def test_nothing_is_followed_that_the_parser_has_not_found() -> None:
    chunks = following(HEAD + EVENT)

    chunks.check(6)

    assert chunks.one(EVENT) is None


def test_half_a_chunk_is_what_the_parser_has_found_of_it() -> None:
    chunks = following(HEAD + EVENT + b"7\r\nev")

    chunks.check(9)
    chunks.follow(b"ent\r\n\r")
    chunks.check(14)
    chunks.follow(b"\n")
    chunks.check(14)

    assert chunks.one(EVENT) == b"event\r\n"


@given(
    st.lists(st.binary(min_size=1, max_size=40), max_size=6),
    st.lists(st.integers(1, 60), min_size=1, max_size=20),
)
def test_a_chunk_that_is_given_begins_where_one_begins(
    bodies: list[bytes], lengths: list[int]
) -> None:
    """However the bytes are cut, also inside of what looks like a chunk."""
    wire = framed([*bodies, framed(bodies) or b"x"])
    begins, place = {0: bodies[0] if bodies else b"x"}, 0
    for body in [*bodies, framed(bodies) or b"x"]:
        begins[place] = body
        place += len(framed([body]))
    chunks = following(HEAD)
    place = 0
    for length in lengths * len(wire):
        if not (data := wire[place : place + length]):
            break
        if (piece := chunks.one(data)) is not None:
            assert begins[place] == piece
        else:
            chunks.follow(data)
        place += length
