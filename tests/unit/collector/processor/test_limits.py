"""What is too large becomes smaller, says so, and stays so."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValueList
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from tests.unit.collector.processor.planted import pair, span_with, text_value
from tests.unit.collector.processor.test_redact import SPANS
from tracequill_collector.processor.limits import (
    SHORTEST_BYTES,
    SHORTEST_SPAN_BYTES,
    Limits,
    cut_text,
    is_cut,
)

LIMITED = "tracequill.limited"


def value_of(span: Span, key: str) -> AnyValue:
    """Give the value of the attribute *key*."""
    return next(one.value for one in span.attributes if one.key == key)


def keys_of(span: Span) -> list[str]:
    """Give the keys, in order."""
    return [one.key for one in span.attributes]


# --- one text -------------------------------------------------------------------------------


def test_a_text_within_the_limit_stays_the_same_object() -> None:
    for text in ("", "a" * 200, "é" * 100, "\U0001f600" * 50):
        assert cut_text(text, 200) is text


def test_a_longer_text_is_cut_and_says_how_much_is_left() -> None:
    text = cut_text("a" * 1000, 200)

    assert text == "a" * 157 + "… [cut by tracequill: 157 of 1000 bytes]"
    assert len(text.encode()) <= 200
    assert is_cut(text)


@pytest.mark.parametrize("sign", ["é", "語", "\U0001f600", "\u0301"])
def test_a_text_is_cut_between_two_characters(sign: str) -> None:
    for most in range(200, 210):
        text = cut_text("x" + sign * 500, most)

        beginning = text.partition("…")[0]
        assert beginning == "x" + sign * (len(beginning) - 1)
        assert most - 4 - 4 < len(text.encode()) <= most
        assert f"{len(beginning.encode())} of {1 + 500 * len(sign.encode())} bytes" in text


def test_a_text_that_was_cut_before_still_says_how_long_it_was_at_first() -> None:
    once = cut_text("a" * 5000, 1000)
    twice = cut_text(once, 300)

    assert len(twice.encode()) <= 300
    assert twice.endswith("of 5000 bytes]") and twice.count("[cut by tracequill") == 1
    assert cut_text(twice, 300) is twice


def test_a_text_that_only_ends_like_a_cut_one_is_cut() -> None:
    text = cut_text("a" * 5000 + "… [cut by tracequill: 1 of 2 bytes]", 300)

    assert len(text.encode()) <= 300 and text.endswith("of 5037 bytes]")


@given(st.text(), st.integers(0, 400))
def test_a_cut_text_fits_and_stays(text: str, most: int) -> None:
    new = cut_text(text, most)

    assert len(new.encode("utf-8", "replace")) <= max(most, SHORTEST_BYTES)
    assert cut_text(new, most) == new


# --- long values ----------------------------------------------------------------------------


def test_every_long_text_of_a_span_is_cut() -> None:
    long = "b" * 1000
    inner = AnyValue(
        kvlist_value=KeyValueList(
            values=[
                pair("x", long),
                pair("y", AnyValue(array_value=ArrayValue(values=[text_value(long)]))),
            ]
        )
    )
    span = Span(
        name=long,
        attributes=[pair("a", long), pair("short", "c"), pair("inner", inner), pair("n", 7)],
        events=[Span.Event(name=long, attributes=[pair("exception.message", long)])],
        links=[Span.Link(attributes=[pair("why", long)])],
        status=Status(message=long),
    )

    cut = Limits(attribute_max_bytes=200).apply(span)

    assert cut == {"attribute_bytes": 8}
    assert long[:201].encode() not in span.SerializeToString()
    assert span.SerializeToString().count(b"of 1000 bytes]") == 8
    assert value_of(span, "short").string_value == "c" and value_of(span, "n").int_value == 7
    assert value_of(span, LIMITED).string_value == "attribute_bytes: 8"


def test_long_bytes_become_their_mark() -> None:
    span = span_with(pair("image", b"\xff" * 1000), pair("icon", b"\xff" * 100))

    assert Limits(attribute_max_bytes=200).apply(span) == {"attribute_bytes": 1}
    assert value_of(span, "image").string_value == "… [cut by tracequill: 0 of 1000 bytes]"
    assert value_of(span, "icon").bytes_value == b"\xff" * 100


def test_an_input_that_was_cut_is_no_json_any_more() -> None:
    span = span_with(
        pair("input.value", '{"a": "' + "x" * 1000 + '"}'),
        pair("input.mime_type", "application/json"),
        pair("output.value", '{"a": 1}'),
        pair("output.mime_type", "application/json"),
    )

    Limits(attribute_max_bytes=200).apply(span)

    assert value_of(span, "input.mime_type").string_value == "text/plain"
    assert value_of(span, "output.mime_type").string_value == "application/json"


# --- too many -------------------------------------------------------------------------------


def test_of_too_many_attributes_those_that_matter_are_kept_in_their_order() -> None:
    names = ["x.1", "input.value", "x.2", "llm.token_count.total", "x.3", "session.id", "x.4"]
    span = span_with(*(pair(name, name) for name in names))

    assert Limits(attributes_max=5).apply(span) == {"attributes": 2}
    assert keys_of(span) == [
        "x.1",
        "input.value",
        "x.2",
        "llm.token_count.total",
        "session.id",
        LIMITED,
    ]
    assert value_of(span, LIMITED).string_value == "attributes: 2"
    assert span.dropped_attributes_count == 2


def test_our_own_marks_do_not_count_as_attributes() -> None:
    span = span_with(*(pair(f"x.{number}", "y") for number in range(9)))
    span.attributes.append(pair("tracequill.redacted", "card"))
    limits = Limits(attributes_max=5)

    limits.apply(span)
    once = span.SerializeToString()

    assert keys_of(span) == ["x.0", "x.1", "x.2", "x.3", "x.4", "tracequill.redacted", LIMITED]
    assert limits.apply(span) == {}
    assert span.SerializeToString() == once


def test_of_too_many_events_exceptions_are_kept_in_their_order() -> None:
    names = ["a", "b", "exception", "c", "exception"]
    span = Span(events=[Span.Event(name=name, time_unix_nano=7) for name in names])

    assert Limits(events_max=3).apply(span) == {"events": 2}
    assert [event.name for event in span.events] == ["a", "exception", "exception"]
    assert span.dropped_events_count == 2


def test_a_later_collector_adds_what_it_has_cut() -> None:
    span = span_with(*(pair(f"x.{number}", "y" * 500) for number in range(9)))

    Limits(attributes_max=5).apply(span)
    Limits(attributes_max=4, attribute_max_bytes=200).apply(span)

    assert (
        value_of(span, LIMITED).string_value == "attributes: 4; attribute_bytes: 4, attributes: 1"
    )
    assert span.dropped_attributes_count == 5


# --- too large ------------------------------------------------------------------------------


def test_a_span_that_is_too_large_loses_of_its_longest_texts_first() -> None:
    span = span_with(pair("a", "a" * 30_000), pair("b", "b" * 20_000), pair("c", "c" * 300))

    assert Limits(span_max_bytes=16_384).apply(span) == {"span_bytes": 2}
    assert 16_384 - 600 < span.ByteSize() <= 16_384
    a, b = value_of(span, "a").string_value, value_of(span, "b").string_value
    assert len(a) == len(b)
    assert value_of(span, "c").string_value == "c" * 300


@pytest.mark.parametrize(
    "pairs",
    [
        [pair("a", "é" * 50_000)],
        [pair(f"a.{number}", "x" * 2000) for number in range(50)],
        [pair("v", AnyValue(array_value=ArrayValue(values=[pair("", 0.1).value] * 5000)))],
        [
            pair("v", AnyValue(array_value=ArrayValue(values=[text_value("x" * 100)] * 500))),
            pair("input.value", "y" * 3000),
        ],
        [pair("b", b"\0" * 100_000), pair("input.value", "y" * 5000)],
    ],
    ids=["one text", "many texts", "numbers", "many short texts", "bytes"],
)
def test_a_span_fits_in_the_end_whatever_is_large(pairs: list[object]) -> None:
    span = span_with(*pairs)  # type: ignore[arg-type]
    span.events.add(name="e").attributes.append(pair("x", "z" * 9000))
    limits = Limits(span_max_bytes=8192)

    assert limits.apply(span)["span_bytes"] >= 1
    once = span.SerializeToString()

    assert len(once) <= 8192
    assert b"cut by tracequill" in once
    assert limits.apply(span) == {}
    assert span.SerializeToString() == once


def test_what_identifies_a_span_goes_last() -> None:
    numbers = AnyValue(array_value=ArrayValue(values=[pair("", 0.1).value] * 500))
    span = span_with(pair("input.value", numbers), pair("x", numbers))

    Limits(span_max_bytes=8192).apply(span)

    assert value_of(span, "input.value").WhichOneof("value") == "array_value"
    assert value_of(span, "x").string_value.startswith("… [cut by tracequill: 0 of ")


# --- for every span -------------------------------------------------------------------------

LIMITS = st.builds(
    Limits,
    attribute_max_bytes=st.sampled_from([0, SHORTEST_BYTES, 150]),
    attributes_max=st.sampled_from([0, 1, 2]),
    events_max=st.sampled_from([0, 1]),
    span_max_bytes=st.sampled_from([0, SHORTEST_SPAN_BYTES]),
)


@settings(max_examples=60)
@given(limits=LIMITS, span=SPANS, text=st.text(max_size=20), times=st.integers(0, 400))
def test_limits_twice_are_limits_once(limits: Limits, span: Span, text: str, times: int) -> None:
    text = text.encode("utf-8", "replace").decode()
    span.attributes.append(pair("input.value", text * times))
    span.events.add(name=text).attributes.append(pair("x", text * times))
    span.events.add(name="exception")
    before = span.SerializeToString()

    cut = limits.apply(span)

    once = span.SerializeToString()
    assert (once == before) == (not cut)
    assert limits.apply(span) == {}
    assert span.SerializeToString() == once


def test_without_limits_nothing_is_changed() -> None:
    span = span_with(pair("a", "x" * 100_000))
    before = span.SerializeToString()

    assert Limits().apply(span) == {}
    assert span.SerializeToString() == before


def test_a_limit_that_cannot_be_kept_is_refused() -> None:
    with pytest.raises(ValueError, match="attribute_max_bytes is 10, but at least 128, or 0"):
        Limits(attribute_max_bytes=10)
    with pytest.raises(ValueError, match="span_max_bytes is 4095, but at least 4096, or 0"):
        Limits(span_max_bytes=4095)
