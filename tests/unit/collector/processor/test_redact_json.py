"""A secret in JSON is found however it is written, and every other byte of it stays."""

from __future__ import annotations

import json
import tracemalloc
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.collector.processor.planted import (
    CARD_NUMBER,
    PASSWORD,
    SECRETS,
    pair,
    span_with,
)
from tests.unit.collector.processor.redacting import ALL, only_value, redacted
from tracequill_collector.processor import json_text, redact
from tracequill_collector.processor.redact import Redaction


def test_json_keeps_every_byte_beside_the_secret() -> None:
    text = (
        '  {"a" :\t"jane@example.com",\r\n"n": 1.0E+2, "big": 123456789012345678901234567890123,\n'
        '"d": 1e400, "nan": NaN, "u": "\\u00fc\\/ü\\ud800", "e": {}, "a": "again"} \n'
    )

    assert redacted(text) == text.replace("jane@example.com", "[redacted:email]")


def test_a_secret_behind_escapes_is_found() -> None:
    text = r'{"a": "jane\u0040example.com", "b": "4\u0031" , "c": "x\njane@example.com"}'

    assert redacted(text) == (
        r'{"a": "[redacted:email]", "b": "4\u0031" , "c": "x\n[redacted:email]"}'
    )


def test_half_a_character_in_json_hinders_nothing() -> None:
    span = span_with(pair("x", '["\\ud800 jane@example.com ü", "\\ud800 ü"]'))

    assert ALL.span(span) == {"email"}
    text = only_value(span).string_value
    assert json.loads(text) == ["\ud800 [redacted:email] ü", "\ud800 ü"]


def test_json_inside_json_is_read_as_deep_as_it_goes() -> None:
    inner: Any = {"password": PASSWORD, "mail": "jane\n@ jane@example.com"}
    for _ in range(8):
        inner = json.dumps({"password2": 1, "arguments": inner})

    text = redacted(inner, Redaction(keys=["password"], detectors=["email"]))

    assert PASSWORD not in text and "jane@" not in text
    for _ in range(8):
        inner = json.loads(text)
        assert inner["password2"] == 1
        text = inner["arguments"]
    assert inner["arguments"] == {
        "password": "[redacted:key]",
        "mail": "jane\n@ [redacted:email]",
    }


@pytest.mark.parametrize("opening", ["[", '{"a":'])
def test_json_without_end_is_read_to_its_end(opening: str) -> None:
    depth = 20_000
    text = opening * depth + json.dumps({"password": PASSWORD, "mail": "jane@example.com"})
    closing = {"[": "]", '{"a":': "}"}[opening]
    closed = text.replace("@", "\\u0040") + closing * depth
    for whole in (text, closed):
        new = redacted(whole, Redaction(keys=["password"], detectors=["email"]))

        assert PASSWORD not in new and "jane" not in new
        assert new.startswith(opening * depth)
        assert new.endswith(closing * depth) == (whole is not text)


def test_what_was_cut_before_keeps_its_mark() -> None:
    rules = Redaction(detectors=["email"], keys=["password"])
    sign = "… [cut by tracequill: 20 of 4000 bytes]"
    for text in ('{"a": 1, "password": "[redacted:k', "x [redacted:email] y"):
        assert redacted(text + sign, rules) == text + sign
    assert redacted(f'{{"password": "x{sign}', rules) == f'{{"password": "[redacted:key]"{sign}'
    name_only = '{"password": "[redacted:key]", "na"'
    assert redacted(name_only + sign, rules) == name_only + sign
    assert redacted(f"to jane@example.com{sign}", rules) == f"to [redacted:email]{sign}"
    hidden = f"… [cut by tracequill: {CARD_NUMBER} of 4000 bytes]"
    assert str(CARD_NUMBER) not in redacted(hidden)


def test_a_number_of_thousands_of_digits_hides_nothing() -> None:
    text = f'{{"n": {"7" * 5000}, "password": "{PASSWORD}"}}'

    assert redacted(text, Redaction(keys=["password"])) == text.replace(PASSWORD, "[redacted:key]")


def test_what_a_repeated_name_hides_is_found() -> None:
    text = f'{{"password": "{PASSWORD}", "password": "x", "a": "jane@example.com", "a": 1}}'

    assert redacted(text, Redaction(keys=["password"], detectors=["email"])) == (
        '{"password": "[redacted:key]", "password": "[redacted:key]", "a": "[redacted:email]", '
        '"a": 1}'
    )


@pytest.mark.parametrize(
    "text",
    [
        "[INFO] mail to jane@example.com",
        "{name} <jane@example.com>",
        '"Jane" <jane@example.com>',
        "[1, 2, jane@example.com",
        "{'mail': 'jane@example.com'}",
        r"C:\users jane@example.com \u12",
        '["\\ud800 jane@example.com"]',
        "\ud800 jane@example.com",
        '"jane@example.com',
        '{"a": "jane@example.com\\',
    ],
)
def test_what_only_begins_like_json_is_a_text(text: str) -> None:
    new = redacted(text)

    assert "jane" not in new and "[redacted:email]" in new


def test_an_aws_secret_is_found_by_the_name_of_its_value() -> None:
    secret = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
    for keys in ([], ["password"]):
        rules = Redaction(detectors=["api_key"], keys=keys)
        for text in (
            json.dumps({"a": {"SecretAccessKey": secret}}),
            json.dumps({"a": [{"aws_secret_access_key": secret}]}).replace("/", r"\/"),
        ):
            assert "bPxR" not in redacted(text, rules)
        span = span_with(pair("aws.secret_access_key", secret))
        assert rules.span(span) == {"api_key"}


@settings(max_examples=50)
@given(
    content=st.lists(st.one_of(st.text(), st.integers(), st.floats(), st.none())),
    secret=st.sampled_from(sorted(SECRETS)),
    levels=st.integers(0, 4),
    ascii_only=st.booleans(),
)
def test_a_planted_secret_survives_in_no_json(
    content: Any, secret: str, levels: int, ascii_only: bool
) -> None:
    text = json.dumps({"before": content, "here": [f"so {SECRETS[secret]} it is"]})
    for _ in range(levels):
        text = json.dumps([text], ensure_ascii=ascii_only)

    new = redacted(text)

    assert SECRETS[secret] not in new and f"[redacted:{secret}]" in new
    for _ in range(levels):
        (new,) = json.loads(new)
    assert json.loads(new)["here"] == [f"so [redacted:{secret}] it is"]


def test_large_json_is_not_read_only_to_see_what_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redact, "_LARGEST_JSON", 1000)
    monkeypatch.setattr(json_text, "is_json", None)
    filling = ", ".join(['"x\\n"'] * 700)
    text = f'{{"a": [{filling}], "password": "x", "b": "jane@example.com"}}'
    rules = Redaction(detectors=["email"], keys=["password"])

    new = redacted(text, rules)

    assert new == text.replace("jane@example.com", "[redacted:email]").replace(
        '"password": "x"', '"password": "[redacted:key]"'
    )
    assert redacted(f"[not JSON {filling} jane@example.com", rules).endswith(" [redacted:email]")


def test_a_million_escapes_take_no_memory() -> None:
    tracemalloc.start()
    try:
        text = '{"a": "' + "\\n" * 1_000_000 + ' jane@example.com"}'
        new = redacted(text)
        _, most_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert new.endswith(' [redacted:email]"}')
    assert most_bytes < 20 * len(text)
