"""What is measured: nothing, nginx, Tracequill and its peers, each started and ended the same way.

A gateway knows where to send a call, which of its processes cost something, and whether it records.
All of them are told the same upstreams and the same collector, and listen on loopback alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
import shutil
import signal
import sys
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp

from bench.ingest.servers import HOST, BenchError, free_ports, stop
from bench.proxy import nginx
from bench.proxy.processes import PEERS, Process, family, launch, ready
from tracequill_collector.status import read_status

DIRECT, NGINX, OURS, LITELLM, PORTKEY = "direct", "nginx", "tracequill", "litellm", "portkey"
NAMES = (DIRECT, NGINX, OURS, LITELLM, PORTKEY)
_KEY = "sk-mock-0123456789abcdef"
_ANSWER_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Target:
    """Where a call is sent, and with which headers."""

    name: str
    port: int
    path: str
    headers: dict[str, str] = field(default_factory=dict)
    host: str = HOST


@dataclass(frozen=True, slots=True)
class Upstreams:
    """What every gateway forwards to, and where it sends what it records."""

    mock_port: int
    paced_port: int
    collector_port: int


class Gateway(ABC):
    """One of them. ``start`` returns when it has answered a call."""

    name = ""
    records = False

    def __init__(self, folder: Path, upstreams: Upstreams) -> None:
        self.folder = folder
        self.upstreams = upstreams
        self._processes: list[Process] = []
        folder.mkdir(parents=True, exist_ok=True)

    @abstractmethod
    def target(self, *, stream: bool) -> Target:
        """Give where calls go."""

    @abstractmethod
    async def start(self) -> None:
        """Start its processes."""

    async def stop(self) -> None:
        """End its processes, those first that send to the others."""
        for process in self._processes:
            await stop(process)
        self._processes.clear()

    @property
    def pids(self) -> dict[str, list[int]]:
        """Give the processes that count as its cost, by name."""
        return {self.name: [pid for one in self._processes for pid in family(one.pid)]}

    async def is_drained(self) -> bool:
        """Whether all that it recorded has left it, as far as it says."""
        return True

    def _log(self, name: str = "") -> Path:
        return self.folder / f"{name or self.name}.log"

    async def _answers(self) -> bool:
        return await answers(self.target(stream=False))


class Direct(Gateway):
    """No gateway: the upstream itself."""

    name = DIRECT

    def target(self, *, stream: bool) -> Target:
        port = self.upstreams.paced_port if stream else self.upstreams.mock_port
        return Target(self.name, port, "/v1/chat/completions", _authorization(_KEY))

    async def start(self) -> None:
        """Nothing is to be started."""


class Nginx(Gateway):
    """nginx as a reverse proxy, which records nothing."""

    name = NGINX

    def __init__(self, folder: Path, upstreams: Upstreams) -> None:
        super().__init__(folder, upstreams)
        self._port, self._stream_port = free_ports(2)

    def target(self, *, stream: bool) -> Target:
        port = self._stream_port if stream else self._port
        return Target(self.name, port, "/v1/chat/completions", _authorization(_KEY))

    async def start(self) -> None:
        path = nginx.proxy_configuration(
            self.folder,
            port=self._port,
            upstream_port=self.upstreams.mock_port,
            stream_port=self._stream_port,
            paced_port=self.upstreams.paced_port,
        )
        command = [nginx.find_nginx(), "-c", str(path)]
        process = await launch(command, self._log(), role="gateway")
        self._processes.append(process)
        await ready(process, self._log(), self._answers)


class Tracequill(Gateway):
    """Our proxy as ``up`` runs it: a forwarding process and a recorder process."""

    name = OURS
    records = True

    def __init__(self, folder: Path, upstreams: Upstreams) -> None:
        super().__init__(folder, upstreams)
        [self._port] = free_ports(1)
        self.data_dir = folder / "data"
        self._environment = {
            "TRACEQUILL_DATA_DIR": str(self.data_dir),
            "TRACEQUILL_PROXY_PORT": str(self._port),
            "TRACEQUILL_UPSTREAM_OPENAI": f"http://{HOST}:{upstreams.mock_port}",
            "TRACEQUILL_UPSTREAM_TOGETHER": f"http://{HOST}:{upstreams.paced_port}",
            "TRACEQUILL_COLLECTOR_URL": f"http://{HOST}:{upstreams.collector_port}",
        }
        self._forwarding: Process | None = None
        self._recording: Process | None = None

    def target(self, *, stream: bool) -> Target:
        route = "together" if stream else "openai"
        return Target(self.name, self._port, f"/{route}/v1/chat/completions", _authorization(_KEY))

    async def start(self) -> None:
        self._forwarding = await self._service("proxy")
        await ready(self._forwarding, self._log("proxy"), self._answers)
        self._recording = await self._service("recorder")
        await ready(self._recording, self._log("recorder"), self._records)

    @property
    def pids(self) -> dict[str, list[int]]:
        found = {}
        if self._forwarding is not None:
            found[self.name] = [self._forwarding.pid]
        if self._recording is not None:
            found["recorder"] = [self._recording.pid]
        return found

    @property
    def status(self) -> dict[str, object]:
        """What the recorder has said last; nothing when it is not this one's."""
        status = read_status(self.data_dir / "proxy" / "recorder.status.json")
        if status is None or self._recording is None or status.pid != self._recording.pid:
            return {}
        return dict(status.values)

    async def is_drained(self) -> bool:
        return self.status.get("queue_backlog_bytes") == 0

    def pause_recorder(self) -> None:
        """Let the recorder do nothing, as when there is nothing to record."""
        if self._recording is not None:
            self._recording.send_signal(signal.SIGSTOP)

    def resume_recorder(self) -> None:
        """Let it go on."""
        if self._recording is not None:
            self._recording.send_signal(signal.SIGCONT)

    async def stop(self) -> None:
        self.resume_recorder()
        await super().stop()

    async def _records(self) -> bool:
        return bool(self.status)

    async def _service(self, name: str) -> Process:
        command = [sys.executable, "-m", f"tracequill_collector.service.{name}"]
        process = await launch(
            command, self._log(name), role="gateway", variables=self._environment
        )
        self._processes.append(process)
        return process


class LiteLLM(Gateway):
    """LiteLLM's proxy with one worker and its callback for Phoenix."""

    name = LITELLM
    records = True

    def __init__(self, folder: Path, upstreams: Upstreams) -> None:
        super().__init__(folder, upstreams)
        [self._port] = free_ports(1)
        # It refuses to start with one that is known.
        self._key = f"sk-{secrets.token_hex(32)}"

    def target(self, *, stream: bool) -> Target:
        return Target(self.name, self._port, "/v1/chat/completions", _authorization(self._key))

    async def start(self) -> None:
        path = self.folder / "litellm.yaml"
        path.write_text(json.dumps(self._configuration()), encoding="utf-8")  # JSON is YAML
        command = [
            *(_peer("litellm/bin/litellm"), "--config", str(path)),
            *("--host", HOST, "--port", str(self._port), "--num_workers", "1"),
        ]
        variables = {
            "PHOENIX_COLLECTOR_HTTP_ENDPOINT": (
                f"http://{HOST}:{self.upstreams.collector_port}/v1/traces"
            ),
            "PHOENIX_PROJECT_NAME": "litellm",
            "LITELLM_LOG": "ERROR",
            "LITELLM_MODE": "PRODUCTION",
            # Else it asks the network for prices at its start.
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        }
        process = await launch(command, self._log(), role="gateway", variables=variables)
        self._processes.append(process)
        await ready(process, self._log(), self._answers)

    def _configuration(self) -> dict[str, object]:
        ports = {
            nginx.MODEL: self.upstreams.mock_port,
            nginx.PACED_MODEL: self.upstreams.paced_port,
        }
        return {
            "model_list": [
                {
                    "model_name": model,
                    "litellm_params": {
                        "model": f"openai/{model}",
                        "api_base": f"http://{HOST}:{port}/v1",
                        "api_key": _KEY,
                    },
                }
                for model, port in ports.items()
            ],
            "litellm_settings": {
                "callbacks": ["arize_phoenix"],
                "num_retries": 0,
                "request_timeout": 120,
                "telemetry": False,
            },
            "general_settings": {"master_key": self._key},
        }


class Portkey(Gateway):
    """Portkey's open gateway. What it logs goes to whoever reads its log page; nothing is kept."""

    name = PORTKEY

    def __init__(self, folder: Path, upstreams: Upstreams) -> None:
        super().__init__(folder, upstreams)
        [self._port] = free_ports(1)

    def target(self, *, stream: bool) -> Target:
        port = self.upstreams.paced_port if stream else self.upstreams.mock_port
        headers = _authorization(_KEY) | {
            "x-portkey-provider": "openai",
            "x-portkey-custom-host": f"http://{HOST}:{port}/v1",
        }
        return Target(self.name, self._port, "/v1/chat/completions", headers)

    async def start(self) -> None:
        if (node := shutil.which("node")) is None:
            raise BenchError("Node is not installed. Run: sh bench/proxy/peers/install.sh")
        command = [
            *(node, "--require", str(Path(__file__).with_name("loopback.cjs"))),
            _peer("portkey/node_modules/@portkey-ai/gateway/build/start-server.js"),
            f"--port={self._port}",
        ]
        process = await launch(command, self._log(), role="gateway")
        self._processes.append(process)
        await ready(process, self._log(), self._answers)


KINDS: dict[str, type[Gateway]] = {
    kind.name: kind for kind in (Direct, Nginx, Tracequill, LiteLLM, Portkey)
}


@contextlib.asynccontextmanager
async def running(
    names: Sequence[str], folder: Path, upstreams: Upstreams
) -> AsyncIterator[dict[str, Gateway]]:
    """Run the gateways *names*; starting them at once takes as long as the slowest."""
    gateways = {name: KINDS[name](folder / name, upstreams) for name in names}
    try:
        async with asyncio.TaskGroup() as tasks:
            for gateway in gateways.values():
                tasks.create_task(gateway.start())
        yield gateways
    finally:
        for gateway in gateways.values():
            await gateway.stop()


async def answers(target: Target) -> bool:
    """Whether *target* answers a call with a completion."""
    timeout = aiohttp.ClientTimeout(total=_ANSWER_SECONDS)
    url = f"http://{target.host}:{target.port}{target.path}"
    body = nginx.request_json(stream=False)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.post(url, json=body, headers=target.headers) as response,
        ):
            return response.status == 200 and "choices" in await response.json()
    except (aiohttp.ClientError, TimeoutError, ValueError):
        return False


def _peer(path: str) -> str:
    if not (PEERS / path).exists():
        raise BenchError(f".peers/{path} is missing. Run: sh bench/proxy/peers/install.sh")
    return str(PEERS / path)


def _authorization(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}
