from __future__ import annotations

import opentelemetry.sdk.trace

from tracequill import _register
from tracequill.testing import FIXED_START_NS, FixedClock, SequentialIds, recording


def make_spans() -> list[str]:
    with recording(auto_instrument=False) as spans:
        tracer = _register.registration.provider.get_tracer("test")
        with tracer.start_as_current_span("parent"), tracer.start_as_current_span("child"):
            pass
    return [
        f"{span.name} {span.context.trace_id} {span.context.span_id} {span.start_time}"
        for span in spans
    ]


def test_two_recordings_give_equal_spans() -> None:
    assert make_spans() == make_spans()
    assert make_spans()[0] == f"child 1 2 {FIXED_START_NS + 1_000_000}"


def test_what_was_registered_before_holds_again_afterwards() -> None:
    before = _register.registration, opentelemetry.sdk.trace.time_ns  # type: ignore[attr-defined]

    make_spans()

    assert before == (
        _register.registration,
        opentelemetry.sdk.trace.time_ns,  # type: ignore[attr-defined]
    )


def test_ids_and_clock_count_up() -> None:
    ids, clock = SequentialIds(), FixedClock(start_ns=5, step_ns=2)

    assert [ids.generate_span_id(), ids.generate_span_id(), ids.generate_trace_id()] == [1, 2, 1]
    assert [clock(), clock()] == [5, 7]
