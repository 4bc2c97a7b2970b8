"""Receiver, exporter, proxy and recorder as processes on one data directory, unsupervised."""

from __future__ import annotations

import http.client
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType

from tests.integration.receiver_rig import PROTOBUF, Answer, wait_until
from tests.ports import free_ports
from tracequill_collector.status import read_status


class Processes:
    """Processes of one stack; each logs into a file of its own."""

    def __init__(self, folder: Path, **variables: str) -> None:
        self.folder = folder
        self.data_dir = folder / "data"
        self.data_dir.mkdir(mode=0o700)
        self.grpc_port, self.http_port, self.proxy_port = free_ports(3)
        clean = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("TRACEQUILL_", "PHOENIX_", "OTEL_"))
        }
        self.environment = {
            **clean,
            "TRACEQUILL_DATA_DIR": str(self.data_dir),
            "TRACEQUILL_OTLP_GRPC_PORT": str(self.grpc_port),
            "TRACEQUILL_OTLP_HTTP_PORT": str(self.http_port),
            "TRACEQUILL_PROXY_PORT": str(self.proxy_port),
            **variables,
        }
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, *names: str) -> None:
        """Start these services and wait until each works."""
        for name in names:
            with self._log(name).open("ab") as log:
                self._running[name] = subprocess.Popen(
                    [sys.executable, "-m", f"tracequill_collector.service.{name}"],
                    env=self.environment,
                    cwd=self.folder,
                    stderr=log,
                    stdout=log,
                )
        for name in names:
            wait_until(lambda name=name: self._works(name))  # type: ignore[misc]

    def stop(self) -> dict[str, int]:
        """End all and give their exit codes."""
        for process in self._running.values():
            process.send_signal(signal.SIGTERM)
        codes = {name: process.wait(30) for name, process in self._running.items()}
        self._running.clear()
        return codes

    def log(self, name: str) -> str:
        """What a service has logged."""
        return self._log(name).read_text(errors="replace")

    def request(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] = MappingProxyType({}),
    ) -> Answer:
        """Make one HTTP request to the receiver."""
        connection = http.client.HTTPConnection("127.0.0.1", self.http_port, timeout=30)
        try:
            connection.request(method, path, body, dict(headers))
            response = connection.getresponse()
            return Answer(response.status, response.headers, response.read())
        finally:
            connection.close()

    def post(self, body: bytes, **headers: str) -> Answer:
        """Send traces; ``_`` in the names of headers stands for ``-``."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.request("POST", "/v1/traces", body, {"content-type": PROTOBUF} | named)

    def metrics(self) -> str:
        """What the receiver publishes."""
        return self.request("GET", "/metrics").body.decode()

    def wait_for(self, condition: Callable[[], bool]) -> None:
        """Wait, and show what was logged when it takes too long."""
        try:
            wait_until(condition)
        except AssertionError:
            for name in self._running:
                sys.stderr.write(f"--- {name}\n{self.log(name)}\n")
            raise

    def _works(self, name: str) -> bool:
        process = self._running[name]
        assert process.poll() is None, self.log(name)
        if name in ("receiver", "proxy"):
            try:
                return _is_ready(self.http_port if name == "receiver" else self.proxy_port)
            except OSError:
                return False
        folder = "proxy" if name == "recorder" else "collector"
        status = read_status(self.data_dir / folder / f"{name}.status.json")
        return status is not None and status.pid == process.pid

    def _log(self, name: str) -> Path:
        return self.folder / f"{name}.log"


def _is_ready(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == 200
    finally:
        connection.close()


@contextmanager
def processes(folder: Path, *names: str, **variables: str) -> Iterator[Processes]:
    """Run the services *names*; they must end in order."""
    stack = Processes(folder, **variables)
    try:
        stack.start(*names)
        yield stack
    finally:
        codes = stack.stop()
    assert set(codes.values()) == {0}, {name: stack.log(name) for name in codes}
