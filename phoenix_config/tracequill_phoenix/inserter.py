"""Phoenix's bulk inserter with one change: spans go to our collector instead of its memory.

Annotations and other operations stay with Phoenix's own inserter.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from types import TracebackType
from typing import Any

from fastapi import HTTPException
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from opentelemetry.proto.trace.v1 import trace_pb2 as otlp
from phoenix.db.bulk_inserter import BulkInserter
from phoenix.server.types import DbSessionFactory
from phoenix.trace.otel import decode_otlp_span
from phoenix.trace.schemas import Span
from starlette.concurrency import run_in_threadpool

from tracequill_phoenix.collector_client import Answer, CollectorAwayError, CollectorClient
from tracequill_phoenix.encode import EncodeError, encode_request

_log = logging.getLogger(__name__)

Batch = Sequence[tuple[Span, str]]
EnqueueSpan = Callable[[Span, str], Awaitable[None]]


async def send_spans(collector: CollectorClient, batch: Batch) -> None:
    """Send *batch*, each span with its project's name; returning means the collector has it all.

    Raises HTTPException: 400 for a span that cannot be kept, 503 when it may be sent again.
    """
    try:
        payload = await run_in_threadpool(encode_request, batch, _read_attributes)
    except EncodeError as error:
        raise HTTPException(400, str(error)) from None
    try:
        answer = await collector.post_traces(payload, [("Content-Type", "application/x-protobuf")])
    except CollectorAwayError as error:
        raise HTTPException(503, f"{error}. Send again.", {"Retry-After": "1"}) from None
    _check(answer)


def _read_attributes(span: otlp.Span) -> Mapping[str, Any]:
    return decode_otlp_span(span).attributes


def _check(answer: Answer) -> None:
    if answer.status == 200:
        try:
            partial = ExportTraceServiceResponse.FromString(answer.body).partial_success
        except DecodeError:
            raise HTTPException(503, "the collector's answer is not OTLP. Send again.") from None
        if partial.rejected_spans:
            raise HTTPException(400, f"the collector refused spans: {partial.error_message}")
        return
    said = answer.body.decode("utf-8", "replace")[:500]
    _log.warning("the collector answered %d to spans written by REST", answer.status)
    if answer.status in (400, 413, 415, 422):
        raise HTTPException(answer.status, f"the collector refused the spans: {said}")
    retry_after = dict(answer.headers).get("Retry-After", "1")
    raise HTTPException(
        503,
        f"the collector takes no spans now (status {answer.status}). Send again.",
        {"Retry-After": retry_after},
    )


class CollectorInserter:
    """What Phoenix expects of ``bulk_inserter_factory``, around Phoenix's own inserter."""

    def __init__(self, collector: CollectorClient, own: BulkInserter) -> None:
        self._collector = collector
        self._own = own

    @property
    def is_full(self) -> bool:
        """Whether Phoenix should refuse spans; it holds none, and the collector says so itself."""
        return self._own.is_full

    async def __aenter__(
        self,
    ) -> tuple[Callable[..., Awaitable[None]], EnqueueSpan, Callable[[Any], None]]:
        enqueue_annotations, _, enqueue_operation = await self._own.__aenter__()
        return enqueue_annotations, self.enqueue_span, enqueue_operation

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._own.__aexit__(kind, error, traceback)

    async def enqueue_span(self, span: Span, project_name: str) -> None:
        """Keep *span*: returning means that the collector has it on disk."""
        await send_spans(self._collector, [(span, project_name)])


def inserter_factory(collector: CollectorClient) -> Callable[..., CollectorInserter]:
    """Give what ``create_app(bulk_inserter_factory=…)`` takes; its arguments go to Phoenix's."""

    def build(db: DbSessionFactory, **arguments: Any) -> CollectorInserter:
        return CollectorInserter(collector, BulkInserter(db, **arguments))

    return build
