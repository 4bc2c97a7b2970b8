"""One upstream, one proxy and their taps for all clients."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.integration.clients.ways import Ways, two_ways


@pytest.fixture(scope="package")
def ways(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ways]:
    """The same upstream straight and through a proxy."""
    with two_ways(tmp_path_factory.mktemp("clients")) as both:
        yield both
