"""Names from a cookie."""

from __future__ import annotations

import time

import pytest

from tracequill_phoenix.annotate.person_name import checked_name, from_cookie, likeness, to_cookie


@pytest.mark.parametrize("name", ["Ana", "Zoë Müller", "李雷", "O'Brien; path=/", "100 %"])
def test_a_name_comes_back_from_its_cookie(name: str) -> None:
    value = to_cookie(checked_name(name))

    assert from_cookie(value) == name
    assert not set(value) & set(' ;,"\\')


def test_spaces_and_ways_of_writing_do_not_make_two_people() -> None:
    assert checked_name("  Zoe\u0308 \n Q ") == checked_name("Zoë Q")


@pytest.mark.parametrize(
    "name",
    [
        *("", "  ", "x" * 65, "a\x00b", "a\u202eb", "a\u200bb", "\ud800"),
        *("\u3164", "\u2800 \u2800", "Ana\ufe0f", "A\u034fna"),
    ],
)
def test_what_cannot_be_seen_is_no_name(name: str) -> None:
    with pytest.raises(ValueError):
        checked_name(name)


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("Ana", "ANA"),
        ("Zoë", "ZOE\u0308"),
        ("Straße", "STRASSE"),
        ("O'Brien", "O’Brien"),
        ("O'Brien", "o‘brien"),
        ("Anna-Lena", "Anna\u2011Lena"),
        ("Anna-Lena", "Anna–Lena"),
        ("Josefine", "Jose\ufb01ne"),
        ("Ana 2", "\uff21\uff4e\uff41\u3000\uff12"),
    ],
)
def test_names_that_look_the_same_are_alike(name: str, other: str) -> None:
    assert checked_name(name) != checked_name(other)
    assert likeness(checked_name(name)) == likeness(checked_name(other))


@pytest.mark.parametrize(("name", "other"), [("Ana", "Anna"), ("Zoë", "Zoe"), ("Ana 1", "Ana 2")])
def test_names_that_can_be_told_apart_are_not(name: str, other: str) -> None:
    assert likeness(name) != likeness(other)


@pytest.mark.parametrize("value", [None, "", "%FF", "%00", "%E2%80%AEx"])
def test_a_cookie_that_is_none_of_ours_is_nobody(value: str | None) -> None:
    assert from_cookie(value) is None


def test_a_name_that_takes_long_to_compose_is_refused_at_once() -> None:
    started = time.process_time()

    with pytest.raises(ValueError, match="at most"):
        checked_name("a" + "\u0301\u0316" * 1_000_000)

    assert time.process_time() - started < 5  # put in order one by one the marks take hours
