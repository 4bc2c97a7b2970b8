"""What could not be interpreted or stored, kept whole, with the reason. Nothing here expires.

A letter is two files: ``<id>.payload`` holds the bytes as they came, ``<id>.json`` the reason and
what is needed to read them again. The second is written last, so a letter is whole or not there.
The id is a digest of the content: the same record or span becomes one letter however often it
is tried, and no name is ever taken from what somebody sent. On a full disk the folder's reserve is
given up for a letter (``reserve.py``).
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import re
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import orjson

from tracequill_collector.errors import RetryableError
from tracequill_collector.pipeline import Record, RecordKind
from tracequill_collector.queue import reserve
from tracequill_collector.queue.disk import Disk

_ID = re.compile(r"[0-9a-f]{20}")

_log = logging.getLogger(__name__)

What = Literal["record", "span"]
"""``record``: all of a queued record. ``span``: one span of it, alone in a request of its own."""


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


class DeadLetters:
    """The folder of dead letters. Several processes may add to it and read it at once."""

    def __init__(self, folder: Path, *, disk: Disk | None = None) -> None:
        self._folder = folder
        self._disk = disk or Disk()

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
        in its details. Raises a RetryableError when the disk fails.
        """
        letter_id = _digest(record, str((details or {}).get("exporter", "")))
        described = self._folder / f"{letter_id}.json"
        if (known := _load(described)) is not None:
            if known.reason != reason:
                self._describe(replace(known, reason=reason, details=dict(details or {})))
            return letter_id
        letter = DeadLetter(
            letter_id=letter_id,
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
        self._write(f"{letter_id}.payload", record.payload)
        self._describe(letter)
        # The reason may quote what was sent, so it is not logged.
        _log.error("a dead letter was kept", extra={"id": letter_id, "what": what})
        return letter_id

    def _describe(self, letter: DeadLetter) -> None:
        self._write(f"{letter.letter_id}.json", orjson.dumps(asdict(letter), default=str))

    def hold_reserve(self) -> None:
        """Take room for letters while there is some; called by whoever adds some, at its start."""
        with contextlib.suppress(OSError):
            self._disk.make_folder(self._folder)
            reserve.hold(self._disk, self._folder)

    def _write(self, name: str, content: bytes) -> None:
        def write() -> None:
            self._disk.make_folder(self._folder)
            self._disk.replace_whole(self._folder / name, content)

        try:
            reserve.with_reserve(self._disk, self._folder, write)
        except OSError as error:
            raise RetryableError(
                f"a dead letter cannot be written to {self._folder}: {error.strerror}."
            ) from error

    def remove(self, letter_id: str) -> bool:
        """Remove a letter for good; False where there is none of that id. Raises OSError."""
        if not _ID.fullmatch(letter_id):
            return False
        described = self._folder / f"{letter_id}.json"
        is_there = described.exists()
        # The description first: without it the payload is no letter.
        described.unlink(missing_ok=True)
        (self._folder / f"{letter_id}.payload").unlink(missing_ok=True)
        return is_there

    def list(self) -> list[DeadLetter]:
        """Give all letters, oldest first; one that is not legible is left out and logged."""
        if not self._folder.is_dir():
            return []
        found = [
            letter
            for path in self._folder.glob("*.json")
            if _ID.fullmatch(path.stem) and (letter := _load(path)) is not None
        ]
        return sorted(found, key=lambda letter: (letter.added_unix_ns, letter.letter_id))

    def show(self, letter_id: str) -> tuple[DeadLetter, Record] | None:
        """Give a letter and its record, or None where there is none of that id.

        Raises ValueError when its kind is one that this Tracequill does not know.
        """
        if not _ID.fullmatch(letter_id):
            return None
        letter = _load(self._folder / f"{letter_id}.json")
        if letter is None:
            return None
        try:
            payload = (self._folder / f"{letter_id}.payload").read_bytes()
        except FileNotFoundError:
            return None
        record = Record(
            kind=RecordKind(letter.kind),
            received_unix_ns=letter.received_unix_ns,
            payload=payload,
            content_type=letter.content_type,
            content_encoding=letter.content_encoding,
            project_name=letter.project_name,
        )
        return letter, record


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
