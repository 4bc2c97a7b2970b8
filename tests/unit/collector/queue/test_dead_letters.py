from __future__ import annotations

import errno
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from tests.unit.collector.queue.records import record
from tracequill_collector.errors import RetryableError
from tracequill_collector.queue import dead_letters as module
from tracequill_collector.queue.dead_letters import DeadLetters, DeadLettersFullError
from tracequill_collector.queue.disk import Disk
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


class TwoAtOnce(Disk):
    """Both that use it have created their file before one of them writes to it."""

    def __init__(self) -> None:
        self.both_created = threading.Barrier(2)

    def create(self, path: Path) -> int:
        """Create, and wait for the other one."""
        fd = super().create(path)
        with suppress(threading.BrokenBarrierError):
            self.both_created.wait(5)
        return fd


def test_two_that_bury_the_same_at_once_both_keep_it_whole(tmp_path: Path) -> None:
    disk = TwoAtOnce()

    def bury(number: int) -> str:
        return DeadLetters(tmp_path, disk=disk).add(record("bad", length=9_000), "bad.")

    with ThreadPoolExecutor(2) as threads:
        first, second = threads.map(bury, range(2))

    assert first == second
    found = DeadLetters(tmp_path).show(first)
    assert found is not None and found[1] == record("bad", length=9_000)
    assert {path.suffix for path in tmp_path.iterdir()} == {".json", ".payload"}


@pytest.mark.parametrize("left", [None, b"", b"ba"])
def test_a_letter_whose_payload_is_not_whole_is_not_given_and_is_written_again(
    tmp_path: Path, left: bytes | None
) -> None:
    letters = DeadLetters(tmp_path)
    letter_id = letters.add(record("bad"), "bad.")
    payload = tmp_path / f"{letter_id}.payload"
    payload.unlink()
    if left is not None:
        payload.write_bytes(left)

    with pytest.raises(ValueError, match="of 3 bytes are there"):
        letters.show(letter_id)
    assert letters.add(record("bad"), "bad.") == letter_id

    found = letters.show(letter_id)
    assert found is not None and found[1] == record("bad")


def test_what_a_killed_process_left_is_removed_at_the_next_start_but_nothing_newer(
    tmp_path: Path,
) -> None:
    old, recent = (tmp_path / f".{'0' * 20}.payload.{number}-ab.new" for number in range(2))
    for path in (old, recent):
        path.write_bytes(b"half")
    os.utime(old, (1, 1))
    letter_id = DeadLetters(tmp_path).add(record("bad"), "bad.")

    letters = DeadLetters(tmp_path)
    letters.hold_reserve()

    assert (old.exists(), recent.exists()) == (False, True)
    assert [letter.letter_id for letter in letters.list()] == [letter_id]


@pytest.mark.parametrize("what", ["add", "show", "list", "remove"])
def test_a_folder_that_cannot_be_read_is_to_be_tried_again(tmp_path: Path, what: str) -> None:
    letters = DeadLetters(tmp_path)
    letter_id = letters.add(record("bad"), "bad.")
    described = tmp_path / f"{letter_id}.json"
    described.unlink()
    described.mkdir()  # neither read nor unlinked

    with pytest.raises(RetryableError, match=r"a dead letter cannot be .*: "):
        if what == "add":
            letters.add(record("bad"), "bad.")
        elif what == "list":
            letters.list()
        else:
            getattr(letters, what)(letter_id)


def test_past_the_cap_a_new_letter_waits_until_some_are_discarded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_MEASURE_FULL_SECONDS", 0.0)
    letters = DeadLetters(tmp_path, max_bytes=20_000)
    first = letters.add(record("1", length=1_000_000), "bad.")

    with pytest.raises(DeadLettersFullError, match=r"cap of 20000 bytes.*dead-letters discard"):
        letters.add(record("2"), "bad.")
    assert letters.add(record("1", length=1_000_000), "a new reason.") == first

    DeadLetters(tmp_path).remove(first)
    kept = [letters.add(record(f"{number}"), "bad.") for number in range(2)]
    with pytest.raises(DeadLettersFullError):
        letters.add(record("3"), "bad.")
    assert [letter.letter_id for letter in letters.list()] == kept


def test_the_folder_is_not_listed_for_each_letter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed: list[str] = []

    def sizes(disk: Disk, folder: Path, suffix: str) -> dict[str, int]:
        listed.append(suffix)
        return {}

    monkeypatch.setattr(Disk, "sizes", sizes)
    letters = DeadLetters(tmp_path, max_bytes=10**9)
    for number in range(5):
        letters.add(record(f"{number}"), "bad.")

    assert sorted(listed) == [".json", ".payload"]


def test_the_reserve_is_taken_back_when_there_is_room_again(tmp_path: Path) -> None:
    disk = FailingDisk()
    letters = DeadLetters(tmp_path, disk=disk)
    letters.hold_reserve()
    disk.free = 1_000
    disk.errors["write"] = [OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))]
    letters.add(record("on a full disk"), "bad.")
    assert not (tmp_path / "reserve").exists()

    disk.free = None
    letters.add(record("later"), "bad.")

    assert (tmp_path / "reserve").stat().st_size > 0


class Removing(Disk):
    """Somebody removes a letter as soon as it is written, so often."""

    def __init__(self, removals: int) -> None:
        self.removals = removals

    def replace_whole(self, path: Path, content: bytes) -> None:
        """Replace, and remove."""
        super().replace_whole(path, content)
        if path.suffix == ".json" and self.removals:
            self.removals -= 1
            DeadLetters(path.parent).remove(path.stem)


def test_a_letter_that_is_removed_as_it_is_written_is_written_again(tmp_path: Path) -> None:
    letters = DeadLetters(tmp_path, disk=Removing(1))

    assert letters.show(letters.add(record("bad"), "bad.")) is not None
    with pytest.raises(RetryableError, match="was removed from"):
        DeadLetters(tmp_path, disk=Removing(9)).add(record("worse"), "bad.")


def test_a_record_that_can_be_read_since_becomes_a_letter_of_its_spans(tmp_path: Path) -> None:
    letters = DeadLetters(tmp_path)
    letter_id = letters.add(record("bad"), "it cannot be read.")

    letters.add(record("bad"), "9 spans of it.", what="spans", details={"spans": 9})

    [letter] = letters.list()
    assert (letter.letter_id, letter.what, letter.details) == (letter_id, "spans", {"spans": 9})
