"""docs/exporters.md: its table is that of the code, its example loads, its metrics exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.architecture.test_settings_documented import PAGE as SETTINGS_PAGE
from tracequill.settings import ExporterSettings, load_settings
from tracequill_collector.service import export_metrics, exporter, onward

PAGE = SETTINGS_PAGE.with_name("exporters.md")


def documented_rows() -> list[str]:
    """The table of the page, made from the table in the code."""
    rows = []
    for name, field in ExporterSettings.model_fields.items():
        has_default = not field.is_required() and not field.default_factory
        shown = f"`{field.default}`" if has_default else ""
        rows.append(f"| `{name}` | {shown} | {field.description} |")
    return rows


def test_the_page_holds_exactly_the_settings_of_an_entry() -> None:
    text = PAGE.read_text(encoding="utf-8")
    table = text.partition("| Key | Default | Meaning |\n|---|---|---|\n")[2].partition("\n\n")[0]

    assert table.splitlines() == documented_rows(), "\n".join(documented_rows())


def test_the_example_is_a_configuration_that_loads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    example = re.search(r"```yaml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert example
    (tmp_path / "tracequill.yaml").write_text(example[1])
    monkeypatch.setenv("TRACEQUILL_CONFIG", str(tmp_path / "tracequill.yaml"))

    exporters = load_settings().exporters

    assert {name: (entry.protocol, entry.keep) for name, entry in exporters.items()} == {
        "gateway": ("http/protobuf", False),
        "vendor": ("http/protobuf", False),
        "archive": ("grpc", True),
    }
    assert exporters["vendor"].headers == {"Authorization": "Bearer ${env:VENDOR_API_KEY}"}


def test_every_metric_of_the_page_is_one_of_the_code() -> None:
    code = "".join(
        Path(str(module.__file__)).read_text(encoding="utf-8")
        for module in (export_metrics, exporter)
    )
    named = re.findall(r"`((?:tracequill|otelcol)_\w+)", PAGE.read_text(encoding="utf-8"))

    assert named
    for name in named:
        assert f'"{name.removesuffix("_total")}"' in code, name


def test_the_numbers_of_the_page_are_those_of_the_code() -> None:
    text = PAGE.read_text(encoding="utf-8")

    assert f"Up to {onward._IN_FLIGHT} requests" in text
    assert f"after {onward._SPLIT_TRIES} tries in halves" in text
    assert f"after {onward._GIVE_UP_TRIES} tries, some minutes" in text
    assert f"after {onward._FIRST_DELAY_SECONDS} to {onward._MAX_DELAY_SECONDS:.0f} s" in text
    assert f"get {onward._FINISH_SECONDS:.0f} seconds" in text
