"""How far a consumer of a queue is: durable, one small file for each consumer.

Constraints:

1. It is replaced whole: after a crash it is the old or the new one. It is on the medium before
   anything it has passed is removed.
2. Losing it costs only duplicates: the consumer begins again at the oldest record.
3. One of a version that is not known here is left untouched. At the start of a process that is a
   StartError; beside a running one it counts as a consumer that has passed nothing.

The format, version 1: ``<queue>/consumers/<name>.json`` holds one JSON object. ``version`` is 1,
``checkpoint`` a string that holds another JSON object, with the fields of ``Checkpoint``, and
``crc32c`` the CRC32C of that string in UTF-8. ``first_sequence`` and ``may_lag`` may be missing.

Operations: ``store``, ``load``, ``load_all`` and ``remove``.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

import google_crc32c
import orjson

from tracequill_collector.errors import StartError
from tracequill_collector.queue.disk import Disk

FOLDER = "consumers"
SUFFIX = ".json"
VERSION = 1

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Everything before ``next_sequence`` is done."""

    next_sequence: int = 0
    segment: int = 0
    """First sequence of the segment in which the next record stands or will stand."""
    offset: int = 0
    """Where in that segment; only for counting what is left."""
    passed: dict[int, int] = field(default_factory=dict)
    """Segments still on disk that this consumer is done with, and since when (ns, wall time)."""
    first_sequence: int = 0
    """Where the consumer began."""
    may_lag: bool = False
    """Whether the writer may take room from what this consumer has not passed."""


def check_name(consumer: str) -> None:
    """Raise ValueError unless *consumer* can name a file."""
    if not _NAME.fullmatch(consumer):
        raise ValueError(f"{consumer!r} cannot name a consumer: use a-z, 0-9 and '-'.")


def checkpoint_path(queue: Path, consumer: str) -> Path:
    """Give the path of the consumer's checkpoint."""
    return queue / FOLDER / f"{consumer}{SUFFIX}"


def store(disk: Disk, queue: Path, consumer: str, checkpoint: Checkpoint) -> None:
    """Replace the consumer's checkpoint; returning means that it is on the medium."""
    content = orjson.dumps(
        {
            "next_sequence": checkpoint.next_sequence,
            "segment": checkpoint.segment,
            "offset": checkpoint.offset,
            "passed": {str(key): value for key, value in checkpoint.passed.items()},
            "first_sequence": checkpoint.first_sequence,
            "may_lag": checkpoint.may_lag,
        }
    )
    whole = orjson.dumps(
        {
            "version": VERSION,
            "crc32c": google_crc32c.value(content),
            "checkpoint": content.decode(),
        }
    )
    disk.replace_whole(checkpoint_path(queue, consumer), whole)


def load(queue: Path, consumer: str) -> Checkpoint | None:
    """Read the consumer's checkpoint; None where there is none, or none that is sound.

    Raises a StartError for a version that this program does not read.
    """
    path = checkpoint_path(queue, consumer)
    try:
        whole = orjson.loads(path.read_bytes())
        version = whole["version"]
        if version != VERSION:
            raise StartError(
                f"{path} has version {version!r}; this Tracequill reads version {VERSION}. "
                "It was left untouched. Start the Tracequill that wrote it."
            )
        content = whole["checkpoint"].encode()
        if google_crc32c.value(content) != whole["crc32c"]:
            raise ValueError("wrong checksum")
        fields = orjson.loads(content)
        return Checkpoint(
            next_sequence=int(fields["next_sequence"]),
            segment=int(fields["segment"]),
            offset=int(fields["offset"]),
            passed={int(key): int(value) for key, value in fields["passed"].items()},
            # Not there before consumers could begin late or lag: those that are did neither.
            first_sequence=int(fields.get("first_sequence", 0)),
            may_lag=bool(fields.get("may_lag", False)),
        )
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        _log.warning(
            "a checkpoint is damaged; its consumer begins at the oldest record again",
            extra={"path": str(path), "error": str(error)},
        )
        return None


def load_all(disk: Disk, queue: Path, *, refuse_unknown: bool = True) -> dict[str, Checkpoint]:
    """Read the checkpoints of all consumers; a damaged one counts as one that passed nothing.

    So does, unless *refuse_unknown*, one of a version that this program does not read.
    """
    folder = queue / FOLDER
    if not folder.is_dir():
        return {}
    found: dict[str, Checkpoint] = {}
    for file_name in sorted(disk.names(folder)):
        name = file_name.removesuffix(SUFFIX)
        if name == file_name or not _NAME.fullmatch(name):
            continue
        try:
            found[name] = load(queue, name) or Checkpoint()
        except StartError:
            if refuse_unknown:
                raise
            found[name] = Checkpoint()
    return found


def remove(disk: Disk, queue: Path, consumer: str) -> None:
    """Remove the consumer's checkpoint, durably: it holds nothing any more."""
    path = checkpoint_path(queue, consumer)
    disk.remove(path)
    disk.sync_folder(path.parent)


def passed_by_all(consumers: Collection[Checkpoint]) -> int:
    """Give the sequence before which nothing is needed any more; 0 where nobody reads.

    Those that may lag are not waited for, unless there is nobody else.
    """
    waited_for = [item for item in consumers if not item.may_lag] or list(consumers)
    return min((item.next_sequence for item in waited_for), default=0)


def backlog_bytes(segments: dict[int, int], checkpoint: Checkpoint) -> int:
    """Count the bytes in *segments* (first sequence to size) that *checkpoint* has not passed."""
    total = 0
    for first, size in segments.items():
        if first == checkpoint.segment:
            total += max(0, size - checkpoint.offset)
        elif first > checkpoint.segment:
            total += size
    return total
