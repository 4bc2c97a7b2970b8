from __future__ import annotations

import pytest

from tracequill.errors import UsageError
from tracequill_phoenix.provision import Change, provision
from tracequill_phoenix.provision_file import parse_provision
from tracequill_phoenix.provision_testing import FakePhoenix

TEXT = """
projects:
  - {name: bot, description: A bot.}
annotation_configs:
  - name: quality
    type: categorical
    values: [{label: good, score: 1}, {label: bad, score: 0}]
    projects: [bot]
"""
ALL = [("project", "bot"), ("annotation config", "quality"), ("shown in", "quality in bot")]


def run(phoenix: FakePhoenix, text: str = TEXT, *, dry_run: bool = False) -> list[Change]:
    return provision(phoenix, parse_provision(text, "p.yaml"), dry_run=dry_run)


def results(changes: list[Change]) -> list[str]:
    return [change.result for change in changes]


def test_what_is_missing_is_created_and_a_second_run_changes_nothing() -> None:
    phoenix = FakePhoenix()
    first = run(phoenix)
    before = phoenix.snapshot()
    second = run(phoenix)

    assert [(change.kind, change.name) for change in first] == ALL
    assert results(first) == ["created"] * 3
    assert results(second) == ["unchanged"] * 3
    assert phoenix.snapshot() == before


def test_what_differs_is_updated_and_nothing_is_deleted() -> None:
    phoenix = FakePhoenix()
    run(phoenix)
    changed = TEXT.replace("A bot.", "Our bot.").replace("score: 0", "score: -1")

    assert results(run(phoenix, changed)) == ["updated", "updated", "unchanged"]
    assert results(run(phoenix, changed)) == ["unchanged"] * 3
    assert run(phoenix, "projects: [{name: bot}]") == [Change("project", "bot", "unchanged")]
    assert phoenix.shown == {("bot", "quality")}


def test_what_the_file_does_not_say_stays_as_it_is() -> None:
    phoenix = FakePhoenix()
    run(phoenix, TEXT.replace("type: categorical", "type: categorical\n    description: Why?"))

    assert results(run(phoenix)) == ["unchanged"] * 3


def test_a_dry_run_says_the_same_and_changes_nothing() -> None:
    phoenix = FakePhoenix()

    assert run(phoenix, dry_run=True) == run(FakePhoenix())
    assert phoenix.snapshot() == FakePhoenix().snapshot()


def test_a_project_that_exists_nowhere_is_said_before_anything_is_changed() -> None:
    phoenix = FakePhoenix()
    with pytest.raises(UsageError, match=r"line 5: .* 'bott', .* Did you mean 'bot'\?"):
        run(phoenix, TEXT.replace("projects: [bot]", "projects: [bott]"))

    assert phoenix.snapshot() == FakePhoenix().snapshot()


def test_a_project_that_only_phoenix_knows_may_be_named() -> None:
    phoenix = FakePhoenix()
    run(phoenix, "projects: [{name: bot}]")

    text = TEXT.replace("  - {name: bot, description: A bot.}", "  - {name: other}")
    assert results(run(phoenix, text)) == ["created"] * 3


QUEUES = f"""{TEXT}
queues:
  - name: first look
    project: bot
    where: llm.model_name == 'gpt-4o'
    labels: [quality]
    overlap: 2
    members: [ana@example.org]
    instructions: Judge the answer.
"""


def queue_result(phoenix: FakePhoenix, text: str = QUEUES, *, dry_run: bool = False) -> str:
    (change,) = [c for c in run(phoenix, text, dry_run=dry_run) if c.kind == "queue"]
    return change.result


def test_a_queue_is_made_once_with_what_its_selection_finds() -> None:
    phoenix = FakePhoenix()
    phoenix.found["bot"] = 7

    assert queue_result(phoenix, dry_run=True) == "created"
    assert phoenix.queues == {}
    assert queue_result(phoenix) == "created"
    before = phoenix.snapshot()
    assert queue_result(phoenix) == queue_result(phoenix, dry_run=True) == "unchanged"
    assert phoenix.snapshot() == before
    queue = phoenix.queues["first look"]
    assert (queue["items"], queue["overlap"], queue["where"]) == (
        7,
        2,
        "llm.model_name == 'gpt-4o'",
    )
    assert queue["labels"] == [{"name": "quality", "required": True, "multiple": False}]


def test_what_the_file_says_otherwise_of_a_queue_is_changed_and_the_rest_stays() -> None:
    phoenix = FakePhoenix()
    phoenix.found["bot"] = 7
    run(phoenix, QUEUES)

    changed = QUEUES.replace("overlap: 2", "overlap: 3").replace("ana@", "ben@")
    assert queue_result(phoenix, changed, dry_run=True) == "updated"
    assert phoenix.queues["first look"]["overlap"] == 2
    assert queue_result(phoenix, changed) == "updated"
    assert queue_result(phoenix, changed) == "unchanged"
    queue = phoenix.queues["first look"]
    assert (queue["overlap"], queue["items"]) == (3, 7)
    assert [member["name"] for member in queue["members"]] == ["ben"]
    less = changed.replace("    overlap: 3\n", "").replace(
        "    instructions: Judge the answer.\n", ""
    )
    assert queue_result(phoenix, less) == "unchanged"


def test_another_selection_adds_to_a_queue_and_an_empty_queue_is_filled_later() -> None:
    phoenix = FakePhoenix()
    assert queue_result(phoenix) == "created"
    assert queue_result(phoenix) == "unchanged"

    phoenix.found["bot"] = 7
    assert queue_result(phoenix, dry_run=True) == "updated"
    assert queue_result(phoenix) == "updated"
    assert queue_result(phoenix) == "unchanged"
    other = QUEUES.replace("gpt-4o", "gpt-5")
    assert queue_result(phoenix, other) == "updated"
    assert queue_result(phoenix, other) == "unchanged"
    assert phoenix.queues["first look"]["items"] == 14


def test_an_archived_queue_is_left_as_it_is() -> None:
    phoenix = FakePhoenix()
    run(phoenix, QUEUES)
    phoenix.queues["first look"]["archived"] = True

    assert queue_result(phoenix, QUEUES.replace("overlap: 2", "overlap: 3")) == "unchanged"
    assert phoenix.queues["first look"]["overlap"] == 2


@pytest.mark.parametrize(
    ("was", "is_now", "said"),
    [
        (
            "project: bot\n    where",
            "project: bto\n    where",
            "'bto', which does not exist. Did you mean 'bot'",
        ),
        ("labels: [quality]", "labels: [qualty]", "no annotation config. Did you mean 'quality'"),
        ("labels: [quality]", "labels: []", "at least one"),
        ("labels: [quality]", "labels: [quality, {name: quality}]", "twice"),
        ("labels: [quality]", "labels: [{name: quality, required: maybe}]", "true or false"),
        ("overlap: 2", "overlap: 21", "from 1 to 20"),
        ("overlap: 2", "overlap: 1.5", "whole number"),
        ("overlap: 2", "order: newst", "Did you mean 'newest'"),
        ("overlap: 2", "overlop: 2", "Did you mean 'overlap'"),
    ],
)
def test_a_mistake_in_a_queue_is_said_before_anything_is_changed(
    was: str, is_now: str, said: str
) -> None:
    phoenix = FakePhoenix()
    assert was in QUEUES

    with pytest.raises(UsageError) as refused:
        run(phoenix, QUEUES.replace(was, is_now))

    assert said in str(refused.value)
    assert "p.yaml, line" in str(refused.value)
    assert phoenix.projects == {}
