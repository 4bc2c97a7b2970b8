"""Where spans go: arguments, else the environment, else the collector on this machine.

What enters are the arguments of ``register()``; what leaves is a frozen ``Destination``.
Headers of a variable's family go only to an endpoint of the same family, so that the key of
another vendor is never sent to us, nor ours to it.
"""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, cast, get_args
from urllib.parse import SplitResult, unquote, urlsplit

Protocol = Literal["http/protobuf", "grpc"]

DEFAULT_HTTP_ENDPOINT = "http://127.0.0.1:4318"
DEFAULT_GRPC_ENDPOINT = "http://127.0.0.1:4317"
DEFAULT_PROXY_URL = "http://127.0.0.1:4319"
DEFAULT_PROJECT_NAME = "default"
GRPC_PORT = 4317

_TRACES_PATH = "/v1/traces"
_LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
# The variable that names an endpoint, and the one with headers for it.
_ENDPOINTS = (
    ("TRACEQUILL_ENDPOINT", None),
    ("PHOENIX_COLLECTOR_ENDPOINT", "PHOENIX_CLIENT_HEADERS"),
    ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_HEADERS"),
)
_PROJECT_NAMES = ("TRACEQUILL_PROJECT_NAME", "PHOENIX_PROJECT", "PHOENIX_PROJECT_NAME")
_HEADER_NAME = r"[!#$%&'*+.^_`|~0-9a-z-]+"
_API_KEYS = ("TRACEQUILL_API_KEY", "PHOENIX_API_KEY")


@dataclass(frozen=True)
class Destination:
    """The project, the address and the way there. Two equal ones need one connection."""

    project_name: str
    url: str = field(repr=False)
    """Full URL of the traces endpoint; for gRPC the base URL. May hold a password."""
    protocol: Protocol = "http/protobuf"
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    """Lower-case names; may hold a key, so never shown."""
    batch: bool = True
    gzip: bool = False
    certificate_file: str | None = None

    @property
    def shown_url(self) -> str:
        """The address for people: without a password in it."""
        parts = urlsplit(self.url)
        return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()

    @property
    def is_loopback(self) -> bool:
        """Whether spans stay on this machine."""
        return is_loopback(urlsplit(self.url).hostname or "")


@dataclass(frozen=True)
class ProxyAddress:
    """The proxy's address, to tell calls that go there from all others."""

    scheme: str
    host: str
    port: int
    path: str = ""

    def matches(self, url: str) -> bool:
        """Whether a request to *url* goes to the proxy; the names of loopback are one host."""
        parts = urlsplit(url)
        if parts.scheme != self.scheme or _canonical_host(parts.hostname or "") != self.host:
            return False
        if _port(parts) != self.port:
            return False
        return parts.path == self.path or parts.path.startswith(f"{self.path}/")


def resolve_destination(
    *,
    project_name: str | None = None,
    endpoint: str | None = None,
    api_key: str | None = None,
    protocol: str | None = None,
    headers: Mapping[str, str] | None = None,
    batch: bool = True,
) -> Destination:
    """Give the destination that these arguments and the environment mean.

    Raises ValueError with one sentence that names the wrong value and what to do.
    """
    given, source, headers_variable = _endpoint(endpoint)
    wanted = _protocol(protocol, source, given)
    url = given or (DEFAULT_GRPC_ENDPOINT if wanted == "grpc" else DEFAULT_HTTP_ENDPOINT)
    parts = _split(url, source)
    merged = parse_headers(_variable(headers_variable) or "") if headers_variable else {}
    if not api_key and (found := _first(_API_KEYS)):
        merged["authorization"] = f"Bearer {found}"
    merged.update({name.lower(): str(value) for name, value in (headers or {}).items()})
    if api_key:
        merged["authorization"] = f"Bearer {api_key.strip()}"
    return Destination(
        project_name=project_name or _first(_PROJECT_NAMES) or DEFAULT_PROJECT_NAME,
        url=_grpc_url(parts) if wanted == "grpc" else _http_url(parts),
        protocol=wanted,
        headers=tuple(sorted((name, _checked(name, value)) for name, value in merged.items())),
        batch=batch,
        gzip=(_variable("OTEL_EXPORTER_OTLP_COMPRESSION") or "").lower() == "gzip",
        certificate_file=_variable("OTEL_EXPORTER_OTLP_CERTIFICATE"),
    )


def resolve_proxy(proxy_url: str | None = None) -> ProxyAddress:
    """Give the proxy's address: the argument, TRACEQUILL_PROXY_URL, else the one of ``up``.

    That one has the port of TRACEQUILL_PROXY_PORT, which moves the proxy itself.
    """
    source = "proxy_url" if proxy_url else "TRACEQUILL_PROXY_URL"
    port = _variable("TRACEQUILL_PROXY_PORT") or ""
    default = f"http://127.0.0.1:{port}" if port.isdecimal() else DEFAULT_PROXY_URL
    url = proxy_url or _variable(source) or default
    parts = _split(url, source)
    return ProxyAddress(
        scheme=parts.scheme,
        host=_canonical_host(parts.hostname or ""),
        port=_port(parts),
        path=parts.path.rstrip("/"),
    )


def parse_headers(text: str) -> dict[str, str]:
    """Read ``name=value,name=value`` as OpenTelemetry writes it, values percent-encoded."""
    headers: dict[str, str] = {}
    for pair in text.split(","):
        name, separator, value = pair.partition("=")
        if separator and name.strip():
            headers[unquote(name).strip().lower()] = unquote(value).strip()
    return headers


def is_loopback(host: str) -> bool:
    """Whether *host* is this machine and no other."""
    if host in _LOOPBACK_NAMES:
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _endpoint(argument: str | None) -> tuple[str | None, str, str | None]:
    """Give the endpoint, what named it, and the variable with headers for it."""
    if argument:
        return argument.strip(), "endpoint", None
    for name, headers_variable in _ENDPOINTS:
        if value := _variable(name):
            return value, name, headers_variable
    return None, "endpoint", None


def _protocol(argument: str | None, source: str, endpoint: str | None) -> Protocol:
    known = get_args(Protocol)
    if argument is not None:
        if argument not in known:
            raise ValueError(
                f"protocol is {argument!r}, which is unknown. Use 'http/protobuf' or 'grpc'."
            )
        return cast(Protocol, argument)
    if source.startswith("OTEL_") and _variable("OTEL_EXPORTER_OTLP_PROTOCOL") == "grpc":
        return "grpc"
    if endpoint and _split(endpoint, source).port == GRPC_PORT:
        return "grpc"
    return "http/protobuf"


def _split(url: str, source: str) -> SplitResult:
    # `host:port` alone is what OTel's gRPC exporters are given.
    parts = urlsplit(url.strip() if "://" in url else f"http://{url.strip()}")
    try:
        usable = parts.scheme in ("http", "https") and bool(parts.hostname)
        _ = parts.port
    except ValueError:
        usable = False
    if not usable:
        shown = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
        raise ValueError(
            f"{source} is {shown!r}, which is not a URL. Give one like {DEFAULT_HTTP_ENDPOINT!r}."
        )
    return parts


def _http_url(parts: SplitResult) -> str:
    base = parts.path.rstrip("/").removesuffix(_TRACES_PATH)
    return parts._replace(path=base + _TRACES_PATH, fragment="").geturl()


def _grpc_url(parts: SplitResult) -> str:
    netloc = parts.netloc if parts.port else f"{parts.netloc}:{GRPC_PORT}"
    return f"{parts.scheme}://{netloc}"


def _checked(name: str, value: str) -> str:
    """Refuse here, without showing it, what the HTTP client would refuse and show."""
    value = value.strip()
    if not re.fullmatch(_HEADER_NAME, name) or not value.isascii() or not value.isprintable():
        raise ValueError(
            f"the header {name!r} holds a character that HTTP does not allow (its value is not "
            "shown). Check the key or header you gave."
        )
    return value


def _port(parts: SplitResult) -> int:
    return parts.port or (443 if parts.scheme == "https" else 80)


def _canonical_host(host: str) -> str:
    host = host.lower()
    return "127.0.0.1" if host in _LOOPBACK_NAMES else host


def _first(names: tuple[str, ...]) -> str | None:
    return next((value for name in names if (value := _variable(name))), None)


def _variable(name: str) -> str | None:
    return os.environ.get(name, "").strip() or None
