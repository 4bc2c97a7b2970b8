"""The receiver as a process: its start, its sockets, its end."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable

import grpc
import psutil
import pytest

from tests.integration.receiver_rig import ReceiverProcess, request_of, span, wait_until
from tests.ports import free_port

pytestmark = pytest.mark.integration


def test_it_takes_work_within_3_seconds_small_and_on_two_sockets_only(
    receiver: ReceiverProcess,
) -> None:
    seconds = receiver.start()

    process = psutil.Process(receiver.running.pid)
    listening = {
        (item.laddr.ip.removeprefix("::ffff:"), item.laddr.port)
        for item in process.net_connections("inet")
        if item.status == psutil.CONN_LISTEN
    }
    assert listening == {("127.0.0.1", receiver.grpc_port), ("127.0.0.1", receiver.http_port)}
    assert process.memory_info().rss < 120 * 1024 * 1024
    # It shares two cores with other tests; alone it takes half a second.
    assert seconds < 10
    cpu = process.cpu_times()
    assert cpu.user + cpu.system < 3


def test_it_imports_neither_phoenix_nor_what_exports() -> None:
    program = (
        "import sys, tracequill_collector.service.receiver\n"
        "others = {'phoenix', 'sqlalchemy', 'fastapi', 'asyncpg', "
        "'tracequill_collector.processor'}\n"
        "assert not others & set(sys.modules), others & set(sys.modules)"
    )

    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_a_taken_port_is_one_sentence(receiver: ReceiverProcess, protocol: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        if protocol == "grpc":
            receiver.grpc_port = port
        else:
            receiver.http_port = port
        receiver.spawn()
        _, logged = receiver.running.communicate(timeout=30)

    assert receiver.running.returncode == 1
    assert logged == (
        f"tracequill receiver: OTLP/{protocol.replace('grpc', 'gRPC').replace('http', 'HTTP')} "
        f"cannot listen on 127.0.0.1:{port}: Address already in use. Stop what listens there, "
        f"or set otlp_{protocol}_port (TRACEQUILL_OTLP_{protocol.upper()}_PORT).\n"
    )


def test_a_wrong_setting_is_one_sentence_and_wrong_usage(receiver: ReceiverProcess) -> None:
    receiver.variables["TRACEQUILL_QUEUE_MAX_BITES"] = "7"
    receiver.spawn()
    _, logged = receiver.running.communicate(timeout=30)

    assert receiver.running.returncode == 2
    assert logged == (
        "tracequill receiver: unknown variable TRACEQUILL_QUEUE_MAX_BITES. "
        "Did you mean 'TRACEQUILL_QUEUE_MAX_BYTES'?\n"
    )


def test_its_metrics_count_what_came(shared: ReceiverProcess) -> None:
    shared.post(request_of(span(14), span(15)))

    text = shared.request("GET", "/metrics").body.decode()

    lines = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    key = 'otelcol_receiver_accepted_spans_total{receiver="otlp",transport="http"}'
    assert float(lines[key]) >= 2
    assert float(lines["tracequill_queue_backlog_bytes"]) > 0
    assert float(lines["tracequill_queue_sync_seconds_count"]) > 0


class _Senders:
    """Threads that send single spans by both protocols and remember which were accepted."""

    def __init__(self, receiver: ReceiverProcess) -> None:
        self.accepted: list[str] = []
        self._receiver = receiver
        self._ended = threading.Event()
        self._threads = [
            threading.Thread(target=self._send, args=(place, send))
            for place, send in enumerate((self._by_grpc, self._by_http) * 3)
        ]
        for thread in self._threads:
            thread.start()

    def _by_grpc(self, body: bytes) -> bool:
        return self._receiver.export(body) == b""

    def _by_http(self, body: bytes) -> bool:
        return self._receiver.post(body).status == 200

    def _send(self, place: int, send: Callable[[bytes], bool]) -> None:
        number = place * 1_000_000 + 1
        while not self._ended.is_set():
            name = f"span {number}"
            try:
                if send(request_of(span(number))):
                    self.accepted.append(name)
            except (OSError, grpc.RpcError, http.client.HTTPException):
                if self._receiver.running.poll() is not None:
                    return
            number += 1

    def end(self) -> None:
        """Wait for all threads."""
        self._ended.set()
        for thread in self._threads:
            thread.join()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_what_was_accepted_is_kept_however_the_process_ends(
    receiver: ReceiverProcess, number: signal.Signals
) -> None:
    accepted: list[str] = []
    for count in (50, 120):
        receiver.start()
        senders = _Senders(receiver)
        wait_until(lambda senders=senders, count=count: len(senders.accepted) >= count)  # type: ignore[misc]
        code, logged = receiver.stop(number)
        senders.end()
        accepted += senders.accepted
        if number == signal.SIGTERM:
            assert code == 0, logged
            assert "Traceback" not in logged
    receiver.start()

    names = [item.name for item in receiver.spans()]
    for name in set(accepted):
        assert names.count(name) >= accepted.count(name), f"{name} was accepted and is lost"


def test_it_ends_with_its_parent_where_nothing_else_tells_it(receiver: ReceiverProcess) -> None:
    parent = (
        "import os, subprocess, sys\n"
        "os.environ['TRACEQUILL_PARENT_PID'] = str(os.getpid())\n"
        "service = 'tracequill_collector.service.receiver'\n"
        "child = subprocess.Popen([sys.executable, '-m', service])\n"
        "print(child.pid, flush=True)\n"
        "sys.stdin.read()\n"
    )
    environment = {
        **{name: value for name, value in os.environ.items() if "TRACEQUILL" not in name},
        "TRACEQUILL_DATA_DIR": str(receiver.folder / "data"),
        "TRACEQUILL_OTLP_GRPC_PORT": str(free_port()),
        "TRACEQUILL_OTLP_HTTP_PORT": str(receiver.http_port),
    }
    with subprocess.Popen(
        [sys.executable, "-c", parent],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=environment,
        cwd=receiver.folder,
    ) as process:
        assert process.stdout is not None
        child = psutil.Process(int(process.stdout.readline()))
        wait_until(receiver.is_ready)
        process.kill()

    wait_until(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE)
