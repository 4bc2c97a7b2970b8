"""Keys that repeat are nested by a function made for them, exactly as ``unflatten`` nests them."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.common.v1.common_pb2 import KeyValue

from tests.otlp_values import any_value
from tests.unit.collector.processor.test_decode import otlp_span, record, request
from tracequill_collector.processor import decode as decoding
from tracequill_collector.processor import shapes
from tracequill_collector.processor.attributes import unflatten

_SEGMENTS = st.sampled_from(["a", "b", "0", "1", "01", "-1", "", " a ", "é", "'", '"]})', "٣"])
_KEYS = st.lists(_SEGMENTS, min_size=1, max_size=5).map(".".join)


def _made(keys: tuple[str, ...]) -> shapes.Nest | None:
    """Ask until it was worth it."""
    for _ in range(20):
        if (nest := shapes.nest_of(keys)) is not None:
            return nest
    return None


@given(st.lists(_KEYS, max_size=12, unique=True))
def test_the_made_function_nests_as_unflatten_does(keys: list[str]) -> None:
    values: list[Any] = [{"a": {"0": number}} if number % 3 else number for number in range(99)]

    nest = _made(tuple(keys))

    assert nest is not None
    assert nest(values[: len(keys)]) == unflatten(zip(keys, values, strict=False))


def test_what_it_gives_is_new_every_time() -> None:
    nest = _made(("list.0.a", "b.c"))
    assert nest is not None

    nest([1, 2])["list"].append("changed")

    assert nest([3, 4]) == {"list": [{"a": 3}], "b": {"c": 4}}


def test_keys_are_never_a_program() -> None:
    keys = ("__import__('os').abort()", "values", "].__class__", "{0}\n", "\\")
    nest = _made(keys)

    assert nest is not None
    assert nest([1, 2, 3, 4, 5]) == unflatten(zip(keys, range(1, 6), strict=True))


def test_two_equal_keys_too_many_too_long_or_too_deep_have_none() -> None:
    assert _made(("a", "a")) is None
    assert _made(tuple(map(str, range(2_000)))) is None
    assert _made(("a" * 100_000,)) is None
    assert _made((".".join("a" * 150),)) is None


def test_what_is_remembered_is_bounded() -> None:
    for number in range(5_000):
        shapes.nest_of((f"only once {number}",))
    for number in range(shapes.MAX_SHAPES + 50):
        _made((f"often {number}",))

    assert len(shapes._seen) <= 2_000
    assert len(shapes._made) <= shapes.MAX_SHAPES


@given(
    st.lists(
        st.tuples(
            st.sampled_from(
                [
                    "llm.token_count.prompt",
                    "metadata",
                    "llm.input_messages.0.message.content",
                    "input.value",
                    "openinference.span.kind",
                    "gen_ai.request.model",
                    "empty",
                ]
            ),
            st.sampled_from(
                ["7", "", "null", '{"a": 1}', '{"a": 123456789012345678901234567890}', "NaN"]
            )
            | st.integers(-5, 5)
            | st.floats(allow_nan=False),
        ),
        max_size=6,
    )
)
def test_a_span_seen_often_is_decoded_like_one_seen_first(pairs: list[tuple[str, Any]]) -> None:
    attributes = [KeyValue(key=key, value=any_value(value)) for key, value in pairs]
    span = otlp_span()
    span.attributes.extend(attributes)
    sent = record(request(span))
    decoding._plans.clear()
    shapes._made.clear()
    shapes._seen.clear()
    first = decoding.decode(sent, max_bytes=1 << 20).spans

    for _ in range(12):
        again = decoding.decode(sent, max_bytes=1 << 20).spans

    assert again == first
