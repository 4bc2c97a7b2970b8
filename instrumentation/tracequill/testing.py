"""Spans in memory, for tests: of this library, and of applications that use it.

    with tracequill.testing.recording() as spans:
        answer("How are you?")
    assert spans[0].attributes["llm.model_name"] == "gpt-4o"

Ids count up from 1 and the clock moves one millisecond a look, so two runs give equal spans.
Nothing leaves the process.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import opentelemetry.sdk.trace
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.id_generator import IdGenerator

from tracequill import _register
from tracequill._config import resolve_proxy
from tracequill._processor import InlineProcessor
from tracequill._provider import TracequillProvider, project_resource
from tracequill._sender import RefusedError, UnavailableError

# 2026-01-01T00:00:00Z
FIXED_START_NS = 1_767_225_600_000_000_000


class SequentialIds(IdGenerator):
    """Ids that count up from 1."""

    def __init__(self) -> None:
        self._last_span_id = 0
        self._last_trace_id = 0

    def generate_span_id(self) -> int:
        """Give the next span id."""
        self._last_span_id += 1
        return self._last_span_id

    def generate_trace_id(self) -> int:
        """Give the next trace id."""
        self._last_trace_id += 1
        return self._last_trace_id


class FixedClock:
    """A clock that starts at *start_ns* and moves *step_ns* each time somebody looks."""

    def __init__(self, start_ns: int = FIXED_START_NS, step_ns: int = 1_000_000) -> None:
        self._next_ns = start_ns
        self._step_ns = step_ns

    def __call__(self) -> int:
        """Look at the clock: nanoseconds since 1970."""
        now_ns = self._next_ns
        self._next_ns += self._step_ns
        return now_ns


class MemorySender:
    """A destination that keeps what it is sent; first it raises each of *failures* once."""

    def __init__(self, failures: Sequence[RefusedError | UnavailableError] = ()) -> None:
        self.spans: list[ReadableSpan] = []
        self.attempts = 0
        self.closed = False
        self._failures = list(failures)

    def send(self, spans: Sequence[ReadableSpan], timeout_seconds: float) -> None:
        """Keep *spans*, or raise the next failure."""
        self.attempts += 1
        if self._failures:
            raise self._failures.pop(0)
        self.spans.extend(spans)

    def reopen(self) -> None:
        """Nothing is open."""

    def close(self) -> None:
        """Remember that it was closed."""
        self.closed = True


@contextmanager
def recording(
    project_name: str = "test",
    *,
    auto_instrument: bool = True,
    proxy_url: str | None = None,
    clock: Callable[[], int] | None = None,
) -> Iterator[list[ReadableSpan]]:
    """Register as ``register()`` does, with finished spans kept in the list that is given.

    What was registered before is left as it was, and holds again afterwards, except that boto3
    clients made before or inside must be made anew.
    """
    address = resolve_proxy(proxy_url)
    sender = MemorySender()
    outer = _register.registration
    outer_names, outer_address = outer.instruments.names, outer.proxy_headers.address
    outer.instruments.switch_off()
    outer.proxy_headers.switch_off()
    inner = _register.Registration(provider=TracequillProvider(SequentialIds()))
    sdk_clock = opentelemetry.sdk.trace.time_ns  # type: ignore[attr-defined]
    _register.registration = inner
    opentelemetry.sdk.trace.time_ns = clock or FixedClock()  # type: ignore[attr-defined]
    try:
        inner.follow(project_resource(project_name), InlineProcessor(sender, "memory"))
        inner.trace_calls(auto_instrument, address)
        yield sender.spans
    finally:
        inner.stop(timeout_seconds=0.0)
        opentelemetry.sdk.trace.time_ns = sdk_clock  # type: ignore[attr-defined]
        _register.registration = outer
        if outer_address is not None:
            outer.trace_calls(bool(outer_names), outer_address)


def current_provider() -> TracequillProvider:
    """Give the provider that holds now; inside ``recording()`` it is that of the recording."""
    return _register.registration.provider
