"""Print how each of our routes answers while Phoenix only shows, and while its storage is full.

A process of its own, since loading Phoenix warns. No database is behind it: what is not refused
before it is reached fails.
"""

from __future__ import annotations

import asyncio
import json
import re
from types import SimpleNamespace

import httpx
from fastapi import FastAPI
from fastapi.routing import iter_route_contexts

from tracequill_phoenix import api


async def answers(*, read_only: bool, is_full: bool) -> list[dict[str, object]]:
    """Ask every route for nothing in particular."""
    app = FastAPI()
    app.include_router(api.router)
    app.state.authentication_enabled = False
    app.state.read_only = read_only
    app.state.db = SimpleNamespace(should_not_insert_or_update=is_full)
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    found: list[dict[str, object]] = []
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
        for route in iter_route_contexts(api.router.routes):
            for method in sorted(route.methods or ()):
                path = re.sub(r"\{\w+\}", "1", str(route.path))
                body: dict[str, object] | None = {} if method in ("POST", "PUT", "PATCH") else None
                answer = await client.request(method, path, json=body)
                found.append(
                    {
                        "method": method,
                        "path": route.path,
                        "status": answer.status_code,
                        "said": answer.text,
                    }
                )
    return found


if __name__ == "__main__":
    print(
        json.dumps(
            {
                "read_only": asyncio.run(answers(read_only=True, is_full=False)),
                "full": asyncio.run(answers(read_only=False, is_full=True)),
            }
        )
    )
