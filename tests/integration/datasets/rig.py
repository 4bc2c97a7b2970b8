"""What the tests of datasets share: commands, their ends, labels and examples."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import httpx

from tests.integration.fixtures_phoenix import PhoenixServer, clean_environment

Json = dict[str, Any]
Store = Callable[..., list[str]]
Command = Callable[..., subprocess.CompletedProcess[str]]

GOOD = "annotations['quality'].label == 'good'"
TOOLS = "openai-chat-tools"
MANY = [
    TOOLS,
    "bedrock-converse-tools",
    "bedrock-invoke-claude-tools",
    "openai-chat",
    "openai-responses",
]


def commands_of(server: PhoenixServer, folder: Path, **variables: str) -> Command:
    environment = clean_environment() | {
        "TRACEQUILL_PHOENIX_URL": server.base_url,
        "TRACEQUILL_DATABASE_URL": server.database_url,
        **variables,
    }

    def ran(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "tracequill", *arguments],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
        )

    return ran


def done(result: subprocess.CompletedProcess[str]) -> str:
    assert result.returncode == 0, result.stderr
    return result.stdout


def failed(result: subprocess.CompletedProcess[str], exit_code: int) -> str:
    assert result.returncode == exit_code, result.stderr
    assert "Traceback" not in result.stderr
    return result.stderr


def label(client: httpx.Client, span_ids: Sequence[str], label: str, **more: Any) -> None:
    """Store a label through Phoenix's own REST API."""
    data = [
        {
            "span_id": span_id,
            "name": "quality",
            "annotator_kind": "HUMAN",
            "result": {"label": label, "score": 1.0},
            **more,
        }
        for span_id in span_ids
    ]
    answer = client.post("/v1/span_annotations", params={"sync": True}, json={"data": data})
    assert answer.status_code == 200, answer.text


def examples(client: httpx.Client, dataset_id: str) -> list[Json]:
    found: list[Json] = client.get(f"/v1/datasets/{dataset_id}/examples").json()["data"]["examples"]
    return found
