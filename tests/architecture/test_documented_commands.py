"""Every command that a page shows exists, with every option that the page gives it."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from tracequill._command import main

ROOT = Path(__file__).parents[2]
PAGES = [
    path
    for path in sorted(ROOT.rglob("*.md"))
    if not {".peers", ".venv", "node_modules", "data"} & set(path.relative_to(ROOT).parts)
]
TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))


def code_of(page: Path) -> list[str]:
    """Lines of code fences, and inline code."""
    text = page.read_text(encoding="utf-8")
    fenced = re.findall(r"^```\w*\n(.*?)^```", text, re.M | re.S)
    inline = re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", text, flags=re.M | re.S))
    return [line.strip() for block in fenced for line in block.splitlines()] + inline


def commands(word: str) -> list[tuple[str, str]]:
    return [
        (str(page.relative_to(ROOT)), line)
        for page in PAGES
        for line in code_of(page)
        if re.match(rf"{word} [a-z]", line)
    ]


def test_every_make_target_of_the_pages_exists() -> None:
    wrong = [
        (page, line)
        for page, line in commands("make")
        for target in line.split()[1:]
        if re.fullmatch(r"[a-z-]+", target) and target not in TARGETS
    ]

    assert wrong == []


@pytest.mark.parametrize(
    ("page", "line"), [pytest.param(*found, id=" ".join(found)) for found in commands("tracequill")]
)
def test_every_tracequill_command_of_the_pages_exists_with_its_options(
    page: str, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = shlex.split(line)[1:]
    path = [words[0]]
    if len(words) > 1 and words[0] in ("dataset", "dead-letters", "queue") and words[1].isalpha():
        path.append(words[1])

    assert main([*path, "--help"]) == 0, f"{page}: {line}"

    explained = re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out)
    for option in (word for word in words[len(path) :] if re.match(r"--?[a-z]", word)):
        assert option.split("=")[0] in explained, f"{page}: {line}"
