"""One call is one LLM span in Postgres: with the proxy alone, and with register() before it.

Vendors' own clients in a process of their own, as an application is; proxy, recorder, receiver and
exporter as processes; only the vendor is ours.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import asyncpg
import pytest

from tests.integration.collector.processes_rig import Processes, processes
from tests.integration.databases import database_url, execute, run
from tests.integration.vendor_server import VendorServer

pytestmark = pytest.mark.integration

APPLICATION = """
import asyncio, json, os
import anthropic, boto3, openai, tracequill
from botocore import UNSIGNED
from botocore.config import Config
from google import genai

URL = os.environ["APP_URL"]
QUESTION = [{"role": "user", "content": "Where is my parcel?"}]
CLAUDE = {"model": "claude", "max_tokens": 9, "messages": QUESTION}
GEMINI = {"model": "gemini-2.5-flash", "contents": "Where is my parcel?"}
GPT = {"model": "gpt-4o", "messages": QUESTION}
CONVERSE = {"modelId": "amazon.nova-lite-v1:0",
            "messages": [{"role": "user", "content": [{"text": "Where is my parcel?"}]}]}
BODY = json.dumps({"anthropic_version": "bedrock-2023-05-31", "max_tokens": 9,
                   "messages": QUESTION})
OPENAI = {"base_url": URL + "/openai/v1", "api_key": "k"}
ANTHROPIC = {"base_url": URL + "/anthropic", "api_key": "k"}
GOOGLE = {"http_options": {"base_url": URL + "/gemini"}, "api_key": "k"}
UNSIGNED_CALLS = Config(signature_version=UNSIGNED)

def bedrock_client():
    return boto3.client("bedrock-runtime", region_name="us-east-1", config=UNSIGNED_CALLS,
                        endpoint_url=URL + "/bedrock/us-east-1")

def ten_calls():
    with openai.OpenAI(**OPENAI) as client:
        client.chat.completions.create(**GPT)
        list(client.chat.completions.create(**GPT, stream=True))
    bedrock = bedrock_client()
    bedrock.converse(**CONVERSE)
    list(bedrock.converse_stream(**CONVERSE)["stream"])
    bedrock.invoke_model(modelId="anthropic.claude-3-haiku-20240307-v1:0", body=BODY)["body"].read()
    with anthropic.Anthropic(**ANTHROPIC) as client:
        client.messages.create(**CLAUDE)
        list(client.messages.create(**CLAUDE, stream=True))
        with client.messages.stream(**CLAUDE) as stream:
            stream.get_final_message()
    with genai.Client(**GOOGLE) as client:
        client.models.generate_content(**GEMINI)
        list(client.models.generate_content_stream(**GEMINI))

async def four_calls():
    async with openai.AsyncOpenAI(**OPENAI) as client:
        async for _ in await client.chat.completions.create(**GPT, stream=True): pass
    async with anthropic.AsyncAnthropic(**ANTHROPIC) as client:
        async with client.messages.stream(**CLAUDE) as stream:
            await stream.get_final_message()
    async with genai.Client(**GOOGLE).aio as client:
        await client.models.generate_content(**GEMINI)
        async for _ in await client.models.generate_content_stream(**GEMINI): pass

ten_calls(); asyncio.run(four_calls())
tracequill.register("both")
ten_calls(); asyncio.run(four_calls())
"""
CALLS = 14
SPANS = """
SELECT projects.name AS project, traces.trace_id, spans.span_id, spans.parent_id, spans.name,
    span_kind, llm_token_count_prompt + llm_token_count_completion AS tokens
FROM spans JOIN traces ON traces.id = spans.trace_rowid
JOIN projects ON projects.id = traces.project_rowid
"""


@pytest.fixture(scope="module")
def spans(
    tmp_path_factory: pytest.TempPathFactory, postgres_url: str, phoenix_template: str
) -> Iterator[list[Any]]:
    """Every span of an application that made its calls twice."""
    name = f"test_{secrets.token_hex(6)}"
    run(execute(postgres_url, f"CREATE DATABASE {name} TEMPLATE {phoenix_template}"))
    database = database_url(postgres_url, name)
    names = ("receiver", "exporter", "proxy", "recorder")
    with VendorServer() as vendor:
        variables = {
            f"TRACEQUILL_UPSTREAM_{route}": vendor.url
            for route in ("OPENAI", "BEDROCK", "ANTHROPIC", "GEMINI")
        }
        variables["TRACEQUILL_DATABASE_URL"] = database
        folder = tmp_path_factory.mktemp("one_span")
        with processes(folder, *names, **variables) as stack:
            _run_application(stack)
            yield run(_await_spans(database, 3 * CALLS))
    run(execute(postgres_url, f"DROP DATABASE {name} WITH (FORCE)"))


def _run_application(stack: Processes) -> None:
    proxy = f"http://127.0.0.1:{stack.proxy_port}"
    clean = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("TRACEQUILL_", "PHOENIX_", "OTEL_"))
    }
    variables = {
        "APP_URL": proxy,
        "TRACEQUILL_ENDPOINT": f"http://127.0.0.1:{stack.http_port}",
        "TRACEQUILL_PROXY_URL": proxy,
    }
    result = subprocess.run(
        [sys.executable, "-c", APPLICATION],
        env=clean | variables,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert result.returncode == 0, result.stderr


async def _await_spans(database: str, count: int) -> list[Any]:
    connection = await asyncpg.connect(database)
    try:
        deadline = time.monotonic() + 60
        while True:
            rows = list(await connection.fetch(SPANS))
            if len(rows) >= count or time.monotonic() > deadline:
                return rows
            await asyncio.sleep(0.1)
    finally:
        await connection.close()


def _tokens(spans: list[Any]) -> int:
    return sum(span["tokens"] or 0 for span in spans)


def test_the_proxy_alone_writes_one_llm_span_a_call(spans: list[Any]) -> None:
    alone = [span for span in spans if span["project"] == "default"]

    assert len(alone) == CALLS, [span["name"] for span in alone]
    assert {span["span_kind"] for span in alone} == {"LLM"}
    assert len({span["trace_id"] for span in alone}) == CALLS


def test_register_and_the_proxy_together_write_one_llm_span_a_call(spans: list[Any]) -> None:
    both = [span for span in spans if span["project"] == "both"]
    calls = {span["span_id"]: span for span in both if span["span_kind"] == "LLM"}
    facts = [span for span in both if span["span_kind"] != "LLM"]

    assert len(calls) == CALLS, [span["name"] for span in both]
    assert sorted(span["parent_id"] for span in facts) == sorted(calls)
    assert all(span["trace_id"] == calls[span["parent_id"]]["trace_id"] for span in facts)
    assert {span["name"] for span in facts} == {"tracequill.proxy"}
    assert _tokens(facts) == 0
    assert _tokens(both) == _tokens([one for one in spans if one["project"] == "default"]) > 0
