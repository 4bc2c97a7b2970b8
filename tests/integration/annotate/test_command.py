"""``tracequill queue`` beside the running Phoenix."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from tests.integration.annotate.rig import Call, named, write_calls
from tests.integration.fixtures_phoenix import PhoenixServer, clean_environment
from tests.ports import free_port
from tracequill.errors import CommandError, UsageError
from tracequill_phoenix.cli.queue import app

pytestmark = pytest.mark.integration

Command = Callable[..., Result]


@pytest.fixture
def queue(
    phoenix_server: PhoenixServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Command:
    for name in os.environ.keys() - clean_environment().keys():
        monkeypatch.delenv(name)
    monkeypatch.setenv("TRACEQUILL_PHOENIX_URL", phoenix_server.base_url)
    monkeypatch.chdir(tmp_path)

    def ran(*arguments: str) -> Result:
        result = CliRunner().invoke(app, arguments)
        if isinstance(result.exception, (CommandError, UsageError)):
            raise result.exception
        assert result.exit_code == 0, result.output
        return result

    return ran


@pytest.fixture(scope="module")
def project(phoenix_server: PhoenixServer) -> str:
    write_calls(phoenix_server, "command", [Call(), Call(model="claude"), Call(model="claude")])
    with named(phoenix_server, "Ana") as ana:
        ana.create("makes the label", "command")
    return "command"


def test_a_queue_is_made_added_to_and_listed(queue: Command, project: str) -> None:
    where = "llm.model_name == 'claude'"
    options = ["--project", project, "--annotation", "quality", "--overlap", "2", "--json"]

    made = json.loads(queue("create", "from the shell", "--where", where, *options).output)
    added = json.loads(queue("add", "from the shell", "--project", project, "--json").output)
    listed = json.loads(queue("list", "--json").output)["queues"]

    assert sorted(made) == ["items", "name", "url"]
    assert (made["name"], made["items"]) == ("from the shell", 2)
    assert "/tracequill/annotate/" in made["url"]
    assert (added["added"], added["already"], added["items"]) == (1, 2, 3)
    (row,) = [row for row in listed if row["name"] == "from the shell"]
    assert (row["items"], row["overlap"], row["url"]) == (3, 2, made["url"])
    assert "0 of 3 questions done, 0 answers: " in queue("status", "from the shell").output


def test_a_list_shows_whole_addresses_at_any_width(
    queue: Command, project: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = ["--project", project, "--annotation", "quality", "--json"]
    made = json.loads(queue("create", f"a name of {'many ' * 20}words", *options).output)
    monkeypatch.setenv("COLUMNS", "40")

    assert f"  {made['url']}" in queue("list").output.splitlines()


def test_one_question_is_one_question(queue: Command, project: str) -> None:
    options = ["--project", project, "--annotation", "quality", "--sample", "1"]

    assert "with 1 question: " in queue("create", "of one", *options).output
    assert "0 of 1 question done, 0 answers: " in queue("status", "of one").output


def test_what_cannot_be_done_is_one_sentence(queue: Command, project: str) -> None:
    options = ["--project", project, "--annotation", "quality"]
    queue("create", "taken", *options)

    with pytest.raises(CommandError, match=r"already.*tracequill queue add taken --project"):
        queue("create", "taken", *options)
    with pytest.raises(UsageError, match="filter is not valid"):
        queue("create", "wrong", "--where", "model ==", *options)
    with pytest.raises(UsageError, match=r"filter is not valid.* compared with =="):
        queue("create", "wrong", "--where", "llm.model_name = 'claude'", *options)
    with pytest.raises(UsageError, match=r"no answer .* matches the filter llm.model_name == 'cl'"):
        queue("create", "nothing", "--where", "llm.model_name == 'cl'", *options)
    with pytest.raises(
        UsageError, match=r"'nowhere'. There is: .*quality.* 'tracequill provision'"
    ):
        queue("create", "no label", "--project", project, "--annotation", "nowhere")
    with pytest.raises(UsageError, match=r"no project 'comand'. Did you mean 'command'"):
        queue("create", "no project", "--project", "comand", "--annotation", "quality")
    with pytest.raises(UsageError, match=r"no project 'nowhere'"):
        queue("add", "taken", "--project", "nowhere")
    with pytest.raises(UsageError, match=r"Did you mean 'taken'"):
        queue("status", "takne")


def test_the_answers_are_written_to_a_file_that_is_whole_or_not_there(
    phoenix_server: PhoenixServer, queue: Command, project: str, tmp_path: Path
) -> None:
    queue("create", "exported", "--project", project, "--annotation", "quality")
    with named(phoenix_server, "Ana") as ana:
        (made,) = [row for row in ana.get("/queues") if row["name"] == "exported"]
        (item,) = ana.lease(made)
        ana.answer(item)

    queue("export", "exported", "--output", "answers.csv")

    written = (tmp_path / "answers.csv").read_text(encoding="utf-8-sig")
    assert "Ana" in written
    assert "good" in written
    assert queue("export", "exported", "-o", "-", "--format", "jsonl").output.count("\n") >= 1
    with pytest.raises(UsageError, match="no format 'pdf'"):
        queue("export", "exported", "--output", "answers.pdf")
    with pytest.raises(UsageError, match="no queue"):
        queue("export", "unheard of", "--output", "other.csv")
    assert [path.name for path in tmp_path.iterdir()] == ["answers.csv"]


@pytest.mark.parametrize("kind", ["csv", "xlsx", "jsonl"])
def test_the_command_writes_what_the_page_downloads(
    phoenix_server: PhoenixServer, queue: Command, project: str, tmp_path: Path, kind: str
) -> None:
    queue("create", f"as {kind}", "--project", project, "--annotation", "quality")
    with named(phoenix_server, "Ana") as ana:
        (made,) = [row for row in ana.get("/queues") if row["name"] == f"as {kind}"]
        ana.answer(ana.lease(made)[0])
        path = f"/tracequill/api/queues/{made['queue_id']}/download"
        page = ana.client.get(path, params={"format": kind}).content

    queue("export", f"as {kind}", "--output", f"answers.{kind.upper()}")

    assert (tmp_path / f"answers.{kind.upper()}").read_bytes() == page


def test_a_phoenix_that_is_not_there_is_said_with_its_address(
    queue: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = f"http://127.0.0.1:{free_port()}"
    monkeypatch.setenv("TRACEQUILL_PHOENIX_URL", address)

    with pytest.raises(CommandError, match=f"does not answer at {address}") as refused:
        queue("list")
    assert refused.value.exit_code == 1
