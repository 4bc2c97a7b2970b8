from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from opentelemetry.instrumentation.dependencies import DependencyConflict, DependencyConflictError

from tracequill import _instruments
from tracequill._instruments import GROUP, Instruments
from tracequill._provider import TracequillProvider


@dataclass
class FakeInstrumentor:
    """Notes what was asked of it; raises *error* when it is switched on."""

    error: Exception | None = None
    is_instrumented_by_opentelemetry: bool = False
    calls: list[str] = field(default_factory=list)
    provider: object = None

    def instrument(self, *, tracer_provider: object, raise_exception_on_conflict: bool) -> None:
        self.calls.append("on")
        if self.error is not None:
            raise self.error
        self.provider = tracer_provider

    def uninstrument(self) -> None:
        self.calls.append("off")


@dataclass
class FakePoint:
    """An entry point that loads *loader*, or raises it."""

    name: str
    loader: Callable[[], Any] | Exception

    def load(self) -> Callable[[], Any]:
        if isinstance(self.loader, Exception):
            raise self.loader
        return self.loader


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Callable[[Sequence[FakePoint]], None]:
    def install_points(points: Sequence[FakePoint]) -> None:
        installed = {GROUP: list(points)}
        monkeypatch.setattr(_instruments, "entry_points", lambda group: installed[group])

    return install_points


Install = Callable[[Sequence[FakePoint]], None]


def test_every_installed_instrumentor_gets_our_provider_and_is_put_back(install: Install) -> None:
    one, two = FakeInstrumentor(), FakeInstrumentor()
    install([FakePoint("two", lambda: two), FakePoint("one", lambda: one)])
    provider, instruments = TracequillProvider(), Instruments()

    instruments.switch_on(provider)

    assert instruments.names == ("one", "two")
    assert one.provider is two.provider is provider
    instruments.switch_off()
    assert not instruments.names
    assert one.calls == two.calls == ["on", "off"]


def test_switching_on_twice_switches_on_once(install: Install) -> None:
    one = FakeInstrumentor()
    install([FakePoint("one", lambda: one)])
    instruments = Instruments()

    instruments.switch_on(TracequillProvider())
    instruments.switch_on(TracequillProvider())

    assert one.calls == ["on"]


def test_one_that_fails_is_logged_and_stops_no_other(
    install: Install, caplog: pytest.LogCaptureFixture
) -> None:
    good = FakeInstrumentor()
    install(
        [
            FakePoint("a-bad-import", SyntaxError("broken")),
            FakePoint("b-bad-switch", lambda: FakeInstrumentor(error=RuntimeError("broken"))),
            FakePoint("good", lambda: good),
        ]
    )
    instruments = Instruments()

    instruments.switch_on(TracequillProvider())

    assert instruments.names == ("good",)
    assert "does not trace a-bad-import: its instrumentor failed with SyntaxError" in caplog.text
    assert "does not trace b-bad-switch: its instrumentor failed with RuntimeError" in caplog.text


@pytest.mark.parametrize(
    ("loader", "level"),
    [
        pytest.param(ModuleNotFoundError(name="botocore"), None, id="the library is missing"),
        pytest.param(
            lambda: FakeInstrumentor(
                DependencyConflictError(DependencyConflict("openai >= 2", None))
            ),
            None,
            id="the distribution is missing",
        ),
        pytest.param(
            lambda: FakeInstrumentor(
                DependencyConflictError(DependencyConflict("openai >= 2", "openai 1.2"))
            ),
            logging.WARNING,
            id="the library is too old",
        ),
        pytest.param(
            lambda: FakeInstrumentor(is_instrumented_by_opentelemetry=True),
            logging.WARNING,
            id="the application did it already",
        ),
    ],
)
def test_what_cannot_be_traced_is_left_alone_and_said_where_it_matters(
    install: Install,
    caplog: pytest.LogCaptureFixture,
    loader: Callable[[], Any] | Exception,
    level: int | None,
) -> None:
    caplog.set_level(logging.INFO)
    install([FakePoint("library", loader)])
    instruments = Instruments()

    instruments.switch_on(TracequillProvider())
    instruments.switch_off()

    assert instruments.names == ()
    assert [record.levelno for record in caplog.records] == ([level] if level else [])


def test_one_that_cannot_be_put_back_stops_no_other(
    install: Install, caplog: pytest.LogCaptureFixture
) -> None:
    class Stuck(FakeInstrumentor):
        def uninstrument(self) -> None:
            raise RuntimeError("stuck")

    good = FakeInstrumentor()
    install([FakePoint("good", lambda: good), FakePoint("stuck", Stuck)])
    instruments = Instruments()
    instruments.switch_on(TracequillProvider())

    instruments.switch_off()

    assert good.calls == ["on", "off"]
    assert "could not put stuck back" in caplog.text
