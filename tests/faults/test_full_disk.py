"""Disks that fill up, really: senders are told early to send again, and it recovers alone."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.faults.rig import Rig, until

pytestmark = pytest.mark.faults

MIB = 1024 * 1024


@contextmanager
def small_disk(folder: Path, size_mib: int) -> Iterator[Path]:
    """A tmpfs of its own, gone afterwards."""
    folder.mkdir()
    options = f"size={size_mib}m,mode=0700"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tracequill", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def free_bytes(folder: Path) -> int:
    usage = os.statvfs(folder)
    return usage.f_bavail * usage.f_frsize


def fill(disk: Path, leave_bytes: int) -> Path:
    """Take the room of *disk* but for *leave_bytes*, as somebody else would."""
    ballast = disk / "ballast"
    with ballast.open("ab") as file:
        while (take := min(MIB, free_bytes(disk) - leave_bytes)) > 0:
            file.write(bytes(take))
            file.flush()
    return ballast


async def test_a_disk_that_fills_up_is_told_to_senders_before_it_is_full(
    cluster: Path, tmp_path: Path
) -> None:
    with small_disk(tmp_path / "disk", 40) as disk:
        async with Rig(tmp_path, cluster, data_dir=disk / "data") as rig:
            await rig.postgres.stop()
            reserve = 40 * MIB // 20
            ballast = fill(disk, leave_bytes=reserve + MIB // 2)
            before = rig.load.ledger.retries
            await until(lambda: rig.load.ledger.retries > before + 10, 120)
            # Answers from before may still be on their way.
            await asyncio.sleep(1)
            accepted = len(rig.load.ledger.obligations)
            left_bytes = free_bytes(disk)
            await asyncio.sleep(3)
            assert len(rig.load.ledger.obligations) == accepted
            ballast.unlink()
            await rig.accepted(100)
            await rig.settle()

    # A page of each file more or less.
    assert left_bytes > reserve - 64 * 1024


async def test_a_disk_without_a_single_byte_left_is_survived_by_both_processes(
    cluster: Path, tmp_path: Path
) -> None:
    with small_disk(tmp_path / "disk", 40) as disk:
        async with Rig(tmp_path, cluster, data_dir=disk / "data") as rig:
            ballast = fill(disk, leave_bytes=0)
            await asyncio.sleep(10)
            starts = rig.receiver.starts, rig.exporter.starts
            ballast.unlink()
            await rig.accepted(100)
            await rig.settle()
            assert (rig.receiver.starts, rig.exporter.starts) == starts == (1, 1)


async def test_a_queue_at_its_cap_is_retryable_and_goes_on_when_there_is_room(
    cluster: Path, tmp_path: Path
) -> None:
    variables = {"TRACEQUILL_QUEUE_MAX_BYTES": str(MIB)}
    async with Rig(tmp_path, cluster, variables=variables, requests_per_second=40) as rig:
        await rig.postgres.stop()
        largest = 0
        before = rig.load.ledger.retries
        async with asyncio.timeout(120):
            while rig.load.ledger.retries < before + 30:
                sizes = [path.stat().st_size for path in rig.queue_dir.glob("*.segment")]
                largest = max(largest, sum(sizes))
                await asyncio.sleep(0.2)
        rig.postgres.start()
        await rig.accepted(200)
        await rig.settle()

    assert MIB * 0.8 < largest <= MIB


async def test_a_full_disk_under_postgres_is_waited_for(cluster: Path, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 300) as disk:
        async with Rig(tmp_path, cluster, postgres_dir=disk / "pg") as rig:
            await rig.accepted(20)
            ballast = fill(disk, leave_bytes=0)
            await rig.exporter_waits(120)
            await rig.accepted(20)
            ballast.unlink()
            await rig.settle()
