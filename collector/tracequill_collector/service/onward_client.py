"""The client of one entry of ``exporters:``. Settings enter; a client leaves, or a StartError.

What is wrong with an entry is said at the start, not at the first span.
"""

from __future__ import annotations

import os
import re

from yarl import URL

from tracequill.settings import ExporterSettings, Settings
from tracequill_collector.errors import StartError
from tracequill_collector.exporter.otlp import GRPC_PORTS, GrpcClient, HttpClient, OtlpClient

_VARIABLE = re.compile(r"\$\{env:([A-Za-z_][A-Za-z0-9_]*)\}")
# gRPC reads those that end in -bin as bytes.
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+(?<!-bin)")
_OWN_HEADERS = frozenset(
    {
        "accept-encoding",
        "connection",
        "content-encoding",
        "content-length",
        "content-type",
        "grpc-timeout",
        "host",
        "te",
        "transfer-encoding",
    }
)


_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


def client_of(name: str, backend: ExporterSettings, settings: Settings) -> OtlpClient:
    """Give the client for *backend*; raises StartError."""
    headers = {key: _filled_in(name, value) for key, value in backend.headers.items()}
    for key, value in headers.items():
        if not _HEADER_NAME.fullmatch(key) or key.lower() in _OWN_HEADERS:
            raise StartError(
                f"the exporter {name!r} cannot send a header {key!r}: it is no name of a header, "
                "or one that Tracequill sets itself. Correct exporters in tracequill.yaml."
            )
        if not (value.isascii() and value.isprintable()):
            raise StartError(
                f"the header {key!r} of the exporter {name!r} has a value that no header can "
                "carry. Use printable ASCII; the value is not shown here."
            )
    kind = GrpcClient if backend.protocol == "grpc" else HttpClient
    try:
        _check_for_circle(name, backend, settings)
        return kind(
            backend.endpoint,
            headers,
            is_gzip=backend.compression == "gzip",
            timeout_seconds=backend.timeout_seconds,
        )
    except ValueError as error:
        raise StartError(
            f"the endpoint of the exporter {name!r} is wrong: {error}. "
            "Correct exporters in tracequill.yaml."
        ) from None


def _check_for_circle(name: str, backend: ExporterSettings, settings: Settings) -> None:
    url = URL(backend.endpoint)
    port = url.explicit_port or (GRPC_PORTS[url.scheme] if backend.protocol == "grpc" else url.port)
    own_ports = (settings.otlp_http_port, settings.otlp_grpc_port)
    if port in own_ports and url.host in _LOOPBACK | {settings.host}:
        raise StartError(
            f"the exporter {name!r} sends to {url.host}:{port}, which is this collector: "
            "spans would go round for ever. Correct exporters in tracequill.yaml."
        )


def _filled_in(name: str, value: str) -> str:
    """Put variables in the place of ``${env:NAME}``."""

    def variable(found: re.Match[str]) -> str:
        content = os.environ.get(found[1])
        if content is None:
            raise StartError(
                f"a header of the exporter {name!r} needs the variable {found[1]}, which is not "
                "set. Set it, or correct exporters in tracequill.yaml."
            )
        # A key that was read from a file often ends in a line feed.
        return content.strip()

    return _VARIABLE.sub(variable, value).strip()
