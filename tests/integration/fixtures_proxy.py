"""A real proxy process for the tests of a module."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.integration.proxy_rig import ProxyProcess


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProxyProcess]:
    """One that must stop in order, and must never have failed unexpectedly."""
    process = ProxyProcess(tmp_path_factory.mktemp("proxy"))
    process.start()
    yield process
    assert process.stop() == 0, process.log
    assert "unexpectedly" not in process.log
