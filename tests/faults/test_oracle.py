"""The oracle itself: each kind of difference is noticed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.oracle import judge
from tests.faults.rig import Rig

pytestmark = pytest.mark.faults

# What is done to the database, and a word of what must be said about it.
_DAMAGES = {
    "DELETE FROM spans WHERE id = (SELECT max(id) FROM spans)": "lost",
    "UPDATE spans SET span_id = 'ffffffffffffffff' WHERE id = (SELECT min(id) FROM spans)": (
        "nobody sent"
    ),
    "UPDATE spans SET name = name || ' ' WHERE id = (SELECT min(id) FROM spans)": "name is",
    "UPDATE spans SET attributes = jsonb_set(attributes, '{input,value}', '\"\"') "
    "WHERE id = (SELECT min(id) FROM spans)": "attributes is",
    "UPDATE spans SET end_time = end_time + interval '1 microsecond' "
    "WHERE id = (SELECT min(id) FROM spans)": "end_time is",
    "UPDATE spans SET cumulative_error_count = cumulative_error_count + 1 "
    "WHERE id = (SELECT min(id) FROM spans)": "tokens below",
    "UPDATE traces SET start_time = start_time - interval '1 microsecond' "
    "WHERE id = (SELECT min(id) FROM traces)": "range of its spans",
    "UPDATE traces SET project_session_rowid = NULL WHERE id = (SELECT min(id) FROM traces)": (
        "has not all of its traces"
    ),
    "UPDATE project_sessions SET end_time = end_time + interval '1 microsecond' "
    "WHERE id = (SELECT min(id) FROM project_sessions)": "range of its traces",
    "DELETE FROM span_costs WHERE id = (SELECT min(id) FROM span_costs)": "its costs are []",
    "INSERT INTO span_costs (span_rowid, trace_rowid, span_start_time) "
    "SELECT span_rowid, trace_rowid, span_start_time FROM span_costs LIMIT 1": "its costs are",
}


async def test_every_damage_is_noticed(cluster: Path, tmp_path: Path) -> None:
    async with Rig(tmp_path, cluster) as rig:
        await rig.accepted(50)
        await rig.settle()
        connection = await rig.postgres.connect()
        unnoticed: list[str] = []
        for statement, wanted in _DAMAGES.items():
            transaction = connection.transaction()
            await transaction.start()
            await connection.execute(statement)
            found = await judge(connection, rig.load.ledger)
            await transaction.rollback()
            if not any(wanted in sentence for sentence in found):
                unnoticed.append(f"{statement}: {found}")
        assert await judge(connection, rig.load.ledger) == []
        await connection.close()
    assert unnoticed == []
