"""Files of results: what is in them, and what no spreadsheet may run."""

from __future__ import annotations

import csv
import io
from datetime import UTC, datetime
from typing import Any

import openpyxl
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracequill_phoenix.annotate.download import (
    Decided,
    File,
    Given,
    Item,
    Layout,
    content_disposition,
    csv_head,
    csv_rows,
    file_name,
    harmless,
    jsonl_rows,
)
from tracequill_phoenix.annotate.labels import Choice, Label

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
LABELS = (
    Label("quality", "CATEGORICAL", values=(Choice("good"), Choice("bad"))),
    Label("tags", "CATEGORICAL", multiple=True, values=(Choice("a"), Choice("b"))),
    Label("score", "CONTINUOUS"),
    Label("comment", "FREEFORM"),
)
PEOPLE = (("tracequill:Ana", "Ana"), ("tracequill:Ben", "Ben"))
LAYOUT = Layout(LABELS, PEOPLE, frozenset({"quality"}))


def item(number: int = 1, **changed: Any) -> Item:
    values: dict[str, Any] = {
        "number": number,
        "state": "done",
        "question": "Where is my order?",
        "answer": "It is on its way.",
        "project": "support",
        "session_id": None,
        "trace_id": "t" * 32,
        "span_id": "s" * 16,
        "asked_at": NOON,
    }
    return Item(**(values | changed))


def judged() -> Item:
    said: dict[str, dict[str, Any]] = {
        "quality": {"label": "good", "explanation": "=short"},
        "tags": {"labels": ["a", "b"]},
        "score": {"score": -1.5},
        "comment": {"text": "-1 is =SUM(A1)"},
    }
    decided = Decided({"quality": {"label": "bad"}}, None, "wrong order", "Mia", NOON)
    return item(
        given={
            "tracequill:Ana": Given(said, "@corrected", 4.2, 1.5, 3, NOON),
            "tracequill:Ben": Given({"quality": {"label": "bad"}}),
        },
        decided=decided,
    )


def from_csv(data: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(data.decode("utf-8-sig"), newline="")))


def test_a_row_has_a_column_for_each_person_and_label_and_for_the_consensus() -> None:
    data = csv_head(LAYOUT.titles()) + csv_rows([LAYOUT.cells(judged())])

    (row,) = from_csv(data)

    assert row["item"] == "1"
    assert (row["question"], row["answer"]) == ("Where is my order?", "It is on its way.")
    assert (row["quality: Ana"], row["quality: Ben"], row["quality: consensus"]) == (
        "good",
        "bad",
        "bad",
    )
    assert (row["tags: Ana"], row["tags: Ben"]) == ("a; b", "")
    assert row["score: Ana"] == "-1.5"
    assert row["comment: Ana"] == "'-1 is =SUM(A1)"
    assert row["quality, explanation: Ana"] == "'=short"
    assert row["correction: Ana"] == "'@corrected"
    assert (row["seconds: Ana"], row["seconds to first key: Ana"], row["keys: Ana"]) == (
        "4.2",
        "1.5",
        "3",
    )
    assert row["answered at: Ana"] == "2026-01-01T12:00:00.000+00:00"
    assert (row["consensus, reason"], row["consensus, by"]) == ("wrong order", "Mia")
    assert row["trace_id"] == "t" * 32
    assert "tags, explanation: Ana" not in row


def test_a_line_of_json_has_the_same_columns_with_values_as_they_are() -> None:
    titles = LAYOUT.titles()

    (row,) = [
        orjson.loads(line) for line in jsonl_rows(titles, [LAYOUT.cells(judged())]).splitlines()
    ]

    assert list(row) == titles
    assert row["tags: Ana"] == ["a", "b"]
    assert row["score: Ana"] == -1.5
    assert row["comment: Ana"] == "-1 is =SUM(A1)"
    assert row["quality: Ben"] == "bad"
    assert row["tags: Ben"] is None


def test_a_workbook_has_the_same_cells_and_no_formula() -> None:
    file = File("xlsx", LAYOUT)
    second_item = item(2, question="=1+1", answer="#N/A")
    data = file.begin() + file.add([judged()]) + file.add([second_item]) + file.end()

    head, first, second = openpyxl.load_workbook(io.BytesIO(data)).worksheets[0].iter_rows()

    titles = [cell.value for cell in head]
    assert titles == LAYOUT.titles()
    values = dict(zip(titles, [cell.value for cell in first], strict=True))
    assert values["quality: Ana"] == "good"
    assert values["score: Ana"] == -1.5
    assert values["comment: Ana"] == "'-1 is =SUM(A1)"
    assert [second[2].value, second[3].value] == ["'=1+1", "#N/A"]
    assert {cell.data_type for cell in (*first, *second)} <= {"s", "n", "inlineStr"}


@pytest.mark.parametrize(
    "text",
    [
        "=1+1",
        "+1",
        "-1",
        "@SUM(A1)",
        "\t=1",
        "\r=1",
        "\n=1",
        "  =1",
        "\uff1d1",
        "-",
        "=cmd|' /C calc'!A0",
    ],
)
def test_what_a_spreadsheet_could_take_for_a_formula_is_escaped(text: str) -> None:
    assert harmless(text) == "'" + text
    layout = Layout((), ((text, text),))
    (head, row) = csv.reader(
        io.StringIO(
            (csv_head(layout.titles()) + csv_rows([layout.cells(item(question=text))])).decode(
                "utf-8-sig"
            ),
            newline="",
        )
    )
    assert row[2] == "'" + text
    assert not any(title.startswith(("=", "+", "-", "@", "\t", "\r")) for title in head)


@pytest.mark.parametrize("text", ["", "good", "1", "a=b", "'=1", "Sehr gut – ja", "مرحبا"])
def test_other_text_stays_as_it_is(text: str) -> None:
    assert harmless(text) == text


@given(st.text())
def test_any_text_comes_back_from_csv_and_never_begins_a_formula(text: str) -> None:
    text = text.encode("utf-8", "replace").decode()
    (row,) = csv.reader(io.StringIO(csv_rows([[text, "end"]]).decode(), newline=""))

    assert row[0] in (text, "'" + text)
    assert row[0][:1] not in ("=", "+", "-", "@", "\t", "\r", "\n")
    assert row[1] == "end"


def test_two_columns_never_have_one_title() -> None:
    people = (("px-app:1", "Ana"), ("px-app:2", "Ana"), ("tracequill:consensus", "consensus"))

    titles = Layout(LABELS, people, frozenset({"quality"})).titles()

    assert len(set(titles)) == len(titles)
    assert {"quality: Ana", "quality: Ana (2)", "quality: consensus (2)"} <= set(titles)
    assert len(titles) == len(Layout(LABELS, people, frozenset({"quality"})).cells(judged()))


def test_an_item_without_answers_has_empty_cells() -> None:
    cells = LAYOUT.cells(item(7, state="open"))

    assert cells[:2] == [7, "open"]
    assert len(cells) == len(LAYOUT.titles())
    assert set(cells[4:-5]) == {None}


@pytest.mark.parametrize(
    ("queue", "name"),
    [
        ("support", "support.csv"),
        ("../../etc/passwd", "etc-passwd.csv"),
        ('a"b\r\nSet-Cookie: x', "a-b-Set-Cookie-x.csv"),
        ("Qualität, März", "Qualität-März.csv"),
        ("...", "queue.csv"),
        ("CON", "queue-CON.csv"),
        ("x" * 300, "x" * 80 + ".csv"),
        ("\u202etxt.exe", "txt-exe.csv"),
    ],
)
def test_the_name_of_the_file_is_one_that_every_system_takes(queue: str, name: str) -> None:
    assert file_name(queue, "csv") == name


def test_the_header_names_the_file_in_plain_letters_and_in_its_own() -> None:
    assert content_disposition("Qualität.csv") == (
        "attachment; filename=\"Qualitat.csv\"; filename*=UTF-8''Qualit%C3%A4t.csv"
    )
    assert 'filename="queue.csv"' in content_disposition("質問.csv")
