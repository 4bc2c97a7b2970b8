"""From labelled spans to a dataset and a training file, through the running Phoenix.

The spans are real: made with the real clients, traced by the real instrumentors, decoded by the
collector and written by its exporter.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans

from tests.exchange_cases import own_case
from tests.integration.fixtures_phoenix import (
    ADMIN_SECRET,
    PhoenixServer,
    clean_environment,
    execute,
    run,
)
from tests.integration.sdk_replay import Applications, applications
from tracequill_collector.exporter.postgres import PostgresExporter
from tracequill_collector.pipeline import Record, RecordKind
from tracequill_collector.processor.decode import decode
from tracequill_phoenix.dataset_export.openai_chat import validate_line

pytestmark = pytest.mark.integration

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


@pytest.fixture(scope="module")
def apps() -> Iterator[Applications]:
    with applications() as running:
        yield running


@pytest.fixture
def client(phoenix_server: PhoenixServer) -> Iterator[httpx.Client]:
    with phoenix_server.client() as client:
        yield client


@pytest.fixture
def store(apps: Applications, phoenix_server: PhoenixServer) -> Store:
    """Make the calls of cases and store their spans in a project; give their ids."""

    def stored(project: str, *cases: str) -> list[str]:
        spans = [apps.run(own_case(case))[0] for case in cases]
        payload = encode_spans(spans).SerializeToString()
        record = Record(
            RecordKind.OTLP_TRACES, 0, payload, "application/x-protobuf", project_name=project
        )
        decoded = decode(record, max_bytes=1 << 30).spans
        run(_store(phoenix_server.database_url, decoded))
        return [json.loads(span.to_json())["context"]["span_id"][2:] for span in spans]

    return stored


async def _store(url: str, spans: Sequence[Any]) -> None:
    async def reject(rejected: Sequence[Any]) -> None:
        raise AssertionError(rejected)

    exporter = PostgresExporter(url, schema=None, reject=reject)
    await exporter.consume(spans)
    await exporter.close()


@pytest.fixture
def command(phoenix_server: PhoenixServer, tmp_path: Path) -> Command:
    """Run ``tracequill`` beside the server, in an empty folder."""
    return commands_of(phoenix_server, tmp_path)


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


def rows(path: Path) -> list[Json]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def examples(client: httpx.Client, dataset_id: str) -> list[Json]:
    found: list[Json] = client.get(f"/v1/datasets/{dataset_id}/examples").json()["data"]["examples"]
    return found


# --- the way through ---------------------------------------------------------------------


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


def test_examples_are_those_of_phoenixs_own_button_less_who_the_annotator_is(
    store: Store, client: httpx.Client, command: Command
) -> None:
    span_ids = store("button", *MANY)
    label(client, span_ids, "good", metadata={"minutes": 2})
    label(client, span_ids[:2], "bad", identifier="second", annotator_kind="LLM")
    ours = json.loads(done(command("dataset", "build", "ours", "--project", "button", "--json")))
    theirs = add_by_button(client, "theirs", span_ids)

    def comparable(dataset_id: str) -> list[Json]:
        found = []
        for example in examples(client, dataset_id):
            for group in example["metadata"]["annotations"].values():
                for annotation in group:
                    annotation.pop("email", None)
                    annotation.pop("username", None)
            found.append({key: example[key] for key in ("input", "output", "metadata")})
        return sorted(found, key=json.dumps)  # the button's are in no order

    assert "email" not in json.dumps(examples(client, ours["dataset_id"]))
    assert comparable(ours["dataset_id"]) == comparable(theirs)


def add_by_button(client: httpx.Client, name: str, span_ids: Sequence[str]) -> str:
    """Do what "Add spans to dataset" does in Phoenix's page."""

    def graphql(query: str, **variables: Any) -> Json:
        answer = client.post("/graphql", json={"query": query, "variables": variables}).json()
        assert not answer.get("errors"), answer
        data: Json = answer["data"]
        return data

    made = graphql(
        "mutation($name: String!) { createDataset(input: {name: $name}) { dataset { id } } }",
        name=name,
    )
    dataset_id: str = made["createDataset"]["dataset"]["id"]
    nodes = [
        graphql("query($id: String!) { getSpanByOtelId(spanId: $id) { id } }", id=span_id)
        for span_id in span_ids
    ]
    graphql(
        "mutation($input: AddSpansToDatasetInput!) { addSpansToDataset(input: $input)"
        " { dataset { id } } }",
        input={
            "datasetId": dataset_id,
            "spanIds": [node["getSpanByOtelId"]["id"] for node in nodes],
        },
    )
    return dataset_id


def test_a_page_that_is_open_learns_of_the_dataset(
    store: Store, client: httpx.Client, command: Command
) -> None:
    store("event", TOOLS)
    built = json.loads(done(command("dataset", "build", "event", "--project", "event", "--json")))
    query = "query($id: ID!) { node(id: $id) { ... on Dataset { lastUpdatedAt exampleCount } } }"
    body = {"query": query, "variables": {"id": built["dataset_id"]}}
    deadline = time.monotonic() + 10
    while True:  # Phoenix handles its events ten times a second
        node = client.post("/graphql", json=body).json()["data"]["node"]
        if node["lastUpdatedAt"] or time.monotonic() > deadline:
            break
        time.sleep(0.05)

    assert node["exampleCount"] == 1
    assert node["lastUpdatedAt"]


# --- datasets ----------------------------------------------------------------------------


def test_appending_adds_what_is_new_and_leaves_out_what_was_deleted(
    store: Store, client: httpx.Client, command: Command, tmp_path: Path
) -> None:
    first = store("append", TOOLS, "openai-chat")
    build = ("dataset", "build", "append", "--project", "append", "--append")
    built = json.loads(done(command(*build, "--json")))
    deleted = examples(client, built["dataset_id"])[1]
    answer = client.post(
        "/graphql",
        json={
            "query": "mutation($ids: [ID!]!) { deleteDatasetExamples(input: {exampleIds: $ids})"
            " { dataset { id } } }",
            "variables": {"ids": [deleted["node_id"]]},
        },
    )
    assert not answer.json().get("errors"), answer.text
    [third] = store("append", "openai-responses")
    again = json.loads(done(command(*build, "--json")))
    nothing = failed(command(*build), 1)

    assert built["created"] and not again["created"]
    assert (again["added"], again["skipped"]) == (1, 2)
    assert "nothing new for the dataset 'append'" in nothing
    done(command("export", "append", "-o", "new.jsonl"))
    done(command("export", "append", "-o", "old.jsonl", "--version", "1"))
    done(command("export", "append", "-o", "id.jsonl", "--version", again["version_id"]))
    spans = {
        name: json.loads((tmp_path / f"{name}.jsonl.manifest.json").read_text())["span_ids"]
        for name in ("new", "old", "id")
    }
    assert spans == {"new": [first[0], third], "old": first, "id": [first[0], third]}


def test_a_limit_takes_the_newest(store: Store, command: Command, tmp_path: Path) -> None:
    span_ids = store("limit", *MANY)
    done(command("dataset", "build", "limit", "--project", "limit", "--limit", "2"))
    done(command("export", "limit", "-o", "train.jsonl"))

    manifest = json.loads((tmp_path / "train.jsonl.manifest.json").read_text())
    assert manifest["span_ids"] == span_ids[-2:]


def test_datasets_are_listed(store: Store, command: Command) -> None:
    store("listed", TOOLS)
    done(command("dataset", "build", "listed", "--project", "listed"))

    listed = json.loads(done(command("dataset", "list", "--json")))["datasets"]
    assert {"name": "listed", "examples": 1}.items() <= {d["name"]: d for d in listed}[
        "listed"
    ].items()
    assert "listed" in done(command("dataset", "list"))


@pytest.mark.parametrize(
    ("arguments", "exit_code", "said"),
    [
        pytest.param(
            ["new", "--project", "wrnog"],
            2,
            "no project 'wrnog'. Did you mean 'wrong'?",
            id="project",
        ),
        pytest.param(["taken", "--project", "wrong"], 1, "a dataset 'taken' exists", id="taken"),
        pytest.param(
            ["new", "--project", "wrong", "--where", "annotations['q'.label"],
            2,
            "is not valid: '[' was never closed",
            id="syntax",
        ),
        pytest.param(
            ["new", "--project", "wrong", "--where", "annotations['q'].lable == 'x'"],
            2,
            "did you mean `.label`?",
            id="attribute",
        ),
        pytest.param(
            ["new", "--project", "wrong", "--where", "annotations['q'].label == 'x'"],
            1,
            "no span of the project 'wrong' matches",
            id="no match",
        ),
        pytest.param(["", "--project", "wrong"], 2, "name: ", id="name"),
    ],
)
def test_what_cannot_be_built_is_one_sentence_and_changes_nothing(
    arguments: list[str],
    exit_code: int,
    said: str,
    store: Store,
    client: httpx.Client,
    command: Command,
) -> None:
    store("wrong", TOOLS)
    command("dataset", "build", "taken", "--project", "wrong")
    before = client.get("/v1/datasets").json()

    stderr = failed(command("dataset", "build", *arguments), exit_code)
    assert said in stderr
    assert len(stderr.strip().splitlines()) == 1
    assert client.get("/v1/datasets").json() == before


def test_a_label_is_found_by_every_form_of_the_filter(
    store: Store, client: httpx.Client, command: Command
) -> None:
    first, second, _ = store("filter", TOOLS, "openai-chat", "openai-responses")
    label(client, [first], "good")
    label(client, [second], "bad")
    forms = {
        GOOD: 1,
        "annotations['quality'].label in ['good', 'bad']": 2,
        "annotations['quality'].score > 0.5 and span_kind == 'LLM'": 2,
        "not annotations['quality'].label == 'good'": 1,
        "'tool' in name or llm.finish_reason == 'stop'": 1,
    }
    for number, (where, count) in enumerate(forms.items()):
        name = f"filter-{number}"
        result = command(
            "dataset", "build", name, "--project", "filter", "--where", where, "--json"
        )
        assert json.loads(done(result))["added"] >= count, where


# --- exports -----------------------------------------------------------------------------


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


# --- provisioning ------------------------------------------------------------------------

CONFIGS = """
projects:
  - {name: provisioned, description: First.}
annotation_configs:
  - name: tone
    type: categorical
    optimization_direction: maximize
    values: [{label: friendly, score: 1}, {label: rude, score: 0}]
    projects: [provisioned]
  - {name: length, type: continuous, lower_bound: 0, upper_bound: 10, projects: [provisioned]}
  - {name: hint, type: freeform, description: "What to say instead?"}
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
    assert {config["name"] for config in shown} == {"tone", "length"}
    tone = client.get("/v1/annotation_configs/tone").json()["data"]
    assert tone["values"] == [{"label": "friendly", "score": 1.0}, {"label": "rude", "score": 0.0}]


# --- who may -----------------------------------------------------------------------------


def test_viewers_and_strangers_build_no_dataset(
    phoenix_with_users: PhoenixServer, tmp_path: Path
) -> None:
    with phoenix_with_users.client(Authorization=f"Bearer {ADMIN_SECRET}") as admin:
        user = {
            "auth_method": "LOCAL",
            "email": "reader@example.org",
            "username": "reader",
            "role": "VIEWER",
            "password": "Correct-Horse-7",
        }
        created = admin.post("/v1/users", json={"user": user, "send_welcome_email": False})
        assert created.status_code == 201, created.text
    body = {"name": "x", "project": "default"}
    with phoenix_with_users.client() as viewer:
        login = {"email": user["email"], "password": user["password"]}
        assert viewer.post("/auth/login", json=login).status_code == 204
        assert viewer.post("/tracequill/api/datasets", json=body).status_code == 403

    build = ("dataset", "build", "x", "--project", "default")
    stranger = commands_of(phoenix_with_users, tmp_path)
    owner = commands_of(phoenix_with_users, tmp_path, TRACEQUILL_PHOENIX_API_KEY=ADMIN_SECRET)
    assert "asks for an API key" in failed(stranger(*build), 1)
    assert "no span of the project 'default' is there" in failed(owner(*build), 1)
