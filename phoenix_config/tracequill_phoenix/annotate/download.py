"""The results of a queue as a file: csv for spreadsheets, xlsx, or one JSON object a line.

In come items with what each person said; out come bytes, some rows at a time. One row is one item;
for each label there is a column for each person and one for the consensus. Text that a spreadsheet
could take for a formula gets an apostrophe before it. Pure: no database.
"""

from __future__ import annotations

import csv
import io
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal
from urllib.parse import quote

import orjson

from tracequill_phoenix.annotate.labels import Label
from tracequill_phoenix.annotate.workbook import Plain, Workbook

Format = Literal["csv", "xlsx", "jsonl"]
Cell = str | float | int | bool | list[str] | None

MEDIA_TYPES: Mapping[Format, str] = {
    "csv": "text/csv; charset=utf-8",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "jsonl": "application/x-ndjson",
}

# What begins a formula in Excel, LibreOffice or Google Sheets, in full width as well.
_FORMULA = re.compile("\\s*[-=+@\uff1d\uff0b\uff0d\uff20]|[\t\r\n]")
_NAME_MAX = 80
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Given:
    """What one person said of an item."""

    values: Mapping[str, Mapping[str, Any]]
    correction: str | None = None
    seconds: float | None = None
    seconds_to_first_key: float | None = None
    keys: int | None = None
    answered_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Decided:
    """The consensus about an item."""

    values: Mapping[str, Mapping[str, Any]]
    correction: str | None
    reason: str
    by: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Item:
    """One row of the file; *given* is by person."""

    number: int
    state: str
    question: str
    answer: str
    project: str
    session_id: str | None
    trace_id: str
    span_id: str
    asked_at: datetime
    given: Mapping[str, Given] = field(default_factory=dict)
    decided: Decided | None = None


@dataclass(frozen=True, slots=True)
class Layout:
    """The columns of a file: *people* are identifiers and names, *explained* names of labels."""

    labels: Sequence[Label]
    people: Sequence[tuple[str, str]]
    explained: frozenset[str] = frozenset()

    def titles(self) -> list[str]:
        """Give the columns' titles, no two of them equal."""
        names = [name for _, name in self.people]
        titles = ["item", "state", "question", "answer"]
        for label in self.labels:
            titles += [f"{label.name}: {name}" for name in (*names, "consensus")]
            if label.name in self.explained:
                titles += [f"{label.name}, explanation: {name}" for name in (*names, "consensus")]
        titles += [f"correction: {name}" for name in (*names, "consensus")]
        titles += ["consensus, reason", "consensus, by", "consensus, at"]
        for name in names:
            titles += [
                f"seconds: {name}",
                f"seconds to first key: {name}",
                f"keys: {name}",
                f"answered at: {name}",
            ]
        titles += ["project", "session", "trace_id", "span_id", "asked at"]
        return _unique(titles)

    def cells(self, item: Item) -> list[Cell]:
        """Give the cells of *item*, one for each title."""
        given = [item.given.get(person) for person, _ in self.people]
        everybody: list[Given | Decided | None] = [*given, item.decided]
        cells: list[Cell] = [item.number, item.state, item.question, item.answer]
        for label in self.labels:
            said = [one.values.get(label.name) if one else None for one in everybody]
            cells += [_value(label, value) for value in said]
            if label.name in self.explained:
                cells += [value.get("explanation") if value else None for value in said]
        cells += [one.correction if one else None for one in everybody]
        decided = item.decided
        cells += [decided.reason, decided.by, _time(decided.at)] if decided else [None] * 3
        for one in given:
            cells += (
                [one.seconds, one.seconds_to_first_key, one.keys, _time(one.answered_at)]
                if one
                else [None] * 4
            )
        return [
            *cells,
            item.project,
            item.session_id,
            item.trace_id,
            item.span_id,
            _time(item.asked_at),
        ]


def _unique(titles: list[str]) -> list[str]:
    """A person may be called consensus; their column is then numbered."""
    seen: set[str] = set()
    result = []
    for title in titles:
        name, number = title, 1
        while name in seen:
            number += 1
            name = f"{title} ({number})"
        seen.add(name)
        result.append(name)
    return result


def _value(label: Label, value: Mapping[str, Any] | None) -> Cell:
    if value is None:
        return None
    if label.kind == "CONTINUOUS":
        return value.get("score")
    if label.kind == "FREEFORM":
        return value.get("text")
    return value.get("labels") if label.multiple else value.get("label")


def _time(time: datetime | None) -> str | None:
    return time.astimezone(UTC).isoformat(timespec="milliseconds") if time else None


def harmless(text: str) -> str:
    """Give *text* so that no spreadsheet takes it for a formula."""
    return f"'{text}" if _FORMULA.match(text) else text


def flat(cell: Cell) -> Plain:
    """Give what a spreadsheet's cell holds; numbers stay numbers."""
    if isinstance(cell, list):
        cell = "; ".join(cell)
    return harmless(cell) if isinstance(cell, str) else cell


# --- text files ------------------------------------------------------------------------------


def csv_rows(rows: Sequence[Sequence[Cell]]) -> bytes:
    """Give *rows* as csv."""
    lines = io.StringIO(newline="")
    csv.writer(lines).writerows([flat(cell) for cell in row] for row in rows)
    return lines.getvalue().encode("utf-8", "replace")


def csv_head(titles: Sequence[str]) -> bytes:
    """Give the first line, behind the mark by which Excel knows UTF-8."""
    return b"\xef\xbb\xbf" + csv_rows([titles])


def jsonl_rows(titles: Sequence[str], rows: Sequence[Sequence[Cell]]) -> bytes:
    """Give *rows* as JSON objects, one a line; no spreadsheet reads it, so nothing is escaped."""
    return b"".join(
        orjson.dumps(dict(zip(titles, row, strict=True)), option=orjson.OPT_APPEND_NEWLINE)
        for row in rows
    )


# --- a file, piece by piece -------------------------------------------------------------------


class File:
    """A file of one kind: rows go in, and what comes out, one after the other, is the file."""

    def __init__(self, kind: Format, layout: Layout) -> None:
        self._kind, self._layout = kind, layout
        self._titles = layout.titles()
        self._book = None
        if kind == "xlsx":
            self._book = Workbook([harmless(title) for title in self._titles])

    def begin(self) -> bytes:
        """Give what comes before all rows."""
        return csv_head(self._titles) if self._kind == "csv" else b""

    def add(self, items: Sequence[Item]) -> bytes:
        """Give the rows of *items*."""
        rows = [self._layout.cells(item) for item in items]
        if self._book is not None:
            return self._book.add([[flat(cell) for cell in row] for row in rows])
        return csv_rows(rows) if self._kind == "csv" else jsonl_rows(self._titles, rows)

    def end(self) -> bytes:
        """Give what comes behind all rows."""
        return b"" if self._book is None else self._book.end()


# --- its name --------------------------------------------------------------------------------


def file_name(queue_name: str, suffix: Format) -> str:
    """Give a name that every file system takes, and that says which queue it is."""
    text = unicodedata.normalize("NFC", queue_name)
    kept = "".join(character if character.isalnum() else "-" for character in text)
    name = re.sub("-+", "-", kept).strip("-")[:_NAME_MAX].strip("-") or "queue"
    if _RESERVED.fullmatch(name):
        name = f"queue-{name}"
    return f"{name}.{suffix}"


def content_disposition(name: str) -> str:
    """Give the header that makes a browser save the file under *name* (RFC 6266)."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    stem = plain.rpartition(".")[0].strip("-")
    if not stem:
        plain = "queue" + plain[plain.rfind(".") :]
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"
