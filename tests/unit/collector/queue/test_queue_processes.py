"""One writing and one reading process for each folder and consumer, as real processes."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.unit.collector.queue.records import CAP, read_all, record, texts
from tracequill_collector.errors import StartError
from tracequill_collector.queue.reader import QueueReader
from tracequill_collector.queue.writer import QueueWriter

_HOLDER = """
    import asyncio, sys
    from pathlib import Path
    from tests.unit.collector.queue.records import record
    from tracequill_collector.queue.reader import QueueReader
    from tracequill_collector.queue.writer import QueueWriter

    async def main():
        folder, role = Path(sys.argv[1]), sys.argv[2]
        if role == "writer":
            writer = await QueueWriter.open(folder, max_bytes=1 << 26)
            await writer.consume(record("kept"))
        else:
            await QueueReader.open(folder, consumer=role)
        print("open", flush=True)
        await asyncio.Event().wait()

    asyncio.run(main())
"""


@contextmanager
def _process(folder: Path, role: str) -> Iterator[subprocess.Popen[str]]:
    """A process that holds its end of the queue until it is killed."""
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(_HOLDER), str(folder), role],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[4])},
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "open\n"
            yield process
        finally:
            process.kill()


async def test_a_second_writing_process_is_refused_until_the_first_is_killed(
    tmp_path: Path,
) -> None:
    with _process(tmp_path, "writer") as first:
        with pytest.raises(StartError) as refused:
            await QueueWriter.open(tmp_path, max_bytes=CAP, wait_seconds=0)
        assert str(refused.value) == (
            f"the queue at {tmp_path} already has a writer, process {first.pid}. "
            "Stop that process, or set another data_dir."
        )
        first.send_signal(signal.SIGKILL)
        # A successor that is started at once waits for the kernel to be done with it.
        writer = await QueueWriter.open(tmp_path, max_bytes=CAP)
    await writer.consume(record("after"))
    await writer.close()
    reader = await QueueReader.open(tmp_path, consumer="test")
    assert texts(await read_all(reader)) == ["kept", "after"]
    await reader.close()


async def test_a_second_reading_process_of_a_consumer_is_refused_until_the_first_is_killed(
    tmp_path: Path,
) -> None:
    with _process(tmp_path, "postgres") as first:
        expected = f"already has a reader for 'postgres', process {first.pid}."
        with pytest.raises(StartError, match=re.escape(expected)):
            await QueueReader.open(tmp_path, consumer="postgres", wait_seconds=0)
        other = await QueueReader.open(tmp_path, consumer="onward", wait_seconds=0)
        await other.close()
        first.send_signal(signal.SIGKILL)
        reader = await QueueReader.open(tmp_path, consumer="postgres")
    await reader.close()


async def test_a_process_that_hangs_keeps_its_end(tmp_path: Path) -> None:
    """One that is stopped may go on at any moment, so that nobody may take its place."""
    with _process(tmp_path, "writer") as first:
        first.send_signal(signal.SIGSTOP)
        with pytest.raises(StartError, match=f"process {first.pid}"):
            await QueueWriter.open(tmp_path, max_bytes=CAP, wait_seconds=0.2)
