"""What of a record goes to the dead letters: a record and reasons enter, letters leave. No I/O.

A bad span is a letter of its own. Many of one record are one letter, so that a record costs the
disk no more than a few files, whatever somebody put into it: it is kept once, as it came, and the
details say which spans of it are meant. To try those again is to try all of it again: the others
are stored already.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tracequill_collector.otlp import PROTOBUF
from tracequill_collector.pipeline import Record, RecordKind
from tracequill_collector.processor.decode import alone
from tracequill_collector.queue.dead_letters import What

_MAX_LETTERS = 8
# A reason may quote its span, so there may be as many as there are spans.
_MAX_REASONS = 20


@dataclass(frozen=True, slots=True)
class Letter:
    """What goes to the dead letters."""

    record: Record
    reason: str
    what: What = "span"
    details: Mapping[str, Any] = field(default_factory=dict)
    spans: int = 1
    """How many spans are given up with it; 0 for a record that cannot be read."""


def letter_of_record(record: Record, reason: str) -> Letter:
    """Give the letter of a record that cannot be read."""
    return Letter(record, reason, "record", spans=0)


def letters_of_spans(record: Record, reasons: Mapping[int, str], *, max_bytes: int) -> list[Letter]:
    """Give the letters of the spans of *record* at the places that *reasons* names."""
    if len(reasons) > _MAX_LETTERS:
        return [_letter_of_many(record, reasons)]
    if not reasons:
        return []
    return [
        Letter(record_of_one(record, payload), reasons[place])
        for place, payload in alone(record, reasons.keys(), max_bytes=max_bytes)
    ]


def record_of_one(record: Record, payload: bytes) -> Record:
    """Give *payload*, a request of one span of *record*, as a record of its own."""
    return Record(
        kind=RecordKind.OTLP_TRACES,
        received_unix_ns=record.received_unix_ns,
        payload=payload,
        content_type=PROTOBUF,
        project_name=record.project_name,
    )


def _letter_of_many(record: Record, reasons: Mapping[int, str]) -> Letter:
    counts = Counter(reasons.values())
    commonest = counts.most_common(_MAX_REASONS)
    reason = f"{len(reasons)} spans of it, most often: {commonest[0][0]}"
    details = {
        "spans": len(reasons),
        "places": _ranges(reasons),
        "reasons": dict(commonest),
        "other_reasons": len(counts) - len(commonest),
    }
    return Letter(record, reason, "spans", details, len(reasons))


def _ranges(places: Iterable[int]) -> str:
    """Write *places* as ``0-3,7``; the first span of a record has place 0."""
    ranges: list[tuple[int, int]] = []
    for place in sorted(places):
        if ranges and ranges[-1][1] == place - 1:
            ranges[-1] = (ranges[-1][0], place)
        else:
            ranges.append((place, place))
    return ",".join(f"{first}" if first == last else f"{first}-{last}" for first, last in ranges)
