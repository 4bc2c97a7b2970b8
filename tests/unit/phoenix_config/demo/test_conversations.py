from __future__ import annotations

import io
import os
from pathlib import Path
from typing import get_args

import pytest
from rich.console import Console

from tracequill.settings import Settings
from tracequill_phoenix import demo
from tracequill_phoenix.demo.calls import Calls, clean_environment, proxy_url
from tracequill_phoenix.demo.check import Found
from tracequill_phoenix.demo.conversations import (
    PROXY_SESSIONS,
    SUPPORT_SESSIONS,
    Verdict,
    Way,
)
from tracequill_phoenix.demo.labels import CONFIG
from tracequill_phoenix.demo.summary import print_summary
from tracequill_phoenix.provision_file import read_provision

TURNS = [turn for session in (*SUPPORT_SESSIONS, *PROXY_SESSIONS) for turn in session.turns]


def test_every_way_to_call_a_model_is_shown() -> None:
    assert {turn.way for turn in TURNS} == set(get_args(Way))


def test_sessions_have_several_turns_and_one_call_is_refused_in_each_application() -> None:
    for sessions in (SUPPORT_SESSIONS, PROXY_SESSIONS):
        assert all(len(session.turns) > 1 for session in sessions)
        ways = [turn.way for session in sessions for turn in session.turns]
        assert ways.count("wrong_model") == 1


def test_the_labels_are_those_of_the_annotation_config() -> None:
    wanted = read_provision(Path(demo.__file__).with_name("provision.yaml"))

    [config] = wanted.annotation_configs
    given = {turn.verdict.label for turn in TURNS if turn.verdict}
    assert config.name == CONFIG
    assert given == {label for label, _ in config.values}
    assert set(config.projects) == {project.name for project in wanted.projects}


def test_no_key_of_the_shell_stays_in_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        os, "environ", {"OPENAI_API_KEY": "sk-real", "AWS_PROFILE": "real", "HOME": "/home/me"}
    )

    clean_environment()

    assert "sk-real" not in os.environ.values()
    assert "AWS_PROFILE" not in os.environ
    assert os.environ["HOME"] == "/home/me"
    assert os.environ["NO_PROXY"] == "*"


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:4319"),
        ("0.0.0.0", "http://127.0.0.1:4319"),
        ("::1", "http://[::1]:4319"),
    ],
)
def test_the_proxy_is_called_where_this_machine_reaches_it(host: str, url: str) -> None:
    assert proxy_url(Settings.model_validate({"host": host})) == url


def test_the_summary_says_what_to_look_at() -> None:
    written = io.StringIO()
    calls = Calls("demo-support")
    calls.made["OpenAI chat"] = 3

    print_summary(
        Console(file=written, width=60),
        "http://127.0.0.1:6006",
        [Found(calls, ())],
        projects={"demo-support": "UHJvamVjdDoy"},
        labels=7,
        dataset={"dataset_id": "RGF0YXNldDox"},
        queue_url="http://127.0.0.1:6006/tracequill/annotate/1",
    )

    text = written.getvalue()
    assert "http://127.0.0.1:6006/projects/UHJvamVjdDoy/sessions\n" in text
    assert "http://127.0.0.1:6006/datasets/RGF0YXNldDox/examples\n" in text
    assert "7 labels 'quality'" in text
    assert "http://127.0.0.1:6006/tracequill/annotate/1\n" in text


def test_a_verdict_has_a_reason() -> None:
    verdicts: list[Verdict] = [turn.verdict for turn in TURNS if turn.verdict]

    assert len(verdicts) >= 8
    assert all(verdict.explanation for verdict in verdicts)
