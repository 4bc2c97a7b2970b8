"""A conversation in a real browser, with the annotation page's policy on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.integration.annotate.static_pages import StaticPages, Watched, running_browser
from tracequill_phoenix.annotate.conversation import conversation_of, text_of
from tracequill_phoenix.dataset_export.testing import (
    llm_span,
    message,
    openai_tool,
    tool,
    tool_call,
)

pytestmark = pytest.mark.integration

# One transparent pixel.
PNG = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJ"
    "AAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="
)
USER = message("user", "Is it raining in Paris?")


@pytest.fixture(scope="module")
def pages() -> Iterator[StaticPages]:
    pages = StaticPages()
    yield pages
    pages.close()


@pytest.fixture(scope="module")
def opened(pages: StaticPages) -> Iterator[Watched]:
    with running_browser() as browser:
        page = browser.new_page()
        page.set_default_timeout(10_000)
        yield Watched(page, pages)


@pytest.fixture
def watched(opened: Watched, pages: StaticPages) -> Iterator[Watched]:
    """The page, emptied; it must ask for nothing and break no policy while a test shows things."""
    opened.page.set_viewport_size({"width": 1000, "height": 800})
    opened.page.evaluate("document.getElementById('main').replaceChildren()")
    yield opened
    problems = opened.problems.copy()
    opened.problems.clear()
    assert problems == []
    assert pages.asked == []


def conversation(attributes: Any, **more: Any) -> dict[str, Any]:
    return conversation_of(attributes=attributes, name="ask", start_time="", end_time="", **more)


def answered(text: str) -> dict[str, Any]:
    return conversation(llm_span([USER], [message("assistant", text)]))


# --- what a person sees --------------------------------------------------------------------------


def test_question_and_answer_stand_out_and_history_is_folded(watched: Watched) -> None:
    history = [message("system", "Be brief. " * 100)]
    for turn in range(4):
        history += [message("user", f"question {turn}"), message("assistant", f"reply {turn}")]
    seen = conversation(
        llm_span(
            [*history, USER],
            [message("assistant", "It **is**.")],
            tools=[tool(openai_tool("weather", city={"type": "string"}))],
        )
    )
    page = watched.page
    page.evaluate(
        """async (conversation) => {
          const { renderConversation } = await import('/annotate/conversation.js');
          document.getElementById('main').append(renderConversation(conversation));
        }""",
        seen,
    )

    expect(page.get_by_role("region", name="Question")).to_contain_text("raining in Paris")
    expect(page.get_by_role("region", name="Answer").locator("strong")).to_have_text("is")
    expect(page.get_by_text("question 0")).to_have_count(0)
    page.get_by_text("Earlier in this conversation: 8 messages").click()
    expect(page.get_by_text("question 0")).to_be_visible()
    expect(page.get_by_text("Be brief.")).to_have_count(1)
    page.get_by_text("Instructions", exact=True).click()
    expect(page.get_by_text("Be brief.").last).to_be_visible()
    page.get_by_text("Tools the assistant could use: 1").click()
    expect(page.locator(".tool .tool-name")).to_have_text("weather")


def test_a_tools_result_lies_within_its_call(watched: Watched) -> None:
    called = message("assistant", tool_calls=[tool_call("weather", '{"city": "Paris"}', id="a")])
    result = message("tool", '{"rain": true, "mm": 1.50, "id": 12345678901234567890}')
    result["message"]["tool_call_id"] = "a"
    watched.show(conversation(llm_span([USER, called, result], [message("assistant", "Yes")])))

    call = watched.page.get_by_role("region", name="Call of weather")
    expect(call.locator(".json").first).to_contain_text('city: "Paris"')
    given = call.get_by_role("region", name="Result of weather")
    expect(given).to_contain_text("mm: 1.50")
    expect(given).to_contain_text("id: 12345678901234567890")


def test_a_long_text_is_folded_until_all_of_it_is_asked_for(watched: Watched) -> None:
    watched.show(answered("start " + "word " * 8_000 + "end"))
    answer = watched.page.get_by_role("region", name="Answer")

    expect(answer).not_to_contain_text("end")
    answer.get_by_role("button", name="Show all 40,009 characters").click()
    expect(answer).to_contain_text("word end")


def test_a_text_that_was_cut_says_so(watched: Watched) -> None:
    watched.show(answered("word " * 100_000))
    answer = watched.page.get_by_role("region", name="Answer")
    answer.get_by_role("button", name="Show all").click()

    expect(answer).to_contain_text("The first 200,000 of 500,000 characters are shown")
    expect(answer).to_contain_text("too long to be corrected here")


def test_a_message_can_be_seen_as_it_was_written(watched: Watched) -> None:
    watched.show(answered("It **is**."))
    answer = watched.page.get_by_role("region", name="Answer")
    as_written = answer.get_by_role("button", name="As written")

    as_written.click()
    expect(as_written).to_have_attribute("aria-pressed", "true")
    expect(answer).to_contain_text("It **is**.")
    as_written.click()
    expect(answer.locator("strong")).to_have_text("is")


def test_what_is_copied_is_what_was_written(watched: Watched) -> None:
    said = "It **is** \u202ehidden\u202c."
    watched.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    watched.show(answered(said))
    answer = watched.page.get_by_role("region", name="Answer")

    copying = answer.get_by_role("button", name="Copy this message")
    copying.click()
    expect(copying).to_have_text("Copied")
    assert watched.page.evaluate("navigator.clipboard.readText()") == said


def test_documents_show_their_score_and_where_they_are_from(watched: Watched) -> None:
    document = {
        "content": "Within 30 days.",
        "name": "Returns",
        "score": 0.87654,
        "url": "https://help.example/returns",
        "metadata": {"page": 3},
    }
    retriever = {"attributes": {"retrieval": {"documents": [{"document": document}]}}}
    seen = conversation(llm_span([USER], [message("assistant", "Yes")]), beside=[retriever])
    watched.show(seen)

    shown = watched.page.get_by_role("article", name="Returns")
    expect(shown).to_contain_text("score 0.877")
    expect(shown).to_contain_text("page: 3")
    expect(shown.get_by_role("link")).to_have_attribute("rel", "noopener noreferrer nofollow")


def test_text_runs_in_its_own_direction_and_code_does_not(watched: Watched) -> None:
    watched.show(answered("שלום, מה שלומך?\n\n- אחת\n\n> שתיים\n\n```\nx = 1\n```"))
    answer = watched.page.get_by_role("region", name="Answer")

    expect(answer.locator("p").first).to_have_css("direction", "rtl")
    expect(answer.locator("li")).to_have_css("direction", "rtl")
    expect(answer.locator("blockquote")).to_have_css("direction", "rtl")
    expect(answer.locator("pre")).to_have_css("direction", "ltr")


def test_an_image_is_drawn_from_its_own_bytes_and_can_be_enlarged(watched: Watched) -> None:
    image = {"type": "image", "image": {"image": {"url": PNG}}}
    seen = conversation(
        llm_span([message("user", contents=[image])], [message("assistant", "A pixel.")])
    )
    watched.show(seen)

    control = watched.page.get_by_role("button", name="Enlarge the image")
    assert (
        control.locator("img").evaluate("(image) => image.decode().then(() => image.naturalWidth)")
        == 1
    )
    control.click()
    expect(control).to_have_attribute("aria-pressed", "true")


def test_all_parts_are_drawn(watched: Watched) -> None:
    contents: list[dict[str, Any]] = [
        {"type": "reasoning", "text": "I think"},
        {"type": "reasoning", "data": "x"},
        {"type": "audio", "audio": {"audio": {"url": "data:audio/wav;base64,AAAA"}}},
        {"type": "image", "image": {"image": {"url": "__REDACTED__"}}},
        {"type": "hologram", "x": 1},
    ]
    watched.show(conversation(llm_span([USER], [message("assistant", contents=contents)])))
    answer = watched.page.get_by_role("region", name="Answer")

    for words in (
        "I think",
        "reasoning was recorded, but cannot be read",
        "Audio, audio/wav, 3 bytes",
        "The application hid this image",
        'type: "hologram"',
    ):
        expect(answer).to_contain_text(words)


def test_no_answer_is_said(watched: Watched) -> None:
    watched.show(conversation(llm_span([USER], [])))

    expect(watched.page.get_by_role("region", name="Answer")).to_contain_text("gave no answer")


@pytest.mark.parametrize("width", [320, 1000])
def test_nothing_is_wider_than_the_window(watched: Watched, width: int) -> None:
    watched.page.set_viewport_size({"width": width, "height": 700})
    wide = "x" * 400
    table = "|" + "|".join("abcdefghijkl") + "|\n|" + "-|" * 12 + "\n|" + f"{wide[:20]}|" * 12
    text = f"{wide}\n\n```\n{wide}\n```\n\n`{wide}`\n\n{table}\n\nhttps://a.example/{wide}"
    called = message("assistant", text, tool_calls=[tool_call(wide, json.dumps({wide: wide}))])
    watched.show(conversation(llm_span([message("user", text, name=wide)], [called])))

    assert watched.page.evaluate("document.documentElement.scrollWidth") == width


def test_the_page_and_the_server_write_an_answer_the_same_way(watched: Watched) -> None:
    messages: list[dict[str, Any]] = [
        {"role": "assistant", "content": "Yes."},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [call("a", '{"b": 1}'), call("c", "")],
        },
        {"role": "assistant", "content": "Look:", "tool_calls": [call("", "{}")]},
        {"role": "assistant", "content": ""},
    ]
    written = watched.page.evaluate(
        "async (all) => all.map((await import('/annotate/conversation.js')).textOf)", messages
    )

    assert written == [text_of(message) for message in messages]


def call(name: str, arguments: str) -> dict[str, Any]:
    return {"id": "x", "type": "function", "function": {"name": name, "arguments": arguments}}


# --- hostile input -------------------------------------------------------------------------------

_ACTIVE = {"style", "srcset", "action", "formaction", "background", "ping"}
HOSTILE = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "<svg/onload=alert(1)>",
    "<iframe src='https://evil.example/'></iframe>",
    "<style>@import url(https://evil.example/x.css)</style>",
    "<meta http-equiv=refresh content='0;url=https://evil.example/'>",
    "<base href=https://evil.example/><form action=https://evil.example/><input autofocus>",
    "[x](javascript:alert(1))",
    "[x](JaVaScRiPt:alert(1))",
    "[x](java\tscript:alert(1))",
    "[x](&#106;avascript:alert(1))",
    "[x](data:text/html;base64,PHNjcmlwdD5hbGVydCgxKTwvc2NyaXB0Pg==)",
    "[x](vbscript:x) [x](file:///etc/passwd) [x](//evil.example/x) [x](/logout)",
    "<javascript:alert(1)> <data:text/html,x>",
    "![x](https://evil.example/pixel.png)",
    "![x](javascript:alert(1)) ![x](/pixel.png)",
    '[x](https://a.example/ "onmouseover=alert(1)")',
    '[x](https://a.example/"onmouseover="alert(1))',
    "![[x](https://evil.example/a.png)](https://evil.example/b.png)",
    '```"><script>alert(1)</script>\n</code></pre><script>alert(1)</script>\n```',
    "|<script>alert(1)</script>|\n|-|\n|<img src=//evil.example/x>|",
    '{"<script>alert(1)</script>": "<img src=x onerror=alert(1)>", "__proto__": {"x": 1}}',
    "__proto__ constructor {{7*7}} ${alert(1)}",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_runs_nothing_and_asks_for_nothing(watched: Watched, text: str) -> None:
    image = {"type": "image", "image": {"image": {"url": text}}}
    document = {"content": text, "id": text, "name": text, "url": text, "metadata": {"a": text}}
    called = message(
        "assistant", text, tool_calls=[tool_call(text, json.dumps({text: text}), id="a")]
    )
    seen = conversation(
        llm_span(
            [
                message("system", text),
                message(text, text, name=text),
                message("user", contents=[{"type": "text", "text": text}, image]),
                called,
                message("tool", text, tool_call_id="a", name=text),
            ],
            [message("assistant", text), message("assistant", contents=[{"type": text}])],
            tools=[tool(openai_tool(text, a={"description": text}))],
            model_name=text,
        ),
        earlier=[{"attributes": llm_span([USER], [called]), "name": text, "start_time": text}],
        beside=[{"attributes": {"retrieval": {"documents": [{"document": document}]}}}],
    )
    watched.show(seen)
    page = watched.page

    assert (
        page.locator("main :is(script, iframe, style, svg, form, base, meta, object)").count() == 0
    )
    attributes = page.evaluate(
        """() => [...document.querySelectorAll('main *')].flatMap((element) =>
            [...element.attributes].map(({ name }) => name))"""
    )
    assert not [name for name in attributes if name.startswith("on") or name in _ACTIVE]
    for scheme in page.evaluate(
        "() => [...document.querySelectorAll('main [href]')].map((link) => link.protocol)"
    ):
        assert scheme in ("http:", "https:", "mailto:")
    assert page.locator("main img:not([src^='data:image/'])").count() == 0
    # Drawn as the changes of a correction as well.
    page.evaluate(
        """async (text) => {
          const { renderDiff } = await import('/annotate/diff.js');
          for (const kind of ['text', 'json']) {
            document.getElementById('main').append(renderDiff('x', text, { kind }));
          }
        }""",
        text,
    )


def test_a_part_that_the_server_did_not_check_is_not_followed_either(watched: Watched) -> None:
    seen = answered("x")
    seen["answers"][0]["parts"] = [
        {"kind": "image", "url": "https://evil.example/x.png", "why": "", "size": 1},
        {"kind": "image", "url": "data:image/svg+xml;base64,AAAA", "why": "", "size": 1},
        {"kind": "image", "url": "", "target": "javascript:alert(1)", "why": "outside", "size": 0},
        {"kind": "constructor", "text": "<script>alert(1)</script>"},
        {"kind": "code", "text": "<b>x</b>", "language": "<i>", "truncated": False},
    ]
    watched.show(seen)

    answer = watched.page.get_by_role("region", name="Answer")
    assert answer.locator("img, script, b, i, a").count() == 0
    expect(answer).to_contain_text("<b>x</b>")


def test_characters_that_hide_something_are_drawn(watched: Watched) -> None:
    said = (
        "pay \u202e001$\u202c now\u200b\u200b\x1b[0m\x00\U000e0041 [\u202elink](https://a.example)"
    )
    watched.show(answered(said))
    answer = watched.page.get_by_role("region", name="Answer")

    marks = answer.locator(".hidden-character").all_inner_texts()
    assert marks == ["U+202E", "U+202C", "U+200B×2", "␛", "␀", "U+E0041", "U+202E"]
    text = answer.inner_text()
    assert not any(character in text for character in "\u202e\u202c\u200b\x1b\x00\U000e0041")
    expect(answer.locator(".hidden-character").first).to_have_attribute(
        "title", "hidden character: right-to-left override (U+202E)"
    )


def test_letters_joined_by_invisible_characters_stay_whole(watched: Watched) -> None:
    said = "نمی‌خواهم 👩‍👩‍👧"
    watched.show(answered(said))
    answer = watched.page.get_by_role("region", name="Answer")

    expect(answer).to_contain_text(said)
    expect(answer.locator(".hidden-character")).to_have_count(0)


def test_a_link_says_where_it_leads(watched: Watched) -> None:
    watched.show(answered("[https://bank.example](https://evil.example/login)"))
    link = watched.page.get_by_role("region", name="Answer").get_by_role("link")

    expect(link).to_have_text("https://bank.example (evil.example)")
    expect(link).to_have_attribute("title", "https://evil.example/login")
    expect(link).to_have_attribute("rel", "noopener noreferrer nofollow")
    expect(link).to_have_attribute("target", "_blank")


@pytest.mark.parametrize(
    "piece",
    ["*a ", "**a", "[", "[](", "``a`", "> ", "- ", "|", "\n", "\u202e",
     "[a](http://b)", "a|b\n-|-\n", "\u200ba", '{"a":', "[1,"],
)  # fmt: skip
def test_huge_texts_are_drawn_and_the_page_goes_on(watched: Watched, piece: str) -> None:
    for length in (2_900, 59_000, 400_000):
        watched.show(answered(piece * (length // len(piece))))
        answer = watched.page.get_by_role("region", name="Answer")
        if (more := answer.get_by_role("button", name="Show all")).count():
            more.click()
        expect(answer).to_be_visible()
