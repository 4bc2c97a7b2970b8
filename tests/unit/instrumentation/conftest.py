"""A clean environment: what this machine sets must not decide a test."""

from __future__ import annotations

import os

import pytest


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(("TRACEQUILL_", "PHOENIX_", "OTEL_", "OPENINFERENCE_")):
            monkeypatch.delenv(name)
