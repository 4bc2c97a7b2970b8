"""What of a request goes on to the collector."""

from __future__ import annotations

import pytest

from tracequill_phoenix.collector_client import CollectorClient, end_to_end


def test_headers_of_one_connection_stay_behind_and_all_others_go_on() -> None:
    headers = [
        ("Host", "phoenix"),
        ("Connection", "keep-alive, X-Named"),
        ("Keep-Alive", "5"),
        ("x-named", "stays"),
        ("Transfer-Encoding", "chunked"),
        ("Expect", "100-continue"),
        ("Authorization", "Bearer key"),
        ("x-project-name", "p"),
        ("x-twice", "1"),
        ("x-twice", "2"),
    ]

    assert end_to_end(headers) == headers[-4:]


async def test_a_client_that_is_not_open_says_so() -> None:
    with pytest.raises(RuntimeError, match="before open"):
        await CollectorClient("http://127.0.0.1:1").post_traces(b"", [])
