"""curl gets the same through the proxy: every byte of every answer, and the status."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.integration.clients.ways import Ways

pytestmark = pytest.mark.integration

_ID_LINES = (b"date:", b"x-tracequill-trace-id:", b"x-tracequill-span-id:")
_HOP_LINES = (b"connection:", b"transfer-encoding:")


def question(**more: Any) -> str:
    messages = [{"role": "user", "content": "Repeat after me: Grüße 😀"}]
    return json.dumps({"model": "gpt-4o-mini", "messages": messages, **more}, ensure_ascii=False)


def curl(url: str, *arguments: str) -> tuple[bytes, list[bytes]]:
    """Run curl as a person types it; give what it wrote, and the head that it was sent."""
    result = subprocess.run(
        ["curl", "-sS", "-D", "/dev/stderr", *arguments, url], capture_output=True, timeout=60
    )
    assert result.returncode == 0, result.stderr
    # The version is each connection's own.
    lines = result.stderr.split(b" ", 1)[1].split(b"\r\n")
    kept = [line for line in lines if not line.lower().startswith((*_ID_LINES, *_HOP_LINES))]
    return result.stdout, kept


def post(url: str, body: str, *arguments: str) -> tuple[bytes, list[bytes]]:
    return curl(
        f"{url}/v1/chat/completions",
        *("-H", "Authorization: Bearer sk-test", "-H", "Content-Type: application/json"),
        *("-d", body, *arguments),
    )


def test_curl_gets_an_answer(ways: Ways) -> None:
    (body, head), _ = ways.compare(lambda url: post(url, question()), "/openai")

    assert json.loads(body)["choices"][0]["message"]["content"] == "Grüße 😀"
    assert head[0] == b"200 OK"


def test_curl_shows_a_stream(ways: Ways) -> None:
    (body, _), _ = ways.compare(lambda url: post(url, question(stream=True), "-N"), "/openai")

    assert body.endswith(b"data: [DONE]\n\n")


def test_curl_takes_a_compressed_request_and_http_1_0(ways: Ways) -> None:
    (_, head), _ = ways.compare(
        lambda url: post(url, question(), "--http1.0", "--compressed"), "/openai"
    )

    assert head[0] == b"200 OK"


def test_curl_sees_a_wrong_key(ways: Ways) -> None:
    (body, head), _ = ways.compare(
        lambda url: curl(f"{url}/v1/models", "-H", "Authorization: Bearer invalid"), "/openai"
    )

    assert head[0] == b"401 Unauthorized"
    assert json.loads(body)["error"]["code"] == "invalid_api_key"


def test_curl_asks_for_a_head(ways: Ways) -> None:
    def ask(url: str) -> tuple[bytes, list[bytes]]:
        return curl(f"{url}/v1/models", "--head", "-o", "/dev/null")

    (_, head), _ = ways.compare(ask, "/openai")

    assert any(line.startswith(b"content-length: ") for line in head)


@pytest.mark.parametrize("size", [1_000, 3_000_000], ids=["small", "with Expect: 100-continue"])
def test_curl_uploads_a_file(ways: Ways, tmp_path: Path, size: int) -> None:
    file = tmp_path / "t.bin"
    file.write_bytes(bytes(range(256)) * (size // 256))

    (body, _), _ = ways.compare(
        lambda url: curl(f"{url}/v1/files", "-F", "purpose=fine-tune", "-F", f"file=@{file}"),
        "/openai",
    )

    assert json.loads(body)["bytes"] > file.stat().st_size


def test_curl_uploads_without_a_length(ways: Ways) -> None:
    def chunked(url: str) -> tuple[bytes, list[bytes]]:
        return post(url, question(), "-H", "Transfer-Encoding: chunked")

    (body, _), _ = ways.compare(chunked, "/openai")

    assert b"chat.completion" in body


def test_curl_calls_bedrock(ways: Ways) -> None:
    body = json.dumps({"messages": [{"role": "user", "content": [{"text": "Hello"}]}]})

    def call(url: str) -> tuple[bytes, list[bytes]]:
        return curl(
            f"{url}/model/us.amazon.nova-lite-v1%3A0/converse",
            *("-H", "Authorization: Bearer bedrock-key", "-d", body),
            *("-H", "Content-Type: application/json"),
        )

    (answer, _), _ = ways.compare(call, "/bedrock/us-east-1")

    assert json.loads(answer)["stopReason"] == "end_turn"
