"""OTLP over HTTP: requests come in, the intake keeps them as they came, the answer goes out.

Every answer is in the request's own encoding. This module knows no queue.

There are no CORS headers: a page in a browser has no business with a service that asks nobody to
sign in, and every content type that is read here makes a browser ask first. The Host header is not
checked, for the senders' names for this machine are theirs to choose.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from aiohttp import web
from grpc import StatusCode
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTracePartialSuccess,
    ExportTraceServiceResponse,
)

from tracequill_collector.errors import (
    CollectorError,
    PermanentError,
    RetryableError,
)
from tracequill_collector.otlp import JSON, PROTOBUF, OversizeError, UnsupportedError, media_type
from tracequill_collector.receiver.intake import Intake, Lease
from tracequill_collector.receiver.status import Answer, answer_for, encode, http_body

TRACES_PATH = "/v1/traces"
_TRANSPORT = "http"

# A body that takes longer does not hold its part of the memory for ever.
_BODY_SECONDS = 30.0

_ENCODINGS = frozenset({"", "identity", "gzip", "x-gzip", "deflate"})

_INTAKE = web.AppKey("intake", Intake)

_log = logging.getLogger(__name__)


def otlp_http_app(intake: Intake) -> web.Application:
    """Give the application; run it with ``auto_decompress=False``, for the bytes stay as sent."""
    app = web.Application(middlewares=[_not_found])
    app[_INTAKE] = intake
    app.router.add_post(TRACES_PATH, _export)
    app.router.add_route("*", TRACES_PATH, _wrong_method)
    for signal in ("logs", "metrics"):
        app.router.add_route("*", f"/v1/{signal}", _not_taken)
    return app


@web.middleware
async def _not_found(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    try:
        return await handler(request)
    except web.HTTPNotFound:
        sentence = f"{request.path} is not served. Send traces to {TRACES_PATH}."
        return _response(request, Answer(StatusCode.UNIMPLEMENTED, 404, sentence))


async def _wrong_method(request: web.Request) -> web.Response:
    sentence = f"{request.method} is not allowed on {TRACES_PATH}. Use POST."
    response = _response(request, Answer(StatusCode.UNIMPLEMENTED, 405, sentence))
    response.headers["Allow"] = "POST"
    return response


async def _not_taken(request: web.Request) -> web.Response:
    sentence = f"{request.path} is not served: Tracequill takes traces. Use {TRACES_PATH}."
    return _response(request, Answer(StatusCode.UNIMPLEMENTED, 404, sentence))


async def _export(request: web.Request) -> web.Response:
    intake = request.app[_INTAKE]
    content_type = _text(request.headers.get("Content-Type", ""))
    kind = media_type(content_type)
    try:
        async with intake.in_flight.lease() as lease:
            with intake.reading(_TRANSPORT):
                encoding = _encoding(request, content_type)
                payload = await _read_body(request, lease, intake.request_max_bytes)
            accepted = await intake.take(
                payload,
                transport=_TRANSPORT,
                content_type=content_type,
                content_encoding=encoding,
                project_name=_project_name(request),
            )
    except asyncio.CancelledError:
        raise
    except Exception as error:
        return _refusal(request, error)
    response = ExportTraceServiceResponse()
    if accepted.rejected_count:
        response.partial_success.CopyFrom(
            ExportTracePartialSuccess(
                rejected_spans=accepted.rejected_count, error_message=accepted.message
            )
        )
    return web.Response(body=encode(response, as_json=kind == JSON), content_type=kind)


def _encoding(request: web.Request, content_type: str) -> str:
    """Give the content encoding, when it and *content_type* are read here."""
    if media_type(content_type) not in (PROTOBUF, JSON):
        raise UnsupportedError(
            f"content type {content_type!r} is not supported. Use {PROTOBUF} or {JSON}."
        )
    encoding = _text(request.headers.get("Content-Encoding", "")).strip().lower()
    if encoding not in _ENCODINGS:
        raise UnsupportedError(
            f"content encoding {encoding!r} is not supported. Use gzip, deflate or none."
        )
    return encoding


async def _read_body(request: web.Request, lease: Lease, max_bytes: int) -> bytes:
    """Read the body as it came, within the limits on its size, its time and all memory."""
    announced = request.content_length
    if announced is not None:
        if announced > max_bytes:
            raise _oversize(max_bytes)
    parts: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(_BODY_SECONDS):
            async for part in request.content.iter_any():
                size += len(part)
                if size > max_bytes:
                    raise _oversize(max_bytes)
                await lease.grow_to(size)
                parts.append(part)
    except TimeoutError:
        raise RetryableError(f"the body did not arrive within {_BODY_SECONDS:.0f} s.") from None
    except (web.RequestPayloadError, ConnectionError) as error:
        raise PermanentError(f"the body broke off after {size} bytes: {error}.") from None
    return b"".join(parts)


def _oversize(max_bytes: int) -> OversizeError:
    return OversizeError(
        f"the request is larger than {max_bytes} bytes. "
        "Send smaller batches, or raise request_max_bytes."
    )


def _text(header: str) -> str:
    """Give a header's text; bytes that are not UTF-8 would be kept by no queue."""
    return header.encode("utf-8", "replace").decode()


def _project_name(request: web.Request) -> str:
    for name, value in request.raw_headers:
        if name.lower() == b"x-project-name":
            try:
                return value.decode("utf-8").strip()
            except UnicodeDecodeError:
                return value.decode("latin-1").strip()
    return ""


def _refusal(request: web.Request, error: Exception) -> web.Response:
    if not isinstance(error, CollectorError):
        _log.error("an OTLP/HTTP request met an unexpected error", exc_info=error)
    return _response(request, answer_for(error))


def _response(request: web.Request, answer: Answer) -> web.Response:
    """Give *answer* in the request's encoding, JSON where that is neither of the two."""
    as_json = media_type(request.headers.get("Content-Type", "")) != PROTOBUF
    response = web.Response(
        status=answer.http_status,
        body=http_body(answer, as_json=as_json),
        content_type=JSON if as_json else PROTOBUF,
    )
    if answer.retry_seconds is not None:
        response.headers["Retry-After"] = str(answer.retry_seconds)
    if not request.content.at_eof():
        # The rest of the body is not read, so the connection cannot be used again.
        response.force_close()
    return response
