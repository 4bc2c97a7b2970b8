"""OTLP over gRPC: the only module that loads grpc, and only for ``protocol="grpc"``."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tracequill._config import Destination
from tracequill._sender import (
    OtlpSender,
    RefusedError,
    TooLargeError,
    UnavailableError,
    check_partial_success,
)

_METHOD = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
# https://opentelemetry.io/docs/specs/otlp/#failures
_RETRYABLE_CODES = frozenset(
    {
        "ABORTED",
        "CANCELLED",
        "DATA_LOSS",
        "DEADLINE_EXCEEDED",
        "OUT_OF_RANGE",
        "RESOURCE_EXHAUSTED",
        "UNAVAILABLE",
    }
)


class GrpcSender(OtlpSender):
    """OTLP/gRPC; needs the ``grpc`` extra."""

    def __init__(self, destination: Destination) -> None:
        try:
            # By name: importing tracequill must never import grpc, and a checker sees to it.
            self._grpc = import_module("grpc")
        except ModuleNotFoundError:
            raise ModuleNotFoundError(
                f"{destination.shown_url} speaks OTLP/gRPC, and grpcio is not installed. "
                "Run: pip install 'tracequill[grpc]', or use the HTTP port (4318).",
                name="grpc",
            ) from None
        self._destination = destination
        self._channel: Any = None
        self._export: Any = None

    def _post(self, request: ExportTraceServiceRequest, timeout_seconds: float) -> None:
        try:
            response = self._connected()(
                request,
                timeout=timeout_seconds,
                metadata=self._destination.headers,
                compression=self._grpc.Compression.Gzip if self._destination.gzip else None,
            )
        except self._grpc.RpcError as error:
            code, details = error.code().name, error.details() or ""
            if code == "RESOURCE_EXHAUSTED" and "larger than max" in details:
                raise TooLargeError(f"it answered {code}") from None
            if code in _RETRYABLE_CODES:
                raise UnavailableError(f"it answered {code}") from None
            raise RefusedError(f"it answered {code}") from None
        check_partial_success(response)

    def _connected(self) -> Any:
        if self._export is None:
            target = urlsplit(self._destination.url)
            if target.scheme == "https":
                certificate = self._destination.certificate_file
                credentials = self._grpc.ssl_channel_credentials(
                    Path(certificate).read_bytes() if certificate else None
                )
                self._channel = self._grpc.secure_channel(target.netloc, credentials)
            else:
                self._channel = self._grpc.insecure_channel(target.netloc)
            self._export = self._channel.unary_unary(
                _METHOD,
                request_serializer=ExportTraceServiceRequest.SerializeToString,
                response_deserializer=bytes,
            )
        return self._export

    def reopen(self) -> None:
        """Forget the channel; the next request opens another."""
        self._channel = self._export = None

    def close(self) -> None:
        """Close the channel."""
        channel = self._channel
        self.reopen()
        if channel is not None:
            channel.close()
