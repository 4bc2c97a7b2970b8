from __future__ import annotations

import io
import json
import logging
import sys
from collections.abc import Iterator

import pytest

from tracequill_collector.errors import PermanentError, StartError
from tracequill_collector.log import configure_logging


@pytest.fixture(params=["text", "json"])
def log(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    """What is logged, in each of the formats."""
    root = logging.getLogger()
    before = root.handlers[:], root.level
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    configure_logging("DEBUG", request.param)
    yield stream
    root.handlers[:], root.level = before


def _read_a_line() -> None:
    raise ValueError("cannot read the line 'Authorization: Bearer s3cret'")


def test_a_fact_is_one_line_with_its_fields(log: io.StringIO) -> None:
    logging.getLogger("some.logger").warning("it waits", extra={"waiting": "for %s", "tries": 3})

    (line,) = log.getvalue().splitlines()
    if line.startswith("{"):
        entry = json.loads(line)
        assert entry.pop("time").endswith("Z")
        assert entry == {
            "level": "WARNING",
            "logger": "some.logger",
            "message": "it waits",
            "waiting": "for %s",
            "tries": 3,
        }
    else:
        assert line.endswith("WARNING some.logger: it waits waiting=for %s tries=3")


def test_an_exception_is_told_by_its_kind_and_place_without_its_words(log: io.StringIO) -> None:
    try:
        try:
            _read_a_line()
        except ValueError as error:
            raise KeyError("s3cret prompt") from error
    except KeyError:
        logging.getLogger("aiohttp.server").exception("Error handling request")

    said = log.getvalue()
    assert "s3cret" not in said
    assert "ValueError" in said and "KeyError" in said
    assert "in _read_a_line" in said
    assert said.index("ValueError") < said.index("KeyError")


def test_errors_of_files_and_those_for_a_person_keep_their_words(log: io.StringIO) -> None:
    for error in (
        FileNotFoundError(2, "No such file", "/x"),
        StartError("it is away."),
        PermanentError("s3cret"),
    ):
        try:
            raise error
        except Exception:
            logging.getLogger("ours").exception("it failed")

    said = log.getvalue()
    assert "FileNotFoundError: [Errno 2] No such file: '/x'" in said
    assert "tracequill_collector.errors.StartError: it is away." in said
    assert "s3cret" not in said


def test_every_error_of_a_group_is_told(log: io.StringIO) -> None:
    group = ExceptionGroup("s3cret", [ValueError("s3cret"), OSError(28, "No space left")])
    logging.getLogger("ours").error("it failed", exc_info=group)

    said = log.getvalue()
    assert "s3cret" not in said
    assert "ValueError" in said and "No space left" in said
    logging.getLogger("ours").error("no error", exc_info=True)
    assert "no error" in log.getvalue()
