"""Clients for JavaScript get the same through the proxy, on the wire and as objects."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.integration.clients.ways import Ways

pytestmark = pytest.mark.integration

FOLDER = Path(__file__).parents[2] / "javascript"


@pytest.fixture(scope="module", autouse=True)
def clients() -> None:
    """The clients, as the lock file names them."""
    subprocess.run(["sh", str(FOLDER.parent / "javascript.sh")], check=True)


def run(program: str, *arguments: str) -> Any:
    """Run one of the programs and give what it said."""
    result = subprocess.run(
        ["node", str(FOLDER / program), *arguments], capture_output=True, text=True, timeout=60
    )
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


def test_openai_for_npm_gets_the_same_through_the_proxy(ways: Ways) -> None:
    said, requests = ways.compare(lambda url: run("openai.mjs", f"{url}/v1"), "/openai")

    assert requests == 11
    assert said["chat"]["choices"][0]["message"]["content"] == "Grüße 😀"
    assert len(said["toolsStream"]["choices"][0]["message"]["tool_calls"]) == 2
    assert said["responsesStream"][-1]["type"] == "response.completed"
    assert said["image"]["data"][0]["b64_json"]
    assert said["upload"]["bytes"] > 100_000
    assert said["wrongKey"]["kind"] == "AuthenticationError"
    assert said["wrongModel"]["status"] == 404


def test_the_ai_sdk_gets_the_same_through_the_proxy(ways: Ways) -> None:
    said, requests = ways.compare(lambda url: run("ai_sdk.mjs", f"{url}/v1"), "/openai")

    assert requests == 9
    assert "".join(said["responsesStream"]["parts"]) == "Grüße 😀"
    assert "".join(said["chatStream"]["parts"]) == "Grüße 😀"
    assert said["tools"][0]["toolResults"][0]["output"] == "4 degrees in Paris"
    assert said["wrongModel"]["statusCode"] == 404


@pytest.mark.parametrize(
    ("key", "route"), [("bearer", "/bedrock/us-east-1"), ("signed", "/signed")]
)
def test_the_aws_sdk_for_javascript_gets_the_same_through_the_proxy(
    ways: Ways, key: str, route: str
) -> None:
    said, requests = ways.compare(lambda url: run("bedrock.mjs", url, key), route)

    assert requests == 5
    assert said["converse"]["message"]["content"] == [{"text": "Grüße 😀"}]
    assert len(said["invokeStream"]) > 3
    assert said["wrongModel"]["name"] == "ValidationException"
