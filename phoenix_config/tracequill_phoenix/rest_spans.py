"""``POST /v1/projects/{project}/spans``: Phoenix's own route, with all its spans in one request.

Phoenix hands its spans over one at a time. Sent one at a time, a collector that goes away in the
middle would leave half of them stored, and the sender's second try would fail as duplicates.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Coroutine
from typing import Any

from fastapi import APIRouter, HTTPException, Request, Response
from fastapi.routing import APIRoute
from phoenix.server.api.routers.v1.spans import (
    CreateSpansRequestBody,
    CreateSpansResponseBody,
    create_spans,
)
from phoenix.trace.schemas import Span

from tracequill_phoenix.api.access import ACCESS, NOT_LOCKED
from tracequill_phoenix.collector_client import CollectorClient
from tracequill_phoenix.inserter import send_spans


def rest_spans_router(collector: CollectorClient, max_bytes: int) -> APIRouter:
    """Build the route; it answers 202 once the collector has every span.

    Bodies past *max_bytes* are refused with 413 and never held whole.
    """
    router = APIRouter(dependencies=[*ACCESS, NOT_LOCKED], route_class=_bounded(max_bytes))

    @router.post(
        "/v1/projects/{project_identifier}/spans", status_code=202, include_in_schema=False
    )
    async def create_spans_at_once(
        request: Request, request_body: CreateSpansRequestBody, project_identifier: str
    ) -> CreateSpansResponseBody:
        batch: list[tuple[Span, str]] = []

        async def collect(span: Span, project_name: str) -> None:
            batch.append((span, project_name))

        request.state.enqueue_span = collect  # this request's only
        answer = await create_spans(request, request_body, project_identifier)
        if batch:
            await send_spans(collector, batch)
        return answer

    return router


def _bounded(max_bytes: int) -> type[APIRoute]:
    """Give a kind of route whose body cannot be larger than *max_bytes*."""

    class BoundedRequest(Request):
        async def stream(self) -> AsyncGenerator[bytes, None]:
            seen = 0
            async for chunk in super().stream():
                seen += len(chunk)
                if seen > max_bytes:
                    raise HTTPException(
                        413,
                        f"the request is larger than {max_bytes} bytes. "
                        "Send fewer spans at once, or raise request_max_bytes.",
                    )
                yield chunk

    class BoundedRoute(APIRoute):
        def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
            handle = super().get_route_handler()

            async def handle_bounded(request: Request) -> Response:
                return await handle(BoundedRequest(request.scope, request.receive))

            return handle_bounded

    return BoundedRoute
