"""The page at ``/tracequill/docs``: our HTTP API, read from its own description.

Phoenix's users only. It runs no script and loads nothing from elsewhere.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastapi import APIRouter, HTTPException, Request
from phoenix.server.utils import get_root_path
from starlette.responses import Response
from starlette.templating import Jinja2Templates

from tracequill_phoenix import api
from tracequill_phoenix.api.access import authenticated

_DEPTH_MAX = 6
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


@dataclass(frozen=True, slots=True)
class Operation:
    """One thing that can be called."""

    group: str
    method: str
    path: str
    summary: str
    parameters: tuple[tuple[str, str, str], ...]
    body: str
    answers: tuple[tuple[str, str, str], ...]
    """Status, what it means, and what is sent then."""


def api_page_router() -> APIRouter:
    """Build the page."""
    router = APIRouter(include_in_schema=False)
    templates = Jinja2Templates(directory=Path(__file__).parent / "templates")

    @router.get("/tracequill/docs")
    async def page(request: Request) -> Response:
        root = get_root_path(request.scope)
        try:
            await authenticated(request)
        except HTTPException as error:
            return templates.TemplateResponse(
                request, "sign_in.html", {"root": root}, error.status_code, _HEADERS
            )
        description = await asyncio.to_thread(api.openapi)  # made once, which takes its time
        facts = {"root": root, "groups": grouped(description)}
        return templates.TemplateResponse(request, "api.html", facts, headers=_HEADERS)

    return router


def grouped(description: Mapping[str, Any]) -> dict[str, list[Operation]]:
    """Give what an OpenAPI *description* names, by group, in its order."""
    groups: dict[str, list[Operation]] = {}
    for operation in _operations(description):
        groups.setdefault(operation.group, []).append(operation)
    return groups


def _operations(description: Mapping[str, Any]) -> Iterator[Operation]:
    schemas = description.get("components", {}).get("schemas", {})
    for path, methods in description["paths"].items():
        for method, operation in methods.items():
            yield Operation(
                group=(operation.get("tags") or ["other"])[0],
                method=method.upper(),
                path=path,
                summary=operation.get("description") or operation.get("summary", ""),
                parameters=tuple(
                    (parameter["name"], parameter["in"], _kind(parameter.get("schema", {})))
                    for parameter in operation.get("parameters", ())
                ),
                body=_shown(operation.get("requestBody", {}), schemas),
                answers=tuple(
                    (
                        status,
                        response["description"],
                        _shown(response, schemas) if status < "300" else "",
                    )
                    for status, response in sorted(operation["responses"].items())
                ),
            )


def _shown(content: Mapping[str, Any], schemas: Mapping[str, Any]) -> str:
    """Give the JSON that is sent, or the names of what is sent instead."""
    kinds = content.get("content", {})
    if "application/json" not in kinds:
        return ", ".join(kinds)
    schema = kinds["application/json"].get("schema", {})
    return json.dumps(_example(schema, schemas), indent=2, ensure_ascii=False)


def _example(schema: Mapping[str, Any], schemas: Mapping[str, Any], depth: int = 0) -> Any:
    """Give JSON that says what *schema* takes: each value is the word for its kind."""
    if "$ref" in schema:
        schema = schemas.get(schema["$ref"].rpartition("/")[2], {})
    if schema.get("examples"):
        return schema["examples"][0]
    if depth == _DEPTH_MAX:
        return "…"
    if "properties" in schema:
        required = schema.get("required", ())
        return {
            name if name in required else f"{name}?": _example(value, schemas, depth + 1)
            for name, value in schema["properties"].items()
        }
    choices = [choice for choice in schema.get("anyOf", ()) if choice.get("type") != "null"]
    if len(choices) == 1:
        return _example(choices[0], schemas, depth)
    if schema.get("type") == "array":
        return [_example(schema.get("items", {}), schemas, depth + 1)]
    if choices and any("$ref" in choice for choice in choices):
        return {"either": [_example(choice, schemas, depth + 1) for choice in choices]}
    return _kind(schema)


def _kind(schema: Mapping[str, Any]) -> str:
    """Give the words for a plain value."""
    if "enum" in schema:
        return " | ".join(str(value) for value in schema["enum"])
    if "const" in schema:
        return str(schema["const"])
    if "anyOf" in schema:
        return " or ".join(_kind(choice) for choice in schema["anyOf"])
    return str(schema.get("format") or schema.get("type") or "anything")
