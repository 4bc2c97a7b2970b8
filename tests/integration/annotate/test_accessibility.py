"""The pages for everybody: screen readers, large letters, narrow windows, light and dark.

What axe-core finds wrong by itself is nothing; what it cannot see (what is said and where the
focus goes) is tested here one by one.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, ViewportSize, expect

from tests.integration.annotate.browsing import ANSWER, Analyst, analysts, chromium
from tests.integration.annotate.rig import Call, Json, Worker, named, path_of, write_calls
from tests.integration.fixtures_phoenix import PhoenixServer

pytestmark = pytest.mark.integration

AXE = Path(__file__).parents[2] / "javascript/node_modules/axe-core/axe.min.js"
LOOK = """async (options) => {
  const found = await axe.run(document, {resultTypes: ["violations"], ...options});
  return found.violations.map(({id, impact, nodes}) =>
    `${impact} ${id}: ${nodes.slice(0, 3).map(node => node.html.slice(0, 160)).join(" | ")}`);
}"""
COLOURS = {"runOnly": ["color-contrast"]}
TOO_WIDE = """() => {
  const wide = document.documentElement.scrollWidth;
  if (wide <= innerWidth) return [];
  const far = [...document.body.querySelectorAll("*")]
    .filter((one) => one.getBoundingClientRect().right > innerWidth + 1);
  return [`${wide} of ${innerWidth}`, ...far.slice(-3).map((one) => one.outerHTML.slice(0, 120))];
}"""
FOLLOWS_THE_SYSTEM = "localStorage.setItem('arize-phoenix-theme', '\"system\"')"
USUAL: ViewportSize = {"width": 1280, "height": 800}
TELEPHONE: ViewportSize = {"width": 320, "height": 640}
# 640 by 512 with everything twice as large.
TWICE_AS_LARGE: ViewportSize = {"width": 320, "height": 256}
LABELS = [
    {
        "name": "helpful",
        "kind": "CATEGORICAL",
        "description": "Would you be glad to get this answer?",
        "values": [{"label": label} for label in ("good", "middling", "bad")],
    },
    {
        "name": "faults",
        "kind": "CATEGORICAL",
        "multiple": True,
        "required": False,
        "values": [{"label": label} for label in ("wrong fact", "tone")],
    },
    {"name": "kindness", "kind": "CONTINUOUS", "lower_bound": 1, "upper_bound": 5},
    {"name": "minutes", "kind": "CONTINUOUS", "required": False},
    {"name": "remark", "kind": "FREEFORM", "required": False},
]
ANSWERED = """Your order **77** is on its way, see <https://example.com/{word}>.

| Step | Days |
|---|---|
| Print | 1 |

```python
print("{word}")
```
"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def ana(browser: Browser, phoenix_server: PhoenixServer) -> Iterator[Analyst]:
    with analysts(browser, phoenix_server) as make:
        yield make()


@pytest.fixture(scope="module")
def queue(phoenix_server: PhoenixServer) -> Json:
    """A queue with something on every page of it, and more than closed windows may still hold."""
    name = "for everybody"
    answer = ANSWERED.format(word="averylongwordwithoutanyspace" * 8)
    calls = [Call(question=f"Where is order {n}?", answer=answer) for n in range(12)]
    write_calls(phoenix_server, name, calls)
    with named(phoenix_server, "Manager") as manager:
        made = manager.create(
            name, name, labels=LABELS, overlap=2, order="oldest", instructions="Be **fair**."
        )
    for who, label in (("Ana", "good"), ("Ben", "bad")):
        with named(phoenix_server, who) as worker:
            answer_and_ask(worker, made, label)
    return made


def answer_and_ask(worker: Worker, queue: Json, label: str) -> None:
    """Answer three questions, and ask about the fourth."""
    for item in worker.lease(queue, 3):
        values = {"helpful": {"label": label, "explanation": "why"}, "kindness": {"score": 3}}
        correction = {"text": "It is lost.", "message": None}
        worker.answer(item, values=values, correction=correction)
    (item,) = worker.lease(queue)
    flag: Json = {
        "flag_id": str(uuid.uuid4()),
        "question": "Really?",
        "values": {},
        "correction": None,
    }
    worker.post(f"{path_of(item)}/flag", flag)


def pages_of(queue: Json) -> dict[str, str]:
    """The path of every page, by its name."""
    tabs = "progress questions items agreement disagreements add settings".split()
    own = str(queue["queue_id"])
    return {
        "list": "",
        "new": "new",
        "work": own,
        "mine": f"{own}/mine",
        **{f"manage {tab}": f"{own}/manage#{tab}" for tab in tabs},
    }


def person(browser: Browser, server: PhoenixServer) -> BrowserContext:
    """A browser of Ana's, in which others than the page may add a script."""
    assert AXE.is_file(), "these tests need axe-core: make javascript"
    context = browser.new_context(bypass_csp=True, color_scheme="light")
    context.add_cookies([{"name": "tracequill-name", "value": "Ana", "url": server.base_url}])
    context.add_init_script(path=AXE)
    context.add_init_script(FOLLOWS_THE_SYSTEM)
    return context


def go(page: Page, server: PhoenixServer, path: str) -> None:
    """Open a page, and wait until it is drawn."""
    page.goto("about:blank")
    page.goto(f"{server.base_url}/tracequill/annotate/{path}")
    expect(page.locator("main[aria-busy=false]")).to_be_visible()
    expect(page.locator(".loading")).to_have_count(0)


def look(page: Page) -> list[str]:
    """What axe-core finds wrong; in the dark only colours can be."""
    found: list[str] = page.evaluate(LOOK, {})
    page.emulate_media(color_scheme="dark")
    found += [f"dark: {wrong}" for wrong in page.evaluate(LOOK, COLOURS)]
    page.emulate_media(color_scheme="light")
    return found


def test_axe_finds_nothing_where_one_signs_in(
    phoenix_with_users: PhoenixServer, browser: Browser
) -> None:
    context = person(browser, phoenix_with_users)
    page = context.new_page()
    page.goto(f"{phoenix_with_users.base_url}/tracequill/annotate/")
    expect(page.get_by_role("link", name="Sign in")).to_be_focused()
    found = look(page)
    context.close()

    assert found == []


class Walk:
    """What was found wrong on the way through all pages: by axe-core, and what is too wide."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.wrong: dict[str, list[str]] = {}
        self.wide: dict[str, list[str]] = {}

    def stop(self, name: str) -> None:
        """Look at what is shown: as it is, in the dark, and in a narrow window."""
        if wrong := look(self.page):
            self.wrong[name] = wrong
        self.page.set_viewport_size(TWICE_AS_LARGE)
        if wide := self.page.evaluate(TOO_WIDE):
            self.wide[name] = wide
        self.page.set_viewport_size(USUAL)


@pytest.fixture(scope="module")
def walk(phoenix_server: PhoenixServer, browser: Browser, queue: Json) -> Iterator[Walk]:
    context = person(browser, phoenix_server)
    page = context.new_page()
    walk = Walk(page)
    for name, path in pages_of(queue).items():
        go(page, phoenix_server, path)
        walk.stop(name)
    go(page, phoenix_server, str(queue["queue_id"]))
    page.locator(ANSWER).wait_for()
    keys = {"missing": "Enter", "chosen": "1", "correction": "e", "help": "?", "undo": "Shift+U"}
    for name, key in keys.items():
        page.keyboard.press(key)
        if name == "correction":
            page.keyboard.type("Better: ")
            page.locator(".correction .diff").wait_for()
        walk.stop(name)
        page.keyboard.press("Escape")
    page.keyboard.press("f")
    walk.stop("ask")
    context.clear_cookies()
    page.reload()
    page.get_by_role("dialog", name="What is your name?").wait_for()
    walk.stop("name")
    yield walk
    context.close()


def test_axe_finds_nothing_on_any_page(walk: Walk) -> None:
    assert walk.wrong == {}


def test_nothing_is_wider_than_a_narrow_window(walk: Walk) -> None:
    assert walk.wide == {}


def test_what_is_missing_can_be_seen_in_small_windows(
    phoenix_server: PhoenixServer, ana: Analyst, queue: Json
) -> None:
    page = ana.open_queue(queue, "Emil")
    for size in (TELEPHONE, TWICE_AS_LARGE):
        page.set_viewport_size(size)
        page.get_by_role("button", name="Save and go on").click()
        expect(page.locator(".is-missing .problem").first).to_be_in_viewport()
    page.locator(".choice", has_text="middling").click()
    expect(page.get_by_role("radio", name="middling")).to_be_checked()


def test_answers_have_names_and_roles(
    phoenix_server: PhoenixServer, ana: Analyst, queue: Json
) -> None:
    page = ana.open_queue(queue, "Cleo")

    helpful = page.get_by_role("radiogroup", name="helpful")
    expect(helpful).to_have_accessible_description("Would you be glad to get this answer?")
    expect(helpful.get_by_role("radio", name="good", exact=True)).not_to_be_checked()
    ana.press("1")
    expect(helpful.get_by_role("radio", name="good", exact=True)).to_be_checked()
    tags = page.get_by_role("group", name="faults").get_by_role("checkbox")
    expect(tags).to_have_count(2)
    scale = page.get_by_role("group", name="kindness")
    scale.get_by_role("button", name="4").click()
    expect(scale.get_by_role("button", name="4", pressed=True)).to_be_visible()
    expect(page.get_by_role("spinbutton", name="minutes")).to_be_editable()
    expect(page.get_by_role("textbox", name="remark")).to_be_editable()
    expect(page.get_by_role("region", name="Conversation", exact=True)).to_be_visible()
    expect(page.get_by_role("complementary", name="Your answer")).to_be_visible()
    expect(page.get_by_role("heading", name="Answer", exact=True)).to_be_visible()
    save = page.get_by_role("button", name="Save and go on")
    expect(save).to_have_attribute("aria-keyshortcuts", "Enter")


def test_what_happens_is_said_and_the_focus_stays_with_the_conversation(
    phoenix_server: PhoenixServer, ana: Analyst, queue: Json
) -> None:
    page = ana.open_queue(queue, "Dana")
    conversation = page.get_by_role("region", name="Conversation", exact=True)
    said = page.locator("#said")
    expect(said).to_have_attribute("aria-live", "polite")
    expect(conversation).to_be_focused()

    ana.press("2")
    expect(said).to_have_text("middling")
    ana.press("Enter")
    missing = page.get_by_role("alert").filter(has_text="Still missing: kindness.")
    expect(missing).to_be_visible()
    page.get_by_role("group", name="kindness").get_by_role("button", name="4").click()
    page.get_by_role("button", name="Save and go on").focus()
    ana.press("Enter")
    expect(said).to_have_text("Saved. Next question.")
    expect(conversation).to_be_focused()
    ana.press("ArrowDown")
    expect(said).to_contain_text("faults")
    ana.press("s")
    expect(said).to_have_text("Skipped. Next question.")
    ana.press("u")
    expect(said).to_have_text("Undone: skipped")
    expect(conversation).to_be_focused()
    ana.press("f")
    expect(page.get_by_role("textbox", name="Ask about this question")).to_be_focused()
    ana.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(conversation).to_be_focused()


def test_the_look_is_that_which_is_set_in_phoenix(
    phoenix_server: PhoenixServer, browser: Browser
) -> None:
    """Where nothing is set Phoenix is dark, whatever the system prefers."""
    looks: dict[str, str] = {}
    for theme in ("nothing", "dark", "light", "system"):
        context = browser.new_context(color_scheme="light")
        url = phoenix_server.base_url
        context.add_cookies([{"name": "tracequill-name", "value": "Ana", "url": url}])
        page = context.new_page()
        page.goto(f"{url}/tracequill/annotate/")
        if theme != "nothing":
            page.evaluate(FOLLOWS_THE_SYSTEM.replace("system", theme))
            page.reload()
        expect(page.locator("main[aria-busy=false]")).to_be_visible()
        looks[theme] = page.evaluate("getComputedStyle(document.querySelector('main')).background")
        context.close()

    dark, light = looks["dark"], looks["light"]
    assert dark.startswith("rgb(14, 14, 14)")
    assert light.startswith("rgb(253, 253, 253)")
    assert looks == {"nothing": dark, "dark": dark, "light": light, "system": light}
