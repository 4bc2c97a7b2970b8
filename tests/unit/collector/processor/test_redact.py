"""No copy of a secret is left in a request, and nothing else is changed."""

from __future__ import annotations

import json
import tracemalloc
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue, KeyValueList
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.unit.collector.processor.planted import (
    CARD_NUMBER,
    PASSWORD,
    SECRETS,
    every_place,
    pair,
    request_of,
    span_with,
    text_value,
    texts,
)
from tracequill_collector.processor import json_text, redact
from tracequill_collector.processor.detectors import NAMES
from tracequill_collector.processor.policy import Policy
from tracequill_collector.processor.redact import Redaction

ALL = Redaction(detectors=NAMES)


def redacted(text: str, redaction: Redaction = ALL) -> str:
    """Give *text* redacted."""
    return redaction.text(text, set())


def hits_of(text: str, redaction: Redaction = ALL) -> set[str]:
    """Give the rules that hit."""
    hits: set[str] = set()
    redaction.text(text, hits)
    return hits


def only_value(span: Span) -> AnyValue:
    """Give the value of the first attribute."""
    return span.attributes[0].value


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


# --- JSON -----------------------------------------------------------------------------------


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


def any_value(content: Any) -> AnyValue:
    """Give *content* as a value of OTLP."""
    if isinstance(content, dict):
        pairs = [pair(key, any_value(item)) for key, item in content.items()]
        return AnyValue(kvlist_value=KeyValueList(values=pairs))
    if isinstance(content, list):
        return AnyValue(array_value=ArrayValue(values=[any_value(item) for item in content]))
    return pair("", content).value


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


@pytest.mark.parametrize(
    "piece", ['"', "{", "[", '\\"', '"a":', '{"password":', ",", "1", '"\\', '""', "[1,", '"@"']
)
def test_the_work_grows_in_proportion_to_the_text(piece: str) -> None:
    # What would take time in the square of the length would never end here.
    for start in ("", "[", '{"a":'):
        for rules in RULES:
            redacted(start + piece * (40_000 // len(piece)), rules)


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
