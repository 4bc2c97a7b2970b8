"""The filter that the form means."""

from __future__ import annotations

import ast
import json
from datetime import datetime

import pytest
from pydantic import ValidationError

from tracequill_phoenix.annotate.selection_form import Selection, expression


def test_an_empty_form_means_everything() -> None:
    assert expression(Selection(project="p"), []) == ""


def test_each_field_is_a_part_of_the_filter() -> None:
    form = Selection(
        project="p",
        since=datetime.fromisoformat("2026-01-01T02:00:00+02:00"),
        until=datetime(2026, 2, 1),
        model="gpt-4o",
        user="u-7",
        not_labelled=True,
    )

    assert expression(form, ["quality", "tags: a"]) == (
        "start_time >= '2026-01-01T00:00:00+00:00' and start_time < '2026-02-01T00:00:00+00:00'"
        " and llm.model_name == 'gpt-4o' and user.id == 'u-7'"
        " and not annotations['quality'] and not annotations['tags: a']"
    )


@pytest.mark.parametrize("text", ["it's", 'say "yes"', "a\\' or True or '", "line\nend", "%_\\"])
def test_a_text_stays_a_text_whatever_it_contains(text: str) -> None:
    where = expression(Selection(project="p", text=text), [])

    constants = [
        node.value for node in ast.walk(ast.parse(where)) if isinstance(node, ast.Constant)
    ]
    assert set(constants) == {text, json.dumps(text)[1:-1]}


def test_a_filter_that_is_given_stands_for_the_fields() -> None:
    form = Selection(project="p", model="gpt-4o", where=" user.id == 'x' ")

    assert expression(form, []) == "user.id == 'x'"


def test_a_form_with_an_unknown_field_or_without_a_project_is_refused() -> None:
    for fields in ({"project": "p", "modell": "x"}, {}, {"project": " "}):
        with pytest.raises(ValidationError):
            Selection.model_validate(fields)
