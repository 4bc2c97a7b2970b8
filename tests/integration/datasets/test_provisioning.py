"""Projects and annotation configs of a file come to be in the running Phoenix."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.integration.datasets.rig import (
    Command,
    done,
)

pytestmark = pytest.mark.integration

CONFIGS = """
projects:
  - {name: provisioned, description: First.}
annotation_configs:
  - name: mood
    type: categorical
    optimization_direction: maximize
    values: [{label: friendly, score: 1}, {label: rude, score: 0}]
    projects: [provisioned]
  - {name: extent, type: continuous, lower_bound: 0, upper_bound: 10, projects: [provisioned]}
  - {name: advice, type: freeform, description: "What to say instead?"}
"""


def test_provisioning_twice_changes_nothing_the_second_time(
    client: httpx.Client, command: Command, tmp_path: Path
) -> None:
    (tmp_path / "p.yaml").write_text(CONFIGS)

    def provision(*options: str) -> tuple[int, int, int]:
        said = json.loads(done(command("provision", "p.yaml", "--json", *options)))
        return said["created"], said["updated"], said["unchanged"]

    assert provision("--dry-run") == (6, 0, 0)
    assert client.get("/v1/projects/provisioned").status_code == 404
    assert provision() == (6, 0, 0)
    assert provision() == (0, 0, 6)
    (tmp_path / "p.yaml").write_text(
        CONFIGS.replace("First.", "Second.").replace("upper_bound: 10", "upper_bound: 20")
    )
    assert provision("--dry-run") == (0, 2, 4)
    assert provision() == (0, 2, 4)
    assert provision() == (0, 0, 6)

    assert client.get("/v1/projects/provisioned").json()["data"]["description"] == "Second."
    shown = client.get("/v1/projects/provisioned/annotation_configs").json()["data"]
    assert {config["name"] for config in shown} == {"mood", "extent"}
    mood = client.get("/v1/annotation_configs/mood").json()["data"]
    assert mood["values"] == [{"label": "friendly", "score": 1.0}, {"label": "rude", "score": 0.0}]


QUEUES = f"""{CONFIGS}
queues:
  - name: provisioned queue
    project: provisioned
    where: "llm.model_name == 'gpt-4o'"
    labels: [mood, {{name: advice, required: false}}]
    overlap: 2
    instructions: Judge the answer.
"""


def test_a_queue_of_a_file_is_made_changed_and_filled_once(
    client: httpx.Client, command: Command, tmp_path: Path
) -> None:
    def provision(text: str, *options: str) -> str:
        (tmp_path / "q.yaml").write_text(text)
        said = json.loads(done(command("provision", "q.yaml", "--json", *options)))
        (queue,) = [change for change in said["changes"] if change["kind"] == "queue"]
        return str(queue["result"])

    def queue() -> dict[str, Any]:
        found = client.get("/tracequill/api/queues").json()["data"]
        (one,) = [one for one in found if one["name"] == "provisioned queue"]
        return dict(one)

    assert provision(QUEUES, "--dry-run") == "created"
    assert provision(QUEUES) == "created"
    made = queue()
    assert (made["overlap"], made["items"], made["project"]) == (2, 0, "provisioned")
    assert [(one["name"], one["required"]) for one in made["labels"]] == [
        ("mood", True),
        ("advice", False),
    ]
    assert provision(QUEUES) == provision(QUEUES, "--dry-run") == "unchanged"
    changed = QUEUES.replace("overlap: 2", "overlap: 3\n    members: [Ana]")
    assert provision(changed, "--dry-run") == "updated"
    assert provision(changed) == "updated"
    assert provision(changed) == provision(changed, "--dry-run") == "unchanged"
    assert [member["name"] for member in queue()["members"]] == ["Ana"]
    assert provision(changed.replace("gpt-4o", "gpt-5")) == "updated"
    assert queue()["where"] == "llm.model_name == 'gpt-5'"
    (named,) = json.loads(done(command("provision", "q.yaml", "--json")))["empty"]
    assert named == {
        "name": "provisioned queue",
        "project": "provisioned",
        "where": "llm.model_name == 'gpt-5'",
    }
    assert json.loads(done(command("provision", "q.yaml", "--json", "--dry-run")))["empty"] == []
    said = command("provision", "q.yaml").stderr
    assert "'provisioned queue' has 0 questions" in said
    assert "no answer that matches llm.model_name == 'gpt-5'" in said
