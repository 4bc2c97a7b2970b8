"""From an application's first call to a labelled trace and a training file, all parts real."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.acceptance.programs import INSTRUMENTED, PLAIN
from tests.acceptance.stack import Stack

pytestmark = pytest.mark.acceptance

VISIBLE_SECONDS = 90
LLM_KINDS = {"LLM", "EMBEDDING"}

Json = dict[str, Any]


def get(stack: Stack, path: str) -> Json:
    with urllib.request.urlopen(f"{stack.phoenix}{path}", timeout=30) as answer:
        body: Json = json.load(answer)
        return body


def spans_of(stack: Stack, project: str) -> list[Json]:
    """Every span of *project* that Phoenix's REST API gives; none while there is no project."""
    try:
        spans: list[Json] = get(
            stack, f"/v1/projects/{urllib.parse.quote(project)}/spans?limit=500"
        )["data"]
    except urllib.error.HTTPError as error:
        assert error.code == 404
        return []
    return spans


def await_spans(stack: Stack, project: str, count: int) -> list[Json]:
    """The LLM and embedding spans of *project*, once there are at least *count*."""
    deadline = time.monotonic() + VISIBLE_SECONDS
    while True:
        spans = [span for span in spans_of(stack, project) if span["span_kind"] in LLM_KINDS]
        if len(spans) >= count or time.monotonic() > deadline:
            return spans
        time.sleep(0.2)


@pytest.fixture(scope="module")
def mock_url(stack: Stack) -> Iterator[str]:
    """The mock upstream alone: what an application calls without the proxy."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tracequill_collector.mock.server", "--port", "0"],
        env=stack.environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    line = process.stdout.readline()
    yield line[line.index("http://") :].split()[0].rstrip("/")
    process.terminate()
    process.wait(60)
    process.stdout.close()


def application(stack: Stack, project: str, upstream: str) -> dict[str, str]:
    return {
        "APP_PROJECT": project,
        "APP_OPENAI": f"{upstream}/v1",
        "APP_BEDROCK": upstream,
        "AWS_ACCESS_KEY_ID": "not-a-key",
        "AWS_SECRET_ACCESS_KEY": "not-a-secret",
        "TRACEQUILL_ENDPOINT": stack.collector,
        "TRACEQUILL_PROXY_URL": stack.proxy,
    }


@pytest.fixture(scope="module")
def direct(stack: Stack, mock_url: str) -> list[Json]:
    """An instrumented application without the proxy."""
    calls = int(
        stack.run_program(INSTRUMENTED, **application(stack, "direct", mock_url)).split()[-1]
    )
    spans = await_spans(stack, "direct", calls)
    assert len(spans) == calls
    return spans


def test_an_instrumented_application_gives_one_llm_span_a_call(direct: list[Json]) -> None:
    names = sorted(span["name"] for span in direct)
    chats = [span for span in direct if span["attributes"].get("session.id") == "conv-1"]

    assert len(direct) == 7, names
    assert len(chats) == 4
    assert {span["attributes"]["user.id"] for span in chats} == {"u-7"}
    assert all(span["attributes"]["llm.token_count.prompt"] > 0 for span in chats)


def test_an_application_that_only_changed_its_base_url_gives_one_llm_span_a_call(
    stack: Stack,
) -> None:
    variables = application(stack, "plain", f"{stack.proxy}/mock")
    calls = int(stack.run_program(PLAIN, **variables).split()[-1])

    spans = await_spans(stack, "plain", calls)

    assert len(spans) == calls, [span["name"] for span in spans]
    sessions = {span["attributes"].get("session.id") for span in spans}
    assert "conv-9" in sessions


def test_an_instrumented_application_behind_the_proxy_still_gives_one_llm_span_a_call(
    stack: Stack,
) -> None:
    variables = application(stack, "both", f"{stack.proxy}/mock")
    calls = int(stack.run_program(INSTRUMENTED, **variables).split()[-1])

    spans = await_spans(stack, "both", calls)
    deadline = time.monotonic() + VISIBLE_SECONDS
    while True:
        everything = spans_of(stack, "both") + spans_of(stack, "default")
        facts = [span for span in everything if span["name"] == "tracequill.proxy"]
        if len(facts) >= calls or time.monotonic() > deadline:
            break
        time.sleep(0.2)

    assert len(spans) == calls
    assert len(facts) == calls
    assert {span["parent_id"] for span in facts} == {span["context"]["span_id"] for span in spans}
    assert not any("llm.token_count.total" in span["attributes"] for span in facts)


def test_tokens_costs_and_sessions_stand_in_phoenix(stack: Stack, direct: list[Json]) -> None:
    query = """query { projects { edges { node { name tokenCountTotal sessionCount
        costSummary { total { cost } } traceCount } } } }"""
    request = urllib.request.Request(
        f"{stack.phoenix}/graphql",
        data=json.dumps({"query": query}).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        body = json.load(answer)
    nodes = [edge["node"] for edge in body["data"]["projects"]["edges"]]
    project = next(node for node in nodes if node["name"] == "direct")
    tokens = sum(
        span["attributes"].get(f"llm.token_count.{kind}", 0)
        for span in direct
        for kind in ("prompt", "completion")
        if span["span_kind"] == "LLM"  # Phoenix leaves embeddings out of a project's total
    )

    assert project["tokenCountTotal"] == tokens
    assert project["sessionCount"] == 1
    assert project["traceCount"] == len({span["context"]["trace_id"] for span in direct})
    assert project["costSummary"]["total"]["cost"] > 0


CONFIGS = """
projects: [{name: direct}]
annotation_configs:
  - name: quality
    type: categorical
    optimization_direction: maximize
    values: [{label: good, score: 1}, {label: bad, score: 0}]
    projects: [direct]
"""


@pytest.fixture(scope="module")
def provisioned(stack: Stack, direct: list[Json], tmp_path_factory: pytest.TempPathFactory) -> None:
    file = tmp_path_factory.mktemp("provision") / "configs.yaml"
    file.write_text(CONFIGS)
    for _ in range(2):
        result = stack.run("provision", str(file))
        assert result.returncode == 0, result.stderr


def label_in_page(page: Page, stack: Stack, span: Json, label: str) -> None:
    """Do what an analyst does: open the trace, press Annotate, choose."""
    page.goto(f"/redirects/traces/{span['context']['trace_id']}")
    page.get_by_role("button", name="Annotate this span").click()
    page.get_by_role("button", name="Select an item").click()
    with page.expect_response(
        lambda answer: "mutation" in (answer.request.post_data or "")
    ) as saved:
        page.get_by_role("option", name=label).click()
    assert saved.value.ok
    expect(page.get_by_role("button", name=label)).to_be_visible()


@pytest.fixture(scope="module")
def tool_call(direct: list[Json]) -> Json:
    """The final answer of the tool conversation: it has a tool call in its history."""
    with_history = [
        span
        for span in direct
        if "llm.input_messages.3.message.tool_call_id" in json.dumps(span["attributes"])
        or any(
            key.endswith("message.role") and value == "tool"
            for key, value in span["attributes"].items()
        )
    ]
    assert len(with_history) == 1
    return with_history[0]


@pytest.fixture(scope="module")
def labelled(provisioned: None, stack: Stack, tool_call: Json, browser: Any) -> Json:
    context = browser.new_context(base_url=stack.phoenix, viewport={"width": 1440, "height": 900})
    label_in_page(context.new_page(), stack, tool_call, "good")
    context.close()
    return tool_call


def test_a_trace_shows_in_the_page_with_its_question_and_answer(
    page: Page, tool_call: Json
) -> None:
    page.goto(f"/redirects/traces/{tool_call['context']['trace_id']}")

    expect(page.get_by_text("What is the weather in Oslo?").first).to_be_visible()
    expect(page.get_by_text("get_weather").first).to_be_visible()


def test_a_label_given_in_the_page_is_stored_and_read_back(stack: Stack, labelled: Json) -> None:
    span_id = labelled["context"]["span_id"]

    found = get(stack, f"/v1/projects/direct/span_annotations?span_ids={span_id}")["data"]

    assert [(item["name"], item["result"]["label"]) for item in found] == [("quality", "good")]
    assert found[0]["source"] == "APP"
    assert found[0]["annotator_kind"] == "HUMAN"


def test_labelled_spans_become_a_dataset_and_a_valid_training_file(
    stack: Stack, labelled: Json, tmp_path: Path
) -> None:
    where = "annotations['quality'].label == 'good'"
    output = tmp_path / "train.jsonl"

    built = stack.run("dataset", "build", "loop-answers", "--project", "direct", "--where", where)
    exported = stack.run("export", "loop-answers", "--format", "openai-chat", "-o", str(output))

    assert built.returncode == 0, built.stderr
    assert exported.returncode == 0, exported.stderr
    rows = [json.loads(line) for line in output.read_text().splitlines()]
    assert len(rows) == 1
    assert_valid_openai_chat(rows[0])
    roles = [message["role"] for message in rows[0]["messages"]]
    assert roles == ["user", "assistant", "user", "assistant", "tool", "assistant"]
    assert rows[0]["tools"][0]["function"]["name"] == "get_weather"


def assert_valid_openai_chat(row: Json) -> None:
    """OpenAI's rules for a supervised fine-tuning example, written down apart from ours."""
    assert set(row) <= {"messages", "tools", "parallel_tool_calls"}
    assert row["messages"][-1]["role"] == "assistant"
    open_calls: set[str] = set()
    for message in row["messages"]:
        assert message["role"] in {"system", "developer", "user", "assistant", "tool"}
        assert message.get("content") is not None or message.get("tool_calls")
        for call in message.get("tool_calls", []):
            assert call["type"] == "function"
            assert isinstance(call["function"]["arguments"], str)
            json.loads(call["function"]["arguments"])
            open_calls.add(call["id"])
        if message["role"] == "tool":
            open_calls.remove(message["tool_call_id"])
    assert not open_calls
    for tool in row.get("tools", []):
        assert tool["type"] == "function"
        assert tool["function"]["parameters"]["type"] == "object"


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        pytest.param(
            ["dataset", "build", "x", "--project", "dirct"],
            1,
            r"dirct.*direct",
            id="an unknown project",
        ),
        pytest.param(
            ["dataset", "build", "x", "--project", "direct", "--where", "nonsense =="],
            1,
            r"nonsense",
            id="a filter that is none",
        ),
        pytest.param(
            ["export", "no-such", "--format", "openai-chat", "-o", "x.jsonl"],
            1,
            r"no-such",
            id="an unknown dataset",
        ),
    ],
)
def test_a_wrong_name_is_one_sentence(
    arguments: list[str], code: int, message: str, stack: Stack, direct: list[Json]
) -> None:
    result = stack.run(*arguments)

    assert result.returncode in (code, 2)
    assert "Traceback" not in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert re.search(message, result.stderr)


def test_a_second_up_on_the_same_data_is_refused_in_one_sentence(stack: Stack) -> None:
    result = stack.run("up")

    assert result.returncode == 1
    assert "another 'tracequill up'" in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1


def test_doctor_finds_nothing_wrong(stack: Stack) -> None:
    result = stack.run("doctor", "--json")

    assert result.returncode == 0, result.stdout + result.stderr
    findings = json.loads(result.stdout)["findings"]
    assert {"database", "schema", "round trip"} <= {finding["check"] for finding in findings}
    assert not [finding for finding in findings if finding["level"] == "failed"]


def test_psql_opens_a_shell_on_the_database(stack: Stack) -> None:
    result = stack.run("psql", "--", "-Atc", "SELECT count(*) > 0 FROM spans")

    assert result.stdout.strip() == "t"
