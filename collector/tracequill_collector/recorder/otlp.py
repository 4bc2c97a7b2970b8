"""OTLP/HTTP: an encoded request goes to the collector, or an error that says what to do comes.

What a request holds is not known here.
"""

from __future__ import annotations

import email.utils
import os
import time
from collections.abc import Mapping

import aiohttp
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from tracequill_collector.errors import PermanentError, RetryableError

# A collector that neither answers nor breaks the connection is asked again.
_TIMEOUT = aiohttp.ClientTimeout(total=60, connect=10)
_CONTENT_TYPE = "application/x-protobuf"
# The request is at fault; it fails the same way when it is sent again.
_PERMANENT = frozenset({400, 413, 422})
_MAX_REASON_CHARACTERS = 200


class OtlpClient:
    """Sends requests to one collector, over kept connections."""

    def __init__(self, base_url: str) -> None:
        self._url = f"{base_url}/v1/traces"
        self._session = aiohttp.ClientSession(timeout=_TIMEOUT)

    async def send(self, request: bytes, project_name: str) -> None:
        """Send *request*, an encoded ``ExportTraceServiceRequest`` of one project's spans.

        Returning means that the collector has it. PermanentError: it will never take it, or not
        all of it. RetryableError: it may take it later, everything else that can fail included,
        because a wrong address or a refused key is no reason to give up spans.
        """
        headers = {"content-type": _CONTENT_TYPE}
        if project_name.isascii() and project_name.isprintable():
            # Others stand whole in the resource attribute; a header cannot carry them for sure.
            headers["x-project-name"] = project_name
        try:
            async with self._session.post(
                self._url, data=request, headers=headers, allow_redirects=False
            ) as response:
                body = await response.read()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise RetryableError(
                f"the collector at {self._url} cannot be reached: {_failure(error)}. "
                "Run 'tracequill collector' or 'tracequill up'.",
                delay_seconds=0,
            ) from error
        if response.status == 200:
            _check_rejected(body)
            return
        message = f"the collector at {self._url} answered {response.status}"
        if response.status in _PERMANENT:
            raise PermanentError(f"{message}: {_reason(body)}")
        delay_seconds = _retry_after_seconds(response.headers)
        raise RetryableError(f"{message}.", delay_seconds=delay_seconds)

    async def close(self) -> None:
        """Close the connections."""
        await self._session.close()


def _failure(error: Exception) -> str:
    if isinstance(error, aiohttp.ClientConnectorError):
        number = error.os_error.errno or 0
        if number > 0:
            return os.strerror(number)
    return str(error) or type(error).__name__


def _check_rejected(body: bytes) -> None:
    try:
        partial = ExportTraceServiceResponse.FromString(body).partial_success
    except DecodeError:
        return
    if partial.rejected_spans:
        raise PermanentError(
            f"the collector rejected {partial.rejected_spans} spans: "
            f"{partial.error_message[:_MAX_REASON_CHARACTERS]}"
        )


def _reason(body: bytes) -> str:
    text = body[: _MAX_REASON_CHARACTERS * 4].decode("utf-8", errors="replace")
    printable = "".join(character for character in text if character.isprintable())
    return printable[:_MAX_REASON_CHARACTERS] or "no reason given"


def _retry_after_seconds(headers: Mapping[str, str]) -> int:
    """Give what the collector asks to wait: seconds or a date; 0 when it asks nothing."""
    value = headers.get("retry-after", "").strip()
    if value.isdecimal():
        return int(value)
    date = email.utils.parsedate_tz(value) if value else None
    return max(0, round(email.utils.mktime_tz(date) - time.time())) if date else 0
