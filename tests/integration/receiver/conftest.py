"""Receiver processes for the tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.receiver_rig import SHARED_MAX_BYTES, ReceiverProcess


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ReceiverProcess]:
    """A receiver for tests that leave it running; their spans lie side by side in its queue."""
    receiver = ReceiverProcess(
        tmp_path_factory.mktemp("receiver"),
        {"TRACEQUILL_REQUEST_MAX_BYTES": str(SHARED_MAX_BYTES)},
    )
    receiver.start()
    yield receiver
    receiver.kill()


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[ReceiverProcess]:
    """A receiver of the test's own, not started."""
    process = ReceiverProcess(tmp_path)
    yield process
    process.kill()
