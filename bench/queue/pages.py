"""Where the results are kept, and the page of the documentation that quotes them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.ingest.pages import PAGE, RESULTS
from bench.queue.table import render

BEGIN = "<!-- queue figures: written by make bench-queue -->"
END = "<!-- end of queue figures -->"


def write_results(found: Mapping[str, Any], folder: Path = RESULTS) -> None:
    """Write JSON and tables into *folder*."""
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(found, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
    (folder / "queue.json").write_text(text, encoding="utf-8")
    (folder / "queue.md").write_text(render(read_results(folder)), encoding="utf-8")


def read_results(folder: Path = RESULTS) -> dict[str, Any]:
    """Read the JSON of a run."""
    found: dict[str, Any] = json.loads((folder / "queue.json").read_text(encoding="utf-8"))
    return found


def with_figures(page: str, found: Mapping[str, Any]) -> str:
    """Give *page* with the figures of *found* between its markers."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"the page needs the lines {BEGIN!r} and {END!r}")
    return f"{before}{BEGIN}\n{render(found)}{END}{after}"


def write_page(found: Mapping[str, Any]) -> None:
    """Write the figures into the documentation."""
    PAGE.write_text(with_figures(PAGE.read_text(encoding="utf-8"), found), encoding="utf-8")
