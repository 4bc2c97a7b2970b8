"""docs/settings.md names every setting with its variable, default and meaning, and no other."""

from __future__ import annotations

from pathlib import Path

from tracequill._sources import ENV_PREFIX, FILE_ONLY, dotted
from tracequill.settings import Settings

PAGE = Path(__file__).parents[2] / "docs" / "settings.md"


def documented_rows() -> list[str]:
    """The table of the page, made from the table in the code."""
    rows = []
    for name, field in Settings.model_fields.items():
        default = "" if field.default_factory else field.default
        shown = "" if default in (None, "") else f"`{default}`"
        has_variable = name != "upstreams" and name not in FILE_ONLY
        variable = f"`{ENV_PREFIX}{name.upper()}`" if has_variable else ""
        key = "" if name == "upstreams" else f"`{dotted(name)}`"
        rows.append(f"| {key} | {variable} | {shown} | {field.description} |")
    return rows


def test_the_page_holds_exactly_the_settings_of_the_code() -> None:
    text = PAGE.read_text(encoding="utf-8").partition("\n## ")[0]
    table = [line for line in text.splitlines() if line.startswith("| ")]

    assert table[1:] == documented_rows(), "\n".join(documented_rows())
