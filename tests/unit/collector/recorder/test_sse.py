from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracequill_collector.recorder.sse import ServerSentEvent, parse_sse


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
        pytest.param(b": ping\n\ndata: 1\n\n", ["1"], id="comments say nothing"),
        pytest.param(b"event: ping\n\ndata: 1\n\n", ["1"], id="an event without data is none"),
        pytest.param(b"\xef\xbb\xbfdata: 1\n\n", ["1"], id="a byte order mark is skipped"),
        pytest.param(b"data: 1\n\ndata: 2", ["1", "2"], id="a last event without a blank line"),
        pytest.param("data: a\u2028b\n\n".encode(), ["a\u2028b"], id="U+2028 ends no line"),
        pytest.param(b"data\n\n", [""], id="a field without a colon is empty"),
        pytest.param(b"id: 7\nretry: 1\ndata: 1\n\n", ["1"], id="other fields are skipped"),
        pytest.param(b"", [], id="nothing"),
    ],
)
def test_the_data_of_a_stream(body: bytes, data: list[str]) -> None:
    assert [event.data for event in parse_sse(body)] == data


def test_a_character_cut_in_the_middle_is_replaced() -> None:
    whole = "data: über\n\n".encode()

    assert [event.data for event in parse_sse(whole[:7])] == ["\ufffd"]


@given(st.binary())
def test_no_bytes_raise(body: bytes) -> None:
    list(parse_sse(body))
