"""Phoenix's application, built by its own ``create_app``, with our routes, inserter and listener.

Every seam of Phoenix that we use stands here or in ``install``; none of its source is copied.
"""

from __future__ import annotations

import asyncio
import functools
import gc
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from importlib.metadata import version
from types import ModuleType
from typing import Any, cast

import phoenix.server.app
from fastapi import APIRouter, FastAPI
from phoenix.db import models
from phoenix.server import prometheus
from phoenix.server.cli.commands import serve
from phoenix.server.dml_event import SpanInsertEvent
from phoenix.version import __version__ as phoenix_version
from sqlalchemy import select
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from tracequill.settings import Settings
from tracequill_phoenix import api, health, pages
from tracequill_phoenix.annotate.retention import keep_within
from tracequill_phoenix.api_page import api_page_router
from tracequill_phoenix.collector_client import CollectorClient
from tracequill_phoenix.database import direct_connection
from tracequill_phoenix.forward import forward_router
from tracequill_phoenix.inserter import inserter_factory
from tracequill_phoenix.live import listen
from tracequill_phoenix.navigation import NavigationLoader
from tracequill_phoenix.page import page_router
from tracequill_phoenix.rest_spans import rest_spans_router

# Pages with streams open must not hold up a stop.
_STOP_SECONDS = 5

CreateApp = Callable[..., FastAPI]
Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[Mapping[str, Any]]]


def install(settings: Settings) -> None:
    """Make Phoenix's ``serve`` command start the overlay; call once, before it runs."""
    replace(serve, "create_app", lambda create_app: overlay(create_app, settings))
    # It would listen on every interface: spans come in at the collector.
    replace(phoenix.server.app, "GrpcServer", lambda _: NoGrpcServer)
    # Likewise, where PHOENIX_ENABLE_PROMETHEUS asks for port 9090: on our address only.
    replace(
        prometheus, "start_http_server", lambda start: lambda port, **_: start(port, settings.host)
    )
    replace(
        serve,
        "Config",
        lambda config: functools.partial(
            config,
            access_log=settings.log_level == "DEBUG",
            timeout_graceful_shutdown=_STOP_SECONDS,
        ),
    )
    environment = phoenix.server.app.templates.env
    assert environment.loader is not None
    environment.loader = NavigationLoader(environment.loader)


def replace(module: ModuleType, name: str, change: Callable[[Any], Any]) -> None:
    """Put ``change(original)`` in the place of *name*; AttributeError if Phoenix has it no more."""
    setattr(module, name, change(getattr(module, name)))


def overlay(create_app: CreateApp, settings: Settings) -> CreateApp:
    """Wrap Phoenix's *create_app*: same arguments, and the application with ours added."""

    @functools.wraps(create_app)
    def create(**arguments: Any) -> FastAPI:
        collector = CollectorClient(settings.collector_base_url)
        arguments["bulk_inserter_factory"] = inserter_factory(collector)
        arguments["welcome_message"] = lambda _: welcome(settings)
        app = create_app(**arguments)
        insert_routers(
            app,
            health.router,
            forward_router(collector, settings.request_max_bytes),
            rest_spans_router(collector, settings.request_max_bytes),
            page_router(settings, collector),
            pages.router,
            api_page_router(),
            api.router,
        )
        # A browser that leaves in the middle of a request is no error worth a traceback.
        app.add_exception_handler(ClientDisconnect, _client_left)
        inner = cast(Lifespan, app.router.lifespan_context)
        app.router.lifespan_context = _with_ours(inner, settings, collector)
        return app

    return create


async def _client_left(_request: Request, _error: Exception) -> Response:
    return Response(status_code=499)


def insert_routers(app: FastAPI, *routers: APIRouter) -> None:
    """Put *routers* before all of Phoenix's routes; its pages, mounted last, answer every path."""
    routes = app.router.routes
    before = len(routes)
    for router in routers:
        app.include_router(router)
    ours = routes[before:]
    del routes[before:]
    routes[:0] = ours


def welcome(settings: Settings) -> str:
    """Give the one line that says where everything is."""
    return (
        f"Tracequill {version('tracequill')} with Phoenix {phoenix_version}: "
        f"pages {settings.phoenix_base_url}, spans to {settings.collector_base_url}"
    )


def _with_ours(inner: Lifespan, settings: Settings, collector: CollectorClient) -> Lifespan:
    """Wrap Phoenix's lifespan: the collector's connections around it, our own tasks inside it."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[Mapping[str, Any]]:
        await collector.open()
        try:
            async with inner(app) as state, asyncio.TaskGroup() as tasks:
                beside = (
                    tasks.create_task(_listen(app, settings, state)),
                    tasks.create_task(keep_within(app.state.db, settings.annotation_keep_days)),
                )
                _leave_alone_what_is_loaded()
                yield state
                for task in beside:
                    task.cancel()
        finally:
            await collector.close()

    return lifespan


def _leave_alone_what_is_loaded() -> None:
    """Have the collector of garbage pass by what stays until the end: all of Phoenix.

    Each time it looked through that, every request would wait for some 400 ms.
    """
    gc.collect()
    gc.freeze()


async def _listen(app: FastAPI, settings: Settings, state: Mapping[str, Any]) -> None:
    assert settings.database_url is not None
    event_queue = state["event_queue"]

    async def all_project_ids() -> list[int]:
        async with app.state.db() as session:
            return list(
                await session.scalars(select(models.Project.id).order_by(models.Project.id))
            )

    await listen(
        functools.partial(direct_connection, settings.database_url, "live refresh"),
        all_project_ids,
        lambda project_ids: event_queue.put(SpanInsertEvent(project_ids)),
    )


class NoGrpcServer:
    """Stands where Phoenix starts its gRPC server, and starts nothing."""

    def __init__(self, *_arguments: Any, **_keywords: Any) -> None: ...

    async def __aenter__(self) -> None: ...

    async def __aexit__(self, *_error: Any) -> None: ...
