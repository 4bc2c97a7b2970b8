"""``POST /v1/projects/{project}/spans``: Phoenix's own route, with all its spans in one request.

Phoenix hands its spans over one at a time. Sent one at a time, a collector that goes away in the
middle would leave half of them stored, and the sender's second try would fail as duplicates.
"""

from __future__ import annotations

from fastapi import APIRouter, Request
from phoenix.server.api.routers.v1.spans import (
    CreateSpansRequestBody,
    CreateSpansResponseBody,
    create_spans,
)
from phoenix.trace.schemas import Span

from tracequill_phoenix.api.access import ACCESS, NOT_LOCKED
from tracequill_phoenix.collector_client import CollectorClient
from tracequill_phoenix.inserter import send_spans


def rest_spans_router(collector: CollectorClient) -> APIRouter:
    """Build the route; it answers 202 once the collector has every span."""
    router = APIRouter(dependencies=[*ACCESS, NOT_LOCKED])

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
