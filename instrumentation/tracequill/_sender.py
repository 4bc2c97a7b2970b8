"""Finished spans become OTLP requests and go to the destination.

What enters are finished spans; what leaves is one request at a time over the wire. It does not
know when to send, how long to keep, or what to do about a failure: that is the processor's.
"""

from __future__ import annotations

import gzip
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any, Protocol

import requests
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.sdk.trace import Event, ReadableSpan

from tracequill._config import Destination

# Servers of OTLP/gRPC refuse messages past 4 MiB unless told otherwise.
MAX_REQUEST_BYTES = 3 * 1024 * 1024
# https://opentelemetry.io/docs/specs/otlp/#retryable-response-codes
_RETRYABLE_STATUSES = frozenset({429, 502, 503, 504})


class RefusedError(Exception):
    """Permanent: the destination will never take *spans* of these; the message says why."""

    def __init__(self, reason: str, spans: int | None = None) -> None:
        super().__init__(reason)
        self.spans = spans


class UnavailableError(Exception):
    """Retryable: the destination did not take these spans now; they may be sent again."""

    def __init__(self, reason: str, retry_after_seconds: float | None = None) -> None:
        super().__init__(reason)
        self.retry_after_seconds = retry_after_seconds


class TooLargeError(RefusedError):
    """The destination takes no request of this size."""


class Sender(Protocol):
    """The way to a destination."""

    def send(self, spans: Sequence[ReadableSpan], timeout_seconds: float) -> None:
        """Deliver *spans*; returning means that the caller may forget them.

        Raises RefusedError or UnavailableError.
        """

    def reopen(self) -> None:
        """Forget connections that are shared with a parent process."""

    def close(self) -> None:
        """Give connections back."""


class OtlpSender(ABC):
    """Encodes spans, and splits what is too large for one request."""

    def send(self, spans: Sequence[ReadableSpan], timeout_seconds: float) -> None:
        """Deliver *spans*; a part that is sent twice is stored once, a part refused stops no other.

        Raises RefusedError or UnavailableError.
        """
        deadline = time.monotonic() + timeout_seconds
        waiting: list[Sequence[ReadableSpan]] = [spans]
        refused, reason = 0, ""
        while waiting:
            part = waiting.pop()
            half = len(part) // 2
            request = encode_spans([clean(span) for span in part])
            if half and request.ByteSize() > MAX_REQUEST_BYTES:
                waiting += [part[half:], part[:half]]
                continue
            remaining = deadline - time.monotonic()
            if remaining <= 0:
                raise UnavailableError(f"no answer within {timeout_seconds:.0f} s")
            try:
                self._post(request, remaining)
            except RefusedError as error:
                if half and isinstance(error, TooLargeError):
                    waiting += [part[half:], part[:half]]
                else:
                    refused += error.spans or len(part)
                    reason = str(error)
        if refused:
            raise RefusedError(reason, refused)

    @abstractmethod
    def _post(self, request: ExportTraceServiceRequest, timeout_seconds: float) -> None:
        """Deliver one request or raise RefusedError, TooLargeError or UnavailableError."""


class HttpSender(OtlpSender):
    """OTLP/HTTP with protobuf bodies."""

    def __init__(self, destination: Destination) -> None:
        self._destination = destination
        self._session: requests.Session | None = None

    def _post(self, request: ExportTraceServiceRequest, timeout_seconds: float) -> None:
        body = request.SerializeToString()
        headers = {"content-type": "application/x-protobuf"}
        if self._destination.gzip:
            body = gzip.compress(body, compresslevel=5)
            headers["content-encoding"] = "gzip"
        # A kept connection that the server closed meanwhile fails at once: try a fresh one.
        for attempt in (1, 2):
            try:
                response = self._connected().post(
                    self._destination.url,
                    data=body,
                    headers=headers,
                    timeout=timeout_seconds,
                    # Prompts go where the line at start said, and nowhere else.
                    allow_redirects=False,
                )
                break
            except requests.Timeout:
                raise UnavailableError(f"no answer within {timeout_seconds:.0f} s") from None
            except requests.ConnectionError as error:
                self.reopen()
                if attempt == 2:
                    raise UnavailableError(_root_reason(error)) from None
        check_response(response.status_code, response.headers.get("retry-after"))
        check_partial_success(response.content)

    def _connected(self) -> requests.Session:
        if self._session is None:
            session = requests.Session()
            session.headers.update(dict(self._destination.headers))
            # Without this, an entry in ~/.netrc would replace our Authorization header.
            session.auth = _leave_headers_alone
            # What stays on this machine must not go through a proxy for the outside.
            session.trust_env = not self._destination.is_loopback
            if self._destination.certificate_file:
                session.verify = self._destination.certificate_file
            self._session = session
        return self._session

    def reopen(self) -> None:
        """Forget the session; the next request opens another."""
        self._session = None

    def close(self) -> None:
        """Close the session."""
        session, self._session = self._session, None
        if session is not None:
            session.close()


def check_response(status: int, retry_after: str | None = None) -> None:
    """Turn an HTTP status into nothing, RefusedError, TooLargeError or UnavailableError."""
    if 200 <= status < 300:
        return
    try:
        reason = f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        reason = str(status)
    if status in _RETRYABLE_STATUSES:
        seconds = float(retry_after) if retry_after and retry_after.isdigit() else None
        raise UnavailableError(f"it answered {reason}", seconds)
    if status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        raise TooLargeError(f"it answered {reason}")
    if 300 <= status < 400:
        raise RefusedError(f"it answered {reason}; redirects are not followed, name the target")
    if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        raise RefusedError(f"it answered {reason}; check the API key (TRACEQUILL_API_KEY)")
    if status == HTTPStatus.NOT_FOUND:
        raise RefusedError(f"it answered {reason}; the endpoint must be a base URL")
    raise RefusedError(f"it answered {reason}")


def check_partial_success(content: bytes) -> None:
    """Raise RefusedError when an answer of success says that some spans were not taken."""
    try:
        partial = ExportTraceServiceResponse.FromString(content).partial_success
    except Exception:  # an answer that is not protobuf: the status said success
        return
    if partial.rejected_spans:
        raise RefusedError("it took only some of them", partial.rejected_spans)


def clean(span: ReadableSpan) -> ReadableSpan:
    """Give *span* with characters that UTF-8 cannot hold replaced.

    OTel's encoder drops an attribute with a lone surrogate whole, and that may be the prompt.
    """
    attributes = span.attributes or {}
    events = span.events
    if all(map(_is_clean, attributes.values())) and all(
        _is_clean(value) for event in events for value in (event.attributes or {}).values()
    ):
        return span
    return ReadableSpan(
        name=span.name,
        context=span.context,
        parent=span.parent,
        resource=span.resource,
        attributes={key: _cleaned(value) for key, value in attributes.items()},
        events=[
            Event(
                event.name,
                {key: _cleaned(value) for key, value in (event.attributes or {}).items()},
                event.timestamp,
            )
            for event in events
        ],
        links=span.links,
        kind=span.kind,
        status=span.status,
        start_time=span.start_time,
        end_time=span.end_time,
        instrumentation_scope=span.instrumentation_scope,
    )


def _is_clean(value: Any) -> bool:
    if isinstance(value, str):
        if value.isascii():
            return True
        try:
            value.encode()
        except UnicodeEncodeError:
            return False
    elif isinstance(value, (list, tuple)):
        return all(map(_is_clean, value))
    return True


def _cleaned(value: Any) -> Any:
    if isinstance(value, str) and not _is_clean(value):
        # Two halves of one character become that character; a lone half becomes U+FFFD.
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, (list, tuple)):
        return tuple(_cleaned(item) for item in value)
    return value


def _leave_headers_alone(request: requests.PreparedRequest) -> requests.PreparedRequest:
    return request


def _root_reason(error: BaseException) -> str:
    """The words of the operating system below a stack of wrapped errors, else a class name.

    The wrapping errors are not shown: they may hold headers.
    """
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, OSError) and seen.strerror:
            return seen.strerror.lower()
        inner = getattr(seen, "reason", None)
        first = seen.args[0] if seen.args else None
        seen = next(
            (e for e in (inner, first, seen.__context__) if isinstance(e, BaseException)), None
        )
    return type(error).__name__


def open_sender(destination: Destination) -> Sender:
    """Give the sender for *destination*; loads gRPC only when it is asked for."""
    if destination.protocol == "grpc":
        from tracequill._sender_grpc import GrpcSender

        return GrpcSender(destination)
    return HttpSender(destination)
