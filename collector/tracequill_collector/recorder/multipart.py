"""Forms as files are uploaded with: bytes of a recorded body enter, parts leave.

Tolerant, because the body may be cut: what came of the last part is given with it. It cannot give
more than the body that it is given, which is recorded up to a cap. No input or output.
https://www.rfc-editor.org/rfc/rfc7578
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import Any

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

# The parser logs what it stumbles over, which is content.
logging.getLogger("python_multipart").setLevel(logging.CRITICAL)

MEDIA_TYPE = "multipart/form-data"
# Each part costs far more than its bytes.
_MAX_PARTS = 1_000


@dataclass(slots=True)
class Part:
    """One field or file of a form."""

    name: str = ""
    filename: str | None = None
    """What a file is called; None for a field."""
    content_type: str = ""
    """Empty when the part names none."""
    data: bytes = b""

    @property
    def text(self) -> str | None:
        """The value of a field; None for a file, and when it is not UTF-8."""
        if self.filename is not None:
            return None
        try:
            return self.data.decode("utf-8")
        except UnicodeDecodeError:
            return None


@dataclass(slots=True)
class Form:
    """The parts that could be read, and why reading stopped early, if it did."""

    parts: list[Part] = field(default_factory=list)
    problem: str = ""

    def text(self, name: str) -> str | None:
        """Give the value of the first field called *name*."""
        return next((part.text for part in self.parts if part.name == name), None)

    def described(self) -> dict[str, Any]:
        """Give the form as an object: fields as text, of files only what they are.

        Several parts of one name are a list.
        """
        result: dict[str, Any] = {}
        lists: set[str] = set()
        for part in self.parts:
            value = _description(part) if (text := part.text) is None else text
            if part.name not in result:
                result[part.name] = value
            elif part.name in lists:
                result[part.name].append(value)
            else:
                result[part.name] = [result[part.name], value]
                lists.add(part.name)
        return result


def _description(part: Part) -> dict[str, Any]:
    described: dict[str, Any] = {"filename": part.filename} if part.filename is not None else {}
    if part.content_type:
        described["content_type"] = part.content_type
    return {**described, "bytes": len(part.data)}


def parse_form(body: bytes, content_type: str) -> Form:
    """Read the parts of *body*; a problem is told in one sentence, never raised.

    *content_type* is the whole header, because it names the boundary.
    """
    form = Form()
    boundary = _options(content_type).get("boundary", "")
    if not boundary:
        form.problem = "multipart body has no boundary"
        return form
    reader = _Reader(form)
    try:
        parser = MultipartParser(
            boundary.encode("utf-8", "surrogateescape"),
            {
                "on_part_begin": reader.begin,
                "on_header_field": reader.header_name,
                "on_header_value": reader.header_value,
                "on_header_end": reader.header_end,
                "on_part_data": reader.data,
                "on_part_end": reader.end,
                "on_end": reader.finish,
            },
        )
        parser.write(body)
    except FormParserError as error:
        form.problem = f"multipart body is broken: {type(error).__name__}"
    except _TooManyPartsError:
        form.problem = f"multipart body has more than {_MAX_PARTS} parts"
    else:
        if not reader.finished:
            form.problem = "multipart body is cut"
    reader.end()
    return form


class _TooManyPartsError(Exception):
    """Reading stops here."""


class _Reader:
    """Takes what the parser finds, byte range by byte range, and adds parts to a form."""

    def __init__(self, form: Form) -> None:
        self._form = form
        self._part: Part | None = None
        self._data: list[bytes] = []
        self._name = b""
        self._value = b""
        self.finished = False

    def begin(self) -> None:
        if len(self._form.parts) >= _MAX_PARTS:
            raise _TooManyPartsError
        self._part = Part()
        self._data = []

    def header_name(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def header_end(self) -> None:
        name, value = self._name.lower(), self._value.decode("utf-8", "replace")
        self._name = self._value = b""
        if self._part is None:
            return
        if name == b"content-disposition":
            options = _options(value)
            self._part.name = options.get("name", "")
            self._part.filename = options.get("filename")
        elif name == b"content-type":
            self._part.content_type = value.strip()

    def data(self, data: bytes, start: int, end: int) -> None:
        self._data.append(data[start:end])

    def end(self) -> None:
        if self._part is not None:
            self._part.data = b"".join(self._data)
            self._form.parts.append(self._part)
            self._part = None

    def finish(self) -> None:
        self.finished = True


def _options(header: str) -> dict[str, str]:
    """Give the parameters of a header's value; the library reads it as Latin-1 only."""
    text = header.encode("utf-8", "replace").decode("latin-1")
    _, options = parse_options_header(text)
    return {
        name.decode("latin-1"): value.decode("utf-8", "replace") for name, value in options.items()
    }
