"""What is to be sent again, as files between a command and the exporter process.

A command leaves a Request and looks at its Progress; the exporter takes one request after the
other, oldest first. Both are small JSON files below ``<data_dir>/collector/replay``, replaced in
one step: ``<id>.request`` and ``<id>.progress``. Removing the request cancels it.
"""

from __future__ import annotations

import logging
import re
import secrets
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TypeVar

import orjson

_ID = re.compile(r"[0-9a-f]{16}")
_REQUEST = ".request"
_PROGRESS = ".progress"

# What a command that was cut off leaves behind goes away by itself.
_FORGET_SECONDS = 24 * 3600

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Request:
    """What to send again: the records of a time, or dead letters."""

    request_id: str
    since_unix_ns: int = 0
    until_unix_ns: int = 2**63 - 1
    project_name: str = ""
    """Only this project's spans; empty for all."""
    is_replacing: bool = False
    """Whether spans that are stored already are written anew."""
    letter_ids: list[str] = field(default_factory=list)
    """The dead letters to try again; where there are any, the times mean nothing."""


@dataclass(slots=True)
class Progress:
    """How far a request is."""

    share: float = 0.0
    is_done: bool = False
    problem: str = ""
    """Why it ended before its time, or what it waits for; empty while all is well."""
    queue: int = 0
    """Which queue it is at: the collector's, then the proxy's."""
    next_sequence: int = 0
    """Everything before it in that queue was sent; from there a restarted exporter goes on."""
    below_sequences: list[int] = field(default_factory=list)
    """Where each queue ends: what was done when the request began."""
    records: int = 0
    stored_spans: int = 0
    seen_before_spans: int = 0
    replaced_spans: int = 0
    dead_letters: int = 0
    solved_letters: int = 0
    """Dead letters whose spans are stored now; they are gone."""


_T = TypeVar("_T", Request, Progress)


class Replays:
    """The folder of requests. Commands add to it, one exporter works it off."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def add(
        self,
        *,
        since_unix_ns: int = 0,
        until_unix_ns: int = 2**63 - 1,
        project_name: str = "",
        is_replacing: bool = False,
        letter_ids: list[str] | None = None,
    ) -> Request:
        """Leave a request; raises OSError when the disk fails."""
        # Sorted by name they are sorted by time.
        request = Request(
            request_id=f"{time.time_ns() // 1_000_000:011x}{secrets.token_hex(3)[:5]}",
            since_unix_ns=since_unix_ns,
            until_unix_ns=until_unix_ns,
            project_name=project_name,
            is_replacing=is_replacing,
            letter_ids=letter_ids or [],
        )
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._write(request.request_id + _REQUEST, request)
        return request

    def next(self) -> Request | None:
        """Give the oldest request that is not done, None without any; forget old progress.

        Raises OSError when the disk fails.
        """
        if not self._folder.is_dir():
            return None
        oldest: Request | None = None
        for path in sorted(self._folder.iterdir()):
            if not _ID.fullmatch(path.stem):
                continue
            if path.suffix == _REQUEST and oldest is None:
                oldest = self._unfinished(path)
            elif path.suffix == _PROGRESS and _is_old(path):
                path.unlink(missing_ok=True)
        return oldest

    def _unfinished(self, path: Path) -> Request | None:
        """Read a request; one whose end was noted, but whose file was still there, is removed."""
        request = self._read(path, Request)
        if request is not None and (progress := self.progress(request)) and progress.is_done:
            self.cancel(request)
            return None
        return request

    def is_wanted(self, request: Request) -> bool:
        """Say whether *request* was not cancelled."""
        return (self._folder / (request.request_id + _REQUEST)).exists()

    def progress(self, request: Request) -> Progress | None:
        """Give how far *request* is, None before anybody has begun."""
        return self._read(self._folder / (request.request_id + _PROGRESS), Progress)

    def note(self, request: Request, progress: Progress) -> None:
        """Keep *progress*; a request that is done is removed."""
        self._write(request.request_id + _PROGRESS, progress)
        if progress.is_done:
            self.cancel(request)

    def cancel(self, request: Request) -> None:
        """Remove *request*; what was sent by then stays."""
        (self._folder / (request.request_id + _REQUEST)).unlink(missing_ok=True)

    def forget(self, request: Request) -> None:
        """Remove all of *request*."""
        self.cancel(request)
        (self._folder / (request.request_id + _PROGRESS)).unlink(missing_ok=True)

    def _write(self, name: str, content: Request | Progress) -> None:
        temporary = self._folder / f".{name}.{secrets.token_hex(4)}"
        temporary.write_bytes(orjson.dumps(asdict(content)))
        temporary.replace(self._folder / name)

    def _read(self, path: Path, kind: type[_T]) -> _T | None:
        try:
            return kind(**orjson.loads(path.read_bytes()))
        except FileNotFoundError:
            return None
        except (ValueError, TypeError):
            _log.warning("a replay's file is not legible", extra={"path": path.name})
            if path.suffix == _REQUEST:
                path.unlink(missing_ok=True)
            return None


def _is_old(path: Path) -> bool:
    try:
        return time.time() - path.stat().st_mtime > _FORGET_SECONDS
    except FileNotFoundError:
        return False
