"""The public names of the app library."""

from __future__ import annotations

import inspect
from importlib.metadata import version
from pathlib import Path

import pytest

import tracequill

README = Path(__file__).parents[2] / "instrumentation" / "README.md"


def test_the_list_of_names_is_sorted_and_complete() -> None:
    assert tracequill.__all__ == sorted(tracequill.__all__)
    assert set(tracequill.__all__) <= set(dir(tracequill))


@pytest.mark.parametrize("name", [n for n in tracequill.__all__ if n != "__version__"])
def test_each_name_can_be_used_and_says_what_it_does(name: str) -> None:
    value = getattr(tracequill, name)

    assert callable(value)
    assert inspect.getdoc(value)
    assert f"`{name}(" in README.read_text(encoding="utf-8")


def test_the_version_is_that_of_the_distribution() -> None:
    assert tracequill.__version__ == version("tracequill")


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'registre'"):
        _ = tracequill.registre


def test_the_readme_names_every_option_with_its_default() -> None:
    text = README.read_text(encoding="utf-8")
    for name, parameter in inspect.signature(tracequill.register).parameters.items():
        row = next((line for line in text.splitlines() if line.startswith(f"| `{name}`")), None)
        assert row is not None, name
        if parameter.default is not None:
            assert f"`{parameter.default}`" in row, name
