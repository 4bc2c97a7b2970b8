"""An Office Open XML workbook (xlsx), written row by row and given out while it is written.

In come rows of plain values; out come bytes, some after each addition. Nothing is kept but what has
not been given out yet, so that memory does not grow and the first bytes leave at once. A cell is
text or a number, never a formula. What a workbook cannot hold is replaced, and what a cell cannot
hold is cut and says so. Knows nothing of what the rows mean.
"""

from __future__ import annotations

import io
import math
import re
import zipfile
from collections.abc import Iterable, Sequence
from functools import cache
from xml.sax.saxutils import escape

Plain = str | float | int | bool | None

# Excel's own limits; characters count as UTF-16 has them.
CELL_CHARACTERS_MAX = 32_767
SHEET_ROWS_MAX = 1_048_576
# Beyond it a part of the archive would need an extension that streams cannot have.
_SHEET_BYTES_MAX = 1 << 30
_CUT = "… [cut]"
# Characters that XML 1.0 cannot hold.
_NOT_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff\ud800-\udfff]")
# What a workbook takes for a character by its number; the first character is then written so.
_NUMBERED = re.compile("_(?=x[0-9A-Fa-f]{4}_)")
_LINE_ENDS = re.compile("\r\n?")

_XML = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n'
_MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
_OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_PACKAGE = "http://schemas.openxmlformats.org/package/2006"
_SPREADSHEET = "application/vnd.openxmlformats-officedocument.spreadsheetml"
# The first row stays in sight.
_SHEET_BEGIN = (
    f'{_XML}<worksheet xmlns="{_MAIN}"><sheetViews><sheetView workbookViewId="0">'
    '<pane ySplit="1" topLeftCell="A2" activePane="bottomLeft" state="frozen"/>'
    "</sheetView></sheetViews><sheetData>"
)
_SHEET_END = "</sheetData></worksheet>"


class Workbook:
    """Rows go in by ``add``; what ``add`` and ``end`` give, one after the other, is the file."""

    def __init__(self, titles: Sequence[str], *, sheet_rows_max: int = SHEET_ROWS_MAX) -> None:
        self._titles = titles
        self._sheet_rows_max = sheet_rows_max
        self._out = _Stream()
        self._archive = zipfile.ZipFile(self._out, "w", zipfile.ZIP_DEFLATED, compresslevel=3)
        self._sheets = 0
        self._begin_sheet()

    def add(self, rows: Sequence[Sequence[Plain]]) -> bytes:
        """Write *rows*, and give what can be given out; a full sheet is followed by another."""
        written: list[str] = []
        for row in rows:
            if self._rows == self._sheet_rows_max or self._bytes > _SHEET_BYTES_MAX:
                self._write("".join(written))
                written.clear()
                self._end_sheet()
                self._begin_sheet()
            self._rows += 1
            written.append(_row(self._rows, row))
        self._write("".join(written))
        return self._out.taken()

    def end(self) -> bytes:
        """Finish the file, and give the rest of it."""
        self._end_sheet()
        numbers = range(1, self._sheets + 1)
        self._archive.writestr(_part("xl/workbook.xml"), _workbook(numbers))
        self._archive.writestr(_part("xl/_rels/workbook.xml.rels"), _relations(numbers))
        self._archive.writestr(_part("_rels/.rels"), _ROOT)
        self._archive.writestr(_part("[Content_Types].xml"), _types(numbers))
        self._archive.close()
        return self._out.taken()

    def _begin_sheet(self) -> None:
        self._sheets += 1
        self._sheet = self._archive.open(_part(f"xl/worksheets/sheet{self._sheets}.xml"), "w")
        self._bytes = 0
        self._write(_SHEET_BEGIN + _row(1, self._titles))
        self._rows = 1

    def _end_sheet(self) -> None:
        self._write(_SHEET_END)
        self._sheet.close()

    def _write(self, text: str) -> None:
        data = text.encode()
        self._bytes += len(data)
        self._sheet.write(data)


class _Stream(io.RawIOBase):
    """Takes what is written, and gives it out once; it cannot be gone back in."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: bytes) -> int:  # type: ignore[override]
        self._parts.append(bytes(data))
        return len(data)

    def taken(self) -> bytes:
        parts, self._parts = self._parts, []
        return b"".join(parts)


def _row(number: int, row: Sequence[Plain]) -> str:
    cells = [
        _cell(f"{_column(place)}{number}", value)
        for place, value in enumerate(row)
        if value is not None and value != ""
    ]
    return f'<row r="{number}">{"".join(cells)}</row>'


@cache
def _column(place: int) -> str:
    """Give the letters of the column at *place*: A to Z, AA and so on."""
    before, letter = divmod(place, 26)
    return (_column(before - 1) if before else "") + chr(ord("A") + letter)


def _cell(name: str, value: str | float | int | bool) -> str:
    if isinstance(value, bool):
        return f'<c r="{name}" t="b"><v>{int(value)}</v></c>'
    if not isinstance(value, str) and math.isfinite(value):
        return f'<c r="{name}"><v>{value!r}</v></c>'
    text = _text(str(value))
    return f'<c r="{name}" t="inlineStr"><is><t xml:space="preserve">{text}</t></is></c>'


def _text(text: str) -> str:
    held = _LINE_ENDS.sub("\n", _NOT_XML.sub("\ufffd", text))
    return escape(_NUMBERED.sub("_x005F_", _fitting(held)))


def _fitting(text: str) -> str:
    """Cut *text* to what a cell holds."""
    if len(text) * 2 <= CELL_CHARACTERS_MAX or _units(text) <= CELL_CHARACTERS_MAX:
        return text
    units = text.encode("utf-16-le")[: 2 * (CELL_CHARACTERS_MAX - len(_CUT))]
    return units.decode("utf-16-le", "ignore") + _CUT


def _units(text: str) -> int:
    return len(text.encode("utf-16-le")) // 2


# --- the parts around the sheets -------------------------------------------------------------


def _part(name: str) -> zipfile.ZipInfo:
    """Name a part of the archive; it has no time, so that equal rows are equal files."""
    part = zipfile.ZipInfo(name)
    part.compress_type = zipfile.ZIP_DEFLATED
    return part


def _workbook(sheets: Sequence[int]) -> str:
    names = "".join(
        f'<sheet name="Sheet{number}" sheetId="{number}" r:id="rId{number}"/>' for number in sheets
    )
    return (
        f'{_XML}<workbook xmlns="{_MAIN}" xmlns:r="{_OFFICE}"><sheets>{names}</sheets></workbook>'
    )


def _relations(sheets: Sequence[int]) -> str:
    return _related(
        (f"rId{number}", f"{_OFFICE}/worksheet", f"worksheets/sheet{number}.xml")
        for number in sheets
    )


def _related(relations: Iterable[tuple[str, str, str]]) -> str:
    inner = "".join(
        f'<Relationship Id="{name}" Type="{kind}" Target="{target}"/>'
        for name, kind, target in relations
    )
    return f'{_XML}<Relationships xmlns="{_PACKAGE}/relationships">{inner}</Relationships>'


_ROOT = _related([("rId1", f"{_OFFICE}/officeDocument", "xl/workbook.xml")])


def _types(sheets: Sequence[int]) -> str:
    parts = "".join(
        f'<Override PartName="/xl/worksheets/sheet{number}.xml" '
        f'ContentType="{_SPREADSHEET}.worksheet+xml"/>'
        for number in sheets
    )
    return (
        f'{_XML}<Types xmlns="{_PACKAGE}/content-types"><Default Extension="rels" '
        'ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
        '<Default Extension="xml" ContentType="application/xml"/>'
        f'<Override PartName="/xl/workbook.xml" ContentType="{_SPREADSHEET}.sheet.main+xml"/>'
        f"{parts}</Types>"
    )
