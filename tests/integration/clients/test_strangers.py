"""What somebody meets who gets the first step wrong: each answer says what to do."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import anthropic
import boto3
import openai
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, InvalidEndpointConfigurationError

from tests.integration.clients.ways import Ways
from tests.ports import free_port

pytestmark = pytest.mark.integration

QUESTION: Any = [{"role": "user", "content": "Hello"}]


def ask(base_url: str) -> str:
    with openai.OpenAI(base_url=base_url, api_key="k", max_retries=0) as client:
        answer = client.chat.completions.create(model="gpt-4o-mini", messages=QUESTION)
    return answer.choices[0].message.content or ""


def bedrock(url: str, **options: Any) -> Any:
    return boto3.client(
        "bedrock-runtime",
        region_name="us-east-1",
        endpoint_url=url,
        config=Config(retries={"total_max_attempts": 1}),
        **options,
    )


def converse(client: Any) -> Any:
    return client.converse(
        modelId="amazon.nova-lite-v1:0",
        messages=[{"role": "user", "content": [{"text": "Hello"}]}],
    )


@pytest.mark.parametrize(
    ("base", "hint"),
    [
        ("/v1", "there is no route 'v1'.*The route comes first, as in /openai/v1"),
        ("", "there is no route 'chat'.*as in /openai/v1/chat"),
        ("/opnai/v1", "there is no route 'opnai'.*Did you mean 'openai'"),
        ("/OpenAI/v1", "there is no route 'OpenAI'.*Did you mean 'openai'"),
        ("//openai/v1", "there is no route ''.*as in /openai/v1"),
        ("/openai", r"Invalid URL \(POST /chat/completions\)"),
    ],
)
def test_a_wrong_base_url_is_told_apart(ways: Ways, base: str, hint: str) -> None:
    ways.vendor.restart()

    with pytest.raises(openai.NotFoundError, match=hint):
        ask(ways.proxy.url(base))


def test_https_to_the_proxy_fails_at_once_and_harms_nobody(ways: Ways) -> None:
    address = ways.proxy.url("/openai/v1").replace("http:", "https:")

    with pytest.raises(openai.APIConnectionError) as raised:
        ask(address)

    assert "wrong version number" in str(raised.value.__cause__)
    assert ask(ways.proxy.url("/mock/v1"))
    assert "Traceback" not in ways.proxy.log


def test_a_signature_for_the_proxys_address_is_refused_with_what_to_set(ways: Ways) -> None:
    keys = {"aws_access_key_id": "AKIATEST", "aws_secret_access_key": "secret-test"}
    # Its upstream is AWS itself, which is never asked.
    with (
        closing(bedrock(ways.proxy.url("/aws"), **keys)) as client,
        pytest.raises(ClientError, match="TRACEQUILL_PROXY_SIGN=aws") as raised,
    ):
        converse(client)

    assert raised.value.response["Error"]["Code"] == "AccessDeniedException"


def test_boto3_sends_no_bearer_key_to_the_proxy_by_itself(
    ways: Ways, monkeypatch: pytest.MonkeyPatch
) -> None:
    """B11: clients send this key to different places (anthropic-sdk-python 1079)."""
    monkeypatch.setenv("AWS_BEARER_TOKEN_BEDROCK", "bedrock-key")
    with (
        closing(bedrock(ways.proxy.url("/bedrock/us-east-1"))) as client,
        pytest.raises(InvalidEndpointConfigurationError, match="requires an HTTPS endpoint"),
    ):
        converse(client)


class Command:
    """``tracequill …`` in a terminal."""

    def __init__(self, folder: Path, *words: str) -> None:
        clean = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("TRACEQUILL_", "PHOENIX_", "OTEL_"))
        }
        clean["TRACEQUILL_OTLP_HTTP_PORT"] = str(free_port())
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tracequill", *words],
            cwd=folder,
            env=clean | {"PYTHONUNBUFFERED": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.lines: list[str] = []
        self._came = threading.Condition()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def await_line(self, pattern: str) -> re.Match[str]:
        """Wait for a line that *pattern* is found in."""

        def found() -> re.Match[str] | None:
            return next((hit for line in self.lines if (hit := re.search(pattern, line))), None)

        with self._came:
            assert self._came.wait_for(found, 30), (pattern, self.lines)
        hit = found()
        assert hit is not None
        return hit

    def end(self) -> int:
        """Press Ctrl-C; the exit code."""
        self._process.send_signal(signal.SIGINT)
        return self.wait()

    def wait(self) -> int:
        """Wait for its end; the exit code."""
        code = self._process.wait(30)
        self._reader.join(10)
        return code

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as out:
            for line in out:
                with self._came:
                    self.lines.append(line.rstrip())
                    self._came.notify_all()


@contextmanager
def command(folder: Path, *words: str) -> Iterator[Command]:
    running = Command(folder, *words)
    try:
        yield running
    finally:
        code = running.end()
    assert code == 0, running.lines


def test_a_proxy_without_a_collector_takes_calls_and_says_where_they_wait(tmp_path: Path) -> None:
    port = free_port()
    with command(tmp_path, "proxy", "--proxy-port", str(port)) as proxy:
        base_url = proxy.await_line(r"for the mock +(http://\S+)")[1]
        assert proxy.await_line(r"for OpenAI +(\S+)")[1] == f"http://127.0.0.1:{port}/openai/v1"
        proxy.await_line("^ready$")
        assert ask(base_url)
        waits = proxy.await_line(r"exchanges are kept in the queue")[0]
        proxy.await_line(r"cannot be reached: Connection refused. Run 'tracequill collector'")

    assert waits
    assert not [line for line in proxy.lines if "Traceback" in line]


def test_the_mock_says_where_each_client_finds_it(tmp_path: Path) -> None:
    with command(tmp_path, "mock", "--port", "0") as mock:
        assert ask(mock.await_line(r"OpenAI +base_url=(\S+)")[1])
        url = mock.await_line(r"Anthropic +base_url=(\S+)")[1]
        with anthropic.Anthropic(base_url=url, api_key="k") as client:
            assert client.messages.create(
                model="claude-haiku-4-5", max_tokens=20, messages=QUESTION
            ).content
        url = mock.await_line(r"boto3 +endpoint_url=(\S+)")[1]
        keys = {"aws_access_key_id": "k", "aws_secret_access_key": "s"}
        with closing(bedrock(url, **keys)) as runtime:
            assert converse(runtime)["stopReason"] == "end_turn"


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (("proxy", "--proxy-port"), r"set TRACEQUILL_PROXY_PORT to a free port"),
        (("mock", "--port"), r"choose another with --port"),
    ],
    ids=["proxy", "mock"],
)
def test_a_taken_port_is_one_sentence(tmp_path: Path, words: tuple[str, str], what: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        running = Command(tmp_path, *words, str(port))
        line = running.await_line(what).string
        code = running.wait()

    assert code == 1
    assert running.lines == [line]
    assert re.search(rf"port {port} .*cannot be used[ :(]+Address already in use", line)
    assert line.count(str(port)) == 1


@pytest.mark.parametrize("name", ["proxy", "mock"])
def test_the_help_shows_what_holds_unless_told(tmp_path: Path, name: str) -> None:
    said = subprocess.run(
        [sys.executable, "-m", "tracequill", name, "--help"],
        cwd=tmp_path,
        env={**os.environ, "COLUMNS": "120"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout

    assert re.search(r"port .*\[default: (4319|9010)\]", said)
    assert "OpenAI" in said or "/openai/v1" in said
