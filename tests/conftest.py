"""What every test run says first."""

from __future__ import annotations

import os

import pytest

from tests.exchange_cases import CORPUS_VARIABLE


def pytest_report_header(config: pytest.Config) -> str:
    """Say whether recorded exchanges of real providers are tested too."""
    folder = os.environ.get(CORPUS_VARIABLE)
    if folder:
        return f"recorded exchanges: {folder}"
    return f"recorded exchanges: left out, {CORPUS_VARIABLE} is not set"
