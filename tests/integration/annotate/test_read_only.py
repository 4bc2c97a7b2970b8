"""What Phoenix refuses while it only shows, or while its storage is full, ours refuses too."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.integration.annotate.test_routes import READING
from tests.integration.fixtures_phoenix import clean_environment

pytestmark = pytest.mark.integration

Answers = dict[str, list[dict[str, Any]]]


@pytest.fixture(scope="module")
def answers() -> Answers:
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("refuse_writes.py"))],
        env=clean_environment(),
        stdout=subprocess.PIPE,
        check=True,
        timeout=120,
    )
    found: Answers = json.loads(done.stdout)
    return found


def test_a_phoenix_that_only_shows_answers_no_route_of_ours(answers: Answers) -> None:
    assert len(answers["read_only"]) > 30
    for answer in answers["read_only"]:
        assert answer["status"] == 403, answer
        assert "read-only" in answer["said"]


def test_every_write_is_refused_in_a_sentence_while_storage_is_full(answers: Answers) -> None:
    writes = [
        answer
        for answer in answers["full"]
        if answer["method"] != "GET" and answer["path"] not in READING
    ]

    assert len(writes) > 15
    for answer in writes:
        assert answer["status"] == 507, answer
        assert "storage" in json.loads(answer["said"])["detail"].lower()
