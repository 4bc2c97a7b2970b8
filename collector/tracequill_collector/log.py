"""Structured logs: one line a fact, a sentence with fields beside it, never a prompt or a key.

What an exception says may quote what was sent: a parser shows the line that it could not read, with
the key in it. So of exceptions only the kind and the place are logged, for libraries' loggers too;
those that speak of files, and those that are meant for a person, keep their words.
"""

from __future__ import annotations

import logging
import sys
import time
import traceback
from collections.abc import Iterator
from typing import Any

import orjson

from tracequill.errors import CommandError

_STANDARD = frozenset(vars(logging.LogRecord("", 0, "", 0, "", (), None))) | {"message", "asctime"}


class _JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        entry: dict[str, Any] = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
            + f".{int(record.msecs):03d}Z",
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        entry.update(_fields(record))
        if record.exc_info and record.exc_info[1] is not None:
            entry["exception"] = _described(record.exc_info[1])
        return orjson.dumps(entry, default=str).decode()


class _TextFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        clock = time.strftime("%H:%M:%S", time.localtime(record.created))
        fields = "".join(f" {key}={value}" for key, value in _fields(record).items())
        line = f"{clock} {record.levelname:<7} {record.name}: {record.getMessage()}{fields}"
        if record.exc_info and record.exc_info[1] is not None:
            line = f"{line}\n{_described(record.exc_info[1])}"
        return line


def _described(error: BaseException) -> str:
    """Give where *error* came from, and what led to it, innermost cause first."""
    chain: list[BaseException] = []
    link: BaseException | None = error
    while link is not None and link not in chain:
        chain.append(link)
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)
    return "\n".join(line for link in reversed(chain) for line in _lines(link))


def _lines(error: BaseException, indent: str = "") -> Iterator[str]:
    if error.__traceback__ is not None:
        yield f"{indent}Traceback (most recent call last):"
    for frame in traceback.extract_tb(error.__traceback__):
        yield f'{indent}  File "{frame.filename}", line {frame.lineno}, in {frame.name}'
    kind = type(error)
    name = (
        kind.__qualname__
        if kind.__module__ == "builtins"
        else f"{kind.__module__}.{kind.__qualname__}"
    )
    is_quotable = isinstance(error, OSError | CommandError)
    yield f"{indent}{name}: {error}" if is_quotable else f"{indent}{name}"
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _lines(inner, indent + "  | ")


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    return {key: value for key, value in vars(record).items() if key not in _STANDARD}


def configure_logging(level: str = "INFO", log_format: str = "text") -> None:
    """Send this process's logs to standard error, as ``text`` lines or one ``json`` object each."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JsonFormatter() if log_format == "json" else _TextFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
