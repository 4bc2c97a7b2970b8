"""An application that calls Gemini with Google's own library."""

from __future__ import annotations

import asyncio
import warnings
from typing import Any

from google import genai
from google.genai import types

from tests.exchange_cases import Case

# Fields of a request that stand beside its generationConfig, and in the library's config.
_CONFIGURED = (
    "cachedContent",
    "labels",
    "safetySettings",
    "systemInstruction",
    "toolConfig",
    "tools",
)


class GeminiApplication:
    """Clients of the Gemini API and of Vertex AI before the upstream at *url*."""

    vendors: tuple[str, ...] = ("gemini",)

    def __init__(self, url: str) -> None:
        self._url = url
        self._clients = {vertex: _client(url, vertex=vertex) for vertex in (False, True)}

    def call(self, case: Case) -> None:
        """Make the call of *case*."""
        self.answers(case)

    def answers(self, case: Case) -> list[Any]:
        """Make the call of *case*; give what the library makes of the answer, chunk by chunk."""
        vertex = "/publishers/" in case.path
        if case.client == "async":
            with warnings.catch_warnings():
                # The library makes a class of aiohttp's ClientSession.
                warnings.filterwarnings("ignore", "Inheritance class", DeprecationWarning)
                # Its connections belong to one event loop.
                return asyncio.run(_call_async(_client(self._url, vertex=vertex), case))
        method, arguments, streams = _operation(self._clients[vertex], case)
        answer = method(**arguments)
        return list(answer) if streams else [answer]

    def close(self) -> None:
        """Close the connections."""
        for client in self._clients.values():
            client.close()


def _client(url: str, *, vertex: bool) -> genai.Client:
    once = types.HttpRetryOptions(attempts=1)
    options = types.HttpOptions(base_url=url, retry_options=once, timeout=10_000)
    return genai.Client(vertexai=vertex, api_key="none", http_options=options)


async def _call_async(client: genai.Client, case: Case) -> list[Any]:
    async with client.aio as asynchronous:
        method, arguments, streams = _operation(asynchronous, case)
        answer = await method(**arguments)
        return [chunk async for chunk in answer] if streams else [answer]


def _operation(client: Any, case: Case) -> tuple[Any, dict[str, Any], bool]:
    """Give the library's method for *case*, its arguments, and whether it streams."""
    resource = case.path.partition("?")[0].rpartition("/")[2]
    if case.method == "GET":
        return client.interactions.get, {"id": resource}, False
    body = case.request_json
    if resource == "interactions":
        return client.interactions.create, body, body.get("stream") is True
    if resource == "cachedContents":
        model = body.pop("model")
        return client.caches.create, {"model": model, "config": body}, False
    model, _, operation = resource.partition(":")
    match operation:
        case "generateContent" | "streamGenerateContent":
            config = {**body.get("generationConfig", {})}
            config |= {name: body[name] for name in _CONFIGURED if name in body}
            arguments = {"model": model, "contents": body["contents"], "config": config or None}
            if operation == "generateContent":
                return client.models.generate_content, arguments, False
            return client.models.generate_content_stream, arguments, True
        case "batchEmbedContents":
            contents = [request["content"] for request in body["requests"]]
            config = _without(body["requests"][0], "content", "model")
        case "embedContent":
            contents = body["content"]
            config = _without(body, "content")
        case "predict":
            contents = [instance["content"] for instance in body["instances"]]
            config = {**_without(body["instances"][0], "content"), **body.get("parameters", {})}
        case _:
            raise AssertionError(case.path)
    arguments = {"model": model, "contents": contents, "config": config or None}
    return client.models.embed_content, arguments, False


def _without(value: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: item for name, item in value.items() if name not in names}
