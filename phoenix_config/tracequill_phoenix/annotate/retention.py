"""How long our copies of answers stay: as long as the queue says, else as long as the settings say.

What is older is deleted: answers, consensus, drafts and questions to the manager, and then what
was judged, once none of these is left about it. Items stay, so that nothing is asked again, and so
does whatever Phoenix has. Deletes come in batches, each a transaction of its own; any number of
servers may do this at once.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from datetime import timedelta

from sqlalchemy import Interval, bindparam, text
from sqlalchemy.ext.asyncio import AsyncSession

BATCH_ROWS = 1000
PAUSE_SECONDS = 3600.0

_log = logging.getLogger(__name__)

Transaction = Callable[[], AbstractAsyncContextManager[AsyncSession]]

# Each deletes up to :batch rows that are older than their queue allows; :keep is for queues that
# say nothing themselves, NULL where nothing is said at all. For ever is a century, which least()
# gives for NULL: the calendar of Postgres has a beginning.
_KEEP = "least(coalesce(make_interval(days => q.keep_days), :keep), make_interval(years => 100))"
_OLD = f"{{time}} < now() - {_KEEP}"


def _delete(table: str, key: str, time: str, more: str = "") -> str:
    of_queue = "t.queue_id" if table in ("answers", "flags", "consensus") else "i.queue_id"
    items = (
        "" if of_queue == "t.queue_id" else "JOIN tracequill.annotation_items AS i USING (item_id)"
    )
    return f"""
        DELETE FROM tracequill.annotation_{table} WHERE ({key}) IN (
            SELECT {", ".join(f"t.{column.strip()}" for column in key.split(","))}
            FROM tracequill.annotation_{table} AS t {items}
            JOIN tracequill.annotation_queues AS q ON q.queue_id = {of_queue}
            WHERE {_OLD.format(time=time)} {more}
            LIMIT :batch FOR UPDATE OF t SKIP LOCKED)
    """


_NOTHING_LEFT = " ".join(
    f"AND NOT EXISTS (SELECT FROM tracequill.annotation_{table} AS o WHERE o.item_id = t.item_id)"
    for table in ("answers", "consensus", "flags")
)
# What was judged comes last: it goes with the last answer about it.
_DELETES = {
    "drafts": _delete("drafts", "item_id, person", "t.saved_at"),
    "answers": _delete("answers", "answer_id", "t.answered_at"),
    "consensus": _delete("consensus", "item_id", "t.decided_at"),
    "flags": _delete("flags", "flag_id", "coalesce(t.replied_at, t.asked_at)"),
    "inputs": _delete("inputs", "item_id", "t.copied_at", _NOTHING_LEFT),
}


async def delete_old(
    transaction: Transaction, keep_days: float, *, batch_rows: int = BATCH_ROWS
) -> dict[str, int]:
    """Delete what is older than it may be, 0 days being for ever; give what was deleted."""
    keep = timedelta(days=keep_days) if keep_days else None
    values = {"keep": keep, "batch": batch_rows}
    deleted = {}
    for what, sql in _DELETES.items():
        statement = text(sql).bindparams(bindparam("keep", type_=Interval()))
        rows = 0
        while True:
            async with transaction() as session:
                result = await session.execute(statement, values)
            rows += (count := result.rowcount)  # type: ignore[attr-defined]
            if count < batch_rows:
                break
        deleted[what] = rows
    return deleted


async def keep_within(
    transaction: Transaction,
    keep_days: float,
    *,
    pause_seconds: float = PAUSE_SECONDS,
) -> None:
    """Delete what is too old, again and again until cancelled; no failure ends this."""
    while True:
        try:
            deleted = await delete_old(transaction, keep_days)
        except Exception as error:  # whatever the driver raises, the next time may succeed
            _log.warning(
                "old copies of answers are not deleted: %s", str(error) or type(error).__name__
            )
        else:
            if any(deleted.values()):
                counts = ", ".join(f"{rows} {what}" for what, rows in deleted.items() if rows)
                _log.info("deleted what was kept long enough: %s", counts)
        await asyncio.sleep(pause_seconds)
