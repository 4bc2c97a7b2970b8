"""Receiver, exporter and Postgres as real processes under load, and the faults done to them.

``async with Rig(folder, cluster) as rig`` starts all of it and the load; ``settle`` ends the
faults and says whether everything that was promised is kept.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.faults.link import Link
from tests.faults.load import Load
from tests.faults.oracle import judge, missing
from tests.faults.processes import Postgres, Service
from tests.ports import free_ports
from tracequill_collector.queue.dead_letters import DeadLetters
from tracequill_collector.status import read_status

SEED_VARIABLE = "TRACEQUILL_TEST_FAULT_SEED"
_DRAIN_SECONDS = 240.0
# What is not stored although the queue has been empty for so long is lost.
_EMPTY_SECONDS = 10.0
_MIB = 1024 * 1024


def chosen_seed() -> int:
    """The seed that TRACEQUILL_TEST_FAULT_SEED names, else a new one; printed for a repetition."""
    seed = int(os.environ.get(SEED_VARIABLE) or random.SystemRandom().randrange(1 << 32))
    print(f"{SEED_VARIABLE}={seed}")
    return seed


class Rig:
    """One collector with its database, in a folder of its own."""

    def __init__(
        self,
        folder: Path,
        cluster: Path,
        *,
        seed: int = 0,
        variables: Mapping[str, str] | None = None,
        through_link: bool = False,
        user: str = "postgres",
        database_setup: str = "",
        data_dir: Path | None = None,
        postgres_dir: Path | None = None,
        before: Sequence[str] = (),
        requests_per_second: float = 16.0,
        clients: int = 4,
    ) -> None:
        self.folder = folder
        self.data_dir = data_dir or folder / "data"
        self.queue_dir = self.data_dir / "collector" / "queue"
        self.http_port, self.grpc_port = free_ports(2)
        self.postgres = Postgres(postgres_dir or folder / "pg", cluster)
        self.link = Link(self.postgres.socket)
        self.load = Load(f"http://127.0.0.1:{self.http_port}", f"127.0.0.1:{self.grpc_port}", seed)
        # SIGTERM can come before the process has said what it does then.
        self.allowed_exit_codes = {0, -signal.SIGKILL, -signal.SIGTERM}
        self._variables = dict(variables or {})
        self._through_link = through_link
        self._user = user
        self._database_setup = database_setup
        self._requests_per_second = requests_per_second
        self._clients = clients
        self._stack = AsyncExitStack()
        environment = self._environment()
        self.receiver, self.exporter = (
            Service(f"tracequill_collector.service.{name}", folder, environment, before)
            for name in ("receiver", "exporter")
        )

    async def __aenter__(self) -> Self:
        await self._stack.__aenter__()
        try:
            await self._start()
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.load.stop()
        await self._stack.__aexit__(kind, error, traceback)

    async def _start(self) -> None:
        await self._stack.enter_async_context(self.link)
        url = self.postgres.url
        if self._through_link:
            url = f"postgresql://{self._user}@127.0.0.1:{self.link.port}/tracequill?sslmode=disable"
        url = url.replace("//postgres@", f"//{self._user}@")
        self.exporter.environment["TRACEQUILL_DATABASE_URL"] = url
        tasks = await self._stack.enter_async_context(asyncio.TaskGroup())
        running = [
            tasks.create_task(item.keep_running())
            for item in (self.postgres, self.receiver, self.exporter)
        ]
        for task in running:
            self._stack.callback(task.cancel)
        self.postgres.start()
        if self._database_setup:
            await self.postgres.execute(self._database_setup)
        self.receiver.start()
        self.exporter.start()
        if self._clients:
            self._stack.callback(self.load.stop)
            rate = self._requests_per_second
            tasks.create_task(self.load.run(clients=self._clients, requests_per_second=rate))
        await self._fresh_span_flows()

    def _environment(self) -> dict[str, str]:
        clean = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("TRACEQUILL_", "PHOENIX_", "OTEL_"))
        }
        return {
            **clean,
            # They end with the test, however that ends.
            "TRACEQUILL_PARENT_PID": str(os.getpid()),
            "TRACEQUILL_DATA_DIR": str(self.data_dir),
            "TRACEQUILL_OTLP_GRPC_PORT": str(self.grpc_port),
            "TRACEQUILL_OTLP_HTTP_PORT": str(self.http_port),
            "TRACEQUILL_QUEUE_KEEP_HOURS": "0",
            "TRACEQUILL_QUEUE_MAX_BYTES": str(256 * _MIB),
            **self._variables,
        }

    # --- what happens meanwhile ---------------------------------------------------------

    async def accepted(self, count: int, seconds: float = 60.0) -> None:
        """Wait until *count* more spans were accepted."""
        wanted = len(self.load.ledger.obligations) + count
        await until(lambda: len(self._watched_obligations()) >= wanted, seconds)

    def _watched_obligations(self) -> set[str]:
        assert not (found := self._odd_ends()), found
        return self.load.ledger.obligations

    async def stored(self, seconds: float = _DRAIN_SECONDS) -> None:
        """Wait until all is stored that was accepted before the call."""
        wanted = set(self.load.ledger.obligations)
        connection = await self.postgres.connect()
        try:
            deadline = time.monotonic() + seconds
            empty_since = float("inf")
            while left := await missing(connection, self.load.ledger) & wanted:
                assert not (found := self._odd_ends()), found
                now = time.monotonic()
                is_empty = self.exporter_says("queue_backlog_bytes") == 0
                empty_since = min(empty_since, now) if is_empty else float("inf")
                assert now < deadline and now - empty_since < _EMPTY_SECONDS, (
                    f"{len(left)} of {len(wanted)} obligations are not stored, as {min(left)}; "
                    f"backlog: {self.exporter_says('queue_backlog_bytes')} bytes; "
                    f"the exporter waits for {self.exporter_says('waiting')!r}"
                )
                await asyncio.sleep(0.2)
        finally:
            await connection.close(timeout=10)

    def exporter_says(self, name: str) -> object:
        """A value of the running exporter's status; None where it has said nothing yet."""
        status = read_status(self.data_dir / "collector" / "exporter.status.json")
        if status is None or status.pid != self.exporter.pid:
            return None
        return status.values.get(name)

    async def exporter_waits(self, seconds: float = 90.0) -> str:
        """Wait until the exporter says that it cannot store, and give its words."""
        await until(lambda: bool(self.exporter_says("waiting")), seconds)
        return str(self.exporter_says("waiting"))

    # --- the end ------------------------------------------------------------------------

    async def settle(self) -> None:
        """End the load, let everything drain, and check that what was promised is kept."""
        self.load.stop()
        for item in (self.postgres, self.receiver, self.exporter):
            item.start()
        await self.stored()
        await self._fresh_span_flows()
        await until(lambda: self.exporter_says("queue_backlog_bytes") == 0, 60)
        connection = await self.postgres.connect()
        try:
            differences = await judge(connection, self.load.ledger)
        finally:
            await connection.close(timeout=10)
        letters = DeadLetters(self.data_dir / "dead_letters").list()
        differences += [f"dead letter {letter.letter_id}: {letter.reason}" for letter in letters]
        differences += self._complaints()
        ledger = self.load.ledger
        print(
            f"{len(ledger.obligations)} obligations of {len(ledger.sent)} spans sent, "
            f"{ledger.retries} requests repeated; starts: receiver {self.receiver.starts}, "
            f"exporter {self.exporter.starts}, Postgres {self.postgres.starts}"
        )
        assert not differences, f"{len(differences)} differences:\n" + "\n".join(differences[:20])

    async def _fresh_span_flows(self) -> None:
        plans = self.load.planner.request()
        deadline = time.monotonic() + 60
        while not await self.load.send_one(plans):
            assert time.monotonic() < deadline, "a fresh span was not accepted within 60 s"
            await asyncio.sleep(0.2)
        await self.stored(60)

    def _complaints(self) -> list[str]:
        """What processes did that no fault explains."""
        found = self._odd_ends()
        for service in (self.receiver, self.exporter):
            for line in service.log.read_text(errors="replace").splitlines():
                if "Traceback (most recent call last)" in line:
                    found.append(f"{service.log.name} holds a traceback")
                    break
        return found

    def _odd_ends(self) -> list[str]:
        return [
            f"{service.log}: the process ended with {code}"
            for service in (self.receiver, self.exporter)
            for code in service.exit_codes
            if code not in self.allowed_exit_codes
        ]


async def until(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    """Return when *condition* is true; fail when it is not in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"it did not become true within {seconds} s"
        await asyncio.sleep(0.05)


# --- kills --------------------------------------------------------------------------------


async def kill_at_random(rig: Rig, rounds: int, seed: int, *, drain_every: int = 25) -> None:
    """kill -9 one or all of the processes, *rounds* times, each time at a random moment.

    Between two kills at least one request is accepted, and now and then all of it is stored: what
    never lives long enough to work would prove nothing.
    """
    choose = random.Random(seed)
    kills: list[tuple[int, Callable[[], Awaitable[None]]]] = [
        (6, _killer(rig.receiver, signal.SIGKILL)),
        (6, _killer(rig.exporter, signal.SIGKILL)),
        (3, _killer(rig.postgres, signal.SIGQUIT)),
        (2, _killer(rig.postgres, signal.SIGKILL)),
        (2, lambda: _kill_a_backend(rig)),
        (1, _killer(rig.receiver, signal.SIGTERM)),
        (1, _killer(rig.exporter, signal.SIGTERM)),
        (2, lambda: _kill_all(rig)),
    ]
    weights = [weight for weight, _ in kills]
    for number in range(1, rounds + 1):
        await rig.accepted(1)
        # The moment is what is random here: nothing is awaited that shows.
        await asyncio.sleep(choose.uniform(0, 1.0) ** 2)
        (_, kill) = choose.choices(kills, weights)[0]
        await kill()
        if number % drain_every == 0:
            await rig.stored()
    print(f"{rounds} rounds of kills")


def _killer(victim: Service | Postgres, number: int) -> Callable[[], Awaitable[None]]:
    async def kill() -> None:
        victim.send(number)

    return kill


async def _kill_a_backend(rig: Rig) -> None:
    for pid in await rig.postgres.others():
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


async def _kill_all(rig: Rig) -> None:
    for victim in (rig.receiver, rig.exporter, rig.postgres):
        victim.send(signal.SIGKILL)
