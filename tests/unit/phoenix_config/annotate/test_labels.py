"""What may be said about an answer, and how Phoenix stores it."""

from __future__ import annotations

from typing import Any

import pytest

from tracequill_phoenix.annotate.errors import QueueError
from tracequill_phoenix.annotate.labels import (
    Choice,
    Label,
    check_label,
    check_values,
    diff_of,
    label_from,
    phoenix_names,
    phoenix_rows,
)

QUALITY = Label("quality", "CATEGORICAL", values=(Choice("good", 1.0), Choice("bad", 0.0)))
TAGS = Label(
    "tags", "CATEGORICAL", False, True, values=(Choice("rude"), Choice("wrong", 2.0), Choice("a"))
)
STARS = Label("stars", "CONTINUOUS", False, lower_bound=1, upper_bound=5)
REMARK = Label("remark", "FREEFORM", False)
LABELS = (QUALITY, TAGS, STARS, REMARK)
GOOD = {"quality": {"label": "good"}}


def refused(values: dict[str, Any]) -> QueueError:
    with pytest.raises(QueueError) as caught:
        check_values(LABELS, values)
    return caught.value


def test_values_are_kept_as_they_are_meant() -> None:
    values = {
        "quality": {"label": "bad", "explanation": " it says \x00 nothing "},
        "tags": {"labels": ["a", "rude", "a"]},
        "stars": {"score": 5},
        "remark": {"text": "  fine  "},
    }

    assert check_values(LABELS, values) == {
        "quality": {"label": "bad", "explanation": "it says � nothing"},
        "tags": {"labels": ["rude", "a"]},
        "stars": {"score": 5},
        "remark": {"text": "fine"},
    }


def test_what_is_left_open_is_not_kept() -> None:
    values = {
        **GOOD,
        "tags": {"labels": []},
        "stars": {"score": None},
        "remark": {"text": "  ", "explanation": "of nothing"},
    }

    assert check_values(LABELS, values) == GOOD


def test_what_is_required_and_missing_is_named() -> None:
    error = refused({"stars": {"score": 2}})

    assert (error.status, error.code, error.more) == (422, "incomplete", {"missing": ["quality"]})
    assert check_values(LABELS, {}, complete=False) == {}


@pytest.mark.parametrize(
    "values",
    [
        {"quality": {"label": "great"}},
        {"quality": {"label": ["good"]}},
        {"quality": "good"},
        {**GOOD, "unknown": {"label": "good"}},
        {**GOOD, "tags": {"labels": "rude"}},
        {**GOOD, "tags": {"labels": ["polite"]}},
        {**GOOD, "stars": {"score": 0.99}},
        {**GOOD, "stars": {"score": 5.01}},
        {**GOOD, "stars": {"score": True}},
        {**GOOD, "stars": {"score": "3"}},
        {**GOOD, "stars": {"score": float("nan")}},
        {**GOOD, "stars": {"score": 10**400}},
        {**GOOD, "remark": {"text": 3}},
        {**GOOD, "remark": {"text": "x" * 100_001}},
    ],
)
def test_what_cannot_be_meant_is_refused(values: dict[str, Any]) -> None:
    assert refused(values).code == "invalid"


def test_each_label_becomes_a_row_and_each_tag_one_of_its_own() -> None:
    values = check_values(
        LABELS,
        {
            "quality": {"label": "good", "explanation": "yes"},
            "tags": {"labels": ["rude", "wrong"]},
            "stars": {"score": 4},
            "remark": {"text": "fine"},
        },
    )

    rows = [
        (row.name, row.label, row.score, row.explanation)
        for row in phoenix_rows(LABELS, values, {"queue": "q"})
    ]

    assert rows == [
        ("quality", "good", 1.0, "yes"),
        ("tags: rude", "rude", None, None),
        ("tags: wrong", "wrong", 2.0, None),
        ("stars", None, 4.0, None),
        ("remark", None, None, "fine"),
    ]
    assert {row[0] for row in rows} <= set(phoenix_names(LABELS))


@pytest.mark.parametrize(
    "label",
    [
        Label("note", "FREEFORM"),
        Label("correction", "FREEFORM"),
        Label("q", "CATEGORICAL"),
        Label("q", "CATEGORICAL", values=(Choice("a"), Choice("a"))),
        Label("q", "CATEGORICAL", values=(Choice(""),)),
        Label("q", "CONTINUOUS", multiple=True),
        Label("q", "CONTINUOUS", values=(Choice("a"),)),
        Label("q", "CONTINUOUS", lower_bound=1, upper_bound=1),
    ],
)
def test_a_label_that_nobody_could_answer_is_refused(label: Label) -> None:
    with pytest.raises(QueueError):
        check_label(label)


def test_a_label_is_read_back_as_it_was_written() -> None:
    for label in LABELS:
        check_label(label)
        read = label_from(
            label.name, label.kind, label.required, label.multiple, label.definition()
        )
        assert read == label


def test_a_difference_is_shown_unless_the_texts_are_too_long() -> None:
    assert diff_of("a\nb", "a\nc") == "--- answer\n+++ correction\n@@ -1,2 +1,2 @@\n a\n-b\n+c"
    assert diff_of("a\n" * 5_000, "b") is None
