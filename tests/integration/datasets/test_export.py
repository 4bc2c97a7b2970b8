"""From labelled spans to a training file, through the running Phoenix."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import httpx
import pytest

from tests.integration.databases import execute, run
from tests.integration.datasets.rig import (
    GOOD,
    MANY,
    TOOLS,
    Command,
    Store,
    done,
    examples,
    failed,
    label,
)
from tests.integration.fixtures_phoenix import PhoenixServer
from tracequill_phoenix.dataset_export.openai_chat import validate_line

pytestmark = pytest.mark.integration


def test_labelled_spans_become_a_dataset_and_a_valid_training_file(
    store: Store, client: httpx.Client, command: Command, tmp_path: Path
) -> None:
    span_ids = store("way", *MANY)
    label(client, span_ids[:-1], "good")
    label(client, span_ids[-1:], "bad")

    built = json.loads(
        done(command("dataset", "build", "way", "--project", "way", "--where", GOOD, "--json"))
    )
    said = command("export", "way", "--format", "openai-chat", "-o", "train.jsonl", "--json")

    assert (built["added"], built["created"], built["skipped"]) == (4, True, 0)
    lines = (tmp_path / "train.jsonl").read_bytes().splitlines()
    assert [validate_line(line) for line in lines] == [[]] * 4
    manifest = json.loads((tmp_path / "train.jsonl.manifest.json").read_text())
    assert manifest.pop("span_ids") == span_ids[:-1]
    assert manifest == json.loads(done(said))
    content = (tmp_path / "train.jsonl").read_bytes()
    assert manifest["sha256"] == hashlib.sha256(content).hexdigest()
    assert (manifest["dataset"], manifest["version"], manifest["written"]) == ("way", 1, 4)
    assert "asks for at least 10" in said.stderr
    assert not any(span_id.encode() in content for span_id in span_ids)


def test_phoenixs_own_export_of_a_tool_call_is_not_valid_and_ours_is(
    store: Store, client: httpx.Client, command: Command, tmp_path: Path
) -> None:
    store("both", TOOLS)
    built = json.loads(done(command("dataset", "build", "both", "--project", "both", "--json")))

    theirs = client.get(f"/v1/datasets/{built['dataset_id']}/jsonl/openai_ft").content.splitlines()
    done(command("export", "both", "-o", "ours.jsonl"))
    ours = (tmp_path / "ours.jsonl").read_bytes().splitlines()

    assert len(theirs) == len(ours) == 1
    assert {finding.code for finding in validate_line(theirs[0])} >= {
        "tool_call_id_missing",
        "tool_call_type",
        "arguments_not_text",
    }
    assert validate_line(ours[0]) == []


def test_one_example_that_does_not_fit_refuses_the_whole_file(
    store: Store, command: Command, tmp_path: Path
) -> None:
    good, throttled, embedding = store(
        "bad", TOOLS, "bedrock-converse-throttled", "openai-embeddings"
    )
    done(command("dataset", "build", "bad", "--project", "bad"))

    stderr = failed(command("export", "bad", "-o", "train.jsonl", "--report", "report.json"), 1)
    assert "2 of 3 examples do not fit 'openai-chat'; nothing was written." in stderr
    assert f"example 2 (span {throttled}): the call ended in an error" in stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report.json"]
    report = json.loads((tmp_path / "report.json").read_text())
    assert [(f["row"], f["span_id"], f["code"]) for f in report["findings"]] == [
        (2, throttled, "call_failed"),
        (3, embedding, "no_messages"),
    ]

    said = done(command("export", "bad", "-o", "train.jsonl", "--skip-bad"))
    assert "2 left out (call_failed 1, no_messages 1)" in said
    assert json.loads((tmp_path / "train.jsonl.manifest.json").read_text())["span_ids"] == [good]


def test_a_span_that_is_gone_and_an_example_that_was_edited_are_refused(
    store: Store,
    client: httpx.Client,
    command: Command,
    phoenix_server: PhoenixServer,
    tmp_path: Path,
) -> None:
    gone, _, kept = store("gone", TOOLS, "openai-chat", "openai-responses")
    built = json.loads(done(command("dataset", "build", "gone", "--project", "gone", "--json")))
    run(execute(phoenix_server.database_url, f"DELETE FROM spans WHERE span_id = '{gone}'"))
    _, edited, noted = (e["node_id"] for e in examples(client, built["dataset_id"]))
    operations = [
        {"replace": {"exampleId": edited, "field": "OUTPUT", "value": {"messages": []}}},
        {"replace": {"exampleId": noted, "field": "METADATA", "value": {"note": "seen"}}},
    ]
    answer = client.post(
        "/graphql",
        json={
            "query": "mutation($input: PatchDatasetExamplesInput!) {"
            " patchDatasetExamples(input: $input) { dataset { id } } }",
            "variables": {"input": {"datasetId": built["dataset_id"], "operations": operations}},
        },
    )
    assert not answer.json().get("errors"), answer.text

    said = done(command("export", "gone", "-o", "train.jsonl", "--skip-bad"))
    assert "2 left out (example_edited 1, span_gone 1)" in said
    assert json.loads((tmp_path / "train.jsonl.manifest.json").read_text())["span_ids"] == [kept]


def test_strict_refuses_too_few_examples(store: Store, command: Command, tmp_path: Path) -> None:
    store("few", TOOLS)
    done(command("dataset", "build", "few", "--project", "few"))

    assert "at least 10; nothing was written" in failed(
        command("export", "few", "-o", "train.jsonl", "--strict"), 1
    )
    assert list(tmp_path.iterdir()) == []


def test_standard_output_gets_the_rows_and_nothing_else(store: Store, command: Command) -> None:
    store("stdout", *MANY)
    done(command("dataset", "build", "stdout", "--project", "stdout"))
    result = command("export", "stdout", "-o", "-", "--train-history")

    lines = done(result).splitlines()
    assert [validate_line(line) for line in lines] == [[]] * len(MANY)
    assert not any('"weight"' in line for line in lines)
    assert "written to standard output" in result.stderr


def test_an_unknown_dataset_is_one_sentence(store: Store, command: Command) -> None:
    store("near", TOOLS)
    done(command("dataset", "build", "good-answers", "--project", "near"))

    assert failed(command("export", "god-answers", "-o", "x"), 2).strip() == (
        "tracequill: there is no dataset 'god-answers'. Did you mean 'good-answers'?"
    )
