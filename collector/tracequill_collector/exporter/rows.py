"""Spans become rows: what is stored for them, given what is stored already. No I/O.

Spans of one batch enter in queue order, with what the database knows of their traces, sessions
and relatives; rows leave. The result is the same as if each span had been stored alone, in that
order, the way Phoenix does it:

- the first span of a trace names its project, the first with a session id its session, and both
  stay; time ranges only widen; a span seen again still widens its trace;
- ``cumulative_*`` is a span's own count and that of all spans below it, in its trace.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NamedTuple

import orjson

from tracequill_collector.errors import PermanentError
from tracequill_collector.exporter.cost import SpanCost
from tracequill_collector.pipeline import Span, nested_value

CostOf = Callable[[datetime, Mapping[str, Any]], SpanCost | None]

# Start and end of the stripe that Phoenix paints beside a project's name.
_GRADIENTS = (
    ("#0f766e", "#5eead4"),
    ("#1d4ed8", "#93c5fd"),
    ("#4d7c0f", "#bef264"),
    ("#6d28d9", "#c4b5fd"),
    ("#9f1239", "#fda4af"),
    ("#a16207", "#fde68a"),
    ("#be185d", "#f9a8d4"),
    ("#c2410c", "#fdba74"),
)


_INT4_SIZE = 2**31


class Counts(NamedTuple):
    """What is summed up a trace: errors and LLM tokens."""

    errors: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0

    def plus(self, other: Counts) -> Counts:
        """Give the sums."""
        return Counts(
            self.errors + other.errors,
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
        )


@dataclass(slots=True)
class SpanRow:
    """A span, ready to be stored but for the row ids."""

    span: Span
    start_time: datetime
    end_time: datetime
    attributes_json: str
    events_json: str
    session_id: str
    llm_token_count_prompt: int | None
    llm_token_count_completion: int | None
    cost: SpanCost | None

    @property
    def own(self) -> Counts:
        """What the span itself adds to the sums of its trace."""
        return Counts(
            int(self.span.status_code == "ERROR"),
            self.llm_token_count_prompt or 0,
            self.llm_token_count_completion or 0,
        )

    @property
    def size_bytes(self) -> int:
        """About how much of the batch it is."""
        return len(self.attributes_json) + len(self.events_json) + 300


class Rejected(NamedTuple):
    """A span that cannot be stored, and why in one sentence."""

    span: Span
    reason: str


def span_row(span: Span, cost_of: CostOf) -> SpanRow:
    """Give the row of *span*; what it raises it raises for this span every time.

    A PermanentError says what is wrong with it.
    """
    is_llm = span.span_kind == "LLM"
    start_time = utc_time(span.start_time_unix_ns)
    session_id = nested_value(span.attributes, "session", "id")
    return SpanRow(
        span=span,
        start_time=start_time,
        end_time=utc_time(span.end_time_unix_ns),
        attributes_json=span.attributes_json or orjson.dumps(span.attributes).decode(),
        events_json=_events_json(span) if span.events else "[]",
        session_id="" if session_id is None else str(session_id).strip(),
        llm_token_count_prompt=_tokens(span, "prompt") if is_llm else None,
        llm_token_count_completion=_tokens(span, "completion") if is_llm else None,
        cost=cost_of(start_time, span.attributes),
    )


def _events_json(span: Span) -> str:
    return orjson.dumps(
        [
            {
                "name": event.name,
                "timestamp": utc_time(event.timestamp_unix_ns),
                "attributes": event.attributes,
            }
            for event in span.events
        ]
    ).decode()


def utc_time(unix_ns: int) -> datetime:
    """Give the time with microseconds, rounded through a float exactly as Phoenix rounds."""
    return datetime.fromtimestamp(unix_ns / 1e9, tz=UTC)


def gradient(project_name: str) -> tuple[str, str]:
    """Choose the two colours of a project; the same name has the same ones everywhere."""
    return _GRADIENTS[zlib.crc32(project_name.encode()) % len(_GRADIENTS)]


def _tokens(span: Span, side: str) -> int:
    try:
        tokens = int(nested_value(span.attributes, "llm", "token_count", side) or 0)
    except (TypeError, ValueError, OverflowError):
        return 0
    # Told before it is sent: a span that cannot be stored must not widen its trace either.
    if not -_INT4_SIZE <= tokens < _INT4_SIZE:
        raise PermanentError(f"llm.token_count.{side} is {tokens}, more than Phoenix can store")
    return tokens


# --- which spans are new --------------------------------------------------------------------


@dataclass(slots=True)
class Sorted:
    """The rows of a batch, told apart by what is stored under their span ids."""

    kept: list[SpanRow] = field(default_factory=list)
    """Those whose trace they may widen: the new ones and those seen before."""
    new: list[SpanRow] = field(default_factory=list)
    changed: dict[str, SpanRow] = field(default_factory=dict)
    """The last of each that was seen before, in the database or in the batch, by span id."""
    rejected: list[Rejected] = field(default_factory=list)


def sort_out(rows: Iterable[SpanRow], stored: Mapping[str, str]) -> Sorted:
    """Tell new spans from those seen before; *stored* gives the trace id of a span id.

    Phoenix's span ids are unique over all traces. A span whose id is taken by a span of another
    trace is rejected, and leaves no empty trace behind.
    """
    found = Sorted()
    owners = dict(stored)
    for row in rows:
        span = row.span
        owner = owners.get(span.span_id)
        if owner is None:
            owners[span.span_id] = span.trace_id
            found.new.append(row)
        elif owner == span.trace_id:
            found.changed[span.span_id] = row
        if owner in (None, span.trace_id):
            found.kept.append(row)
        else:
            found.rejected.append(
                Rejected(
                    span,
                    f"span_id {span.span_id} is already stored under trace {owner}, "
                    f"and Phoenix's span ids are unique: not stored under {span.trace_id}.",
                )
            )
    return found


# --- what can be stored side by side --------------------------------------------------------


def divide(batch: Sequence[SpanRow]) -> list[list[SpanRow]]:
    """Divide *batch* in two of about the same size with no trace, session or span id in common.

    Each keeps its order, so side by side they give what one after the other would. A batch that
    hangs together stays whole.
    """
    above: dict[str, str] = {}

    def find(key: str) -> str:
        while (higher := above.setdefault(key, key)) != key:
            above[key] = key = above[higher]
        return key

    owners: dict[str, str] = {}
    for row in batch:
        trace_id = row.span.trace_id
        if row.session_id:
            # A trace id is hex: no session has a key like it.
            above[find(trace_id)] = find(f"session {row.session_id}")
        owner = owners.setdefault(row.span.span_id, trace_id)
        if owner != trace_id:
            above[find(trace_id)] = find(owner)
    sizes = [0, 0]
    sides: dict[str, int] = {}
    divided: list[list[SpanRow]] = [[], []]
    for row in batch:
        root = find(row.span.trace_id)
        side = sides.setdefault(root, int(sizes[1] < sizes[0]))
        sizes[side] += row.size_bytes
        divided[side].append(row)
    return [rows for rows in divided if rows]


# --- traces and sessions --------------------------------------------------------------------


class StoredTrace(NamedTuple):
    """A row of ``traces``."""

    id: int
    project_id: int
    session_rowid: int | None
    start_time: datetime
    end_time: datetime


@dataclass(slots=True)
class TraceRow:
    """A trace of the batch, with the range and the session that it has afterwards."""

    trace_id: str
    stored: StoredTrace | None
    project_name: str
    start_time: datetime
    end_time: datetime
    session_id: str = ""
    """The session that the batch gives it; empty when it has one, or gets none."""

    @property
    def is_changed(self) -> bool:
        """Whether its stored row must be written again."""
        return self.stored is not None and (
            bool(self.session_id)
            or self.start_time < self.stored.start_time
            or self.end_time > self.stored.end_time
        )


@dataclass(slots=True)
class SessionRow:
    """A session that traces of the batch get; it belongs to the project of the first of them."""

    session_id: str
    first_trace: TraceRow
    start_time: datetime
    end_time: datetime


@dataclass(slots=True)
class Plan:
    """What a batch does to traces and sessions."""

    traces: dict[str, TraceRow] = field(default_factory=dict)
    """By trace id, in the order in which the batch names them."""
    sessions: dict[str, SessionRow] = field(default_factory=dict)
    """By session id: those that traces get from this batch."""
    session_ranges: dict[int, tuple[datetime, datetime]] = field(default_factory=dict)
    """By row id: what the sessions that traces had before must cover."""

    @property
    def new_traces(self) -> list[TraceRow]:
        """The traces without a row."""
        return [trace for trace in self.traces.values() if trace.stored is None]

    @property
    def changed_traces(self) -> list[TraceRow]:
        """The traces whose row must be written again."""
        return [trace for trace in self.traces.values() if trace.is_changed]


def plan(rows: Iterable[SpanRow], stored: Mapping[str, StoredTrace]) -> Plan:
    """Say what *rows*, in their order, do to traces and sessions; *stored* is by trace id."""
    made = Plan()
    for row in rows:
        trace = made.traces.get(row.span.trace_id)
        if trace is None:
            trace = _trace(row, stored.get(row.span.trace_id))
            made.traces[trace.trace_id] = trace
        trace.start_time = min(trace.start_time, row.start_time)
        trace.end_time = max(trace.end_time, row.end_time)
        has_session = trace.stored is not None and trace.stored.session_rowid is not None
        if row.session_id and not has_session and not trace.session_id:
            trace.session_id = row.session_id
            # The first to name a session decides its project; ranges are complete further down.
            made.sessions.setdefault(
                row.session_id,
                SessionRow(row.session_id, trace, trace.start_time, trace.end_time),
            )
    for trace in made.traces.values():
        _cover(trace, made)
    return made


def _trace(row: SpanRow, stored: StoredTrace | None) -> TraceRow:
    return TraceRow(
        trace_id=row.span.trace_id,
        stored=stored,
        project_name=row.span.project_name,
        start_time=stored.start_time if stored else row.start_time,
        end_time=stored.end_time if stored else row.end_time,
    )


def _cover(trace: TraceRow, made: Plan) -> None:
    """Widen the session of *trace* to all of the trace, as Phoenix does with each span."""
    if trace.session_id:
        session = made.sessions[trace.session_id]
        session.start_time = min(session.start_time, trace.start_time)
        session.end_time = max(session.end_time, trace.end_time)
    elif trace.stored and (rowid := trace.stored.session_rowid) is not None:
        start, end = made.session_ranges.get(rowid, (trace.start_time, trace.end_time))
        made.session_ranges[rowid] = min(start, trace.start_time), max(end, trace.end_time)


# --- roll-up --------------------------------------------------------------------------------


class StoredSpan(NamedTuple):
    """As much of a stored span as the roll-up needs: an ancestor of a new one."""

    id: int
    span_id: str
    parent_id: str | None
    trace_id: str


def roll_up(
    new: Sequence[SpanRow],
    below: Mapping[str, Counts],
    ancestors: Iterable[StoredSpan],
) -> tuple[dict[str, Counts], dict[int, Counts]]:
    """Sum counts up the traces.

    *below* is, by new span id, the sum over its stored children, which was counted up to them
    and no further. Gives the cumulative counts of the new spans by span id, and what stored
    ancestors gain by row id. Parents that form a circle are each counted once.
    """
    parents = {row.span.span_id: (row.span.trace_id, row.span.parent_id) for row in new}
    stored: dict[tuple[str, str], StoredSpan] = {
        (span.trace_id, span.span_id): span for span in ancestors
    }
    cumulative: dict[str, Counts] = dict.fromkeys(parents, Counts())
    gained: dict[int, Counts] = {}
    for row in new:
        mass = row.own.plus(below.get(row.span.span_id, Counts()))
        if not any(mass):
            continue
        cumulative[row.span.span_id] = cumulative[row.span.span_id].plus(mass)
        seen = {row.span.span_id}
        trace_id = row.span.trace_id
        above = row.span.parent_id
        while above is not None and above not in seen:
            seen.add(above)
            if parents.get(above, ("", None))[0] == trace_id:
                cumulative[above] = cumulative[above].plus(mass)
                above = parents[above][1]
            elif ancestor := stored.get((trace_id, above)):
                gained[ancestor.id] = gained.get(ancestor.id, Counts()).plus(mass)
                above = ancestor.parent_id
            else:
                break
    return cumulative, gained


class CountedSpan(NamedTuple):
    """As much of a stored span as counting anew needs."""

    id: int
    span_id: str
    parent_id: str | None
    trace_rowid: int
    own: Counts
    cumulative: Counts


def recount(stored: Iterable[CountedSpan]) -> dict[int, Counts]:
    """Give the cumulative counts of all spans of some traces, by row id, from their own alone."""
    spans = {(span.trace_rowid, span.span_id): span for span in stored}
    sums = {span.id: Counts() for span in spans.values()}
    for span in spans.values():
        if not any(span.own):
            continue
        seen: set[int] = set()
        above: CountedSpan | None = span
        while above is not None and above.id not in seen:
            seen.add(above.id)
            sums[above.id] = sums[above.id].plus(span.own)
            above = spans.get((above.trace_rowid, above.parent_id)) if above.parent_id else None
    return sums
