"""A workbook as spreadsheets read it, whatever is put into it."""

from __future__ import annotations

import io
import math
import random
import re
import time
import tracemalloc
import zipfile
from collections.abc import Sequence

import openpyxl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracequill_phoenix.annotate.workbook import CELL_CHARACTERS_MAX, Plain, Workbook


def written(
    titles: Sequence[str], *batches: Sequence[Sequence[Plain]], rows_max: int = 10
) -> bytes:
    book = Workbook(titles, sheet_rows_max=rows_max)
    return b"".join([book.add(batch) for batch in batches]) + book.end()


def read(data: bytes) -> openpyxl.Workbook:
    return openpyxl.load_workbook(io.BytesIO(data))


def cell_of(value: Plain) -> object:
    return read(written(["question"], [[value]])).worksheets[0]["A2"].value


def test_a_cell_is_text_or_a_number_and_comes_back() -> None:
    row: list[Plain] = [
        "text",
        "",
        None,
        7,
        -1.5,
        1e300,
        True,
        "007",
        "#N/A",
        "1.5",
        "  x  ",
        "a\nb",
    ]

    sheet = read(written([str(number) for number in range(len(row))], [row])).worksheets[0]

    cells = list(sheet.iter_rows())[1]
    assert [cell.value for cell in cells] == [None if value == "" else value for value in row]
    assert {cell.data_type for cell in cells} <= {"s", "n", "b", "inlineStr"}
    assert sheet.freeze_panes == "A2"


@given(st.text())
def test_any_text_can_be_written_and_never_is_a_formula(text: str) -> None:
    cell = read(written(["question"], [[text]])).worksheets[0]["A2"]

    assert cell.data_type in ("s", "n", "inlineStr")
    kept = re.sub("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff\ud800-\udfff]", "\ufffd", text)
    assert (cell.value or "") == re.sub("\r\n?", "\n", kept)


def test_markup_and_control_characters_do_no_harm() -> None:
    assert cell_of("</t></is></c><c><f>1+1</f></c>&amp;") == "</t></is></c><c><f>1+1</f></c>&amp;"
    assert cell_of("bell\x07 and \x00") == "bell\ufffd and \ufffd"


def test_what_looks_like_a_numbered_character_is_shown_as_it_stands() -> None:
    data = written(["question"], [["_x0041_"]])

    sheet = zipfile.ZipFile(io.BytesIO(data)).read("xl/worksheets/sheet1.xml").decode()

    assert "_x005F_x0041_" in sheet


@pytest.mark.parametrize("character", ["x", "é", "😀"])
def test_a_text_longer_than_a_cell_is_cut_and_says_so(character: str) -> None:
    value = cell_of(character * 40_000)

    assert isinstance(value, str)
    units = len(value.encode("utf-16-le")) // 2
    assert CELL_CHARACTERS_MAX - 1 <= units <= CELL_CHARACTERS_MAX
    assert value.endswith(f"{character}… [cut]")
    fits = character * (CELL_CHARACTERS_MAX // len(character.encode("utf-16-le")) * 2)
    assert cell_of(fits) == fits


def test_a_full_sheet_is_followed_by_another_with_the_same_head() -> None:
    sheets = read(written(["item"], [[number] for number in range(5)], rows_max=3)).worksheets

    assert [[row[0] for row in sheet.values] for sheet in sheets] == [
        ["item", 0, 1],
        ["item", 2, 3],
        ["item", 4],
    ]


def test_equal_rows_are_equal_files(monkeypatch: pytest.MonkeyPatch) -> None:
    first = written(["item"], [[1]])
    monkeypatch.setattr("time.localtime", lambda *_: time.struct_time((2031,) + (1,) * 8))

    assert written(["item"], [[1]]) == first


def test_a_wide_row_keeps_its_columns() -> None:
    row: list[Plain] = [None if place % 2 else place for place in range(800)]

    sheet = read(written([f"c{place}" for place in range(800)], [row])).worksheets[0]

    assert [cell.value for cell in list(sheet.iter_rows())[1]] == row
    assert sheet["ADT1"].value == "c799"


def test_a_number_that_is_none_is_text() -> None:
    assert cell_of(math.inf) == "inf"


def test_bytes_leave_while_rows_are_added() -> None:
    chance = random.Random(1)
    book = Workbook(["question"])
    given = [book.add([[chance.randbytes(500).hex()] for _ in range(100)]) for _ in range(10)]
    end = book.end()

    assert all(given)
    assert len(end) < sum(len(part) for part in given) / 5


def test_memory_does_not_grow_with_the_rows() -> None:
    def peak(rows: int) -> int:
        tracemalloc.start()
        book = Workbook(["question"])
        for start in range(0, rows, 100):
            book.add([[f"{number} " + "x" * 500] for number in range(start, start + 100)])
        book.end()
        highest = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return highest

    assert peak(8000) < 1.5 * peak(1000) + 200_000
