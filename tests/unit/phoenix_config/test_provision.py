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
