"""Records on their way through the exporter process, and what each of them holds. No I/O.

A Batch is what was read at once from one source. Interpreted it becomes Works, one after the other,
so that no more of it is in memory than can be stored at once: a record of 6 MiB may unpack to
hundreds. The outcome is told to the source when all spans are stored or lie in the dead letters.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

from tracequill_collector.errors import PermanentError
from tracequill_collector.pipeline import QueuedRecord, RecordKind, Span
from tracequill_collector.processor.decode import Decoded, decode
from tracequill_collector.processor.policy import Policy

# What is interpreted at once: as much as a read gives where nothing is compressed.
WORK_BYTES = 8 * 1024 * 1024
WORK_SPANS = 20_000

Content: TypeAlias = Decoded | PermanentError


@dataclass(slots=True)
class Outcome:
    """What became of the spans of a Work."""

    stored_spans: int = 0
    seen_before_spans: int = 0
    replaced_spans: int = 0
    letters: set[str] = field(default_factory=set)
    """Ids of the dead letters it ended in."""

    def plus(self, other: Outcome) -> Outcome:
        """Give the outcome of both."""
        return Outcome(
            self.stored_spans + other.stored_spans,
            self.seen_before_spans + other.seen_before_spans,
            self.replaced_spans + other.replaced_spans,
            self.letters | other.letters,
        )


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
    """Some records of a batch, in order, and what each of them holds."""

    batch: Batch
    records: list[QueuedRecord]
    contents: list[Content]
    is_last: bool
    """Whether the batch is done when this is."""

    @property
    def spans(self) -> list[Span]:
        """All spans, in queue order."""
        return [
            span
            for content in self.contents
            if isinstance(content, Decoded)
            for span in content.spans
        ]


def interpret(batch: Batch, max_bytes: int, policy: Policy | None = None) -> Iterator[Work]:
    """Yield what *batch* holds; a record that cannot be read is its error."""
    records: list[QueuedRecord] = []
    contents: list[Content] = []
    plain_bytes = spans = 0
    for queued in batch.records:
        content = _content(queued, max_bytes, policy)
        if isinstance(content, Decoded):
            plain_bytes += content.plain_bytes
            spans += len(content.spans)
        if batch.project_name:
            content = _of_project(batch.project_name, content)
        records.append(queued)
        contents.append(content)
        is_last = queued is batch.records[-1]
        if is_last or plain_bytes >= WORK_BYTES or spans >= WORK_SPANS:
            yield Work(batch, records, contents, is_last)
            records, contents = [], []
            plain_bytes = spans = 0


def _content(queued: QueuedRecord, max_bytes: int, policy: Policy | None) -> Content:
    try:
        if queued.record.kind is not RecordKind.OTLP_TRACES:
            raise PermanentError(f"a record of kind {queued.record.kind!r} holds no traces.")
        return decode(queued.record, max_bytes=max_bytes, policy=policy)
    except PermanentError as error:
        return error
    except MemoryError:
        raise
    except Exception as error:  # a pure function: it fails on this record every time
        return PermanentError(f"the record cannot be read: {type(error).__name__}.")


def age_seconds(records: Iterable[QueuedRecord]) -> float:
    """Give how long ago the oldest of *records* was received; 0 without any."""
    received = min((queued.record.received_unix_ns for queued in records), default=None)
    return 0.0 if received is None else seconds_since(received)


def seconds_since(unix_ns: int) -> float:
    """Give how long ago *unix_ns* was."""
    # Wall time: a clock that was set back makes no negative ages.
    return max(0.0, (time.time_ns() - unix_ns) / 1e9)


def _of_project(project_name: str, content: Content) -> Content:
    """Leave out all other projects, and what is of none: it became a dead letter at first."""
    if isinstance(content, PermanentError):
        return Decoded()
    wanted = [
        (span, place)
        for span, place in zip(content.spans, content.places, strict=True)
        if span.project_name == project_name
    ]
    content.spans = [span for span, _ in wanted]
    content.places = [place for _, place in wanted]
    content.rejected = []
    return content
