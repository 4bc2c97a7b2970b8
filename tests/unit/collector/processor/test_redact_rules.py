"""What the keys and the patterns of the settings name is found; no other key or text is touched."""

from __future__ import annotations

import json
from typing import Any

import pytest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValueList

from tests.otlp_values import any_value
from tests.unit.collector.processor.planted import (
    PASSWORD,
    pair,
    request_of,
    span_with,
    text_value,
    texts,
)
from tests.unit.collector.processor.redacting import ALL, only_value, redacted
from tracequill_collector.processor.policy import Policy
from tracequill_collector.processor.redact import Redaction

# --- keys -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rule", "key"),
    [
        ("password", "password"),
        ("password", "Password"),
        ("PASSWORD", "db.password"),
        ("password", "password.old"),
        ("password", "db. password .old"),
        ("password", "db..password"),
        ("user.*", "user.id"),
        ("user.*", "user.address.city"),
        ("user.*", "session.user.id"),
        ("user.id", "user.id"),
        ("*token", "api_token"),
        ("*secret*", "my_secret_name"),
        ("llm.*.content", "llm.input_messages.0.message.content"),
        ("straße", "Straße"),
        ("a[b]", "a[b]"),
    ],
)
def test_the_value_of_a_key_goes_as_a_whole(rule: str, key: str) -> None:
    values: list[str | int | float | bytes | AnyValue] = [
        PASSWORD,
        7,
        1.5,
        b"\xff",
        AnyValue(bool_value=True),
        AnyValue(array_value=ArrayValue(values=[text_value(PASSWORD)])),
        AnyValue(kvlist_value=KeyValueList(values=[pair("x", PASSWORD)])),
    ]
    rules = Redaction(keys=[rule])
    for value in values:
        span = span_with(pair(key, value))

        assert rules.span(span) == {"key"}
        assert only_value(span) == text_value("[redacted:key]")
        assert rules.span(span) == set()


@pytest.mark.parametrize(
    ("rule", "key"),
    [
        ("password", "passwords"),
        ("password", "password_hint"),
        ("user.*", "user"),
        ("user.*", "superuser.id"),
        ("user.id", "user.identity"),
        ("*token", "token_count"),
        ("a[b]", "ab"),
        ("a.b", "a_b"),
    ],
)
def test_the_value_of_another_key_stays(rule: str, key: str) -> None:
    span = span_with(pair(key, PASSWORD))

    assert Redaction(keys=[rule]).span(span) == set()
    assert only_value(span).string_value == PASSWORD


@pytest.mark.parametrize(
    ("rule", "content"),
    [
        ("password", {"password": PASSWORD}),
        ("password", {"a": [{"b": {"PassWord": [PASSWORD, {"x": PASSWORD}]}}]}),
        ("user.*", {"user": {"name": PASSWORD}}),
        ("user.*", [{"user": {"name": {"first": PASSWORD}}}]),
        ("messages.*.content", {"messages": [{"content": PASSWORD}, {"content": PASSWORD}]}),
        ("a.1", {"a": [0, PASSWORD]}),
        ("user.id", {"user.id": PASSWORD}),
        ("straße", {"straße": PASSWORD}),
    ],
)
def test_keys_are_found_in_json_and_in_lists_of_keys(rule: str, content: Any) -> None:
    rules = Redaction(keys=[rule])
    as_text = json.dumps(content)
    for value in (
        text_value(as_text),
        text_value(json.dumps(content, indent=2, ensure_ascii=False)),
        text_value(json.dumps({"x": as_text})),
        text_value(f"data: {as_text}\n\ndata: {as_text}\n"),
        text_value(as_text[: as_text.rindex(PASSWORD[-3:])]),
        any_value(content),
    ):
        span = span_with(pair("metadata", value))

        assert rules.span(span) == {"key"}
        assert not any(PASSWORD[:9] in text for text in texts(span))
        after = span.SerializeToString()
        assert rules.span(span) == set()
        assert span.SerializeToString() == after


def test_a_key_is_found_by_the_attribute_that_holds_its_json() -> None:
    rules = Redaction(keys=["metadata.user.name"])
    text = json.dumps({"user": {"name": PASSWORD}})
    span = span_with(pair("metadata", text), pair("other", text))

    assert rules.span(span) == {"key"}
    assert span.attributes[0].value.string_value == '{"user": {"name": "[redacted:key]"}}'
    assert span.attributes[1].value.string_value == text


def test_a_rule_for_everything_leaves_our_own_marks() -> None:
    request = request_of(span_with(pair("a", "b")))
    policy = Policy(Redaction(keys=["*"]))

    policy.apply(request)
    once = request.SerializeToString()
    policy.apply(request)

    assert request.SerializeToString() == once
    (span,) = request.resource_spans[0].scope_spans[0].spans
    assert [one.value.string_value for one in span.attributes] == ["[redacted:key]", "key"]


def test_a_key_that_is_a_secret_goes_and_its_value_stays() -> None:
    span = span_with(pair("votes.jane@example.com", "yes"))

    assert ALL.span(span) == {"email"}
    assert "jane" not in span.attributes[0].key and "[redacted:email]" in span.attributes[0].key
    assert only_value(span).string_value == "yes"


# --- patterns -------------------------------------------------------------------------------


def test_a_pattern_finds_in_texts_json_names_and_numbers() -> None:
    rules = Redaction(patterns={"ticket": r"\bTICK-\d+", "badge": r"^B\d{5,}$", "pin": "3{7}"})

    assert redacted("see TICK-12 and TICK-x", rules) == "see [redacted:ticket] and TICK-x"
    assert redacted('{"a": "B12345", "TICK-1": 2, "n": 3333333}', rules) == (
        '{"a": "[redacted:badge]", "[redacted:ticket]": 2, "n": "[redacted:pin]"}'
    )
    assert redacted('{"a": "x\\nTICK-1"}', rules) == '{"a": "x\\n[redacted:ticket]"}'
    assert redacted("not B12345", rules) == "not B12345"
    span = span_with(pair("a", "B12345"))
    assert rules.span(span) == {"badge"}


@pytest.mark.parametrize("pattern", ["(a+)+$", "(a|a)*b", "(.*a){20}x", "(a*)*b"])
def test_a_pattern_that_would_never_end_is_harmless(pattern: str) -> None:
    text = "a" * 50_000 + "!"

    assert redacted(text, Redaction(patterns={"bad": f"{pattern}c"})) == text


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        ("(", "'p' is no regular expression of RE2 .missing"),
        ("(?<=a)b", "look-around and back-references"),
        (r"(a)\1", "look-around and back-references"),
        ("x{1001}", "RE2"),
        ("", "finds an empty text"),
        ("a*", "finds an empty text"),
        (r"\b", "finds an empty text"),
        ("(?m)$", "finds an empty text"),
        (r"\w{8,}", r"finds something in '\[redacted:api_key\]'.*let it ask for more"),
        (".+", "finds something in"),
        ("a" * 10_001, "longer than 10000"),
    ],
)
def test_a_pattern_that_cannot_work_is_refused_in_one_sentence(pattern: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Redaction(patterns={"p": pattern})


@pytest.mark.parametrize("name", ["Card!", "", "a b", "x" * 41, "card", "key", "phone"])
def test_a_pattern_needs_a_name_of_its_own(name: str) -> None:
    with pytest.raises(ValueError, match="name"):
        Redaction(patterns={name: "secret-[0-9]+"})


@pytest.mark.parametrize("key", ["", " ", ".", " . "])
def test_an_empty_key_is_refused(key: str) -> None:
    with pytest.raises(ValueError, match="a key is empty"):
        Redaction(keys=["password", key])
