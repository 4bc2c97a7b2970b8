"""Whose requests are taken: our own pages', programs', and nobody else's."""

from __future__ import annotations

import pytest

from tracequill_phoenix.annotate.errors import QueueError
from tracequill_phoenix.annotate.guard import Guard

GUARD = Guard(["https://traces.example.org/phoenix"], ["0.0.0.0"])
OWN = "traces.example.org"


def refusal(method: str, **headers: str) -> str | None:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return refusal_of(method, named, authentication=False)


def refusal_of(method: str, headers: dict[str, str], *, authentication: bool) -> str | None:
    try:
        GUARD.check(method, headers, authentication=authentication)
    except QueueError as error:
        return error.code
    return None


@pytest.mark.parametrize(
    "host",
    [
        OWN,
        "TRACES.example.org:443",
        "traces.example.org.",
        "127.0.0.1:6006",
        "[::1]:6006",
        "192.168.1.7",
        "localhost:6006",
        "a.localhost",
        "phoenix:6006",
    ],
)
def test_our_names_and_addresses_are_known(host: str) -> None:
    assert refusal("GET", host=host) is None
    assert refusal("POST", host=host, sec_fetch_site="same-origin") is None


@pytest.mark.parametrize(
    "host",
    ["evil.example", "127.0.0.1.evil.example", "", "[::1", "traces.example.org@evil.example"],
)
def test_a_name_that_somebody_pointed_here_is_not(host: str) -> None:
    assert refusal("GET", host=host) == "unknown_host"
    assert refusal("POST", host=host, sec_fetch_site="same-origin") == "unknown_host"


@pytest.mark.parametrize(
    "headers",
    [
        {"sec_fetch_site": "cross-site", "origin": "https://evil.example"},
        {"sec_fetch_site": "same-site", "origin": "https://other.example.org"},
        {"sec_fetch_site": "cross-site"},
        {"origin": "https://evil.example"},
        {"origin": "https://traces.example.org.evil.example"},
        {"origin": "http://localhost:6007"},
        {"origin": "https://traces.example.org:8443", "sec_fetch_site": "same-site"},
        {"origin": "http://traces.example.org", "sec_fetch_site": "cross-site"},
        {"origin": "https://traces.example.org:99999"},
        {"origin": "null"},
        {"origin": "http://[::1"},
    ],
)
def test_a_write_from_another_site_is_refused_and_a_read_is_not(headers: dict[str, str]) -> None:
    assert refusal("POST", host="localhost:6006", **headers) == "cross_site"
    assert refusal("DELETE", host="localhost:6006", **headers) == "cross_site"
    assert refusal("GET", host="localhost:6006", **headers) is None


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"sec_fetch_site": "same-origin"},
        {"sec_fetch_site": "none"},
        {"origin": "http://localhost:6006"},
        {"origin": "https://traces.example.org", "sec_fetch_site": "cross-site"},
        {"origin": "https://traces.example.org:443"},
    ],
)
def test_our_pages_and_programs_write(headers: dict[str, str]) -> None:
    assert refusal("POST", host="localhost:6006", **headers) is None


def test_a_token_needs_no_known_name_where_it_is_asked_for() -> None:
    bearer = {"host": "evil.example", "authorization": "Bearer key"}

    assert refusal_of("POST", bearer, authentication=True) is None
    assert refusal_of("POST", bearer, authentication=False) == "unknown_host"
    basic = bearer | {"authorization": "Basic eDp5"}
    assert refusal_of("POST", basic, authentication=True) == "unknown_host"


def test_a_token_that_says_nothing_lets_no_other_site_in() -> None:
    headers = {
        "host": "localhost:6006",
        "origin": "https://evil.example",
        "authorization": "Bearer key",
    }

    assert refusal_of("POST", headers, authentication=True) is None
    assert refusal_of("POST", headers, authentication=False) == "cross_site"
    basic = headers | {"authorization": "Basic eDp5"}
    assert refusal_of("POST", basic, authentication=True) == "cross_site"
