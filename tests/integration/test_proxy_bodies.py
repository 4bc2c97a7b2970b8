"""Bodies: large ones, packed ones, forms. They cross as they are, and stop nobody else."""

from __future__ import annotations

import asyncio
import gzip
import threading
from pathlib import Path

import pytest

from tests.integration.proxy_here import Limits, proxy_with
from tests.integration.proxy_rig import (
    WAIT_SECONDS,
    Message,
    ProxyProcess,
    answering,
    ask,
    chunk,
    client,
    plain,
    post,
    read_body,
    read_head,
    upstream,
)
from tracequill_collector.pipeline import Record
from tracequill_collector.recorder.attributes import PROBLEM
from tracequill_collector.recorder.interpret import interpret
from tracequill_collector.testing import MemoryQueue

pytestmark = pytest.mark.integration

MEGABYTE = 1024 * 1024


@pytest.mark.parametrize("coding", [b"gzip", b"br", b"zstd", b"x-unheard-of"])
async def test_a_packed_answer_crosses_packed(proxy: ProxyProcess, coding: bytes) -> None:
    """C08: litellm's HTTP client unpacked what the caller had asked to have packed (25624), and
    freelens named a coding that the body no longer had (272).
    """
    packed = bytes(range(256)) * 40
    heads = (
        b"Content-Length: %d\r\n\r\n%b" % (len(packed), packed),
        b"Transfer-Encoding: chunked\r\n\r\n" + chunk(packed) + b"0\r\n\r\n",
    )
    for framed in heads:
        answer = b"HTTP/1.1 200 OK\r\nContent-Encoding: %b\r\n%b" % (coding, framed)
        async with upstream(proxy.upstream_port, answering(answer)):
            response = await ask(proxy, post(b"/openai/v1/x", b"{}"))
        exchange = await proxy.exchange(response.trace_id)

        assert response.body == exchange.response_body == packed
        assert response.header(b"content-encoding") == coding
        assert (response.header(b"content-length") is None) == framed.startswith(b"T")


@pytest.mark.parametrize(
    ("body", "problem"),
    [(gzip.compress(b'{"model": "m"}'), False), (b'{"model": "m"}', True)],
    ids=["packed", "not packed at all"],
)
async def test_a_request_that_says_that_it_is_packed_crosses_as_it_is(
    proxy: ProxyProcess, body: bytes, problem: bool
) -> None:
    """C12: mitmproxy failed on a body that was not what its header said (8124)."""
    requests: list[Message] = []
    asked = post(
        b"/openai/v1/x", body, b"Content-Encoding: gzip", b"Content-Type: application/json"
    )
    async with upstream(proxy.upstream_port, answering(plain(b"{}"), requests)):
        response = await ask(proxy, asked)
    exchange = await proxy.exchange(response.trace_id)

    assert requests[0].body == exchange.request_body == body
    assert requests[0].header(b"content-encoding") == b"gzip"
    assert (PROBLEM in interpret(exchange, "default").attributes) == problem


async def test_a_form_with_files_crosses_byte_for_byte(proxy: ProxyProcess) -> None:
    """C14: litellm read audio uploads as UTF-8 or JSON, and wrote forms anew with another boundary
    (23338, 25464, 27289, 29926).
    """
    sound = bytes(range(256)) * 300 + b"\r\n--not-the-boundary\r\n"
    body = (
        b'--b"/x\r\nContent-Disposition: form-data; name="model"\r\n\r\nwhisper-1\r\n'
        b'--b"/x\r\nContent-Disposition: form-data; name="file"; filename="gr\xc3\xbc\xdf.wav"\r\n'
        b"Content-Type: audio/wav\r\n\r\n" + sound + b'\r\n--b"/x--\r\nepilogue'
    )
    kind = b'Content-Type: multipart/form-data; boundary="b\\"/x"'
    requests: list[Message] = []
    async with upstream(proxy.upstream_port, answering(plain(b"{}"), requests)):
        response = await ask(proxy, post(b"/openai/v1/audio/transcriptions", body, kind))
    exchange = await proxy.exchange(response.trace_id)

    assert requests[0].body == exchange.request_body == body
    assert requests[0].header(b"content-type") == kind.partition(b": ")[2]


class SlowQueue(MemoryQueue):
    """A queue whose disk takes its time for large records."""

    def __init__(self) -> None:
        super().__init__()
        self.is_writing = threading.Event()
        self.may_end = threading.Event()

    def append(self, record: Record) -> None:
        if len(record.payload) > MEGABYTE:
            self.is_writing.set()
            assert self.may_end.wait(WAIT_SECONDS)
        super().append(record)


async def test_while_a_50_megabyte_exchange_is_recorded_the_others_go_on(tmp_path: Path) -> None:
    """C15 and C17: image bodies at 15 a second stopped litellm's event loop, and health probes
    killed the pod (13546, 26181); one prompt of 100,000 tokens held up small streams.
    """
    length = 50 * MEGABYTE
    more = asyncio.Semaphore(0)

    async def conversation(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await read_head(reader)
        await read_body(reader, head)
        if b"/large" in head:
            writer.write(plain(b"done"))
            return
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(3):
            await asyncio.wait_for(more.acquire(), WAIT_SECONDS)
            writer.write(chunk(b"data: 1\n\n"))
        writer.write(b"0\r\n\r\n")
        await writer.drain()

    queue = SlowQueue()
    async with (
        proxy_with(tmp_path, Limits(body_max_bytes=32 * MEGABYTE, queue=queue)) as proxy,
        upstream(proxy.upstream_port, conversation),
        asyncio.TaskGroup() as tasks,
    ):
        large = tasks.create_task(ask(proxy, post(b"/openai/v1/large", bytes(length))))
        async with client(proxy) as (reader, writer):
            writer.write(post(b"/openai/v1/small", b"{}"))
            assert await asyncio.to_thread(queue.is_writing.wait, WAIT_SECONDS)
            for _ in range(3):
                more.release()
                assert await asyncio.wait_for(reader.readuntil(b"\n\n\r\n"), WAIT_SECONDS)
            await asyncio.wait_for(reader.readuntil(b"0\r\n\r\n"), WAIT_SECONDS)
        page = await ask(proxy, b"GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n")
        was_waiting = not large.done()
        queue.may_end.set()

    small, kept = queue.exchanges
    assert (page.status, was_waiting, large.result().body) == (200, True, b"done")
    assert small.response_body == b"data: 1\n\n" * 3
    assert (kept.request_body_bytes, len(kept.request_body)) == (length, 32 * MEGABYTE)
    assert kept.end == "complete"


async def test_a_client_that_leaves_a_large_answer_leaves_its_part_recorded(tmp_path: Path) -> None:
    """C05: also where the part is so large that it is written aside."""
    queue = SlowQueue()
    queue.may_end.set()

    async def conversation(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_body(reader, await read_head(reader))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (9 * MEGABYTE))
        writer.write(bytes(3 * MEGABYTE))
        await reader.read()

    async with (
        proxy_with(tmp_path, Limits(body_max_bytes=32 * MEGABYTE, queue=queue)) as proxy,
        upstream(proxy.upstream_port, conversation),
    ):
        async with client(proxy) as (reader, writer):
            writer.write(post(b"/openai/v1/x", b"{}"))
            await read_head(reader)
            await reader.readexactly(3 * MEGABYTE)
        assert await asyncio.to_thread(queue.is_writing.wait, WAIT_SECONDS)

    [exchange] = queue.exchanges
    assert (exchange.end, len(exchange.response_body)) == ("client_disconnected", 3 * MEGABYTE)


async def test_a_50_megabyte_upload_crosses_equal_with_flat_memory(proxy: ProxyProcess) -> None:
    """C15: litellm read whole bodies and parsed them as they came (21594, 26181)."""
    piece = bytes(range(256)) * 256
    count = 50 * MEGABYTE // len(piece)
    received = bytearray()

    async def conversation(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        while len(received) < count * len(piece):
            received.extend(await reader.read(65536))
        writer.write(plain(b"{}"))
        await writer.drain()

    before = proxy.memory_bytes()
    async with upstream(proxy.upstream_port, conversation), client(proxy) as (reader, writer):
        writer.write(
            b"POST /openai/v1/files HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n"
            % (count * len(piece))
        )
        peak = 0
        for _ in range(count):
            writer.write(piece)
            await writer.drain()
            peak = max(peak, proxy.memory_bytes())
        head = await asyncio.wait_for(read_head(reader), WAIT_SECONDS)
    exchange = await proxy.exchange(Message(head, b"").trace_id)

    assert received == piece * count
    assert peak - before < 16 * MEGABYTE
    assert (exchange.request_body_bytes, exchange.request_cut) == (len(received), True)
    assert exchange.request_body == received[: 32 * MEGABYTE]


async def test_a_50_megabyte_download_is_forwarded_whole_and_recorded_to_the_cap(
    proxy: ProxyProcess,
) -> None:
    """C16: a download of 48 MB was taken into memory whole by litellm (32386)."""
    piece = b"0123456789abcdef" * 4096
    count = 50 * MEGABYTE // len(piece)

    async def conversation(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (count * len(piece)))
        for _ in range(count):
            writer.write(piece)
            await writer.drain()

    before = proxy.memory_bytes()
    peak = received = 0
    async with (
        upstream(proxy.upstream_port, conversation),
        client(proxy, limit=65536) as (reader, writer),
    ):
        writer.write(b"GET /openai/v1/files/f/content HTTP/1.1\r\nHost: h\r\n\r\n")
        head = await read_head(reader)
        # The last bytes wait for the record, which takes the kept part into memory once; some more
        # are between the sockets by then.
        while received < count * len(piece) - 16 * MEGABYTE:
            received += len(await asyncio.wait_for(reader.read(65536), WAIT_SECONDS))
            peak = max(peak, proxy.memory_bytes())
        while received < count * len(piece):
            received += len(await asyncio.wait_for(reader.read(65536), WAIT_SECONDS))
    exchange = await proxy.exchange(Message(head, b"").trace_id)

    assert received == count * len(piece)
    assert peak - before < count * len(piece) / 2
    # The record itself is in memory for a moment, not the more the longer the body is.
    assert proxy.memory_bytes("VmHWM") - before < 110 * MEGABYTE
    assert exchange.response_body_bytes == received
    assert len(exchange.response_body) == 32 * MEGABYTE
    assert exchange.response_cut
