"""An application that calls Bedrock's agents and knowledge bases with boto3."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote

import boto3
from botocore import UNSIGNED
from botocore.config import Config

from tests.exchange_cases import Case


class BedrockAgentApplication:
    """boto3's client of the agents' runtime before the upstream at *url*."""

    vendors: tuple[str, ...] = ("bedrock-agent",)

    def __init__(self, url: str) -> None:
        self._client = boto3.client(
            "bedrock-agent-runtime",
            region_name="us-east-1",
            endpoint_url=url,
            config=Config(retries={"total_max_attempts": 1}, signature_version=UNSIGNED),
        )

    def call(self, case: Case) -> None:
        """Make the call of *case*."""
        self.answer(case)

    def answer(self, case: Case) -> dict[str, Any]:
        """Make the call of *case* and give what boto3 makes of the answer."""
        method, names = self._method([unquote(part) for part in case.path.strip("/").split("/")])
        answer: dict[str, Any] = method(**names, **_with_bytes(case.request_json))
        for name in ("completion", "stream", "responseStream"):
            if name in answer:
                answer[name] = list(answer[name])
        return answer

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _method(self, segments: list[str]) -> tuple[Callable[..., Any], dict[str, str]]:
        """Give the client's method for a path, and what the path says."""
        client = self._client
        match segments:
            case ["agents", agent, "agentAliases", alias, "sessions", session, "text"]:
                names = {"agentId": agent, "agentAliasId": alias, "sessionId": session}
                return client.invoke_agent, names
            case ["agents", session]:
                return client.invoke_inline_agent, {"sessionId": session}
            case ["knowledgebases", base, "retrieve"]:
                return client.retrieve, {"knowledgeBaseId": base}
            case ["retrieveAndGenerate"]:
                return client.retrieve_and_generate, {}
            case ["retrieveAndGenerateStream"]:
                return client.retrieve_and_generate_stream, {}
            case ["rerank"]:
                return client.rerank, {}
            case ["flows", flow, "aliases", alias]:
                names = {"flowIdentifier": flow, "flowAliasIdentifier": alias}
                return client.invoke_flow, names
        raise AssertionError(f"no operation has the path {segments}")


def _with_bytes(value: Any) -> Any:
    """Give a request as boto3 wants it: files as bytes."""
    if isinstance(value, list):
        return [_with_bytes(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        key: base64.b64decode(item)
        if key == "data" and isinstance(item, str)
        else _with_bytes(item)
        for key, item in value.items()
    }
