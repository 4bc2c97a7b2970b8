"""An application that calls OpenAI with its own library."""

from __future__ import annotations

from typing import Any

import httpx2
import openai

from tests.exchange_cases import Case
from tests.integration.sdk.upstream import Upstream


class OpenAIApplication:
    """The openai library before the upstream."""

    vendors: tuple[str, ...] = ("openai",)

    def __init__(self, upstream: Upstream) -> None:
        self._upstream = upstream
        self._client = openai.OpenAI(
            api_key="none",
            base_url="https://api.openai.com/v1",
            max_retries=0,
            http_client=httpx2.Client(transport=httpx2.MockTransport(self._answer)),
        )

    def call(self, case: Case) -> None:
        """Make the call of *case*."""
        client = self._client
        path = case.path.partition("?")[0]
        if case.method == "GET":
            list(client.models.list())
            return
        methods: dict[str, Any] = {
            "/v1/chat/completions": client.chat.completions.create,
            "/v1/responses": client.responses.create,
            "/v1/embeddings": client.embeddings.create,
            "/v1/completions": client.completions.create,
        }
        known, extra = case.request_json, None
        if case.extra_body:
            extra = {name: known.pop(name) for name in case.extra_body}
        answer = methods[path](**known, extra_body=extra)
        if case.request_json.get("stream"):
            for _ in answer:
                pass

    def _answer(self, request: httpx2.Request) -> httpx2.Response:
        path = request.url.raw_path.decode()
        case = self._upstream.answer(
            request.method, path, request.headers.multi_items(), request.read()
        )
        return httpx2.Response(
            case.status, headers=list(case.response_headers), content=case.response_body
        )
