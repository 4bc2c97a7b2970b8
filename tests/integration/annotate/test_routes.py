"""What every route of ours asks before it does anything, Phoenix's own way."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.fixtures_phoenix import clean_environment

pytestmark = pytest.mark.integration

# They are asked for by POST since they carry a form, and write nothing.
READING = {"/tracequill/api/selection/expression", "/tracequill/api/selection/preview"}


def test_every_route_asks_who_it_is_and_whether_it_may() -> None:
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("describe_routes.py"))],
        env=clean_environment(),
        stdout=subprocess.PIPE,
        check=True,
        timeout=120,
    )
    routes = json.loads(done.stdout)

    assert len(routes) > 30
    for route in routes:
        always = {"authenticated", "prevent_access_in_read_only_mode"}
        assert always <= set(route["asked"]), route
        if any(tag.startswith("annotation") for tag in route["tags"]):
            assert "checked" in route["asked"], route
        if route["methods"] != ["GET"] and route["path"] not in READING:
            assert "is_not_locked" in route["asked"], route
