"""The page at ``/tracequill/``: what has been collected and where to send more.

Phoenix's users only. Every value is escaped by the template; the page loads nothing from
elsewhere and runs no script.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import version
from pathlib import Path

from fastapi import APIRouter, HTTPException, Request
from phoenix.db import models
from phoenix.server.utils import get_root_path
from phoenix.version import __version__ as phoenix_version
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.responses import FileResponse, RedirectResponse, Response
from starlette.templating import Jinja2Templates

from tracequill.settings import Settings
from tracequill_phoenix.api.access import Database, authenticated
from tracequill_phoenix.collector_client import CollectorClient

_FOLDER = Path(__file__).parent
# Counting stops here: a page must not read a table of millions.
_COUNT_MAX = 100_000
_STATIC = {"navigation.js": "text/javascript", "page.css": "text/css"}
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


@dataclass(frozen=True, slots=True)
class Collected:
    """What the database holds."""

    projects: str
    spans: str
    datasets: str
    last_span_start: datetime | None


def page_router(settings: Settings, collector: CollectorClient) -> APIRouter:
    """Build the page, its style and the script of Phoenix's navigation."""
    router = APIRouter(include_in_schema=False)
    templates = Jinja2Templates(directory=_FOLDER / "templates")

    @router.get("/tracequill")
    async def add_slash(request: Request) -> Response:
        return RedirectResponse(f"{get_root_path(request.scope)}/tracequill/", 308)

    @router.get("/tracequill/")
    async def page(request: Request, database: Database) -> Response:
        root = get_root_path(request.scope)
        try:
            await authenticated(request)
        except HTTPException as error:
            return templates.TemplateResponse(
                request, "sign_in.html", {"root": root}, error.status_code, _HEADERS
            )
        async with database.read() as session:
            collected = await _collected(session)
        facts = {
            "root": root,
            "collected": collected,
            "collector_ready": await collector.is_ready(),
            "http_endpoint": settings.collector_base_url,
            "grpc_port": settings.otlp_grpc_port,
            "proxy_port": settings.proxy_port,
            "version": version("tracequill"),
            "phoenix_version": phoenix_version,
        }
        return templates.TemplateResponse(request, "page.html", facts, headers=_HEADERS)

    # Like Phoenix's own assets, for everyone: its sign-in page carries the script, too.
    @router.get("/tracequill/static/{name}")
    async def static(name: str) -> Response:
        if name not in _STATIC:
            raise HTTPException(404, f"there is no file {name!r} here")
        return FileResponse(
            _FOLDER / "static" / name,
            media_type=_STATIC[name],
            headers={"Cache-Control": "no-cache", "X-Content-Type-Options": "nosniff"},
        )

    return router


async def _collected(session: AsyncSession) -> Collected:
    return Collected(
        projects=await _count(session, models.Project),
        spans=await _count(session, models.Span),
        datasets=await _count(session, models.Dataset),
        # It has an index; a time of arrival is stored nowhere.
        last_span_start=await session.scalar(select(func.max(models.Span.start_time))),
    )


async def _count(session: AsyncSession, table: type[models.HasId]) -> str:
    """Count rows, but no more than the page needs to say."""
    some = select(table.id).limit(_COUNT_MAX + 1).subquery()
    number = await session.scalar(select(func.count()).select_from(some)) or 0
    return f"{number:,}" if number <= _COUNT_MAX else f"more than {_COUNT_MAX:,}"
