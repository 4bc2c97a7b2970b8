"""System calls that fail under the queue: whoever was answered has their spans on the disk."""

from __future__ import annotations

import asyncio
import resource
from pathlib import Path

import pytest

from tests.faults.rig import Rig, until
from tests.faults.strace import Call, Strace

pytestmark = pytest.mark.faults

FAULT_SECONDS = 6.0


def is_segment(call: Call) -> bool:
    return call.path.endswith(".segment")


def used_after_failed_sync(calls: list[Call]) -> list[str]:
    """Segments that were written or synced after a sync of theirs had failed."""
    lost: set[str] = set()
    found: list[str] = []
    for call in filter(is_segment, calls):
        if call.path in lost:
            found.append(f"{call.name} {call.path}")
        if call.name == "fdatasync" and call.error:
            lost.add(call.path)
    return found


async def writer_thread(rig: Rig) -> int:
    """The thread of the receiver that writes the queue."""
    output = rig.folder / "threads"
    async with Strace(rig.receiver.pid, output, "fdatasync") as trace:
        while not trace.made:
            await rig.load.send_one(rig.load.planner.request())
        return trace.made[0].thread_id


@pytest.mark.parametrize("error", ["EIO", "ENOSPC", "EDQUOT"])
async def test_no_request_is_answered_whose_sync_failed_and_none_is_synced_again(
    cluster: Path, tmp_path: Path, error: str
) -> None:
    async with Rig(tmp_path, cluster, clients=0) as rig:
        fault = f"fdatasync:error={error}:when=2+3"
        pid, output = rig.receiver.pid, tmp_path / "calls"
        async with Strace(pid, output, "fdatasync,writev", fault) as trace:
            answers = [await rig.load.send_one(rig.load.planner.request()) for _ in range(12)]
        syncs = [call for call in trace.made if call.name == "fdatasync" and is_segment(call)]
        kept = [not call.error for call in syncs]
        await rig.settle()

    assert not all(kept)
    if error == "EIO":
        assert answers == kept
    else:  # a full disk is tried again for a moment before the sender is told
        assert sum(answers) == sum(kept) == len(answers)
    assert used_after_failed_sync(trace.made) == []


@pytest.mark.parametrize(
    "fault",
    [
        "fdatasync:error=EIO:when=3+5",
        "fdatasync:error=ENOSPC:when=3+5",
        "fsync:error=EIO:when=1+2",
        "fdatasync:delay_enter=300000:when=2+4",
    ],
)
async def test_syncs_of_the_receiver_that_fail_under_load(
    cluster: Path, tmp_path: Path, fault: str
) -> None:
    # A small cap, so that segments are opened and removed all the time.
    variables = {"TRACEQUILL_QUEUE_MAX_BYTES": str(1024 * 1024)}
    async with Rig(tmp_path, cluster, variables=variables, requests_per_second=40) as rig:
        calls = "fdatasync,fsync,writev"
        async with Strace(rig.receiver.pid, tmp_path / "calls", calls, fault) as trace:
            await asyncio.sleep(FAULT_SECONDS)
        assert "delay" in fault or [call for call in trace.made if call.error]
        assert used_after_failed_sync(trace.made) == []
        await rig.accepted(20)
        await rig.settle()


async def test_while_every_sync_fails_nothing_is_accepted_and_then_it_goes_on(
    cluster: Path, tmp_path: Path
) -> None:
    async with Rig(tmp_path, cluster) as rig:
        fault = "fdatasync:error=EIO"
        output = tmp_path / "calls"
        async with Strace(rig.receiver.pid, output, "fdatasync,writev", fault) as trace:
            await until(lambda: any(call.error for call in trace.made))
            # An answer from before the first failure may still be on its way.
            await asyncio.sleep(0.5)
            before = len(rig.load.ledger.obligations)
            await asyncio.sleep(FAULT_SECONDS)
            assert len(rig.load.ledger.obligations) == before
        assert used_after_failed_sync(trace.made) == []
        await rig.accepted(20)
        await rig.settle()


@pytest.mark.parametrize(
    "fault",
    [
        "writev:error=ENOSPC:when=2+3",
        "writev:error=EIO:when=2+3",
        "writev:error=EDQUOT:when=2+3",
        "writev:error=EROFS:when=2+3",
        "writev:error=EINTR:when=1+2",
        "openat:error=EMFILE:when=2+3",
        "openat:error=EROFS:when=2+3",
        "unlink,unlinkat:error=EIO:when=1+2",
    ],
)
async def test_writes_of_the_receiver_that_fail_under_load(
    cluster: Path, tmp_path: Path, fault: str
) -> None:
    # A small cap, so that segments are opened and removed all the time.
    variables = {"TRACEQUILL_QUEUE_MAX_BYTES": str(1024 * 1024)}
    async with Rig(tmp_path, cluster, variables=variables) as rig:
        threads = [await writer_thread(rig)]
        calls = fault.partition(":")[0]
        pid, output = rig.receiver.pid, tmp_path / "calls"
        async with Strace(pid, output, calls, fault, threads=threads) as trace:
            await asyncio.sleep(FAULT_SECONDS)
        assert "unlink" in calls or [call for call in trace.made if call.error]
        await rig.accepted(20)
        await rig.settle()


async def test_writes_that_are_cut_short_by_the_kernel(cluster: Path, tmp_path: Path) -> None:
    variables = {"TRACEQUILL_QUEUE_KEEP_HOURS": "1"}
    async with Rig(tmp_path, cluster, variables=variables) as rig:
        before = resource.prlimit(rig.receiver.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(rig.receiver.pid, resource.RLIMIT_FSIZE, (30_000, before[1]))
        await until(lambda: len(list(rig.queue_dir.glob("*.segment"))) > 4)
        sizes = [path.stat().st_size for path in rig.queue_dir.glob("*.segment")]
        resource.prlimit(rig.receiver.pid, resource.RLIMIT_FSIZE, before)
        await rig.accepted(20)
        await rig.settle()

    assert 30_000 in sizes


async def test_a_receiver_without_descriptors_recovers(cluster: Path, tmp_path: Path) -> None:
    async with Rig(tmp_path, cluster) as rig:
        before = resource.prlimit(rig.receiver.pid, resource.RLIMIT_NOFILE)
        open_now = len(list(Path(f"/proc/{rig.receiver.pid}/fd").iterdir()))
        resource.prlimit(rig.receiver.pid, resource.RLIMIT_NOFILE, (open_now, before[1]))
        held = [await asyncio.open_connection("127.0.0.1", rig.http_port) for _ in range(50)]
        await asyncio.sleep(FAULT_SECONDS)
        for _, writer in held:
            writer.close()
        resource.prlimit(rig.receiver.pid, resource.RLIMIT_NOFILE, before)
        await rig.accepted(20)
        await rig.settle()


@pytest.mark.parametrize(
    "fault",
    [
        "fdatasync:error=EIO:when=1+2",
        "fdatasync:error=ENOSPC",
        "fsync:error=EIO:when=1+2",
        "rename:error=EIO:when=1+2",
        "openat:error=EMFILE:when=1+2",
    ],
)
async def test_the_exporter_goes_on_when_its_disk_fails(
    cluster: Path, tmp_path: Path, fault: str
) -> None:
    async with Rig(tmp_path, cluster) as rig:
        calls = fault.partition(":")[0]
        async with Strace(rig.exporter.pid, tmp_path / "calls", calls, fault) as trace:
            await until(lambda: sum(bool(call.error) for call in trace.made) > 3)
            await asyncio.sleep(FAULT_SECONDS)
        await rig.accepted(20)
        await rig.settle()
