"""Waiting shortened, for what waits between two tries."""

from __future__ import annotations

import pytest

from tracequill_collector.service import onward


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Send on again after next to nothing."""
    monkeypatch.setattr(onward, "_FIRST_DELAY_SECONDS", 0.001)
    monkeypatch.setattr(onward, "_MAX_DELAY_SECONDS", 0.01)
