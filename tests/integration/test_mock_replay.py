"""``tracequill mock --replay``: real clients get what was recorded."""

from __future__ import annotations

import base64
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import anthropic
import boto3
import openai
import pytest
from botocore.config import Config

from tests.exchange_cases import FOLDER, own_case

pytestmark = pytest.mark.integration

_COMMAND = Path(sys.executable).with_name("tracequill")


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """Run the command on this repository's exchanges; end it as an operator does."""
    process = subprocess.Popen(
        [_COMMAND, "mock", "--port", "0", "--replay", FOLDER], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        first = process.stdout.readline()
        yield first.split()[2]
    finally:
        process.send_signal(signal.SIGTERM)
        process.stdout.read()
        process.wait(10)
        process.stdout.close()
    assert process.returncode == 0


def test_a_recorded_chat_and_its_stream_are_answered(address: str) -> None:
    with openai.OpenAI(base_url=f"{address}/v1", api_key="any", max_retries=0) as client:
        asked: Any = own_case("openai-chat-stream").request_json
        chunks = list(client.chat.completions.create(**asked))
        edited: Any = {"model": "nowhere", "messages": []}
        with pytest.raises(openai.NotFoundError, match="but not with this body; the nearest"):
            client.chat.completions.create(**edited)

    said = [choice.delta.content or "" for chunk in chunks for choice in chunk.choices]
    assert "".join(said).startswith("Into the Havel")


def test_a_recorded_form_is_answered_whatever_boundary_the_client_chooses(address: str) -> None:
    case = own_case("openai-audio-transcription-text")
    (file,) = (part for part in case.form if "filename" in part)
    wave = file["filename"], base64.b64decode(file["base64"]), file["content_type"]
    with openai.OpenAI(base_url=f"{address}/v1", api_key="any", max_retries=0) as client:
        text: Any = client.audio.transcriptions.create(
            model="whisper-1", response_format="text", file=wave
        )

    assert text == case.response_body.decode()


def test_other_vendors_are_answered_in_their_formats(address: str) -> None:
    with anthropic.Anthropic(base_url=address, api_key="any", max_retries=0) as claude:
        with pytest.raises(anthropic.NotFoundError, match="but not with this body"):
            claude.messages.create(model="nowhere", max_tokens=1, messages=[])
    bedrock = boto3.client(
        "bedrock-runtime",
        region_name="us-east-1",
        endpoint_url=address,
        aws_access_key_id="none",
        aws_secret_access_key="none",
        config=Config(retries={"total_max_attempts": 1}),
    )
    with closing(bedrock):
        case = own_case("bedrock-converse-stream")
        model = case.path.split("/")[2].replace("%3A", ":")
        answer = bedrock.converse_stream(modelId=model, **case.request_json)
        events = list(answer["stream"])

    assert [next(iter(event)) for event in events][:1] == ["messageStart"]
    assert "metadata" in events[-1]
