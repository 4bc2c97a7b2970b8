from __future__ import annotations

import errno
from pathlib import Path

import pytest

from tests.unit.collector.queue.records import record
from tracequill_collector.errors import RetryableError
from tracequill_collector.queue.dead_letters import DeadLetters
from tracequill_collector.testing import FailingDisk


def test_a_letter_is_kept_whole_with_its_reason(tmp_path: Path) -> None:
    letters = DeadLetters(tmp_path / "dead_letters")
    original = record("unreadable")

    letter_id = letters.add(original, "it cannot be read.", details={"sequence": 7})

    found = letters.show(letter_id)
    assert found is not None
    letter, kept = found
    assert kept == original
    assert (letter.reason, letter.what, letter.details) == (
        "it cannot be read.",
        "record",
        {"sequence": 7},
    )
    assert letters.list() == [letter]


def test_the_same_content_is_one_letter_with_the_newest_reason_however_often_it_is_tried(
    tmp_path: Path,
) -> None:
    letters = DeadLetters(tmp_path)
    first = letters.add(record("bad"), "first reason.")
    again = letters.add(record("bad"), "second reason.")
    other = letters.add(record("worse"), "first reason.", what="span")

    assert first == again != other
    assert [letter.reason for letter in letters.list()] == ["second reason.", "first reason."]


def test_letters_are_listed_oldest_first(tmp_path: Path) -> None:
    letters = DeadLetters(tmp_path)
    added = [letters.add(record(str(number)), "bad.") for number in range(5)]

    assert [letter.letter_id for letter in letters.list()] == added


@pytest.mark.parametrize("letter_id", ["", "../../etc/passwd", "0" * 20, "G" * 20, "0" * 21])
def test_an_id_that_is_not_there_gives_nothing(tmp_path: Path, letter_id: str) -> None:
    assert DeadLetters(tmp_path).show(letter_id) is None


def test_a_folder_that_does_not_exist_holds_nothing(tmp_path: Path) -> None:
    assert DeadLetters(tmp_path / "none").list() == []


def test_a_letter_that_was_not_finished_is_not_there(tmp_path: Path) -> None:
    disk = FailingDisk()
    letters = DeadLetters(tmp_path, disk=disk)
    disk.errors["sync"] = [OSError(errno.ENOSPC, "No space left on device")]

    with pytest.raises(RetryableError, match="No space left on device"):
        letters.add(record("bad"), "bad.")

    assert letters.list() == []
    letter_id = letters.add(record("bad"), "bad.")
    assert letters.show(letter_id) is not None


def test_a_damaged_letter_hides_no_other(tmp_path: Path) -> None:
    letters = DeadLetters(tmp_path)
    good = letters.add(record("good"), "bad.")
    bad = letters.add(record("bad"), "bad.")
    (tmp_path / f"{bad}.json").write_text("{")

    assert [letter.letter_id for letter in letters.list()] == [good]
    assert letters.show(bad) is None
