"""A real ``tracequill up`` on free ports, for acceptance tests."""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import orjson

from tests.ports import free_ports

READY_SECONDS = 180


@dataclass
class Stack:
    """One stack: start it, kill it, start it again on the same data."""

    data_dir: Path
    variables: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.phoenix_port, self.grpc_port, self.http_port, self.proxy_port = free_ports(4)
        self.output: list[str] = []
        self._process: subprocess.Popen[str] | None = None

    @property
    def phoenix(self) -> str:
        return f"http://127.0.0.1:{self.phoenix_port}"

    @property
    def collector(self) -> str:
        return f"http://127.0.0.1:{self.http_port}"

    @property
    def proxy(self) -> str:
        return f"http://127.0.0.1:{self.proxy_port}"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def environment(self) -> dict[str, str]:
        """What commands beside the stack need to find it."""
        clean = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("TRACEQUILL_", "PHOENIX_", "OTEL_"))
        }
        return {
            **clean,
            "TRACEQUILL_PHOENIX_PORT": str(self.phoenix_port),
            "TRACEQUILL_OTLP_GRPC_PORT": str(self.grpc_port),
            "TRACEQUILL_OTLP_HTTP_PORT": str(self.http_port),
            "TRACEQUILL_PROXY_PORT": str(self.proxy_port),
            "TRACEQUILL_DATA_DIR": str(self.data_dir),
            **self.variables,
        }

    def start(self, *options: str) -> float:
        """Return when it says ``ready``; how many seconds that took."""
        began = time.monotonic()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tracequill", "up", *options],
            env=self.environment,
            cwd=self.data_dir,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        lines: queue.Queue[str | None] = queue.Queue()
        self._reader = threading.Thread(target=self._read, args=(self._process, lines))
        self._reader.start()
        while True:
            line = lines.get(timeout=max(1, READY_SECONDS - (time.monotonic() - began)))
            if line is None:
                raise AssertionError("up ended before it was ready:\n" + "\n".join(self.output))
            if line == "ready":
                return time.monotonic() - began

    def stop(self) -> int:
        """Ctrl-C; the exit code."""
        assert self._process is not None
        self._process.send_signal(signal.SIGINT)
        code = self._process.wait(120)
        self._reader.join(10)
        return code

    def kill_everything(self) -> None:
        """kill -9 to ``up`` and each of its processes, Postgres included, at one moment."""
        assert self._process is not None
        pids = [pid for pid, _ in orjson.loads((self.data_dir / "up.json").read_bytes()).values()]
        postmaster = self.data_dir / "postgres" / "postmaster.pid"
        pids.append(int(postmaster.read_text().splitlines()[0]))
        for pid in [self._process.pid, *pids]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._process.wait(30)
        self._reader.join(10)

    def end(self) -> None:
        """Whatever a failed test left running."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
            try:
                self._process.wait(60)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._reader.join(10)

    def run(self, *arguments: str, timeout: float = 120) -> subprocess.CompletedProcess[str]:
        """Run ``tracequill ARGUMENTS`` beside the stack."""
        return subprocess.run(
            [sys.executable, "-m", "tracequill", *arguments],
            env=self.environment,
            cwd=self.data_dir,
            capture_output=True,
            text=True,
            timeout=timeout,
        )

    def run_program(self, program: str, **variables: str) -> str:
        """Run a Python program as an application beside the stack; its standard output."""
        result = subprocess.run(
            [sys.executable, "-c", program],
            env={**self.environment, **variables},
            cwd=self.data_dir,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert result.returncode == 0, result.stderr
        return result.stdout

    def run_demo(self, timeout: float) -> subprocess.CompletedProcess[str]:
        """What ``up --demo`` runs once it is ready."""
        url = (self.data_dir / "postgres.url").read_text()
        return subprocess.run(
            [sys.executable, "-m", "tracequill_phoenix.demo"],
            env={**self.environment, "TRACEQUILL_DATABASE_URL": url},
            cwd=self.data_dir,
            capture_output=True,
            text=True,
            timeout=timeout,
        )

    def _read(self, process: subprocess.Popen[str], lines: queue.Queue[str | None]) -> None:
        assert process.stdout is not None
        with process.stdout:
            for line in process.stdout:
                self.output.append(line.rstrip("\n"))
                lines.put(line.rstrip("\n"))
        lines.put(None)
