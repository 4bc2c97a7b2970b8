"""The bench's sender against a real receiver: what it reports is what is in the queue."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from bench.ingest.sender import Order
from bench.ingest.sending import sending
from bench.ingest.spans import SPANS_A_TRACE, ids_of

from tests.integration.receiver_rig import ReceiverProcess

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[3]
TRACES = 4


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[ReceiverProcess]:
    """A receiver that takes work."""
    receiver = ReceiverProcess(tmp_path)
    receiver.start()
    yield receiver
    receiver.kill()


@pytest.fixture
def order(receiver: ReceiverProcess) -> Order:
    """Five requests."""
    return Order(
        address=receiver.grpc_address,
        salt=11,
        traces=TRACES,
        in_flight=2,
        seconds=20,
        spans=5 * TRACES * SPANS_A_TRACE,
    )


@pytest.mark.parametrize("spans_per_second", [0.0, 1000.0], ids=["closed", "paced"])
async def test_what_was_acknowledged_is_in_the_queue_under_the_ids_of_its_number(
    receiver: ReceiverProcess, order: Order, tmp_path: Path, spans_per_second: float
) -> None:
    async with sending(replace(order, spans_per_second=spans_per_second), tmp_path) as sender:
        report = await sender.result()
    receiver.stop()

    expected = {
        span_id
        for number, _, _ in report.acknowledged
        for span_id in ids_of(order.salt, number, TRACES).span_ids()
    }
    found = _span_ids(receiver)
    assert report.acknowledged_spans == len(found) == order.spans
    assert set(found) == expected
    assert report.answers == {"OK": 5}
    assert all(answered > sent for _, sent, answered in report.acknowledged)


async def test_who_is_too_far_ahead_of_what_is_stored_waits(order: Order, tmp_path: Path) -> None:
    status = tmp_path / "stored.json"
    status.write_text('{"values": {"stored_spans": 0}}')
    held_back = replace(
        order,
        in_flight=1,
        seconds=1,
        stored_file=str(status),
        max_behind_spans=2 * TRACES * SPANS_A_TRACE,
    )

    async with sending(held_back, tmp_path) as sender:
        report = await sender.result()

    assert len(report.acknowledged) == 2


def test_an_unsynced_module_runs_as_main_and_never_syncs(tmp_path: Path) -> None:
    (tmp_path / "asks.py").write_text(
        "import os, sys\nos.fdatasync(-1)\nos.fsync(-1)\nprint(__name__, sys.argv[1:])\n"
    )

    result = subprocess.run(
        [sys.executable, "-m", "bench.ingest.unsynced", "asks", "more"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )

    assert result.stdout == "__main__ ['more']\n"


def _span_ids(receiver: ReceiverProcess) -> list[str]:
    # Reading needs a loop of its own.
    with ThreadPoolExecutor(1) as pool:
        return [span.span_id.hex() for span in pool.submit(receiver.spans).result(30)]
