from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

_HEAD = """
    import asyncio, os, sys
    from tracequill.settings import Settings
    from tracequill_collector.errors import StartError
    from tracequill_collector.service.process import run_service
"""


def _start(folder: Path, main: str, **variables: str) -> subprocess.Popen[str]:
    inherited = {name: value for name, value in os.environ.items() if "TRACEQUILL" not in name}
    program = f"{textwrap.dedent(_HEAD)}\n{textwrap.dedent(main)}\nsys.exit(run_service('x', main))"
    return subprocess.Popen(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=folder,
        env={**inherited, **variables},
    )


_WAIT = """
    async def main(settings, stop):
        print("started", flush=True)
        await stop.wait()
        print("finished", flush=True)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_the_service_finish(tmp_path: Path, number: signal.Signals) -> None:
    with _start(tmp_path, _WAIT) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "started\n"
        process.send_signal(number)
        # A second one, as from a terminal and a supervisor at once, changes nothing.
        process.send_signal(signal.SIGTERM)
        said, logged = process.communicate(timeout=30)

    assert (process.returncode, said, logged) == (0, "finished\n", "")


@pytest.mark.parametrize(
    "main",
    [
        pytest.param(
            """
            async def main(settings, stop):
                raise StartError("the port is taken. Choose another.")
            """,
            id="at once",
        ),
        pytest.param(
            """
            async def fail():
                raise StartError("the port is taken. Choose another.")

            async def main(settings, stop):
                async with asyncio.TaskGroup() as outer:
                    outer.create_task(asyncio.sleep(60))
                    async with asyncio.TaskGroup() as inner:
                        inner.create_task(fail())
            """,
            id="deep in task groups",
        ),
    ],
)
def test_what_cannot_start_is_one_sentence_and_1(tmp_path: Path, main: str) -> None:
    with _start(tmp_path, main) as process:
        _, logged = process.communicate(timeout=30)

    assert (process.returncode, logged) == (
        1,
        "tracequill x: the port is taken. Choose another.\n",
    )


def test_a_wrong_setting_is_one_sentence_and_2(tmp_path: Path) -> None:
    with _start(tmp_path, _WAIT, TRACEQUILL_OTLP_HTTP_PORT="70000") as process:
        _, logged = process.communicate(timeout=30)

    assert process.returncode == 2
    assert logged.startswith("tracequill x: otlp_http_port is '70000'")
    assert logged.count("\n") == 1


def test_an_unexpected_error_is_logged_with_its_place_and_without_its_words(tmp_path: Path) -> None:
    main = """
        async def main(settings, stop):
            raise ZeroDivisionError("ours")
    """
    with _start(tmp_path, main) as process:
        _, logged = process.communicate(timeout=30)

    assert process.returncode == 1
    assert "x stopped by an unexpected error" in logged
    assert "ZeroDivisionError" in logged and ", in main" in logged
    assert "ours" not in logged


def test_what_is_written_is_for_this_user_alone(tmp_path: Path) -> None:
    main = """
        async def main(settings, stop):
            open("written", "w").close()
    """
    with _start(tmp_path, main) as process:
        process.communicate(timeout=30)

    assert process.returncode == 0
    assert (tmp_path / "written").stat().st_mode & 0o077 == 0


def test_a_parent_that_is_gone_already_stops_it(tmp_path: Path) -> None:
    """The variable names a process that is not the parent any more."""
    with _start(tmp_path, _WAIT, TRACEQUILL_PARENT_PID="1") as process:
        said, logged = process.communicate(timeout=30)

    assert (process.returncode, said) == (0, "started\nfinished\n")
    assert "the parent process has ended; stopping too" in logged
