"""The ``tracequill`` command beside a real exporter, and what a database holds before and after."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import os
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any
from unittest import mock

import asyncpg

from tests.integration.collector.test_exporter_process import ExporterProcess
from tracequill._command import main
from tracequill_collector.pipeline import Record
from tracequill_collector.queue.writer import QueueWriter
from tracequill_collector.service import consumers
from tracequill_collector.service.lanes import done_by

_TABLES = ("projects", "project_sessions", "traces", "spans", "span_costs", "span_cost_details")


@dataclass(frozen=True, slots=True)
class Said:
    """What a command said, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def facts(self) -> dict[str, Any]:
        """Its JSON."""
        assert self.code == 0, self.err
        found: dict[str, Any] = json.loads(self.out)
        return found


class Command:
    """A running ``tracequill`` command that finds the exporter's folder."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    @classmethod
    async def start(cls, exporter: ExporterProcess, *words: str) -> Command:
        """Start it."""
        return cls(
            await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "tracequill",
                *words,
                env=exporter.environment | {"COLUMNS": "200"},
                cwd=exporter.folder,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                # A shell that starts the tests in the background lets them ignore it.
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
            )
        )

    async def end(self) -> Said:
        """Wait for its end."""
        async with asyncio.timeout(60):
            out, err = await self.process.communicate()
        assert self.process.returncode is not None
        return Said(self.process.returncode, out.decode(), err.decode())


async def run(exporter: ExporterProcess, *words: str) -> Said:
    """Run ``tracequill WORDS`` to its end, in this process: that saves the start of another."""
    return await asyncio.to_thread(_run, exporter, words)


def _run(exporter: ExporterProcess, words: Sequence[str]) -> Said:
    out, err = io.StringIO(), io.StringIO()
    with (
        mock.patch.dict(os.environ, exporter.environment | {"COLUMNS": "200"}, clear=True),
        contextlib.chdir(exporter.folder),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        code = main(list(words))
    return Said(code, out.getvalue(), err.getvalue())


async def queue_now(writer: QueueWriter, records: Sequence[Record]) -> None:
    """Queue *records* as received at this moment."""
    for record in records:
        await writer.consume(replace(record, received_unix_ns=time.time_ns()))


async def all_done(exporter: ExporterProcess, records: int) -> None:
    """Wait until the exporter is done with the first *records* of its queue."""
    queue = exporter.folder / "collector" / "queue"
    async with asyncio.timeout(60):
        while True:
            if done_by(queue, consumers.POSTGRES) >= records:
                return
            await asyncio.sleep(0.02)


async def execute(database_url: str, statement: str, *arguments: object) -> list[asyncpg.Record]:
    """Run one statement and give its rows."""
    connection = await asyncpg.connect(database_url)
    try:
        return list(await connection.fetch(statement, *arguments))
    finally:
        await connection.close()


async def everything(database_url: str) -> dict[str, list[str]]:
    """Give every column of every row of the six tables, ids and times of creation included."""
    return {
        table: [
            row["row"]
            for row in await execute(
                database_url, f"SELECT to_jsonb(t)::text AS row FROM {table} t ORDER BY id"
            )
        ]
        for table in _TABLES
    }


async def lose_all_traces(database_url: str) -> None:
    """Do what restoring an older database does."""
    await execute(database_url, "TRUNCATE traces, project_sessions, spans CASCADE")
