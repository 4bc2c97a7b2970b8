"""All detectors: made by their names, they never fail and take linear time."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
import re2
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.collector.processor.detection import ALL, KEYS
from tracequill_collector.processor.detectors import NAMES, Detector, detectors

SECRETS = st.sampled_from(
    [
        "4111111111111111",
        "4111 1111 1111 1111",
        "DE89 3704 0044 0532 0130 00",
        "jane@example.com",
        "+49 30 901820",
        "030 901820",
        KEYS[0],
        KEYS[-4],
    ]
)
FRAGMENTS = st.one_of(
    st.text(max_size=8),
    st.text("0123456789 -.+/@\u200b\\n\"'", max_size=30),
    SECRETS,
    st.sampled_from(["-----BEGIN PRIVATE KEY-----", "Bearer ", "aws_secret=", "[redacted:card]"]),
)


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=60)
@given(text=st.lists(FRAGMENTS, max_size=6).map("".join))
def test_a_detector_never_raises_is_idempotent_and_has_a_mark(name: str, text: str) -> None:
    detector = ALL[name]
    new = detector.without(text)
    after = detector.without(new)

    # What is taken out may uncover one thing more.
    assert detector.without(after) == after
    if new != text:
        clean = text.encode("utf-8", "replace").decode()
        assert re2.search(detector.mark, clean)
        written = json.dumps(text)
        assert "\\u" in written or re2.search(detector.mark, written)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "piece",
    [
        "4",
        "4 ",
        "4111 ",
        "4 - ",
        "DE89 ",
        "de8",
        "a",
        "a.",
        "@",
        "a@",
        "a@b",
        "@a.",
        "+1",
        "+1 ",
        "+",
        "(",
        "sk-",
        "-eyJ",
        "eyJ.",
        "ghp_",
        "SG.aaaaaaaaaaaaaaaaaaaa",
        "aws",
        "aws secret ",
        "://:",
        "-----BEGIN PRIVATE KEY-----",
        "-",
        "Bearer ",
        "\u200b",
        "é",
        "0171 ",
        "2024-01-",
        "123456,",
    ],
)
def test_the_work_grows_in_proportion_to_the_text(name: str, piece: str) -> None:
    # What would take time in the square of the length would never end here.
    text = piece * (30_000 // len(piece))

    ALL[name].without(text)


def test_every_detector_has_a_name_and_comes_in_its_order() -> None:
    made: Callable[[set[str]], list[Detector]] = lambda names: detectors(names, ())  # noqa: E731

    assert [one.name for one in made(set(NAMES))] == list(NAMES)
    assert [one.name for one in made({"card", "email"})] == ["email", "card"]


def test_a_region_may_be_in_small_letters_and_an_unknown_one_is_an_error() -> None:
    (german,) = detectors({"phone"}, ("de",))

    assert german.without("030 901820") == "[redacted:phone]"
    with pytest.raises(ValueError, match=r"'GERMANY' is no region .* like DE or US"):
        detectors({"phone"}, ("Germany",))


def test_an_unknown_detector_is_an_error_that_names_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"no detector 'cards'.*api_key, email, iban, card, phone"):
        detectors({"cards"}, ())
