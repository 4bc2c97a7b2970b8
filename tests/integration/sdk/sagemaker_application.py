"""An application that calls SageMaker's endpoints with boto3."""

from __future__ import annotations

from typing import Any

import boto3
from botocore import UNSIGNED
from botocore.config import Config

from tests.exchange_cases import Case

_METHODS = {
    "invocations": "invoke_endpoint",
    "invocations-response-stream": "invoke_endpoint_with_response_stream",
    "async-invocations": "invoke_endpoint_async",
}


class SageMakerApplication:
    """boto3's client of the runtime before the upstream at *url*."""

    vendors: tuple[str, ...] = ("sagemaker",)

    def __init__(self, url: str) -> None:
        self._client = boto3.client(
            "sagemaker-runtime",
            region_name="us-east-1",
            endpoint_url=url,
            config=Config(retries={"total_max_attempts": 1}, signature_version=UNSIGNED),
        )

    def call(self, case: Case) -> None:
        """Make the call of *case*."""
        self.answer(case)

    def answer(self, case: Case) -> dict[str, Any]:
        """Make the call of *case* and give what boto3 makes of the answer."""
        _, _, endpoint, operation = case.path.split("/")
        method = getattr(self._client, _METHODS[operation])
        if operation == "async-invocations":
            return dict(method(EndpointName=endpoint, InputLocation="s3://questions/1.json"))
        component = {"InferenceComponentName": "small-llama"} if "chat" in case.name else {}
        answer: dict[str, Any] = method(
            EndpointName=endpoint,
            Body=case.request_body,
            ContentType="application/json",
            **component,
        )
        answer["Body"] = list(answer["Body"])
        return answer

    def close(self) -> None:
        """Close the connections."""
        self._client.close()
