"""What the page measures itself: from a key to the next question painted, all of it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from tests.integration.annotate.browsing import Analyst, MakeAnalyst, analysts, chromium
from tests.integration.annotate.rig import Call, Json, named, write_calls
from tests.integration.fixtures_phoenix import PhoenixServer

pytestmark = pytest.mark.integration

SLOW_MS = 300
MEASURES = "performance.getEntriesByName('tracequill:key-to-painted').map(one => one.duration)"
SLOW_LAYOUT = """milliseconds => {
    // A resize observer is told after the layout, while the frame is being made.
    const slow = new ResizeObserver(() => {
        const until = performance.now() + milliseconds;
        while (performance.now() < until);
    });
    new MutationObserver((changes) => {
        for (const node of changes.flatMap((change) => [...change.addedNodes])) slow.observe(node);
    }).observe(document.querySelector(".work-place"), {childList: true});
}"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def make_analyst(browser: Browser, phoenix_server: PhoenixServer) -> Iterator[MakeAnalyst]:
    with analysts(browser, phoenix_server) as make:
        yield make


@pytest.fixture
def ana(make_analyst: MakeAnalyst) -> Analyst:
    return make_analyst()


def make_queue(server: PhoenixServer, request: pytest.FixtureRequest, number: int) -> Json:
    """A queue of *number* questions, the oldest first."""
    name = f"pace {request.node.name}"
    write_calls(server, name, [Call(question=f"Question {n}") for n in range(1, number + 1)])
    with named(server, "Manager") as manager:
        return manager.create(name, name, order="oldest")


def measures(page: Page, number: int) -> list[float]:
    """Wait until the page has measured *number* times, and give the milliseconds."""
    for _ in range(1000):
        found: list[float] = page.evaluate(MEASURES)
        if len(found) >= number:
            return found
        page.wait_for_timeout(10)
    raise AssertionError(f"{number} measures never came")


def test_a_slow_rendering_is_in_the_measure(
    phoenix_server: PhoenixServer, ana: Analyst, request: pytest.FixtureRequest
) -> None:
    queue = make_queue(phoenix_server, request, 3)
    page = ana.open_queue(queue, "Ana")
    ana.press("1", "Enter")
    measures(page, 1)

    page.evaluate(SLOW_LAYOUT, SLOW_MS)
    ana.press("1", "Enter")

    assert measures(page, 2)[1] >= SLOW_MS


def test_waiting_for_the_next_question_is_in_the_measure(
    phoenix_server: PhoenixServer, ana: Analyst, request: pytest.FixtureRequest
) -> None:
    queue = make_queue(phoenix_server, request, 30)
    page = ana.open_queue(queue, "Ana")
    held: list[Route] = []
    page.route("**/lease", lambda route: held.append(route))

    answered = 0
    while page.get_by_text("The next question comes in a moment.").count() == 0:
        ana.press("1", "Enter")
        answered += 1
        assert answered < 30
    page.wait_for_timeout(SLOW_MS)
    page.route("**/lease", lambda route: route.continue_())
    for route in held:
        route.continue_()

    expect(page.locator(".work-place")).to_contain_text("Question ")
    found = measures(page, answered)
    assert len(found) == answered
    assert found[-1] >= SLOW_MS
