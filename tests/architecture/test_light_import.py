"""What an application pays for ``import tracequill``, seen from a fresh process."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

HEAVY = {
    "aiohttp",
    "asyncpg",
    "fastapi",
    "grpc",
    "phoenix",
    "pydantic",
    "sqlalchemy",
    "starlette",
    "typer",
    "uvicorn",
    "yaml",
}


def loaded(statement: str) -> set[str]:
    """Give the top-level modules that are loaded after *statement*."""
    script = f"import json, sys\n{statement}\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True
    )
    return {name.partition(".")[0] for name in json.loads(done.stdout)}


@pytest.mark.parametrize(
    "statement",
    [
        pytest.param("import tracequill", id="the package"),
        pytest.param("import tracequill._command", id="the thin command"),
    ],
)
def test_importing_loads_nothing_that_only_a_server_needs(statement: str) -> None:
    modules = loaded(statement)

    assert "tracequill" in modules
    assert not modules & HEAVY
    assert not modules & {"opentelemetry", "openinference", "requests"}


def test_register_loads_no_grpc_and_no_server() -> None:
    modules = loaded("import tracequill; tracequill.register(auto_instrument=False)")

    assert "opentelemetry" in modules
    # openinference.instrumentation loads pydantic where it is installed; it does not need it.
    assert not modules & (HEAVY - {"pydantic"})
