"""Markdown as elements, in a real browser."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.integration.annotate.static_pages import StaticPages, Watched, running_browser

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def watched() -> Iterator[Watched]:
    pages = StaticPages()
    with running_browser() as browser:
        watched = Watched(browser.new_page(), pages)
        yield watched
        assert watched.problems == []
    pages.close()


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("plain", "<p>plain</p>"),
        ("one\ntwo\n\nthree", "<p>one<br>two</p><p>three</p>"),
        ("# Title #\n### Sub", "<h3>Title</h3><h5>Sub</h5>"),
        ("Title\n===\nSub\n---", "<h3>Title</h3><h4>Sub</h4>"),
        ("#hashtag", "<p>#hashtag</p>"),
        ("*a* _b_ **c** __d__ ***e***", "<p><em>a</em> <em>b</em> <strong>c</strong> "
         "<strong>d</strong> <em><strong>e</strong></em></p>"),
        ("*foo**bar**baz*", "<p><em>foo<strong>bar</strong>baz</em></p>"),
        ("**a *b** c*", "<p><em><em>a <em>b</em></em> c</em></p>"),
        ("snake_case_name and 2 * 3 * 4", "<p>snake_case_name and 2 * 3 * 4</p>"),
        ("~~gone~~ ~one~", "<p><del>gone</del> ~one~</p>"),
        ("\\*no\\* \\a", "<p>*no* \\a</p>"),
        ("`a*b*` `` x`y `` `open",
         '<p><code dir="ltr">a*b*</code> <code dir="ltr">x`y</code> `open</p>'),
        ("&lt;b&gt; &#65; &unknown;", "<p>&lt;b&gt; A &amp;unknown;</p>"),
        ("<b>x</b><br>y", "<p>&lt;b&gt;x&lt;/b&gt;<br>y</p>"),
        ("- a\n- b", "<ul><li><div>a</div></li><li><div>b</div></li></ul>"),
        ("- a\n\n- b", "<ul><li><p>a</p></li><li><p>b</p></li></ul>"),
        ("- a\n  - b\n    - c",
         "<ul><li><div>a</div><ul><li><div>b</div><ul><li><div>c</div></li></ul></li></ul></li></ul>"),
        ("3. a\n4) b", '<ol start="3"><li><div>a</div></li></ol>'
         '<ol start="4"><li><div>b</div></li></ol>'),
        ("in 1986. a\n1986. b", "<p>in 1986. a<br>1986. b</p>"),
        ("> a\nlazy\n> > b", "<blockquote><p>a<br>lazy</p><blockquote><p>b</p></blockquote>"
         "</blockquote>"),
        ("> a\n===\n\n- b\n# c", "<blockquote><p>a<br>===</p></blockquote>"
         "<ul><li><div>b</div></li></ul><h3>c</h3>"),
        ("> # a\nb", "<blockquote><h3>a</h3></blockquote><p>b</p>"),
        ("a\n\n---\n\nb", "<p>a</p><hr><p>b</p>"),
        ("- [x] a\n- [ ] b",
         '<ul><li class="task"><span role="img" class="task-box" aria-label="done">☑</span>'
         '<div>a</div></li><li class="task"><span role="img" class="task-box" '
         'aria-label="not done">☐</span><div>b</div></li></ul>'),
    ],
)  # fmt: skip
def test_markdown(watched: Watched, text: str, html: str) -> None:
    assert watched.markdown(text) == html


def test_a_table(watched: Watched) -> None:
    watched.markdown("|a|*b*|\n|:-|-:|\n|1|`x\\|y`|\n|2|\n\nafter")
    table = watched.page.get_by_role("region", name="Table")

    assert table.locator("th").all_inner_texts() == ["a", "b"]
    assert table.locator("td").all_inner_texts() == ["1", "x\\|y", "2", ""]
    assert table.locator("td.align-end").count() == 2
    assert watched.page.locator("main > p").inner_text() == "after"


def test_code_keeps_every_character(watched: Watched) -> None:
    watched.markdown("1. do:\n   ```py\n   if x:\n       <b>*y*</b>\n   ```\n2. done")

    code = watched.page.get_by_role("region", name="Code, py")
    assert code.inner_text() == "if x:\n    <b>*y*</b>"
    assert watched.page.locator("main > ol > li").count() == 2


def test_a_fence_that_is_not_closed_ends_with_the_text(watched: Watched) -> None:
    watched.markdown("before\n~~~\ncode\n```\nmore")

    assert watched.page.get_by_role("region", name="Code").inner_text() == "code\n```\nmore"


@pytest.mark.parametrize(
    ("text", "address", "shown"),
    [
        ("[a](https://a.example/x?y=1)", "https://a.example/x?y=1", "a (a.example)"),
        ("[a](<https://a.example/x y>)", "https://a.example/x%20y", "a (a.example)"),
        ('[*a*](https://a.example/(x) "t")', "https://a.example/(x)", "a (a.example)"),
        ("see https://a.example/x_y_z.", "https://a.example/x_y_z", "https://a.example/x_y_z"),
        ("(https://a.example/x).(y", "https://a.example/x", "https://a.example/x"),
        ("https://a.example/x_(y)", "https://a.example/x_(y)", "https://a.example/x_(y)"),
        ("**https://a.example/x**", "https://a.example/x", "https://a.example/x"),
        ("<mailto:a@a.example>", "mailto:a@a.example", "mailto:a@a.example"),
        ("![logo](https://a.example/l.png)", "https://a.example/l.png",
         "Image not loaded: logo (a.example)"),
        ("[https://a.example](https://b.example/)", "https://b.example/",
         "https://a.example (b.example)"),
    ],
)  # fmt: skip
def test_links(watched: Watched, text: str, address: str, shown: str) -> None:
    watched.markdown(text)
    link = watched.page.locator("main a").first

    assert link.get_attribute("href") == address
    assert link.inner_text() == shown


@pytest.mark.parametrize(
    "text", ["[a](javascript:x)", "[a](/local)", "[a](http://)", "[a][b]", "[1]", "[a] (https:x)"]
)
def test_what_is_no_safe_address_is_no_link(watched: Watched, text: str) -> None:
    watched.markdown(text)

    assert watched.page.locator("main a").count() == 0
    assert "a" in watched.page.locator("main").inner_text() or text == "[1]"
