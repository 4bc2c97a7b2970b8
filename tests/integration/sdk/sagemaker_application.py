"""An application that calls SageMaker's endpoints with boto3."""

from __future__ import annotations

import boto3
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
            aws_access_key_id="none",
            aws_secret_access_key="none",
            config=Config(retries={"total_max_attempts": 1}),
        )

    def call(self, case: Case) -> None:
        """Make the call of *case*."""
        _, _, endpoint, operation = case.path.split("/")
        method = getattr(self._client, _METHODS[operation])
        if operation == "async-invocations":
            method(EndpointName=endpoint, InputLocation="s3://questions/1.json")
            return
        component = {"InferenceComponentName": "small-llama"} if "chat" in case.name else {}
        answer = method(
            EndpointName=endpoint,
            Body=case.request_body,
            ContentType="application/json",
            **component,
        )
        for _ in answer["Body"]:
            pass
