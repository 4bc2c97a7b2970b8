"""C03: what a decoder of recorded streams must take.

Peers fail on these: praxis-proxy#739, api7/aisix#111, katanemo/plano#980 and
musistudio/claude-code-router#1672.
"""

from __future__ import annotations

import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracequill_collector.recorder.sse import ServerSentEvent, parse_sse

_TEXT = st.text(
    st.characters(codec="utf-8", exclude_characters="\r\n\ufeff"), min_size=1, max_size=8
)


def _data(body: bytes) -> list[str]:
    return [event.data for event in parse_sse(body)]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"], ids=["LF", "CRLF", "CR"])
def test_any_line_end_ends_a_line(end: str) -> None:
    body = f"event: a{end}data: 1{end}{end}data: 2{end}{end}".encode()

    assert list(parse_sse(body)) == [ServerSentEvent("a", "1"), ServerSentEvent("", "2")]


@pytest.mark.parametrize(
    ("body", "data"),
    [
        pytest.param(b"data:1\n\n", ["1"], id="no space after the colon"),
        pytest.param(b"data:  1\n\n", [" 1"], id="only one space belongs to the syntax"),
        pytest.param(b"data: 1\ndata: 2\n\n", ["1\n2"], id="data lines are joined"),
        pytest.param(b"data: 1\ndata\ndata:\n\n", ["1\n\n"], id="empty data lines are joined"),
        pytest.param(b"data: 1\nevent: a\ndata: 2\n\n", ["1\n2"], id="other fields between data"),
        pytest.param(b": ping\n\ndata: 1\n\n", ["1"], id="comments say nothing"),
        pytest.param(b"data: 1\n:\ndata: 2\n\n", ["1\n2"], id="a comment between data lines"),
        pytest.param(b":" * 9 + b"\n\n:\n\n", [], id="nothing but comments"),
        pytest.param(b"event: ping\n\ndata: 1\n\n", ["1"], id="an event without data is none"),
        pytest.param(b"\xef\xbb\xbfdata: 1\n\n", ["1"], id="a byte order mark is skipped"),
        pytest.param(b"data: \xef\xbb\xbf1\n\n", ["\ufeff1"], id="a mark inside is data"),
        pytest.param(b"data: 1\n\ndata: 2", ["1", "2"], id="a last event without a blank line"),
        pytest.param(b"data: 1\n\ndata: 2\r\n", ["1", "2"], id="a last event with a line end"),
        pytest.param(b"\n\n\r\n\rdata: 1\n\n\n\n", ["1"], id="blank lines without an event"),
        pytest.param(b"data: 1\r\ndata: 2\n\rdata: 3\r\r", ["1\n2", "3"], id="all line ends"),
        pytest.param(
            "data: a\u2028b\x0b\x85\n\n".encode(), ["a\u2028b\x0b\x85"], id="no line ends"
        ),
        pytest.param(b"data\n\n", [""], id="a field without a colon is empty"),
        pytest.param(b"id: 7\nretry: 1\ndata: 1\n\n", ["1"], id="other fields are skipped"),
        pytest.param(b"Data: 1\n data: 2\ndatax: 3\n\n", [], id="names are exact"),
        pytest.param(b"data: a:b: c\n\n", ["a:b: c"], id="colons in a value"),
        pytest.param(b"data: \x00\xff1\n\n", ["\x00\ufffd1"], id="bytes that are no text"),
        pytest.param(b"", [], id="nothing"),
    ],
)
def test_the_data_of_a_stream(body: bytes, data: list[str]) -> None:
    assert _data(body) == data


def test_the_type_of_an_event_does_not_reach_the_next() -> None:
    body = b"event: a\nevent: b\ndata: 1\n\ndata: 2\n\nevent: c\n\ndata: 3\n\n"

    assert [event.event for event in parse_sse(body)] == ["b", "", ""]


def test_a_character_cut_in_the_middle_is_replaced() -> None:
    whole = "data: über\n\n".encode()

    assert _data(whole[:7]) == ["\ufffd"]


@given(st.lists(st.lists(_TEXT, min_size=1, max_size=3), max_size=4), st.sampled_from("\n\r"))
def test_what_was_written_is_read(events: list[list[str]], end: str) -> None:
    body = "".join(
        "".join(f"data: {line}{end}" for line in lines) + ": ping" + end + end for lines in events
    )

    assert _data(body.encode()) == ["\n".join(lines) for lines in events]


@pytest.mark.parametrize("end", [b"\n", b"\r", b"\r\n"], ids=["LF", "CR", "CRLF"])
@pytest.mark.parametrize("shift", range(4))
def test_a_long_stream_is_read_whole(end: bytes, shift: int) -> None:
    """Sections of a body end at a line's end, wherever that falls."""
    body = b":" * shift + end + (b"data: 123456789" + end + end) * 20_000

    assert _data(body) == ["123456789"] * 20_000


@given(st.binary())
def test_no_bytes_raise(body: bytes) -> None:
    list(parse_sse(body))


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"\n" * 300_000, id="blank lines"),
        pytest.param(b":\n" * 200_000, id="comments"),
        pytest.param(b"event: a\n\n" * 90_000, id="events without data"),
    ],
)
def test_a_body_of_nothing_but_line_ends_takes_no_memory(body: bytes) -> None:
    tracemalloc.start()
    try:
        events = sum(1 for _ in parse_sse(body))
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert events == 0
    assert peak_bytes < 800_000
