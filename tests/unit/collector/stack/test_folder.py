"""One ``up`` holds a data directory; what a killed one left running is ended by the next."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import orjson
import pytest

from tracequill_collector.errors import StartError
from tracequill_collector.stack.child import start_ticks
from tracequill_collector.stack.folder import create_data_dir, locked


def test_the_data_directory_is_private(tmp_path: Path) -> None:
    create_data_dir(tmp_path / "a" / "b")

    assert (tmp_path / "a" / "b").stat().st_mode & 0o777 == 0o700


def test_a_data_directory_that_cannot_be_made_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(StartError, match=r"file/data.*Not a directory.*TRACEQUILL_DATA_DIR"):
        create_data_dir(tmp_path / "file" / "data")


def test_a_second_one_is_refused_and_told_who_holds_it(tmp_path: Path) -> None:
    with locked(tmp_path, "up"), pytest.raises(StartError, match=rf"pid {os.getpid()}\) uses"):
        with locked(tmp_path, "up"):
            pass

    with locked(tmp_path, "up"):
        pass


def test_a_process_that_a_killed_one_left_is_ended(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    (tmp_path / "up.json").write_bytes(
        orjson.dumps({"receiver": [process.pid, start_ticks(process.pid)]})
    )

    with locked(tmp_path, "up"):
        assert process.wait(10) == -signal.SIGKILL


def test_a_process_that_only_has_the_same_pid_is_left_alone(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    (tmp_path / "up.json").write_bytes(
        orjson.dumps({"receiver": [process.pid, start_ticks(process.pid) - 1]})
    )
    try:
        with locked(tmp_path, "up"):
            assert process.poll() is None
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("content", [b"", b"[]", b'{"a": 1}', b"\xff"])
def test_a_broken_state_file_stops_nothing(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "up.json").write_bytes(content)

    with locked(tmp_path, "up"):
        pass
