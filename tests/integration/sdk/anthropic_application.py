"""An application that calls Anthropic with its own library."""

from __future__ import annotations

import asyncio
import warnings
from typing import Any
from urllib.parse import unquote

import anthropic
import httpx2

from tests.exchange_cases import Case
from tests.integration.sdk.upstream import Upstream
from tracequill_collector.recorder.body import header

_URL = "https://api.anthropic.com"


class AnthropicApplication:
    """The anthropic library before the upstream: its clients, that of Vertex AI too."""

    vendors: tuple[str, ...] = ("anthropic",)

    def __init__(self, upstream: Upstream) -> None:
        self._upstream = upstream
        self._client = anthropic.Anthropic(
            api_key="none",
            base_url=_URL,
            max_retries=0,
            http_client=httpx2.Client(transport=httpx2.MockTransport(self._answer)),
        )
        self._vertex = anthropic.AnthropicVertex(
            project_id="shop",
            region="europe-west1",
            access_token="none",
            max_retries=0,
            http_client=httpx2.Client(transport=httpx2.MockTransport(self._answer)),
        )

    def call(self, case: Case) -> None:
        """Make the call of *case*: ``client`` names the way, ``async`` or a helper's name."""
        way = set(case.client.split())
        with warnings.catch_warnings():
            # The library warns of models that are old by now.
            warnings.simplefilter("ignore")
            if "async" in way:
                asyncio.run(self._call_async(case, way))
            else:
                self._call(case, way)

    def _call(self, case: Case, way: set[str]) -> None:
        client = self._vertex if "/publishers/" in case.path else self._client
        method, arguments = _operation(client, case, way)
        if "stream" in way:
            with method(**arguments) as helper:
                helper.get_final_message()
            return
        answer = method(**arguments)
        if arguments.get("stream"):
            for _ in answer:
                pass

    async def _call_async(self, case: Case, way: set[str]) -> None:
        async with anthropic.AsyncAnthropic(
            api_key="none",
            base_url=_URL,
            max_retries=0,
            http_client=httpx2.AsyncClient(transport=httpx2.MockTransport(self._answer)),
        ) as client:
            method, arguments = _operation(client, case, way)
            if "stream" in way:
                async with method(**arguments) as helper:
                    await helper.get_final_message()
                return
            answer = await method(**arguments)
            if arguments.get("stream"):
                async for _ in answer:
                    pass

    def _answer(self, request: httpx2.Request) -> httpx2.Response:
        path = request.url.raw_path.decode()
        case = self._upstream.answer(
            request.method, path, request.headers.multi_items(), request.read()
        )
        return httpx2.Response(
            case.status, headers=list(case.response_headers), content=case.response_body
        )


def _operation(client: Any, case: Case, way: set[str]) -> tuple[Any, dict[str, Any]]:
    """Give the library's method for *case* and its arguments."""
    path, _, query = case.path.partition("?")
    arguments = case.request_json
    resource, _, vertex = path.rpartition("/")[2].partition(":")
    if vertex:
        # The library adds the version; the model is one of its arguments.
        del arguments["anthropic_version"]
        arguments.setdefault("model", unquote(resource))
    messages = client.messages
    if query == "beta=true":
        messages = client.beta.messages
    if betas := header(case.exchange().request_headers, "anthropic-beta"):
        if query:
            arguments["betas"] = betas.split(",")
        else:
            arguments["extra_headers"] = {"anthropic-beta": betas}
    if case.extra_body:
        arguments["extra_body"] = {name: arguments.pop(name) for name in case.extra_body}
    if resource in ("count_tokens", "count-tokens"):
        return messages.count_tokens, arguments
    if "stream" in way:
        arguments.pop("stream")
        return messages.stream, arguments
    return messages.parse if "parse" in way else messages.create, arguments
