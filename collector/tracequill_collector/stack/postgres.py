"""The embedded Postgres: started, taken over, recovered and stopped by our own supervisor.

It listens on a Unix socket in a private folder and on nothing else. Its state is in
``<data_dir>/postgres``, its log in ``<data_dir>/postgres.log``. After kill -9 of anything the
next start just works: a server still running on the folder is taken over, a stale pid file is
removed, crash recovery is awaited however long it takes.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import shutil
import signal
import stat
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import asyncpg

from tracequill_collector.errors import StartError
from tracequill_collector.stack.child import die_with_parent, is_running
from tracequill_collector.stack.postgres_binaries import (
    MAJOR_VERSION,
    Account,
    choose_account,
    find_binaries,
    reachable_binaries,
)

DATABASE = "tracequill"
_STOP_SECONDS = 60
_POLL_SECONDS = 0.05
# Long operations say every few seconds that they are still at it.
_PROGRESS_SECONDS = 3.0
# Orphaned backends of a killed server leave by themselves; until then it cannot start again.
_ORPHAN_SECONDS = 60
_SETTINGS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "max_connections": "200",
    "shared_buffers": "256MB",
    "max_wal_size": "2GB",
    "random_page_cost": "1.1",
    "jit": "off",
    "log_startup_progress_interval": "2s",
    "log_min_messages": "warning",
    "autovacuum_vacuum_insert_scale_factor": "0.05",
}

Progress = Callable[[str], None]


class EmbeddedPostgres:
    """One PostgreSQL server on one folder."""

    def __init__(self, data_dir: Path, user: str | None = None) -> None:
        self._root = data_dir.absolute()
        self._cluster = self._root / "postgres"
        self._log = self._root / "postgres.log"
        self._wanted_user = user
        self._account: Account | None = None
        self._process: asyncio.subprocess.Process | None = None
        self._pid = 0
        self._install = Path()

    @property
    def socket_dir(self) -> Path:
        """A short private folder: the path of a Unix socket must stay below 108 bytes."""
        name = hashlib.sha256(os.fsencode(self._cluster)).hexdigest()[:10]
        return Path("/tmp") / f"tracequill-{os.geteuid()}-{name}"

    @property
    def url(self) -> str:
        """Where the database ``tracequill`` is."""
        return f"postgresql://postgres@/{DATABASE}?host={self.socket_dir}"

    @property
    def binaries(self) -> Path:
        """The folder with psql and its kin."""
        return self._install / "bin"

    @property
    def pid(self) -> int:
        """The server's process id; 0 when it does not run."""
        return self._pid

    async def start(self, progress: Progress) -> None:
        """Return when the server answers queries and its database exists."""
        install = find_binaries()
        self._account = choose_account(self._wanted_user, self._cluster)
        self._install = reachable_binaries(install, self._account)
        self._check_version()
        if not await self._take_over(progress):
            if not (self._cluster / "PG_VERSION").exists():
                progress("creating the database cluster")
                await asyncio.to_thread(self._create_cluster)
            await self._launch(progress)
        await self._create_database()

    async def wait(self) -> int:
        """Return the exit code when the server has stopped by itself; -1 if it is not ours."""
        if self._process is not None:
            return await self._process.wait()
        while is_running(self._pid, self._cluster):  # noqa: ASYNC110 - not our child: no event
            await asyncio.sleep(0.2)
        return -1

    async def stop(self) -> None:
        """Stop the server: connections are cut, everything committed is kept."""
        if not self._pid:
            return
        for kind, seconds in ((signal.SIGINT, _STOP_SECONDS), (signal.SIGQUIT, 10)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._pid, kind)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self.wait()
                    break
        self._pid, self._process = 0, None
        with contextlib.suppress(OSError):  # Postgres has removed its socket from it
            self.socket_dir.rmdir()

    # --- start --------------------------------------------------------------------------

    def _check_version(self) -> None:
        file = self._cluster / "PG_VERSION"
        if file.exists() and (version := file.read_text().strip()) != str(MAJOR_VERSION):
            raise StartError(
                f"{self._cluster} was made by PostgreSQL {version}; this Tracequill brings "
                f"PostgreSQL {MAJOR_VERSION}. Dump it with version {version}'s pg_dump and load "
                "it into a new data directory, or set TRACEQUILL_DATA_DIR to another folder."
            )

    async def _take_over(self, progress: Progress) -> bool:
        """Adopt a server that runs on our folder; False when none does (any more)."""
        pid_file = self._cluster / "postmaster.pid"
        try:
            pid = int(pid_file.read_text().splitlines()[0])
        except (FileNotFoundError, ValueError, IndexError):
            return False
        if not is_running(pid, self._cluster):
            # The pid may meanwhile belong to another process, which Postgres would take for itself.
            pid_file.unlink(missing_ok=True)
            return False
        progress(f"Postgres already runs here (pid {pid}): taking it over")
        self._pid, self._process = pid, None
        if await self._await_answer(progress):
            return True
        self._pid = 0
        return False

    async def _launch(self, progress: Progress) -> None:
        deadline = time.monotonic() + _ORPHAN_SECONDS
        while True:
            self._prepare_socket_dir()
            start = self._log.stat().st_size if self._log.exists() else 0
            await self._spawn()
            if await self._await_answer(progress):
                return
            last = self._log.read_bytes()[start:].decode(errors="replace")
            if "still in use" not in last or time.monotonic() > deadline:
                raise StartError(_why(last, self._log))
            progress("waiting for what is left of a killed Postgres to end")
            await asyncio.sleep(0.5)

    async def _spawn(self) -> None:
        options = [
            part for name, value in self._settings().items() for part in ("-c", f"{name}={value}")
        ]
        with self._reachable_cluster(self._cluster) as (path, descriptors):
            with self._log.open("ab") as log:
                self._process = await asyncio.create_subprocess_exec(
                    str(self.binaries / "postgres"),
                    "-D",
                    path,
                    *options,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    cwd="/",
                    start_new_session=True,
                    # SIGINT is Postgres's fast shutdown.
                    preexec_fn=die_with_parent(signal.SIGINT),
                    pass_fds=descriptors,
                    **self._credentials(),
                )
        self._pid = self._process.pid

    def _settings(self) -> dict[str, str]:
        return {**_SETTINGS, "unix_socket_directories": str(self.socket_dir)}

    async def _await_answer(self, progress: Progress) -> bool:
        """Wait until the server answers; False when it has ended instead."""
        began = said = time.monotonic()
        while True:
            if self._process is not None and self._process.returncode is not None:
                self._pid = 0
                return False
            if self._process is None and not is_running(self._pid, self._cluster):
                return False
            try:
                connection = await self._connect("postgres")
            except (OSError, asyncpg.PostgresError, TimeoutError):
                pass
            else:
                await connection.close()
                return True
            if time.monotonic() - said > _PROGRESS_SECONDS:
                said = time.monotonic()
                detail = _recovery_line(self._log)
                progress(f"waiting for Postgres, {said - began:.0f} s{detail}")
            await asyncio.sleep(_POLL_SECONDS)

    async def _connect(self, database: str) -> asyncpg.Connection[Any]:
        return await asyncpg.connect(
            host=str(self.socket_dir), user="postgres", database=database, timeout=10
        )

    async def _create_database(self) -> None:
        connection = await self._connect("postgres")
        try:
            exists = await connection.fetchval(
                "SELECT 1 FROM pg_database WHERE datname = $1", DATABASE
            )
            if not exists:
                await connection.execute(f'CREATE DATABASE "{DATABASE}"')
        finally:
            await connection.close()

    # --- folders ------------------------------------------------------------------------

    def _create_cluster(self) -> None:
        """Run initdb beside the final place and rename: a killed initdb leaves no half cluster."""
        building = self._cluster.with_name("postgres.new")
        shutil.rmtree(building, ignore_errors=True)
        building.mkdir(mode=0o700)
        if self._account is not None:
            os.chown(building, self._account.uid, self._account.gid)
        with self._reachable_cluster(building) as (path, descriptors):
            result = subprocess.run(
                [
                    str(self.binaries / "initdb"),
                    *("-D", path),
                    *("--username", "postgres"),
                    *("--auth", "trust"),  # the socket's folder is private to us
                    *("--encoding", "UTF8"),
                    *("--locale-provider", "builtin"),
                    *("--builtin-locale", "C.UTF-8"),
                    *("--locale", "C"),
                ],
                cwd="/",
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                pass_fds=descriptors,
                preexec_fn=die_with_parent(signal.SIGKILL),
                **self._credentials(),
            )
        if result.returncode != 0:
            shutil.rmtree(building, ignore_errors=True)
            raise StartError(
                f"initdb failed for {self._cluster}: {_initdb_reason(result.stderr)}. "
                "See that the disk has space and the folder can be written."
            )
        if self._cluster.exists():
            self._cluster.rmdir()
        building.rename(self._cluster)

    def _prepare_socket_dir(self) -> None:
        folder = self.socket_dir
        owner = self._account.uid if self._account else os.geteuid()
        try:
            folder.mkdir(mode=0o700)
            if self._account is not None:
                os.chown(folder, self._account.uid, self._account.gid)
        except FileExistsError:
            pass
        found = folder.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != owner or found.st_mode & 0o077:
            raise StartError(
                f"{folder} should be a private folder of user id {owner}, but it belongs to user "
                f"id {found.st_uid} with mode {stat.S_IMODE(found.st_mode):o}. Remove it."
            )
        # No server runs on our folder, so a lock of the socket is stale; its pid may be in use.
        for leftover in folder.iterdir():
            leftover.unlink(missing_ok=True)

    @contextlib.contextmanager
    def _reachable_cluster(self, cluster: Path) -> Iterator[tuple[str, tuple[int, ...]]]:
        """Give *cluster* as a path that the account can open, and the descriptors to pass."""
        if self._account is None:
            yield str(cluster), ()
            return
        descriptor = os.open(cluster, os.O_RDONLY | os.O_DIRECTORY)
        try:
            yield f"/proc/self/fd/{descriptor}", (descriptor,)
        finally:
            os.close(descriptor)

    def _credentials(self) -> dict[str, Any]:
        if self._account is None:
            return {}
        return {"user": self._account.uid, "group": self._account.gid, "extra_groups": []}


def _why(log: str, path: Path) -> str:
    fatal = [line for line in log.splitlines() if "FATAL:" in line or "PANIC:" in line]
    reason = fatal[-1].split(":  ", 1)[-1] if fatal else _last_line(log)
    advice = "Free some space." if "No space left" in log else f"See {path}."
    return f"the embedded Postgres did not start: {reason.rstrip('.')}. {advice}"


def _initdb_reason(text: str) -> str:
    """Give what went wrong; the last line only says what was cleaned up."""
    found = [line for line in text.splitlines() if ": error:" in line or "annot" in line]
    return _last_line("\n".join(found) or text)


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1].rstrip(".") if lines else "it said nothing"


def _recovery_line(log: Path) -> str:
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 4096))
            text = file.read().decode(errors="replace")
    except OSError:
        return ""
    lines = [line for line in text.splitlines() if "in progress" in line or "recovery" in line]
    return f": {lines[-1].split(':  ', 1)[-1]}" if lines else ""
