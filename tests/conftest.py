"""What every test run says first."""

from __future__ import annotations

import os

import pytest
from hypothesis import settings

from tests.exchange_cases import CORPUS_VARIABLE

# A test says what is true, not how fast this machine is just now.
settings.register_profile("tests", deadline=None)
settings.load_profile("tests")


def pytest_report_header(config: pytest.Config) -> str:
    """Say whether recorded exchanges of real providers are tested too."""
    folder = os.environ.get(CORPUS_VARIABLE)
    if folder:
        return f"recorded exchanges: {folder}"
    return f"recorded exchanges: left out, {CORPUS_VARIABLE} is not set"
