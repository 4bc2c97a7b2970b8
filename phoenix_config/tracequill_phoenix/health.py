"""``/healthz``, ``/readyz`` and ``/metrics`` on Phoenix's port, for probes: nobody signs in."""

from __future__ import annotations

import asyncio
import logging

from fastapi import APIRouter, Request
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from sqlalchemy import text
from starlette.concurrency import run_in_threadpool
from starlette.responses import PlainTextResponse, Response

# Less than what probes commonly wait. Phoenix's own /readyz may wait 30 s for a connection.
_DATABASE_SECONDS = 2.0

_log = logging.getLogger(__name__)

router = APIRouter(include_in_schema=False)


@router.get("/healthz")
async def healthz() -> PlainTextResponse:
    """Answer 200: the process is alive."""
    return PlainTextResponse("ok")


@router.get("/readyz")
async def readyz(request: Request) -> PlainTextResponse:
    """Answer 200 if pages can be served: the database answers; else 503."""
    try:
        async with asyncio.timeout(_DATABASE_SECONDS), request.app.state.db() as session:
            await session.execute(text("SELECT 1"))
    except Exception as error:  # any failure of any driver means the same
        _log.warning("the database does not answer: %s", str(error) or type(error).__name__)
        return PlainTextResponse("the database does not answer", 503)
    return PlainTextResponse("ready")


@router.get("/metrics")
async def metrics() -> Response:
    """Give Phoenix's and our metrics in Prometheus' text format."""
    return Response(await run_in_threadpool(generate_latest), media_type=CONTENT_TYPE_LATEST)
