"""Labelled spans become the examples of a dataset, as Phoenix's own button makes them."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.integration.datasets.rig import (
    GOOD,
    MANY,
    TOOLS,
    Command,
    Json,
    Store,
    commands_of,
    done,
    examples,
    failed,
    label,
)
from tests.integration.fixtures_phoenix import ADMIN_SECRET, PhoenixServer

pytestmark = pytest.mark.integration


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
                group.sort(key=json.dumps)  # in the button's they are in no order
            found.append({key: example[key] for key in ("input", "output", "metadata")})
        return sorted(found, key=json.dumps)  # nor are its examples

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
