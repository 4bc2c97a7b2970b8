"""The comparisons of this folder see the smallest change."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.integration.clients.wire import Crossing, same_answer, same_crossing
from tests.integration.proxy_rig import Message

ASKED = Message(
    b"POST /openai/v1/a?x=%2F HTTP/1.1\r\nHost: p\r\nB: 1\r\nA: 2\r\nA: 3\r\n\r\n", b"{}"
)
SENT = Message(
    b"POST /v1/a?x=%2F HTTP/1.1\r\nHost: vendor:1\r\nB: 1\r\nA: 2\r\nA: 3\r\n\r\n", b"{}"
)
CAME = Message(b"HTTP/1.1 200 OK\r\nDate: now\r\nX: 1\r\nTransfer-Encoding: chunked\r\n\r\n", b"ab")
GIVEN = Message(
    b"HTTP/1.1 200 OK\r\nDate: now\r\nX: 1\r\nx-tracequill-trace-id: t\r\n"
    b"x-tracequill-span-id: s\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"ab",
)


def compare(sent: Message = SENT, given: Message = GIVEN) -> None:
    same_crossing(Crossing(ASKED, given), Crossing(sent, CAME), "/openai", "vendor:1")
    same_answer(CAME, given)


def test_what_may_differ_may_differ() -> None:
    compare()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"%2F", b"/"),
        (b"/v1/a", b"/V1/a"),
        (b"POST", b"PUT"),
        (b"Host: vendor:1", b"Host: p"),
        (b"B: 1", b"b: 1"),
        (b"A: 2\r\nA: 3", b"A: 2, 3"),
        (b"A: 2\r\nA: 3", b"A: 3\r\nA: 2"),
        (b"B: 1\r\n", b""),
        (b"B: 1", b"B: 1\r\nVia: 1.1 p"),
        (b"B: 1", b"B: 1\r\nTransfer-Encoding: chunked"),
        (b"B: 1", b"B: 1\r\nx-tracequill-project: p"),
    ],
)
def test_a_changed_request_is_seen(old: bytes, new: bytes) -> None:
    assert old in SENT.head

    with pytest.raises(AssertionError):
        compare(sent=replace(SENT, head=SENT.head.replace(old, new)))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"200 OK", b"200 Ok"),
        (b"X: 1", b"x: 1"),
        (b"X: 1", b"X: 1\r\nServer: p"),
        (b"X: 1\r\n", b""),
        (b"Transfer-Encoding: chunked", b"Content-Length: 2"),
        (b"x-tracequill-span-id: s\r\n", b""),
    ],
)
def test_a_changed_answer_is_seen(old: bytes, new: bytes) -> None:
    assert old in GIVEN.head

    with pytest.raises(AssertionError):
        compare(given=replace(GIVEN, head=GIVEN.head.replace(old, new)))


def test_a_changed_body_is_seen() -> None:
    with pytest.raises(AssertionError):
        compare(sent=replace(SENT, body=b"{ }"))
    with pytest.raises(AssertionError):
        compare(given=replace(GIVEN, body=b"aB"))
