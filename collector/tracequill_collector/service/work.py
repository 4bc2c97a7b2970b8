"""Records on their way through the exporter process, and what each of them holds. No I/O.

A Batch is what was read at once from one source; interpreted it is a Work, whose outcome is told to
its source when every span is stored or lies in the dead letters.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Protocol

from tracequill_collector.errors import PermanentError
from tracequill_collector.pipeline import QueuedRecord, RecordKind, Span
from tracequill_collector.processor.decode import Decoded, decode
from tracequill_collector.processor.policy import Policy


@dataclass(slots=True)
class Outcome:
    """What became of the spans of a Work."""

    stored_spans: int = 0
    seen_before_spans: int = 0
    replaced_spans: int = 0
    letters: set[str] = field(default_factory=set)
    """Ids of the dead letters it ended in."""


class Source(Protocol):
    """Where records come from: the queue, a replay, the dead letters."""

    async def done(self, batch: Batch, outcome: Outcome) -> None:
        """Take note that *batch* is done; it must not come again."""


@dataclass(slots=True, eq=False)
class Batch:
    """Records that were read together, in order."""

    records: list[QueuedRecord]
    source: Source
    is_replacing: bool = False
    """Whether spans that are stored already are written anew."""
    project_name: str = ""
    """The only project whose spans are wanted; empty for all."""


@dataclass(slots=True)
class Work:
    """A batch, and what each of its records holds."""

    batch: Batch
    contents: list[Decoded | PermanentError]

    @property
    def records(self) -> list[QueuedRecord]:
        """The records, in order."""
        return self.batch.records

    @property
    def spans(self) -> list[Span]:
        """All spans, in queue order."""
        return [
            span
            for content in self.contents
            if isinstance(content, Decoded)
            for span in content.spans
        ]


def interpret(batch: Batch, max_bytes: int, policy: Policy | None = None) -> Work:
    """Decode the records of *batch*; a record that cannot be read is its error."""
    contents: list[Decoded | PermanentError] = []
    for queued in batch.records:
        try:
            if queued.record.kind is not RecordKind.OTLP_TRACES:
                raise PermanentError(f"a record of kind {queued.record.kind!r} holds no traces.")
            contents.append(decode(queued.record, max_bytes=max_bytes, policy=policy))
        except PermanentError as error:
            contents.append(error)
        except MemoryError:
            raise
        except Exception as error:  # a pure function: it fails on this record every time
            contents.append(PermanentError(f"the record cannot be read: {type(error).__name__}."))
    if batch.project_name:
        _keep_only(batch.project_name, contents)
    return Work(batch, contents)


def age_seconds(records: Iterable[QueuedRecord]) -> float:
    """Give how long ago the oldest of *records* was received; 0 without any."""
    received = min((queued.record.received_unix_ns for queued in records), default=None)
    return 0.0 if received is None else seconds_since(received)


def seconds_since(unix_ns: int) -> float:
    """Give how long ago *unix_ns* was."""
    # Wall time: a clock that was set back makes no negative ages.
    return max(0.0, (time.time_ns() - unix_ns) / 1e9)


def _keep_only(project_name: str, contents: list[Decoded | PermanentError]) -> None:
    """Leave out all other projects, and what is of none: it became a dead letter at first."""
    for number, content in enumerate(contents):
        if isinstance(content, PermanentError):
            contents[number] = Decoded()
            continue
        wanted = [
            (span, place)
            for span, place in zip(content.spans, content.places, strict=True)
            if span.project_name == project_name
        ]
        content.spans = [span for span, _ in wanted]
        content.places = [place for _, place in wanted]
        content.rejected = []
