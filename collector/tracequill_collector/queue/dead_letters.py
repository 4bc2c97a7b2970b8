"""What could not be interpreted or stored, kept whole, with the reason. Nothing here expires.

A letter is two files: ``<id>.payload`` holds the bytes as they came, ``<id>.json`` the reason and
what is needed to read them again. The second is written last, so a letter is whole or not there;
one whose payload is not whole is written again by whoever adds it, and is never given out.
The id is a digest of the content: the same record or span becomes one letter however often it
is tried, and no name is ever taken from what somebody sent. On a full disk the folder's reserve is
given up for a letter (``reserve.py``), and taken back when there is room. All letters together
stay under a byte cap: past it a new one is refused until a person discards some.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import re
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import orjson

from tracequill_collector.errors import RetryableError
from tracequill_collector.pipeline import Record, RecordKind
from tracequill_collector.queue import reserve
from tracequill_collector.queue.disk import Disk

_ID = re.compile(r"[0-9a-f]{20}")

_SUFFIXES = (".json", ".payload")
# What a small file takes of a disk; so the cap bounds how many there are, too.
_BLOCK_BYTES = 4096
# Other processes add and discard as well: the folder is measured anew now and then.
_MEASURE_SECONDS = 60.0
_MEASURE_FULL_SECONDS = 2.0
# A letter may be removed by a command while it is written.
_TRIES = 3

_log = logging.getLogger(__name__)

What = Literal["record", "span", "spans"]
"""``record``: all of a queued record. ``span``: one span of it, alone in a request of its own.
``spans``: many spans of a record, which is kept whole; the details say which."""


class DeadLettersFullError(RetryableError):
    """The letters have reached their byte cap; a person must look at them and discard some."""


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One letter, without its payload."""

    letter_id: str
    what: What
    reason: str
    kind: int
    """The RecordKind of the payload, as a number, because a later one may be unknown here."""
    content_type: str
    content_encoding: str
    project_name: str
    received_unix_ns: int
    added_unix_ns: int
    payload_bytes: int
    details: dict[str, Any] = field(default_factory=dict)
    """More facts about the failure; never a prompt, an answer or a key."""

    @property
    def kind_name(self) -> str:
        """The kind as a word."""
        try:
            return RecordKind(self.kind).name.lower()
        except ValueError:
            return str(self.kind)


def letters_max_bytes(queue_max_bytes: int) -> int:
    """Give the cap of all letters: beside the queue they are little, or something is wrong."""
    return queue_max_bytes // 4


class DeadLetters:
    """The folder of dead letters. Several processes may add to it and read it at once.

    What the disk does wrong is a RetryableError.
    """

    def __init__(
        self, folder: Path, *, max_bytes: int | None = None, disk: Disk | None = None
    ) -> None:
        """*max_bytes* bounds what lies in the folder; it takes one letter, however large."""
        self._folder = folder
        self._max_bytes = max_bytes
        self._disk = disk or Disk()
        self._holds_reserve = False
        self._used_bytes = 0
        self._measured_at = float("-inf")
        self._counting = threading.Lock()

    def add(
        self,
        record: Record,
        reason: str,
        *,
        what: What = "record",
        details: Mapping[str, Any] | None = None,
    ) -> str:
        """Keep *record* and give its id; returning means that it is on the medium.

        A span is given as a record that holds this span alone, with its resource and scope. What
        is kept already stays, but for a new reason. A letter of one exporter of several names it
        in its details. Raises a RetryableError when the disk fails or the folder is full.
        """
        letter = DeadLetter(
            letter_id=_digest(record, str((details or {}).get("exporter", ""))),
            what=what,
            reason=reason,
            kind=int(record.kind),
            content_type=record.content_type,
            content_encoding=record.content_encoding,
            project_name=record.project_name,
            received_unix_ns=record.received_unix_ns,
            added_unix_ns=time.time_ns(),
            payload_bytes=len(record.payload),
            details=dict(details or {}),
        )
        with self._telling("written to"):
            for _ in range(_TRIES):
                self._keep(letter, record.payload)
                if self._is_whole(letter):
                    return letter.letter_id
        raise RetryableError(f"a dead letter was removed from {self._folder} as it was written.")

    def _keep(self, letter: DeadLetter, payload: bytes) -> None:
        known = _load(self._path(letter.letter_id, ".json"))
        if known is not None and self._is_whole(letter):
            now = replace(known, what=letter.what, reason=letter.reason, details=letter.details)
            if now != known:
                self._describe(now)
            return
        description = orjson.dumps(asdict(letter), default=str)
        size = _on_disk(len(payload)) + _on_disk(len(description))
        self._check_room(size)
        self._write(f"{letter.letter_id}.payload", payload)
        self._write(f"{letter.letter_id}.json", description)
        with self._counting:
            self._used_bytes += size
        # The reason may quote what was sent, so it is not logged.
        _log.error("a dead letter was kept", extra={"id": letter.letter_id, "what": letter.what})
        self._take_reserve_back()

    def _describe(self, letter: DeadLetter) -> None:
        self._write(f"{letter.letter_id}.json", orjson.dumps(asdict(letter), default=str))

    def _is_whole(self, letter: DeadLetter) -> bool:
        """Say whether all of the payload is there."""
        try:
            size = self._path(letter.letter_id, ".payload").stat().st_size
        except FileNotFoundError:
            return False
        return size == letter.payload_bytes

    def _path(self, letter_id: str, suffix: str) -> Path:
        return self._folder / f"{letter_id}{suffix}"

    @contextlib.contextmanager
    def _telling(self, what: str) -> Iterator[None]:
        """Say what the disk answered as a RetryableError."""
        try:
            yield
        except OSError as error:
            raise RetryableError(
                f"a dead letter cannot be {what} {self._folder}: {error.strerror}."
            ) from error

    # --- room ---------------------------------------------------------------------------

    def hold_reserve(self) -> None:
        """Take room for letters while there is some; called by whoever adds some, at its start."""
        self._holds_reserve = True
        with contextlib.suppress(OSError):
            self._disk.make_folder(self._folder)
            self._disk.remove_leftovers(self._folder)
            reserve.hold(self._disk, self._folder)

    def _take_reserve_back(self) -> None:
        """Make the reserve that a full disk has cost anew, when there is room again."""
        if not self._holds_reserve or (self._folder / reserve.NAME).exists():
            return
        with contextlib.suppress(OSError):
            free, _ = self._disk.free_bytes(self._folder)
            if free >= 2 * reserve.size(self._disk, self._folder):
                reserve.hold(self._disk, self._folder)

    def _check_room(self, size: int) -> None:
        """Raise a DeadLettersFullError when *size* more bytes would pass the cap."""
        if self._max_bytes is None:
            return
        with self._counting:
            is_full = bool(self._used_bytes) and self._used_bytes + size > self._max_bytes
            age_seconds = time.monotonic() - self._measured_at
            if age_seconds >= (_MEASURE_FULL_SECONDS if is_full else _MEASURE_SECONDS):
                self._used_bytes = self._measure()
                self._measured_at = time.monotonic()
                is_full = bool(self._used_bytes) and self._used_bytes + size > self._max_bytes
        if is_full:
            raise DeadLettersFullError(
                f"the dead letters in {self._folder} have reached their cap of {self._max_bytes} "
                "bytes, a quarter of queue_max_bytes. Look at them with 'tracequill dead-letters "
                "list' and make room with 'tracequill dead-letters discard'."
            )

    def _measure(self) -> int:
        if not self._folder.is_dir():
            return 0
        return sum(
            _on_disk(size)
            for suffix in _SUFFIXES
            for size in self._disk.sizes(self._folder, suffix).values()
        )

    def _write(self, name: str, content: bytes) -> None:
        def write() -> None:
            self._disk.make_folder(self._folder)
            self._disk.replace_whole(self._folder / name, content)

        reserve.with_reserve(self._disk, self._folder, write)

    # --- reading and removing -----------------------------------------------------------

    def remove(self, letter_id: str) -> bool:
        """Remove a letter for good; False where there is none of that id."""
        if not _ID.fullmatch(letter_id):
            return False
        described, payload = (self._path(letter_id, suffix) for suffix in _SUFFIXES)
        with self._telling("removed from"):
            is_there = described.exists()
            # The description first: without it the payload is no letter.
            described.unlink(missing_ok=True)
            payload.unlink(missing_ok=True)
        # What is free now is found by measuring when there is no room.
        return is_there

    def list(self) -> list[DeadLetter]:
        """Give all letters, oldest first; one that is not legible is left out and logged."""
        with self._telling("read in"):
            try:
                names = self._disk.names(self._folder)
            except FileNotFoundError:
                return []
            paths = (self._folder / name for name in names if name.endswith(".json"))
            found = [
                letter
                for path in paths
                if _ID.fullmatch(path.stem) and (letter := _load(path)) is not None
            ]
        return sorted(found, key=lambda letter: (letter.added_unix_ns, letter.letter_id))

    def show(self, letter_id: str) -> tuple[DeadLetter, Record] | None:
        """Give a letter and its record, or None where there is none of that id.

        Raises ValueError when its kind is one that this Tracequill does not know, or when its
        payload is not all there: such a letter is for a person alone.
        """
        if not _ID.fullmatch(letter_id):
            return None
        described = self._path(letter_id, ".json")
        with self._telling("read in"):
            letter = _load(described)
            if letter is None:
                return None
            try:
                payload = self._path(letter_id, ".payload").read_bytes()
            except FileNotFoundError:
                if not described.exists():  # removed meanwhile
                    return None
                payload = b""
        if len(payload) != letter.payload_bytes:
            raise ValueError(f"{len(payload)} of {letter.payload_bytes} bytes are there.")
        record = Record(
            kind=RecordKind(letter.kind),
            received_unix_ns=letter.received_unix_ns,
            payload=payload,
            content_type=letter.content_type,
            content_encoding=letter.content_encoding,
            project_name=letter.project_name,
        )
        return letter, record


def _on_disk(size: int) -> int:
    """Give what a file of *size* bytes takes of a disk."""
    return -(-size // _BLOCK_BYTES) * _BLOCK_BYTES


def _digest(record: Record, exporter: str) -> str:
    digest = hashlib.sha256()
    head: tuple[object, ...] = (
        int(record.kind),
        record.content_type,
        record.content_encoding,
        record.project_name,
    )
    if exporter:
        head = (*head, exporter)
    digest.update(repr(head).encode("utf-8", "replace"))
    digest.update(record.payload)
    return digest.hexdigest()[:20]


def _load(path: Path) -> DeadLetter | None:
    try:
        return DeadLetter(**orjson.loads(path.read_bytes()))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError) as error:
        _log.warning("a dead letter is not legible", extra={"path": str(path), "error": str(error)})
        return None
