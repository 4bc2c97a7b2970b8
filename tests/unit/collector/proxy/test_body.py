from __future__ import annotations

import tracemalloc
from pathlib import Path

from tracequill_collector.proxy.body import BodyTee, memory_share_bytes

MEGABYTE = 1024 * 1024


def test_chunks_are_kept_in_order(tmp_path: Path) -> None:
    tee = BodyTee(100, tmp_path)
    tee.add(b"one ")
    tee.add(b"two")

    assert (tee.size, tee.take()) == (7, b"one two")


def test_past_the_cap_only_the_length_is_kept(tmp_path: Path) -> None:
    tee = BodyTee(5, tmp_path)
    tee.add(b"1234")
    tee.add(b"5678")
    tee.add(b"9")

    assert (tee.size, tee.take()) == (9, b"12345")


def test_a_large_body_leaves_memory_and_comes_back_whole(tmp_path: Path) -> None:
    tee = BodyTee(10 * MEGABYTE, tmp_path)
    for index in range(80):
        tee.add(bytes([index]) * 65536)
    held = tee._held

    assert held <= MEGABYTE
    assert tee.take() == b"".join(bytes([index]) * 65536 for index in range(80))
    assert list(tmp_path.iterdir()) == []


def test_many_calls_at_once_share_the_memory() -> None:
    assert memory_share_bytes(0) == memory_share_bytes(128) == 1024 * 1024
    assert memory_share_bytes(512) == 256 * 1024
    assert memory_share_bytes(1_000_000) == 64 * 1024


def test_past_its_share_a_body_leaves_memory(tmp_path: Path) -> None:
    tracemalloc.start()
    tee = BodyTee(1 << 20, tmp_path, 64 * 1024)
    for _ in range(100):
        tee.add(bytes(8 * 1024))
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert held < 128 * 1024
    assert tee.take() == bytes(100 * 8 * 1024)


def test_a_folder_that_cannot_be_written_cuts_the_record_and_raises_nothing(
    tmp_path: Path,
) -> None:
    tee = BodyTee(10 * MEGABYTE, tmp_path / "missing")
    for _ in range(4):
        tee.add(b"x" * MEGABYTE)

    kept = tee.take()
    assert tee.size == 4 * MEGABYTE
    assert kept == b"x" * len(kept)
    assert len(kept) < tee.size


def test_many_small_chunks_take_little_more_than_their_bytes(tmp_path: Path) -> None:
    """C25, class DoS: a stream of single bytes must not take fifty times its length."""
    tee = BodyTee(1 << 20, tmp_path)
    pieces = [bytes([number % 251]) * 2 for number in range(100_000)]
    tracemalloc.start()
    try:
        for piece in pieces:
            tee.add(piece + b"x")
        held_bytes = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()

    assert held_bytes < 600_000
    assert tee.take() == b"".join(piece + b"x" for piece in pieces)
