"""The page on training files names every code that a finding can have, and no other."""

from __future__ import annotations

import re
from pathlib import Path

import tracequill_phoenix.dataset_export

PAGE = Path(__file__).parents[4] / "docs" / "training-files.md"


def test_every_code_is_documented() -> None:
    folder = Path(tracequill_phoenix.dataset_export.__file__).parent
    source = "".join(path.read_text() for path in folder.glob("*.py"))
    codes = set(re.findall(r'Finding\(\s*"(\w+)"', source))
    table = PAGE.read_text().partition("## Why an example does not fit")[2]
    named = set(re.findall(r"`([a-z]+_[a-z_]+)`", table))

    assert named == codes
