"""The exporter: spans enter, and returning means that they are stored in Phoenix's tables.

Decides what to do when storing fails; how rows are written is ``write.py``'s business. A span
that its own data keeps from being stored is handed to ``reject``; every other failure is a
RetryableError, whose message says what it is waiting for. Nothing is ever dropped. Not to be
used by two tasks at once.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import asyncpg

from tracequill.database_url import asyncpg_url
from tracequill.settings import mask_url
from tracequill_collector.errors import PermanentError, RetryableError
from tracequill_collector.exporter.connection import Connection
from tracequill_collector.exporter.cost import ModelRow, PriceRow, Prices
from tracequill_collector.exporter.link import Link
from tracequill_collector.exporter.queries import QUERIES
from tracequill_collector.exporter.rows import Rejected, SpanRow, divide, span_row
from tracequill_collector.exporter.sqlstate import Remedy, describe, is_too_long, remedy
from tracequill_collector.exporter.write import (
    Written,
    check_schema,
    lock_schema,
    transaction,
    write,
)
from tracequill_collector.pipeline import Span

Reject = Callable[[Sequence[Rejected]], Awaitable[None]]
"""Takes over spans that cannot be stored; returning means that the exporter may forget them."""

# One transaction: large enough to spread its fixed cost, small enough to hold locks briefly.
MAX_BATCH_SPANS = 4_000
MAX_BATCH_BYTES = 12 * 1024 * 1024

# While Postgres works on one half of a batch, we make the rows of the other.
_LINKS = 2
_DIVIDE_SPANS = 200

ANNOUNCE_SECONDS = 1.0
# NOTIFY takes 8,000 bytes; an id has ten digits at most.
_MAX_ANNOUNCED = 500

# Phoenix looks for changed prices as often, and as far back in case clocks differ.
_PRICES_SECONDS = 5.0
_PRICES_OVERLAP = timedelta(seconds=10)


class UnforeseenError(RetryableError):
    """An error that nobody has foreseen: nothing is lost, but a person should look."""


@dataclass(slots=True)
class ExporterCounts:
    """What an exporter has done since it started."""

    stored_spans: int = 0
    seen_before_spans: int = 0
    replaced_spans: int = 0
    rejected_spans: int = 0
    transactions: int = 0
    failed_transactions: int = 0
    ids_used_share: float = 0.0
    """Of the row ids that a table can ever have, the table that is nearest to its end."""


@dataclass(slots=True)
class _Outcome:
    """What became of the parts of a batch."""

    is_any_stored: bool = False
    rejected: list[Rejected] = field(default_factory=list)
    failed: list[tuple[SpanRow, BaseException]] = field(default_factory=list)
    """Spans that fail alone, each with the error."""


class _RollBack(Exception):
    """Leaves a transaction that was only a trial."""


class PostgresExporter:
    """A SpanConsumer that writes Phoenix's rows."""

    def __init__(self, url: str, *, schema: str | None, reject: Reject) -> None:
        """Raises ValueError when *url* is none of Postgres."""
        self.counts = ExporterCounts()
        self._url = asyncpg_url(url)
        self._schema = schema
        self._reject = reject
        self._links = [Link(self._url, schema, self._forget_prices) for _ in range(_LINKS)]
        self._is_replacing = False
        self._prices = Prices()
        self._prices_since: datetime | None = None
        self._prices_at = float("-inf")
        self._changed_projects: set[int] = set()
        self._announced_at = float("-inf")

    async def check(self) -> None:
        """Return when spans could be stored now; else raise a RetryableError that says why not."""
        try:
            connection = await self._links[0].connection()
            async with transaction(connection, self._schema):
                await check_schema(connection)
            await self._refresh(connection)
        except Exception as error:
            raise self._retryable(error, self._links[0]) from error

    async def consume(self, spans: Sequence[Span], *, is_replacing: bool = False) -> None:
        """Store *spans*; returning means that each is committed or was taken by ``reject``.

        Spans that are stored already stay as they are, or are written anew where *is_replacing*.
        """
        self._is_replacing = is_replacing
        try:
            await self._refresh(await self._links[0].connection())
        except Exception as error:
            raise self._retryable(error, self._links[0]) from error
        rows: list[SpanRow] = []
        rejected: list[Rejected] = []
        for span in spans:
            try:
                rows.append(span_row(span, self._prices.cost))
            except Exception as error:  # a pure function: it fails on this span every time
                why = error if isinstance(error, PermanentError) else describe(error)
                reason = f"the span makes no row: {why}."
                rejected.append(Rejected(span, reason))
        await self._hand_over(rejected)
        for batch in _batches(rows):
            # Written anew, traces of both parts may meet in a session that no span names.
            is_divided = len(batch) >= _DIVIDE_SPANS and not is_replacing
            parts = divide(batch) if is_divided else [batch]
            # A part that fails does not cut off the other: what is stored is not sent twice.
            outcomes = await asyncio.gather(
                *(self._store(link, part) for link, part in zip(self._links, parts, strict=False)),
                return_exceptions=True,
            )
            for outcome in outcomes:
                if outcome is not None:
                    raise outcome

    async def announce(self) -> None:
        """Tell Phoenix's pages of new spans, once a second at most; failing to do so is no loss."""
        if not self._changed_projects or time.monotonic() - self._announced_at < ANNOUNCE_SECONDS:
            return
        self._announced_at = time.monotonic()
        changed, self._changed_projects = sorted(self._changed_projects), set()
        try:
            connection = await self._links[0].connection()
            for first in range(0, len(changed), _MAX_ANNOUNCED):
                ids = changed[first : first + _MAX_ANNOUNCED]
                await connection.execute(QUERIES["notify"], json.dumps(ids))
        except Exception as error:
            self._changed_projects.update(changed)
            self._links[0].let_go(error)

    async def close(self) -> None:
        """Close the connections; what is not committed is rolled back."""
        for link in self._links:
            await link.close()

    # --- beside storing ---------------------------------------------------------------------

    def _forget_prices(self) -> None:
        """Read all prices anew: it may be another database now, a failover or a restored one."""
        self._prices, self._prices_since = Prices(), None
        self._prices_at = float("-inf")

    async def _refresh(self, connection: Connection) -> None:
        """Look now and then for new prices, and at how many row ids are left."""
        if time.monotonic() - self._prices_at < _PRICES_SECONDS:
            return
        asked_at = time.monotonic()
        async with transaction(connection, self._schema):
            await connection.execute(QUERIES["lock_read_tables"])
            now: datetime = await connection.fetchval(QUERIES["database_time"])
            records = await connection.fetch(QUERIES["model_prices"], self._prices_since)
            fullest = await connection.fetchrow(QUERIES["ids_used"])
        self.counts.ids_used_share = fullest["share"] if fullest else 0.0
        self._prices.merge(map(_model_row, records))
        self._prices_since = now - _PRICES_OVERLAP
        self._prices_at = asked_at

    def _retryable(self, error: Exception, link: Link) -> RetryableError:
        """Say what *error* of *link* means for the batch: wait and try again."""
        link.let_go(error)
        if isinstance(error, RetryableError):
            return error
        sentence = f"{mask_url(self._url)}: {describe(error)}."
        kind = UnforeseenError if remedy(error) is Remedy.WAIT else RetryableError
        return kind(sentence)

    async def _price_anew(self, link: Link, batch: Sequence[SpanRow]) -> None:
        """Ask for all prices and price *batch* again: the model it refers to may be gone."""
        self._forget_prices()
        await self._refresh(await link.connection())
        for row in batch:
            row.cost = self._prices.cost(row.start_time, row.span.attributes)

    # --- storing ----------------------------------------------------------------------------

    async def _store(self, link: Link, batch: Sequence[SpanRow]) -> None:
        outcome = _Outcome()
        await self._store_or_bisect(link, batch, outcome)
        if (
            outcome.failed
            and not outcome.is_any_stored
            and not await self._takes_a_plain_span(link)
        ):
            raise UnforeseenError(
                "no span can be stored, not even a plain one: "
                f"{describe(outcome.failed[0][1])}. Nothing is lost; look at the database."
            )
        await self._hand_over(
            outcome.rejected
            + [
                Rejected(row.span, f"Postgres cannot store the span: {describe(error)}.")
                for row, error in outcome.failed
            ]
        )

    async def _store_or_bisect(
        self, link: Link, batch: Sequence[SpanRow], outcome: _Outcome
    ) -> None:
        """Store *batch*, or what can be stored of it; an error that is no span's is raised."""
        try:
            written = await self._store_whole(link, batch)
        except Exception as error:
            if remedy(error) not in (Remedy.BISECT, Remedy.REPEAT_THEN_BISECT):
                raise self._retryable(error, link) from error
            if len(batch) == 1:
                await self._give_up(link, batch[0], error, outcome)
                return
        else:
            # Spans that were there already say nothing of whether one can be stored now.
            outcome.is_any_stored |= written.spans + written.replaced > 0
            outcome.rejected += written.rejected
            return
        middle = len(batch) // 2
        await self._store_or_bisect(link, batch[:middle], outcome)
        await self._store_or_bisect(link, batch[middle:], outcome)

    async def _give_up(self, link: Link, row: SpanRow, error: Exception, outcome: _Outcome) -> None:
        """Take note that *row* fails alone, unless it is only what it costs that fails.

        A kind of token whose name is too long for an index takes Phoenix the cost, not the span.
        """
        if row.cost and is_too_long(error):
            row.cost = None
            await self._store_or_bisect(link, [row], outcome)
        else:
            outcome.failed.append((row, error))

    async def _store_whole(self, link: Link, batch: Sequence[SpanRow]) -> Written:
        try:
            written = await self._transact(link, batch)
        except Exception as error:
            if remedy(error) is not Remedy.REPEAT_THEN_BISECT:
                raise
            await self._price_anew(link, batch)
            written = await self._transact(link, batch)
        self.counts.stored_spans += written.spans
        self.counts.seen_before_spans += written.seen_before
        self.counts.replaced_spans += written.replaced
        self._changed_projects |= written.project_ids
        return written

    async def _transact(
        self, link: Link, batch: Sequence[SpanRow], *, is_trial: bool = False
    ) -> Written:
        connection = await link.connection()
        try:
            async with transaction(connection, self._schema):
                await lock_schema(connection)
                written = await write(connection, batch, is_replacing=self._is_replacing)
                if is_trial:
                    raise _RollBack
        except _RollBack:
            return written
        except BaseException:
            self.counts.failed_transactions += 1
            raise
        self.counts.transactions += 1
        return written

    async def _takes_a_plain_span(self, link: Link) -> bool:
        """Say whether the database can store spans at all, by one that is rolled back."""
        span = Span(
            trace_id="f" * 32,
            span_id="f" * 16,
            parent_id=None,
            name="plain",
            span_kind="UNKNOWN",
            start_time_unix_ns=0,
            end_time_unix_ns=0,
            attributes={},
            events=[],
            status_code="UNSET",
            status_message="",
            project_name="default",
        )
        try:
            await self._transact(link, [span_row(span, self._prices.cost)], is_trial=True)
        except Exception as error:
            if remedy(error) in (Remedy.BISECT, Remedy.REPEAT_THEN_BISECT):
                return False
            raise self._retryable(error, link) from error
        return True

    async def _hand_over(self, rejected: Sequence[Rejected]) -> None:
        if rejected:
            await self._reject(rejected)
            self.counts.rejected_spans += len(rejected)


def _model_row(record: asyncpg.Record) -> ModelRow:
    prices = tuple(PriceRow(*price) for price in json.loads(record["prices"]))
    return ModelRow(**{**record, "prices": prices})


def _batches(rows: Sequence[SpanRow]) -> Iterator[list[SpanRow]]:
    batch: list[SpanRow] = []
    size_bytes = 0
    for row in rows:
        if batch and (len(batch) >= MAX_BATCH_SPANS or size_bytes >= MAX_BATCH_BYTES):
            yield batch
            batch, size_bytes = [], 0
        batch.append(row)
        size_bytes += row.size_bytes
    if batch:
        yield batch
