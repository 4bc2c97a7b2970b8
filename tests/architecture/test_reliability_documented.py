"""docs/reliability.md names tests that exist, and every fault run stands in it."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")
NAMED = set(re.findall(r"tests/[a-z0-9_/]+\.py", PAGE))


def test_every_named_test_exists() -> None:
    assert NAMED and [name for name in sorted(NAMED) if not (ROOT / name).is_file()] == []


def test_every_fault_run_is_named() -> None:
    runs = {str(path.relative_to(ROOT)) for path in (ROOT / "tests" / "faults").glob("test_*.py")}

    assert runs - NAMED == set()


def test_every_fault_has_its_row() -> None:
    rows = re.findall(r"^\| (F\d+) \|", PAGE, re.M)

    assert rows == [f"F{number}" for number in range(1, 19) if number != 16]
