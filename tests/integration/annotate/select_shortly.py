"""Print how our routes answer on a database where a selection has hardly any time.

A process of its own, since loading Phoenix warns. In come the database, the seconds, and what is
asked of which path, as JSON.
"""

from __future__ import annotations

import asyncio
import json
import sys

import httpx
from fastapi import FastAPI
from phoenix.db.engines import create_engine
from phoenix.server.app import _db
from phoenix.server.types import DbSessionFactory

from tracequill_phoenix import api
from tracequill_phoenix.annotate import selection


async def answers(database_url: str, asked: dict[str, object]) -> list[dict[str, object]]:
    """Post everything that is *asked*."""
    engine = create_engine(database_url, migrate=False)
    app = FastAPI()
    app.include_router(api.router)
    app.state.authentication_enabled = False
    app.state.read_only = False
    app.state.db = DbSessionFactory(db=_db(engine), dialect=engine.dialect.name)
    transport = httpx.ASGITransport(app=app)
    try:
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            said = [await client.post(f"/tracequill/api{path}", json=asked[path]) for path in asked]
    finally:
        await engine.dispose()
    return [{"status": one.status_code, "said": one.json()} for one in said]


if __name__ == "__main__":
    wanted = json.load(sys.stdin)
    for limit in ("_PREVIEW_SECONDS", "_ADD_SECONDS"):
        assert hasattr(selection, limit)
        setattr(selection, limit, wanted["seconds"])
    print(json.dumps(asyncio.run(answers(wanted["database_url"], wanted["asked"]))))
