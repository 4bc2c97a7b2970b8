"""What README.md tells a newcomer to run does what it says, word for word."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.stack import Stack
from tests.acceptance.test_loop import await_spans, get

pytestmark = pytest.mark.acceptance

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
QUEUES = "/tracequill/api/queues"


def blocks(language: str) -> list[str]:
    fences = re.findall(r"^```(\w*)\n(.*?)^```$", README, re.M | re.S)
    return [content for name, content in fences if name == language]


def test_the_five_lines_of_python_give_a_trace_with_session_and_user(stack: Stack) -> None:
    program = blocks("python")[0]

    stack.run_program(
        program,
        OPENAI_BASE_URL=f"{stack.proxy}/mock/v1",
        OPENAI_API_KEY="sk-not-a-key",
        TRACEQUILL_ENDPOINT=stack.collector,
        TRACEQUILL_PROXY_URL=stack.proxy,
    )

    spans = await_spans(stack, "support-bot", 1)
    assert [span["attributes"]["session.id"] for span in spans] == ["conv-42"]
    assert [span["attributes"]["user.id"] for span in spans] == ["u-7"]


def test_the_one_changed_line_records_a_call(stack: Stack) -> None:
    line = blocks("python")[1].replace("http://127.0.0.1:4319/openai/v1", f"{stack.proxy}/mock/v1")

    call = "client.embeddings.create(model='text-embedding-3-small', input='a')"

    stack.run_program(f"import openai\n{line}\n{call}", OPENAI_API_KEY="sk-not-a-key")

    names = {span["name"] for span in await_spans(stack, "default", 1)}
    assert "CreateEmbeddings" in names


def label_good(stack: Stack, project: str) -> None:
    span = await_spans(stack, project, 1)[0]
    annotation = {
        "span_id": span["context"]["span_id"],
        "name": "quality",
        "annotator_kind": "HUMAN",
        "result": {"label": "good"},
    }
    request = urllib.request.Request(
        f"{stack.phoenix}/v1/span_annotations?sync=true",
        data=json.dumps({"data": [annotation]}).encode(),
        headers={"Content-Type": "application/json"},
    )
    urllib.request.urlopen(request, timeout=30).close()


def test_the_commands_lead_from_labels_to_a_training_file(stack: Stack, tmp_path: Path) -> None:
    (commands,) = [block for block in blocks("") if "tracequill provision" in block]
    if not await_spans(stack, "support-bot", 1):
        test_the_five_lines_of_python_give_a_trace_with_session_and_user(stack)
    label_good(stack, "support-bot")
    script = commands.replace("deploy/", f"{ROOT}/deploy/")

    result = subprocess.run(
        ["sh", "-euc", script],
        env={**stack.environment, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
    )

    assert result.returncode == 0, result.stderr
    rows = [json.loads(line) for line in (tmp_path / "train.jsonl").read_text().splitlines()]
    assert rows[0]["messages"][-1]["role"] == "assistant"
    configs = {config["name"] for config in get(stack, "/v1/annotation_configs")["data"]}
    assert {"quality", "helpfulness", "remark"} <= configs


def test_the_line_that_makes_a_queue_makes_one(stack: Stack) -> None:
    (line,) = [block for block in blocks("sh") if "tracequill queue create" in block]
    if not await_spans(stack, "support-bot", 1):
        test_the_five_lines_of_python_give_a_trace_with_session_and_user(stack)
    provisioned = stack.run("provision", str(ROOT / "deploy" / "provision.example.yaml"))
    assert "0 questions" not in provisioned.stderr

    result = subprocess.run(
        ["sh", "-euc", line],
        env={**stack.environment, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert result.returncode == 0, result.stderr
    assert "answers to check" in {queue["name"] for queue in get(stack, QUEUES)["data"]}


def test_the_lines_for_bedrock_need_no_credentials(stack: Stack) -> None:
    lines = blocks("python")[2].replace(
        "http://127.0.0.1:4319/bedrock/us-east-1", f"{stack.proxy}/mock"
    )
    call = (
        "client.converse(modelId='amazon.nova-lite-v1:0', "
        "messages=[{'role': 'user', 'content': [{'text': 'Where is my parcel?'}]}])"
    )

    without_keys = dict.fromkeys(("AWS_ACCESS_KEY_ID", "AWS_DEFAULT_REGION"), "")

    said = stack.run_program(
        f"{lines}\nprint({call}['ResponseMetadata']['HTTPStatusCode'])",
        HOME=str(stack.data_dir),
        **without_keys,
    )

    assert said.strip() == "200"


def test_up_with_demo_shows_one_span_a_call_and_stops_in_order(tmp_path: Path) -> None:
    demo = Stack(tmp_path)
    try:
        demo.start("--demo")
        deadline = time.monotonic() + 120
        while not any("the demo" in line for line in demo.output):
            assert time.monotonic() < deadline, demo.output
            time.sleep(0.1)
        code = demo.stop()
    finally:
        demo.end()

    assert code == 0, demo.output
    assert any("the demo is done" in line for line in demo.output)
    assert any(line.endswith("/tracequill/annotate/") for line in demo.output)
    assert any("queue Support answers " in line for line in demo.output)
    assert demo.output[-2].endswith("stopped")
    assert demo.output[-1].endswith("stopping Postgres")


def pip_names(python: Path) -> set[str]:
    listed = subprocess.run(
        [python, "-m", "pip", "list", "--format=json"], capture_output=True, check=True
    )
    packages: list[dict[str, Any]] = json.loads(listed.stdout)
    return {package["name"].lower() for package in packages}


def test_the_library_installs_alone_in_an_empty_environment(tmp_path: Path) -> None:
    (line,) = [block.strip() for block in blocks("") if block.startswith("pip install")]
    assert line == "pip install ./tracequill"
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    python = tmp_path / "venv" / "bin" / "python"

    subprocess.run(
        [python, "-m", "pip", "install", "-q", "--disable-pip-version-check", ROOT], check=True
    )
    loaded = subprocess.run(
        [python, "-c", "import sys, tracequill; tracequill.register; print(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
    ).stdout.split()
    up = subprocess.run(
        [tmp_path / "venv" / "bin" / "tracequill", "up"], capture_output=True, text=True
    )

    assert "tracequill" in loaded
    assert not {"phoenix", "grpc", "aiohttp", "asyncpg"} & set(loaded)
    assert not {"arize-phoenix", "grpcio", "aiohttp", "asyncpg"} & pip_names(python)
    assert up.returncode == 1
    assert "pip install 'tracequill[collector]'" in up.stderr
    assert len(up.stderr.strip().splitlines()) == 1
