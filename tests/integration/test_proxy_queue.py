"""The proxy's queue: nobody empties it, it is full, its disk gives back other bytes."""

from __future__ import annotations

import asyncio
import errno
import gc
import itertools
import re
import signal
import time
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.integration.proxy_here import Limits, proxy_with
from tests.integration.proxy_rig import (
    WAIT_SECONDS,
    Message,
    ProxyProcess,
    answering,
    ask,
    client,
    plain,
    post,
    read_body,
    read_head,
    upstream,
)
from tests.integration.recorder_rig import RecorderProcess, StubCollector, until
from tests.ports import free_port
from tracequill_collector.errors import PermanentError
from tracequill_collector.pipeline import Record
from tracequill_collector.testing import MemoryQueue

pytestmark = pytest.mark.integration

PAGE = Path(__file__).parents[2] / "docs" / "metrics.md"
MEGABYTE = 1024 * 1024
CHAT = b'{"model": "gpt-4o", "messages": [{"role": "user", "content": "%b"}]}'


async def call_often(proxy: ProxyProcess, clients: int, calls: int, asked: bytes) -> list[Message]:
    """Make *calls* calls on each of *clients* connections at once; give the answers."""

    async def one() -> list[Message]:
        answers = []
        async with client(proxy) as (reader, writer):
            for _ in range(calls):
                writer.write(asked)
                head = await asyncio.wait_for(read_head(reader), WAIT_SECONDS)
                answers.append(Message(head, await read_body(reader, head, response=True)))
        return answers

    async with asyncio.TaskGroup() as tasks:
        running = [tasks.create_task(one()) for _ in range(clients)]
    return [answer for task in running for answer in task.result()]


def published(metrics: str) -> set[tuple[str, str, tuple[str, ...]]]:
    """Name, kind and labels of each metric."""
    return {
        (
            f"{family.name}_total" if family.type == "counter" else family.name,
            family.type,
            tuple(sorted({label for sample in family.samples for label in sample.labels})),
        )
        for family in text_string_to_metric_families(metrics)
    }


def documented() -> set[tuple[str, str, tuple[str, ...]]]:
    """The same of the page."""
    table = PAGE.read_text(encoding="utf-8").partition("\n## The proxy\n")[2]
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \| ([^|]*) \|", table, re.M)
    return {(name, kind, tuple(re.findall(r"\w+", labels))) for name, kind, labels in rows}


def queue_bytes(proxy: ProxyProcess) -> int:
    return sum(path.stat().st_size for path in proxy.queue_dir.glob("*.segment"))


async def test_with_the_collector_away_the_queue_grows_on_disk_and_all_arrives_once_later(
    tmp_path: Path,
) -> None:
    """C22: with its sink away for an hour, litellm 1.97 lost rows, and 1.98 grew by 101 MiB for
    each 1,500 of them (38193, 34820, 35531).
    """
    collector = StubCollector(free_port())
    proxy = ProxyProcess(tmp_path)
    recorder = RecorderProcess(tmp_path / "data", collector.port)
    await asyncio.to_thread(proxy.start)
    await recorder.start()
    asked = post(b"/openai/v1/chat/completions", CHAT % (b"x" * 30_000), b"Content-Type: a/json")
    try:
        async with upstream(proxy.upstream_port, answering(plain(b'{"choices": []}'))):
            answers = await call_often(proxy, 10, 10, asked)
            await until(lambda: bool(recorder.status("waiting")))
            memory = proxy.memory_bytes()
            for _ in range(3):
                answers += await call_often(proxy, 10, 30, asked)
            grown = proxy.memory_bytes() - memory
            on_disk = queue_bytes(proxy)
            async with collector.running():
                await until(lambda: recorder.status("recorded_exchanges") == len(answers))
                await recorder.end()
            metrics = (await asyncio.to_thread(proxy.page, "/metrics"))[1]
    finally:
        await recorder.end(signal.SIGKILL)
        await asyncio.to_thread(proxy.stop)

    assert {answer.status for answer in answers} == {200}
    assert on_disk > len(answers) * 30_000
    assert grown < on_disk / 3
    assert published(metrics) == documented()
    sent = [answer.header(b"x-tracequill-span-id") or b"" for answer in answers]
    assert sorted(collector.span_ids) == sorted(span_id.decode() for span_id in sent)


async def test_ten_times_too_many_calls_fail_none_and_take_little_memory(tmp_path: Path) -> None:
    """C22, overload: ten times as much comes as the queue holds, from hundreds of clients at once,
    and the recorder reads nothing.
    """
    proxy = ProxyProcess(tmp_path, {"TRACEQUILL_QUEUE_MAX_BYTES": str(2 * MEGABYTE)})
    await asyncio.to_thread(proxy.start)
    try:
        async with upstream(proxy.upstream_port, answering(plain(b"y" * 5_000))):
            asked = post(b"/openai/v1/x", b"x" * 5_000)
            await call_often(proxy, 300, 1, asked)
            memory = proxy.memory_bytes()
            answers = await call_often(proxy, 300, 7, asked)
            grown = proxy.memory_bytes() - memory
            metrics = (await asyncio.to_thread(proxy.page, "/metrics"))[1]
        on_disk = queue_bytes(proxy)
    finally:
        await asyncio.to_thread(proxy.stop)

    assert len(answers) == 2100
    assert {(answer.status, len(answer.body)) for answer in answers} == {(200, 5_000)}
    assert grown < 10 * MEGABYTE
    assert on_disk <= 2 * MEGABYTE
    lost = next(line for line in metrics.splitlines() if 'unrecorded_total{reason="queue_f' in line)
    assert float(lost.split()[1]) > 1800
    assert len(proxy.log.splitlines()) < 20


async def test_a_thousand_calls_leave_nothing_behind_in_memory(tmp_path: Path) -> None:
    """C25: litellm's pass-through kept something of each call for ever (13805, 12685, 6404). Here
    objects are counted instead of hours: what stays after hundreds of calls would stay after each.
    """
    async with (
        proxy_with(tmp_path, Limits()) as proxy,
        upstream(proxy.upstream_port, answering(plain(b"{}"))),
    ):
        asked = post(b"/openai/v1/x", b"{}")

        async def objects_after(calls: int) -> int:
            for _ in range(calls // 10):
                for _ in range(5):
                    await ask(proxy, asked)
                await call_often(proxy, 1, 5, asked)
            proxy.queue.records.clear()
            gc.collect()
            return len(gc.get_objects())

        await objects_after(100)
        before = await objects_after(100)
        after = await objects_after(800)

    assert after - before < 100


def test_damaged_bytes_of_the_queue_are_counted(tmp_path: Path) -> None:
    """What the disk gave back wrongly is put aside, and /metrics says so to a person."""
    proxy = ProxyProcess(tmp_path)
    proxy.start()

    async def calls() -> None:
        async with upstream(proxy.upstream_port, answering(plain(b"{}"))):
            for _ in range(3):
                await ask(proxy, post(b"/openai/v1/x", b"question " * 100))

    name = "tracequill_proxy_queue_quarantined_bytes "
    try:
        asyncio.run(calls())
        assert f"{name}0.0" in proxy.page("/metrics")[1]
        proxy.stop(signal.SIGKILL)
        [segment] = proxy.queue_dir.glob("*.segment")
        content = bytearray(segment.read_bytes())
        content[content.index(b"question", len(content) // 2)] ^= 0xFF
        segment.write_bytes(content)
        proxy.start()
        deadline = time.monotonic() + WAIT_SECONDS
        while f"{name}0.0" in (metrics := proxy.page("/metrics")[1]):
            assert time.monotonic() < deadline
            time.sleep(0.05)
    finally:
        proxy.stop(signal.SIGKILL)

    [line] = [line for line in metrics.splitlines() if line.startswith(name)]
    assert float(line.removeprefix(name)) > 900


async def test_a_full_queue_never_touches_the_call(
    tmp_path: Path,
) -> None:
    """C22: a log that is full must not fail the call that it was to tell of."""
    proxy = ProxyProcess(tmp_path, {"TRACEQUILL_QUEUE_MAX_BYTES": str(1024 * 1024)})
    await asyncio.to_thread(proxy.start)
    try:
        async with upstream(proxy.upstream_port, answering(plain(b"{}"))):
            statuses = {
                (await ask(proxy, post(b"/openai/v1/x", b"x" * 100_000))).status for _ in range(15)
            }
        metrics = (await asyncio.to_thread(proxy.page, "/metrics"))[1]
    finally:
        await asyncio.to_thread(proxy.stop)

    assert statuses == {200}
    lost = next(line for line in metrics.splitlines() if 'unrecorded_total{reason="queue_f' in line)
    assert float(lost.split()[1]) >= 4
    assert "not recorded" in proxy.log


class FailingQueue(MemoryQueue):
    """A queue that fails in each way that a disk can."""

    def __init__(self) -> None:
        super().__init__()
        self.failures = itertools.cycle(
            [
                OSError(errno.EIO, "Input/output error"),
                OSError(errno.EROFS, "Read-only file system"),
                PermanentError("the record is too large."),
                MemoryError(),
                RuntimeError("closed"),
            ]
        )
        self.tried = 0

    def append(self, record: Record) -> None:
        self.tried += 1
        raise next(self.failures)


async def test_a_queue_that_fails_never_touches_the_call(tmp_path: Path) -> None:
    """C22: what litellm could not log (34820, 35531) is no reason to fail a call: small ones, large
    ones that a thread would write, streams, and calls that end badly.
    """
    queue = FailingQueue()
    large = bytes(range(256)) * 12_000
    stream = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n"
    async with proxy_with(tmp_path, Limits(body_max_bytes=4 * MEGABYTE, queue=queue)) as proxy:
        bodies = []
        for answer in (plain(b"{}"), plain(large), stream):
            async with upstream(proxy.upstream_port, answering(answer)):
                for _ in range(5):
                    bodies.append((await ask(proxy, post(b"/openai/v1/x", b"{}"))).body)
        down = await ask(proxy, post(b"/openai/v1/x", b"{}"))
        metrics = (await asyncio.to_thread(proxy.page, "/metrics"))[1]

    assert bodies == [b"{}"] * 5 + [large] * 5 + [b"ab"] * 5
    assert (down.status, queue.tried) == (502, 16)
    assert 'unrecorded_total{reason="queue_failed"} 16.0' in metrics


async def test_a_full_queue_refuses_calls_when_told_to(
    tmp_path: Path,
) -> None:
    proxy = ProxyProcess(
        tmp_path,
        {
            "TRACEQUILL_QUEUE_MAX_BYTES": str(1024 * 1024),
            "TRACEQUILL_PROXY_ON_QUEUE_FULL": "refuse",
        },
    )
    await asyncio.to_thread(proxy.start)
    requests: list[Message] = []
    responses = []
    try:
        async with upstream(proxy.upstream_port, answering(plain(b"{}"), requests)):
            for _ in range(15):
                path = b"/bedrock/us-east-1/model/m/converse"
                responses.append(await ask(proxy, post(path, b"x" * 100_000)))
        metrics = (await asyncio.to_thread(proxy.page, "/metrics"))[1]
    finally:
        await asyncio.to_thread(proxy.stop)

    refused = [response for response in responses if response.status == 503]
    assert len(refused) >= 4
    assert len(requests) == len(responses) - len(refused)
    assert refused[0].header(b"x-amzn-errortype") == b"ServiceUnavailableException"
    assert refused[0].header(b"retry-after") == b"1"
    # The one call that showed that the queue is full; no other was forwarded unrecorded.
    assert 'unrecorded_total{reason="queue_full"} 1.0' in metrics
