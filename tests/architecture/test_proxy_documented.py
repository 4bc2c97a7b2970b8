"""docs/proxy.md: each case has its row, each named test exists and says which case it is for."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from tracequill_collector.proxy import app, context, http_upstream, route, upstream
from tracequill_collector.recorder import body, call
from tracequill_collector.service import proxy as service

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "proxy.md").read_text(encoding="utf-8")
CASES = {
    row[0]: row[2] for row in re.findall(r"^\| ([CB]\d+) \| ([^|]*) \| ([^|]*) \|$", PAGE, re.M)
}
ATTACKS = (
    PAGE.partition("| Attack | Answer | Shown by |\n")[2].partition("\n\n")[0].splitlines()[1:]
)


def said_by_tests() -> dict[str, str]:
    """What each test, and its module, say of themselves."""
    found: dict[str, str] = {}
    for path in (ROOT / "tests").rglob("test_*.py"):
        module = ast.parse(path.read_text(encoding="utf-8"))
        for node in module.body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                said = (ast.get_docstring(node), ast.get_docstring(module), found.get(node.name))
                found[node.name] = "\n".join(filter(None, said))
    return found


TESTS = said_by_tests()


def test_every_case_has_its_row() -> None:
    expected = [f"C{number:02}" for number in range(1, 30)] + [
        f"B{number}" for number in range(1, 17)
    ]

    assert list(CASES) == expected
    assert len(ATTACKS) >= 15


def test_every_named_test_exists() -> None:
    named = re.findall(r"`(test_\w+)`", PAGE)

    assert named and [name for name in named if name not in TESTS] == []


@pytest.mark.parametrize("case", CASES)
def test_the_tests_of_a_case_name_it(case: str) -> None:
    named = re.findall(r"`(test_\w+)`", CASES[case])

    assert [name for name in named if not re.search(rf"\b{case}\b", TESTS[name])] == []
    assert named or len(CASES[case]) > 20, "neither a test nor a reason"


@pytest.mark.parametrize("row", ATTACKS)
def test_each_attack_has_a_test_or_a_reason(row: str) -> None:
    shown = row.split(" | ")[2].rstrip(" |")

    assert "`" in shown or shown in ("nothing to test", "a later issue"), row


def test_routes_and_limits_of_the_page_are_those_of_the_code() -> None:
    routes = dict(
        re.findall(r"^\| `([a-z-]+)` \| [^|]* \| (?:`(http[^`]*)`|built in) \|$", PAGE, re.M)
    )
    mebibytes = {
        "for the mock": upstream.BUILT_IN_BODY_MAX_BYTES,
    }

    assert routes == {name: address for name, _, address in route._TABLE}
    for words, limit in mebibytes.items():
        assert f"{limit >> 20} MiB {words}" in PAGE
    assert (
        f"{app._MAX_LINE_BYTES >> 10} KiB; {app._MAX_FIELD_BYTES >> 10} KiB; {app._MAX_HEADERS}; "
        f"{app._MAX_HEAD_BYTES >> 10} KiB"
    ) in PAGE
    assert f"idle connection | {app._KEEP_ALIVE_SECONDS:.0f} s |" in PAGE
    assert f"| {service._CONNECTIONS_MAX:,}, or a fifth of the files" in PAGE
    assert service._FILES_OF_A_CALL == 5
    assert f"an upstream | {http_upstream.CONNECT_SECONDS:.0f} s |" in PAGE
    assert f"in an answer | {http_upstream.READ_SECONDS / 3600:.0f} h |" in PAGE
    assert f"used again within {http_upstream.IDLE_SECONDS:.0f} s" in PAGE
    assert f"A stop | {service._DRAIN_SECONDS:.0f} s" in PAGE
    values = body._MAX_JSON
    assert values[b"{"] == values[b"["]
    assert f"JSON {values[b'{']:,} objects, as many lists, {values[b':']:,} names" in PAGE
    assert f", {values[b',']:,} items" in PAGE
    assert f"| {call._MAX_ADDED:,}; the span says" in PAGE
    assert f"unpacked | {body.MAX_DECODED_BYTES >> 20} MiB" in PAGE
    assert f"more than {context._LABEL_MAX_CHARACTERS:,} characters" in PAGE
