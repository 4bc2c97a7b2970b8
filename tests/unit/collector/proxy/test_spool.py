from __future__ import annotations

import errno
import hashlib
from pathlib import Path

import pytest

from tracequill_collector.proxy.spool import Spool

MEGABYTE = 1024 * 1024


def test_a_small_body_stays_in_memory(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    for chunk in (b"", b"ab", b"c"):
        spool.add(chunk)

    assert spool.is_in_memory
    assert (spool.size, spool.sha256) == (3, hashlib.sha256(b"abc").hexdigest())
    assert spool.take() == b"abc"


async def test_a_large_body_comes_back_from_a_file_without_a_name(tmp_path: Path) -> None:
    chunks = [bytes([number]) * 300_000 for number in range(9)]
    spool = Spool(tmp_path)
    for chunk in chunks:
        spool.add(chunk)
    assert not spool.is_in_memory
    spool.rewind()

    read = []
    while part := await spool.read():
        read.append(part)
    spool.close()

    assert b"".join(read) == b"".join(chunks)
    assert spool.sha256 == hashlib.sha256(b"".join(chunks)).hexdigest()
    assert max(map(len, read)) <= MEGABYTE
    assert list(tmp_path.iterdir()) == []


async def test_nothing_is_read_after_the_end_of_the_call(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    spool.add(b"x" * 2 * MEGABYTE)
    spool.rewind()
    spool.close()

    assert await spool.read() == b""


def test_past_its_share_of_memory_a_body_lies_in_a_file(tmp_path: Path) -> None:
    spool = Spool(tmp_path, 1000)
    spool.add(bytes(1000))
    assert spool.is_in_memory

    spool.add(b"x")
    assert not spool.is_in_memory
    spool.close()


def test_a_full_disk_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(**_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("tracequill_collector.proxy.spool.tempfile.TemporaryFile", full)
    spool = Spool(tmp_path)

    with pytest.raises(OSError, match="No space"):
        spool.add(b"x" * 2 * MEGABYTE)
