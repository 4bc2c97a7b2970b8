"""A real proxy process, with an upstream and a client that see and send every byte themselves."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from tests.ports import free_port
from tracequill_collector.exchange import Exchange
from tracequill_collector.queue.reader import QueueReader

START_SECONDS = 60.0
WAIT_SECONDS = 60.0

# All but the mock, which has no upstream.
ROUTES = (
    "OPENAI",
    "ANTHROPIC",
    "GEMINI",
    "MISTRAL",
    "TOGETHER",
    "GROQ",
    "OLLAMA",
    "BEDROCK",
    "BEDROCK_AGENT",
    "SAGEMAKER",
)

Headers = list[tuple[bytes, bytes]]


@dataclass
class ProxyProcess:
    """``python -m tracequill_collector.service.proxy`` on a free port and a folder of its own."""

    folder: Path
    variables: dict[str, str] = field(default_factory=dict)
    port: int = field(default_factory=free_port)
    upstream_port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def log_path(self) -> Path:
        return self.folder / "proxy.log"

    @property
    def log(self) -> str:
        return self.log_path.read_text()

    @property
    def queue_dir(self) -> Path:
        return self.folder / "data" / "proxy" / "queue"

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def spawn(self) -> None:
        upstream = f"http://127.0.0.1:{self.upstream_port}"
        environment = {
            **{name: value for name, value in os.environ.items() if "TRACEQUILL" not in name},
            "TRACEQUILL_DATA_DIR": str(self.folder / "data"),
            "TRACEQUILL_PROXY_PORT": str(self.port),
            **{f"TRACEQUILL_UPSTREAM_{route}": upstream for route in ROUTES},
            # A proxy from the environment would see every key.
            "HTTP_PROXY": "http://127.0.0.1:9",
            "HTTPS_PROXY": "http://127.0.0.1:9",
            "ALL_PROXY": "http://127.0.0.1:9",
            "NO_PROXY": "",
            **self.variables,
        }
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tracequill_collector.service.proxy"],
                cwd=self.folder,
                env=environment,
                stderr=log,
                stdout=log,
            )

    def start(self) -> float:
        """Start and give the seconds until it took work."""
        started = time.monotonic()
        self.spawn()
        while time.monotonic() - started < START_SECONDS:
            assert self.process is not None and self.process.poll() is None, self.log
            if self.page("/readyz")[0] == 200:
                return time.monotonic() - started
            time.sleep(0.01)
        raise AssertionError(f"the proxy did not start: {self.log}")

    def stop(self, number: int = signal.SIGTERM) -> int:
        if self.process is None:
            return 0
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(START_SECONDS)

    def page(self, path: str) -> tuple[int, str]:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(self.url(path), timeout=WAIT_SECONDS) as response:
                return response.status, response.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def wait_until_closed(self) -> None:
        """Wait until nobody listens any more."""
        started = time.monotonic()
        while self.page("/readyz")[0]:
            assert time.monotonic() - started < WAIT_SECONDS
            time.sleep(0.01)

    def cpu_seconds(self) -> float:
        times = psutil.Process(self.pid).cpu_times()
        return float(times.user + times.system)

    def memory_bytes(self, which: str = "VmRSS") -> int:
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith(f"{which}:"):
                return int(line.split()[1]) * 1024
        raise AssertionError(which)

    async def exchange(self, trace_id: str) -> Exchange:
        """Wait for the exchange with *trace_id* in the queue."""
        [exchange] = await self.exchanges([trace_id])
        return exchange

    async def exchanges(self, trace_ids: list[str]) -> list[Exchange]:
        """Wait for the exchanges with *trace_ids*, in that order."""
        reader = await QueueReader.open(self.queue_dir, consumer="test")
        found: dict[str, Exchange] = {}
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                while not found.keys() >= set(trace_ids):
                    for queued in await reader.read(
                        max_records=100, max_bytes=1 << 28, wait_seconds=0.5
                    ):
                        exchange = Exchange.from_bytes(queued.record.payload)
                        found[exchange.trace_id] = exchange
                        await reader.commit(queued.sequence + 1)
        finally:
            await reader.close()
        return [found[trace_id] for trace_id in trace_ids]


@dataclass
class Message:
    """One HTTP message as it stood on the wire."""

    head: bytes
    body: bytes

    @property
    def first_line(self) -> bytes:
        return self.head.split(b"\r\n", 1)[0]

    @property
    def status(self) -> int:
        return int(self.first_line.split()[1])

    @property
    def headers(self) -> Headers:
        lines = self.head.rstrip(b"\r\n").split(b"\r\n")[1:]
        return [(name, value) for name, _, value in (line.partition(b": ") for line in lines)]

    def header(self, name: bytes) -> bytes | None:
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)

    @property
    def trace_id(self) -> str:
        return (self.header(b"x-tracequill-trace-id") or b"").decode()

    def without_ids(self) -> Headers:
        return [item for item in self.headers if not item[0].startswith(b"x-tracequill-")]


async def read_head(reader: asyncio.StreamReader) -> bytes:
    return await reader.readuntil(b"\r\n\r\n")


async def read_body(reader: asyncio.StreamReader, head: bytes, *, response: bool = False) -> bytes:
    """Read the body that *head* announces; IncompleteReadError when it is cut."""
    message = Message(head, b"")
    if message.header(b"transfer-encoding") == b"chunked":
        body = b""
        while True:
            size = int(await reader.readuntil(b"\r\n"), 16)
            chunk = await reader.readexactly(size + 2)
            if not size:
                return body
            body += chunk[:-2]
    length = message.header(b"content-length")
    if length is not None:
        return await reader.readexactly(int(length))
    return await reader.read() if response else b""


Conversation = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@contextlib.asynccontextmanager
async def upstream(
    port: int,
    conversation: Conversation,
    *,
    tls: ssl.SSLContext | None = None,
    limit: int = 1 << 26,
) -> AsyncIterator[list[BaseException]]:
    """Serve *conversation* on each connection to *port*; give what it raised."""
    failures: list[BaseException] = []
    writers: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await conversation(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the proxy closed its connection
        except BaseException as error:
            failures.append(error)
        finally:
            writer.close()

    def accept(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> Coroutine[None, None, None]:
        # At once: the task may begin only after the end.
        writers.append(writer)
        return serve(reader, writer)

    server = await asyncio.start_server(accept, "127.0.0.1", port, limit=limit, ssl=tls)
    try:
        yield failures
    finally:
        for listening in server.sockets:
            asyncio.get_running_loop().remove_reader(listening.fileno())
        # A connection that came just now has its transport after a few turns.
        for _ in range(3):
            await asyncio.sleep(0)
        server.close()
        for writer in writers:
            await _end(writer)
    assert not failures, failures


async def _end(writer: asyncio.StreamWriter) -> None:
    writer.close()
    if writer.transport.get_write_buffer_size():
        writer.transport.abort()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()


def answering(answer: bytes, requests: list[Message] | None = None) -> Conversation:
    """Answer every request with the same bytes and keep what was asked."""

    async def conversation(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head = await read_head(reader)
            body = await read_body(reader, head)
            if requests is not None:
                requests.append(Message(head, body))
            writer.write(answer)
            await writer.drain()

    return conversation


def plain(body: bytes, *headers: bytes, status: bytes = b"200 OK") -> bytes:
    lines = [b"HTTP/1.1 " + status, *headers, b"Content-Length: %d" % len(body)]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


@contextlib.asynccontextmanager
async def client(
    proxy: ProxyProcess, *, limit: int = 1 << 26
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port, limit=limit)
    try:
        yield reader, writer
    finally:
        await _end(writer)


async def ask(proxy: ProxyProcess, request: bytes) -> Message:
    """Send *request* as it is and read one whole response."""
    async with asyncio.timeout(WAIT_SECONDS), client(proxy) as (reader, writer):
        writer.write(request)
        head = await read_head(reader)
        has_body = not request.startswith(b"HEAD ") and Message(head, b"").status not in (204, 304)
        body = await read_body(reader, head, response=True) if has_body else b""
        return Message(head, body)


def post(path: bytes, body: bytes, *headers: bytes) -> bytes:
    lines = [
        b"POST " + path + b" HTTP/1.1",
        b"Host: 127.0.0.1",
        *headers,
        b"Content-Length: %d" % len(body),
    ]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body
