"""An application that calls OpenAI, and who else speaks its format, with OpenAI's library."""

from __future__ import annotations

import inspect
import json
import re
import warnings
from typing import Any

import httpx2
import openai

from tests.exchange_cases import Case, encode_body
from tests.integration.sdk.upstream import Upstream

_BASE_URLS = {
    "openai": "https://api.openai.com/v1",
    "mistral": "https://api.mistral.ai/v1",
    "groq": "https://api.groq.com/openai/v1",
    "together": "https://api.together.ai/v1",
    "ollama": "http://127.0.0.1:11434/v1",
    "bedrock": "https://bedrock-runtime.us-east-1.amazonaws.com/openai/v1",
}
# The library's methods, by the path at the base URL.
_METHODS = {
    "chat/completions": "chat.completions.create",
    "responses": "responses.create",
    "embeddings": "embeddings.create",
    "completions": "completions.create",
    "images/generations": "images.generate",
    "images/edits": "images.edit",
    "images/variations": "images.create_variation",
    "decisions": "decisions.create",
    "moderations": "moderations.create",
    "audio/transcriptions": "audio.transcriptions.create",
    "audio/speech": "audio.speech.create",
    "files": "files.create",
    "realtime/calls": "realtime.calls.create",
}
_NUMBERS = ("n", "output_compression", "partial_images")


class OpenAIApplication:
    """The openai library before the upstream."""

    vendors: tuple[str, ...] = tuple(_BASE_URLS)

    def __init__(self, upstream: Upstream) -> None:
        self._upstream = upstream
        self._clients = {
            vendor: openai.OpenAI(
                api_key="none",
                base_url=base_url,
                max_retries=0,
                http_client=httpx2.Client(transport=httpx2.MockTransport(self._answer)),
            )
            for vendor, base_url in _BASE_URLS.items()
        }

    def call(self, case: Case) -> None:
        """Make the call of *case*."""
        client = self._clients[case.vendor]
        path = re.sub(r"^(/openai)?/v1/", "", case.path)
        if case.method != "POST" or path not in _METHODS:
            # What the library has no method for is called as its methods do it.
            body = case.request_json if case.request_body else None
            call: Any = getattr(client, case.method.lower())
            call(f"/{path}", cast_to=object, **({} if body is None else {"body": body}))
            return
        method: Any = client
        for name in _METHODS[path].split("."):
            method = getattr(method, name)
        known = _form(case) if case.form else case.request_json
        # Other vendors have fields that the library takes in this way only.
        unknown = known.keys() - inspect.signature(method).parameters.keys()
        extra = {name: known.pop(name) for name in {*case.extra_body, *unknown}} or None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            answer = method(**known, extra_body=extra)
        if "stream" in known:
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


def _form(case: Case) -> dict[str, Any]:
    """Give what the library is called with, so that it sends the form of *case*."""
    known: dict[str, Any] = {}
    for part in case.form:
        name, data = part["name"], encode_body(part)
        if "filename" in part:
            value: Any = (part["filename"], data, *filter(None, [part.get("content_type")]))
        elif name == "stream":
            value = data == b"true"
        elif part.get("content_type") == "application/json":
            value = json.loads(data)
        else:
            value = int(data) if name in _NUMBERS else data.decode()
        if name.endswith("[]"):
            known.setdefault(name.removesuffix("[]"), []).append(value)
        else:
            known[name] = value
    return known
