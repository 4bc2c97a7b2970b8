"""An application that calls Bedrock with boto3."""

from __future__ import annotations

import base64
from typing import Any
from urllib.parse import unquote

import boto3
from botocore.config import Config

from tests.exchange_cases import Case
from tests.integration.sdk.openai_application import OpenAIApplication

_OPERATIONS = {
    "converse": "converse",
    "converse-stream": "converse_stream",
    "invoke": "invoke_model",
    "invoke-with-response-stream": "invoke_model_with_response_stream",
}


class BedrockApplication:
    """boto3's client of the runtime before the upstream at *url*, and OpenAI's library, whose
    language the runtime speaks too.
    """

    vendors: tuple[str, ...] = ("bedrock",)

    def __init__(self, url: str, openai: OpenAIApplication) -> None:
        self._openai = openai
        self._client = boto3.client(
            "bedrock-runtime",
            region_name="us-east-1",
            endpoint_url=url,
            aws_access_key_id="none",
            aws_secret_access_key="none",
            config=Config(retries={"total_max_attempts": 1}),
        )

    def call(self, case: Case) -> None:
        """Make the call of *case*."""
        if case.path.startswith("/openai/"):
            self._openai.call(case)
            return
        if not case.path.startswith("/model/") or case.path.endswith("/count-tokens"):
            self._call_other(case)
            return
        _, _, model, operation = case.path.split("/")
        method = getattr(self._client, _OPERATIONS[operation])
        model_id = unquote(model)
        if operation.startswith("invoke"):
            answer = method(modelId=model_id, body=case.request_body)
        else:
            answer = method(modelId=model_id, **_with_bytes(case.request_json))
        if "stream" in operation:
            for _ in answer["body" if operation.startswith("invoke") else "stream"]:
                pass

    def _call_other(self, case: Case) -> None:
        client = self._client
        request = _with_bytes(case.request_json) if case.request_body else {}
        match [unquote(part) for part in case.path.partition("?")[0].strip("/").split("/")]:
            case ["guardrail", guardrail, "version", version, "apply"]:
                names = {"guardrailIdentifier": guardrail, "guardrailVersion": version}
                client.apply_guardrail(**names, **request)
            case ["model", model, "count-tokens"]:
                client.count_tokens(modelId=model, **request)
            case ["async-invoke"] if case.method == "POST":
                client.start_async_invoke(**request)
            case ["async-invoke"]:
                client.list_async_invokes()
            case _:
                raise AssertionError(f"no operation has the path {case.path}")


def _with_bytes(value: Any) -> Any:
    """Give a Converse request as boto3 wants it: binary parts as bytes."""
    if isinstance(value, list):
        return [_with_bytes(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        key: base64.b64decode(item)
        if key in ("bytes", "redactedContent") and isinstance(item, str)
        else _with_bytes(item)
        for key, item in value.items()
    }
