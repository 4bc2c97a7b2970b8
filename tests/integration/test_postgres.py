"""The embedded Postgres starts, recovers, is taken over and stops, wherever its folder is."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import asyncpg
import pytest

from tracequill_collector.errors import StartError
from tracequill_collector.stack import postgres_binaries
from tracequill_collector.stack.child import is_running
from tracequill_collector.stack.postgres import EmbeddedPostgres

pytestmark = pytest.mark.integration


async def _write(url: str) -> None:
    connection = await asyncpg.connect(url)
    await connection.execute("CREATE TABLE kept (n int); INSERT INTO kept VALUES (42)")
    await connection.close()


async def _read(url: str) -> object:
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetchval("SELECT n FROM kept")
    finally:
        await connection.close()


def _modes(path: Path) -> list[int]:
    return [step.stat().st_mode for step in path.resolve().parents]


async def test_it_runs_below_a_folder_that_only_we_may_enter_and_changes_no_parent(
    tmp_path: Path,
) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    data_dir = closed / "data"
    data_dir.mkdir(mode=0o700)
    before = _modes(data_dir / "postgres")
    postgres = EmbeddedPostgres(data_dir)

    await postgres.start(lambda text: None)
    await _write(postgres.url)
    value = await _read(postgres.url)
    owner = os.stat(f"/proc/{postgres.pid}").st_uid
    await postgres.stop()

    assert value == 42
    assert owner != 0
    assert _modes(data_dir / "postgres") == before


async def test_after_kill_9_the_next_start_recovers_what_was_committed(tmp_path: Path) -> None:
    first = EmbeddedPostgres(tmp_path)
    await first.start(lambda text: None)
    await _write(first.url)
    os.kill(first.pid, signal.SIGKILL)
    await first.wait()

    second = EmbeddedPostgres(tmp_path)
    await second.start(lambda text: None)
    value = await _read(second.url)
    await second.stop()

    assert value == 42


async def test_a_server_that_still_runs_on_the_folder_is_taken_over_and_can_be_stopped(
    tmp_path: Path,
) -> None:
    first = EmbeddedPostgres(tmp_path)
    await first.start(lambda text: None)
    await _write(first.url)

    said: list[str] = []
    second = EmbeddedPostgres(tmp_path)
    await second.start(said.append)
    value = await _read(second.url)
    pid = second.pid
    await second.stop()

    assert pid == first.pid
    assert value == 42
    assert any("taking it over" in text for text in said)
    assert not is_running(pid, tmp_path / "postgres")


async def test_a_stale_pid_file_that_names_another_live_process_does_not_stop_the_start(
    tmp_path: Path,
) -> None:
    postgres = EmbeddedPostgres(tmp_path)
    await postgres.start(lambda text: None)
    await _write(postgres.url)
    os.kill(postgres.pid, signal.SIGKILL)
    await postgres.wait()
    pid_file = tmp_path / "postgres" / "postmaster.pid"
    lines = pid_file.read_text().splitlines()
    pid_file.write_text("\n".join([str(os.getpid()), *lines[1:]]))

    again = EmbeddedPostgres(tmp_path)
    await again.start(lambda text: None)
    value = await _read(again.url)
    await again.stop()

    assert value == 42


async def test_a_killed_initdb_leaves_nothing_that_stops_the_next_start(tmp_path: Path) -> None:
    half = tmp_path / "postgres.new"
    half.mkdir()
    (half / "PG_VERSION").write_text("18\n")

    postgres = EmbeddedPostgres(tmp_path)
    await postgres.start(lambda text: None)
    await postgres.stop()

    assert not half.exists()


async def test_a_cluster_of_another_major_version_is_refused_with_what_to_do(
    tmp_path: Path,
) -> None:
    cluster = tmp_path / "postgres"
    cluster.mkdir()
    (cluster / "PG_VERSION").write_text("15\n")

    with pytest.raises(StartError, match=r"made by PostgreSQL 15.*pg_dump"):
        await EmbeddedPostgres(tmp_path).start(lambda text: None)


async def test_it_listens_on_no_network_socket(tmp_path: Path) -> None:
    postgres = EmbeddedPostgres(tmp_path)
    await postgres.start(lambda text: None)
    connection = await asyncpg.connect(postgres.url)
    addresses = await connection.fetchval("SHOW listen_addresses")
    await connection.close()
    mode = postgres.socket_dir.stat().st_mode & 0o777
    await postgres.stop()

    assert addresses == ""
    assert mode == 0o700
    assert not postgres.socket_dir.exists()


_AS_NOBODY = """
import asyncio, os, pwd, sys
from pathlib import Path
import asyncpg, asyncpg.protocol.protocol, concurrent.futures.thread, encodings.idna, getpass, ssl
import stringprep, _posixsubprocess
from tracequill_collector.stack import postgres
from tracequill_collector.stack.postgres import EmbeddedPostgres
postgres.find_binaries = lambda: Path(sys.argv[2])
nobody = pwd.getpwnam("nobody")
os.setgroups([]); os.setgid(nobody.pw_gid); os.setuid(nobody.pw_uid)
os.environ["HOME"] = sys.argv[1]

async def main():
    server = EmbeddedPostgres(Path(sys.argv[1]))
    await server.start(print)
    connection = await asyncpg.connect(server.url)
    print(await connection.fetchval("SELECT 'answered'"))
    await connection.close()
    await server.stop()

asyncio.run(main())
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="every other test here runs as an ordinary user")
def test_it_runs_as_an_ordinary_user(tmp_path_factory: pytest.TempPathFactory) -> None:
    account = postgres_binaries.choose_account("nobody", Path("/nonexistent"))
    assert account is not None
    install = postgres_binaries.reachable_binaries(postgres_binaries.find_binaries(), account)
    home = Path(f"/tmp/tracequill-test-nobody-{os.getpid()}")
    home.mkdir(mode=0o700)
    os.chown(home, account.uid, account.gid)
    try:
        result = subprocess.run(
            [sys.executable, "-c", _AS_NOBODY, str(home), str(install)],
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert "answered" in result.stdout, result.stderr
        assert (home / "postgres").stat().st_uid == account.uid
    finally:
        subprocess.run(["rm", "-rf", str(home)], check=True)


async def test_it_dies_with_its_parent(tmp_path: Path) -> None:
    program = (
        "import asyncio, sys\n"
        "from pathlib import Path\n"
        "from tracequill_collector.stack.postgres import EmbeddedPostgres\n"
        "async def main():\n"
        "    server = EmbeddedPostgres(Path(sys.argv[1]))\n"
        "    await server.start(lambda text: None)\n"
        "    print(server.pid, flush=True)\n"
        "    await asyncio.sleep(60)\n"
        "asyncio.run(main())\n"
    )
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, str(tmp_path), stdout=subprocess.PIPE
    )
    assert parent.stdout is not None
    pid = int(await parent.stdout.readline())

    parent.kill()
    await parent.wait()
    async with asyncio.timeout(30):
        while is_running(pid):  # noqa: ASYNC110 - not our child: no event
            await asyncio.sleep(0.05)
