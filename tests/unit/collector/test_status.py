from __future__ import annotations

import json
import os
import time
from pathlib import Path

from tracequill_collector.status import read_status, write_status


def test_a_status_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "collector" / "exporter.status.json"
    write_status(path, {"spans_total": 7, "state": "waiting"})

    status = read_status(path)

    assert status is not None
    assert status.values == {"spans_total": 7, "state": "waiting"}
    assert status.pid == os.getpid()
    assert 0 <= status.age_seconds < 60


def test_a_second_status_replaces_the_first_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "status.json"
    write_status(path, {"a": 1})
    write_status(path, {"b": 2})

    status = read_status(path)

    assert status is not None
    assert status.values == {"b": 2}
    assert list(tmp_path.iterdir()) == [path]


def test_a_status_that_is_missing_or_damaged_is_none(tmp_path: Path) -> None:
    path = tmp_path / "status.json"
    assert read_status(path) is None
    for content in (b"", b"{", b"[]", b'{"pid": 1}', b'{"pid": 1, "monotonic_seconds": "x"}'):
        path.write_bytes(content)

        assert read_status(path) is None


def test_a_status_from_before_the_last_boot_is_infinitely_old(tmp_path: Path) -> None:
    path = tmp_path / "status.json"
    later = time.monotonic() + 1000
    path.write_text(json.dumps({"pid": 1, "monotonic_seconds": later, "values": {}}))

    status = read_status(path)

    assert status is not None
    assert status.age_seconds == float("inf")
