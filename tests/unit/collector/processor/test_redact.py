"""No copy of a secret is left in a request, and nothing else is changed."""

from __future__ import annotations

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue, KeyValueList
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.unit.collector.processor.planted import (
    CARD_NUMBER,
    SECRETS,
    every_place,
    pair,
    request_of,
    span_with,
    text_value,
    texts,
)
from tests.unit.collector.processor.redacting import ALL, only_value, redacted
from tracequill_collector.processor.detectors import NAMES
from tracequill_collector.processor.policy import Policy
from tracequill_collector.processor.redact import Redaction

# --- every place ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", SECRETS)
def test_a_secret_survives_nowhere_in_a_request(name: str) -> None:
    request = every_place(SECRETS[name])
    before = list(texts(request))

    applied = Policy(Redaction(detectors=[name])).apply(request)

    assert applied.failed == {}
    assert applied.counts[name] >= 3  # the span, its resource and its scope
    after = list(texts(request))
    assert len(after) == len(before) + 2  # tracequill.redacted
    parts = [part for part in SECRETS[name].split() if len(part) > 3]
    for text in after:
        assert not any(part in text for part in parts), text
    assert sum(f"[redacted:{name}]" in text for text in after) > 35


def test_the_prefiltered_way_finds_in_each_place_alone() -> None:
    """The glance over a whole span must miss no place: each is tried with all others clean."""
    whole = every_place("@@@")
    for secret in SECRETS.values():
        for number in range(1, len(whole.resource_spans[0].scope_spans[0].spans[0].attributes)):
            span = every_place(secret).resource_spans[0].scope_spans[0].spans[0]
            alone = span_with(span.attributes[number])
            assert ALL.span(alone), (secret, span.attributes[number].key)


def test_the_span_names_the_rules_that_hit() -> None:
    span = span_with(pair("input.value", f"{SECRETS['card']} of {SECRETS['email']}"))

    Policy(ALL).apply(request := request_of(span))

    (changed,) = request.resource_spans[0].scope_spans[0].spans
    assert changed.attributes[0].value.string_value == "[redacted:card] of [redacted:email]"
    assert changed.attributes[1].key == "tracequill.redacted"
    assert changed.attributes[1].value.string_value == "card,email"


def test_fields_of_a_later_protocol_are_dropped() -> None:
    unknown = b"\xaa\x3e\x14" + b"jane.doe@example.com"  # field 997
    span = Span.FromString(span_with().SerializeToString() + unknown)
    request = request_of(span)
    assert b"jane" in request.SerializeToString()

    Policy(ALL).apply(request)

    assert b"jane" not in request.SerializeToString()


# --- values ---------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [CARD_NUMBER, -CARD_NUMBER, float(CARD_NUMBER)])
def test_a_card_that_is_a_number_is_found(number: int | float) -> None:
    inner = AnyValue(array_value=ArrayValue(values=[pair("x", number).value]))
    deep = AnyValue(kvlist_value=KeyValueList(values=[pair("card", number), pair("all", inner)]))
    for value in (pair("x", number).value, inner, deep):
        span = span_with(pair("tool.card", value))

        assert ALL.span(span) == {"card"}
        assert not any(str(CARD_NUMBER) in text for text in texts(span))
        assert not any("4.111" in text for text in texts(span))


@pytest.mark.parametrize("number", [CARD_NUMBER + 1, 1_770_000_000_000_000_000, 0.1, 1e300, -5])
def test_other_numbers_stay_numbers(number: int | float) -> None:
    span = span_with(pair("x", number))
    before = span.SerializeToString()

    assert ALL.span(span) == set()
    assert span.SerializeToString() == before


def test_counts_of_tokens_are_never_secrets() -> None:
    rule = Redaction(patterns={"six": r"\d{6}"})
    span = span_with(
        pair("llm.token_count.prompt", 123456), pair("llm.cost.total", 123456.0), pair("n", 123456)
    )

    assert rule.span(span) == {"six"}
    assert span.attributes[0].value.int_value == 123456
    assert span.attributes[1].value.double_value == 123456.0
    assert span.attributes[2].value.string_value == "[redacted:six]"


def test_numbers_within_json_become_the_marker() -> None:
    text = f'{{"a": {CARD_NUMBER}, "b": [{CARD_NUMBER}.0, 1.50, 1E5, 1234567], "c": true}}'

    assert redacted(text) == (
        '{"a": "[redacted:card]", "b": ["[redacted:card]", 1.50, 1E5, 1234567], "c": true}'
    )


def test_bytes_that_are_no_text_keep_the_rest() -> None:
    span = span_with(pair("x", b"\xff\x00jane@example.com \xfe\x80"))

    assert ALL.span(span) == {"email"}
    assert only_value(span).bytes_value == b"\xff\x00[redacted:email] \xfe\x80"


# --- for every request ----------------------------------------------------------------------

PIECES = st.one_of(
    st.text(max_size=12),
    st.sampled_from([*SECRETS.values(), str(CARD_NUMBER), "[redacted:card]", "AT12 ", '"', "\\"]),
    st.sampled_from(
        ['{"password":', "TICK-12", "data: ", "{", "}", "[", "]", ",", '\\u0040"', " "]
    ),
)
TEXTS = st.lists(PIECES, max_size=5).map("".join)
JSONS = st.recursive(
    st.one_of(TEXTS, st.integers(), st.floats(), st.none(), st.just(CARD_NUMBER)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(st.one_of(TEXTS, st.just("password")), inner, max_size=4),
    ),
    max_leaves=10,
)
WRITTEN = st.one_of(
    TEXTS,
    JSONS.map(json.dumps),
    JSONS.map(lambda content: json.dumps({"x": json.dumps(content)}, ensure_ascii=False)),
)
VALUES = st.recursive(
    st.one_of(
        WRITTEN.map(lambda text: text_value(text.encode("utf-8", "replace").decode())),
        st.integers(-(2**63), 2**63 - 1).map(lambda number: AnyValue(int_value=number)),
        st.floats().map(lambda number: AnyValue(double_value=number)),
        st.binary(max_size=20).map(lambda content: AnyValue(bytes_value=content)),
        st.just(AnyValue()),
        st.just(AnyValue(int_value=CARD_NUMBER)),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(
            lambda values: AnyValue(array_value=ArrayValue(values=values))
        ),
        st.lists(st.tuples(st.text(max_size=6), inner), max_size=3).map(
            lambda pairs: AnyValue(
                kvlist_value=KeyValueList(
                    values=[
                        KeyValue(key=key.encode("utf-8", "replace").decode(), value=value)
                        for key, value in pairs
                    ]
                )
            )
        ),
    ),
    max_leaves=8,
)
SPANS = st.lists(
    st.tuples(st.sampled_from(["a", "user.id", "password", "metadata", "x.y"]), VALUES), max_size=4
).map(lambda pairs: span_with(*(KeyValue(key=key, value=value) for key, value in pairs)))
RULES = [
    ALL,
    Redaction(detectors=NAMES, phone_regions=["DE", "US"], keys=["password", "user.*"]),
    Redaction(keys=["pass*"]),
    Redaction(detectors=["card"], patterns={"ticket": r"TICK-\d+"}),
]


@pytest.mark.parametrize("rules", RULES, ids=["all", "and keys", "keys", "patterns"])
@settings(suppress_health_check=[HealthCheck.too_slow], max_examples=50)
@given(span=SPANS)
def test_it_never_fails_and_twice_is_once(rules: Redaction, span: Span) -> None:
    policy, request = Policy(rules), request_of(span)
    before = request.SerializeToString(deterministic=True)
    twin = ExportTraceServiceRequest.FromString(before)

    applied = policy.apply(request)

    assert applied.failed == {}
    once = request.SerializeToString(deterministic=True)
    if not applied.counts:
        assert once == before
    policy.apply(twin)
    assert twin.SerializeToString(deterministic=True) == once
    again = ExportTraceServiceRequest.FromString(once)
    assert not policy.apply(again).counts
    assert again.SerializeToString(deterministic=True) == once


@pytest.mark.parametrize("rules", RULES, ids=["all", "and keys", "keys", "patterns"])
@settings(max_examples=50)
@given(text=WRITTEN)
def test_a_text_without_a_hit_stays_the_same_object(rules: Redaction, text: str) -> None:
    hits: set[str] = set()
    new = rules.text(text, hits)

    assert (new is text) == (not hits)
    assert rules.text(text, set()) == new


@pytest.mark.parametrize(
    "piece", ['"', "{", "[", '\\"', '"a":', '{"password":', ",", "1", '"\\', '""', "[1,", '"@"']
)
def test_the_work_grows_in_proportion_to_the_text(piece: str) -> None:
    # What would take time in the square of the length would never end here.
    for start in ("", "[", '{"a":'):
        for rules in RULES:
            redacted(start + piece * (40_000 // len(piece)), rules)
