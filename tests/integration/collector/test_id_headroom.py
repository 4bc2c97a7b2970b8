"""How many row ids are left is seen from outside: in the exporter's metrics and by the doctor."""

from __future__ import annotations

import re
from contextlib import aclosing
from pathlib import Path

import asyncpg
import pytest

from tests.integration.collector.test_exporter_process import running
from tests.ports import free_port
from tracequill.settings import Settings
from tracequill_collector.stack.doctor import Finding, examine
from tracequill_collector.status import Status

pytestmark = pytest.mark.integration

_INT4_MAX = 2**31 - 1


async def use_ids(database_url: str, table: str, used: int) -> None:
    """Let *table* have given out *used* row ids."""
    database = await asyncpg.connect(database_url)
    try:
        await database.execute(f"SELECT setval('{table}_id_seq', $1)", used)
    finally:
        await database.close()


async def headroom(database_url: str, folder: Path) -> Finding:
    """Give what the doctor says of row ids."""
    ports = {f"{name}_port": free_port() for name in ("phoenix", "otlp_grpc", "otlp_http", "proxy")}
    settings = Settings.model_validate({"data_dir": folder, "database_url": database_url, **ports})
    async with aclosing(examine(settings)) as findings:  # type: ignore[type-var]
        async for finding in findings:
            if finding.check == "id headroom":
                return finding
    raise AssertionError("the doctor says nothing of row ids")


async def test_the_exporter_publishes_the_share_of_the_fullest_table(
    phoenix_database: str, tmp_path: Path
) -> None:
    await use_ids(phoenix_database, "spans", _INT4_MAX // 4)
    await use_ids(phoenix_database, "span_costs", 3 * _INT4_MAX)  # int8: next to nothing

    metrics = tmp_path / "collector" / "exporter.metrics"

    def ratio(_: Status) -> float:
        found = re.search(r"(?m)^tracequill_postgres_ids_used_ratio (\S+)$", metrics.read_text())
        return float(found[1]) if found else 0.0

    async with running(tmp_path, phoenix_database) as (exporter, _):
        status = await exporter.says(lambda status: metrics.exists() and ratio(status) > 0)

    assert ratio(status) == pytest.approx(0.25)


@pytest.mark.parametrize(
    ("used", "level", "text"),
    [(_INT4_MAX // 10, "ok", "10.0%"), (_INT4_MAX * 6 // 10, "warning", "Plan a new database")],
)
async def test_the_doctor_warns_when_half_of_the_row_ids_are_used(
    phoenix_database: str, tmp_path: Path, used: int, level: str, text: str
) -> None:
    await use_ids(phoenix_database, "traces", used)
    await use_ids(phoenix_database, "span_costs", 3 * _INT4_MAX)

    finding = await headroom(phoenix_database, tmp_path)

    assert finding.level == level
    assert "traces_id_seq" in finding.text
    assert text in finding.text
