"""Which headers cross, which may be kept, and what of a query may be kept.

Raw headers in, raw headers out for the wire; text out for the record. Pure. The lists of what
may be recorded name what is allowed: a header nobody thought of is never kept.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from urllib.parse import unquote

from tracequill_collector.exchange import remove_keys

RawHeaders = Sequence[tuple[bytes, bytes]]
"""Names and values as they came, in order, repeated ones repeated."""

# RFC 9110 section 7.6.1, and the two that only the next hop may read. ``Expect`` is answered by us.
_HOP_BY_HOP = frozenset(
    {
        b"connection",
        b"expect",
        b"http2-settings",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authentication-info",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)
# A ``Connection`` header that names these would change what the message is.
_NEVER_NOMINATED = frozenset({b"content-length", b"host"})
_OURS = b"x-tracequill-"
TRACE_ID = b"x-tracequill-trace-id"
SPAN_ID = b"x-tracequill-span-id"

_RECORDED_REQUEST = frozenset(
    {
        "accept",
        "anthropic-beta",
        "anthropic-version",
        "content-encoding",
        "content-length",
        "content-type",
        "traceparent",
        "user-agent",
        "x-amzn-trace-id",
        "x-client-request-id",
        "x-request-id",
    }
)
_RECORDED_REQUEST_PREFIXES = ("openai-", "x-amzn-bedrock-", "x-amzn-sagemaker-", "x-stainless-")
_RECORDED_RESPONSE = frozenset(
    {
        "anthropic-organization-id",
        "apim-request-id",
        "cf-ray",
        "content-encoding",
        "content-length",
        "content-type",
        "date",
        "request-id",
        "retry-after",
        "retry-after-ms",
        "x-goog-request-id",
        "x-request-id",
        "x-should-retry",
    }
)
_RECORDED_RESPONSE_PREFIXES = ("anthropic-ratelimit-", "openai-", "x-amzn-", "x-ratelimit-")
# Beats the lists above: ``x-amzn-remapped-authorization`` and ``x-amzn-oidc-data`` are Amazon's.
_SECRET_WORDS = ("auth", "cookie", "credential", "oidc", "password", "secret", "security", "sign")

_HIDDEN = "***"
# Longer values are not kept in the cache.
_CACHED_MAX_BYTES = 256
# ``sk-`` and six characters.
_KEY_MIN_BYTES = 9
# Parameters whose values are known to be no secrets; all other values are hidden.
_RECORDED_PARAMETERS = frozenset(
    {
        "after",
        "alt",
        "api-version",
        "before",
        "beta",
        "include",
        "include[]",
        "limit",
        "model",
        "order",
        "pagesize",
        "purpose",
        "stream",
    }
)


def nominated(headers: RawHeaders) -> frozenset[bytes]:
    """Give the lower-case names that ``Connection`` headers declare to be hop-by-hop."""
    names: set[bytes] = set()
    for name, value in headers:
        if name.lower() == b"connection":
            names.update(token.strip().lower() for token in value.split(b","))
    return frozenset(names - _NEVER_NOMINATED)


def upstream_headers(headers: RawHeaders, host: str, *, chunked: bool) -> list[tuple[bytes, bytes]]:
    """Give the request headers for the upstream: what crosses, with *host* as ``Host``."""
    dropped = _HOP_BY_HOP | nominated(headers)
    crossing: list[tuple[bytes, bytes]] = []
    hosted = False
    for name, value in headers:
        lower = name.lower()
        if lower == b"host":
            if not hosted:
                crossing.append((name, host.encode("ascii")))
            hosted = True
        elif lower not in dropped and not lower.startswith(_OURS):
            crossing.append((name, value))
    if not hosted:
        crossing.insert(0, (b"Host", host.encode("ascii")))
    if chunked:
        crossing.append((b"Transfer-Encoding", b"chunked"))
    return crossing


def client_headers(
    headers: RawHeaders, *, trace_id: str, span_id: str, chunked: bool
) -> list[tuple[bytes, bytes]]:
    """Give the response headers for the client: what crosses, and the two ids.

    Of a *chunked* response no ``Content-Length`` crosses: a message with two framings is an attack.
    """
    dropped = _HOP_BY_HOP | nominated(headers)
    crossing: list[tuple[bytes, bytes]] = []
    for name, value in headers:
        lower = name.lower()
        if lower in dropped or lower == TRACE_ID or lower == SPAN_ID:
            continue
        if chunked and lower == b"content-length":
            continue
        crossing.append((name, value))
    crossing.append((TRACE_ID, trace_id.encode("ascii")))
    crossing.append((SPAN_ID, span_id.encode("ascii")))
    return crossing


def recorded_request_headers(headers: RawHeaders) -> tuple[tuple[str, str], ...]:
    """Give the request headers that may be kept; never one that could hold a key."""
    return tuple(
        (name, _short_value(value) if len(value) <= _CACHED_MAX_BYTES else _long_value(value))
        for raw, value in headers
        if (name := _recorded_request_name(raw))
    )


def recorded_response_headers(headers: RawHeaders) -> tuple[tuple[str, str], ...]:
    """Give the response headers that may be kept; never one that could hold a key."""
    return tuple(
        (name, _short_value(value) if len(value) <= _CACHED_MAX_BYTES else _long_value(value))
        for raw, value in headers
        if (name := _recorded_response_name(raw))
    )


def recorded_path(path: str) -> str:
    """Give *path* with each value of its query hidden that is not known to be harmless."""
    path, mark, query = path.partition("?")
    if query:
        query = "&".join(_recorded_parameter(part) for part in query.split("&"))
    return remove_keys(path + mark + query)


def text(value: bytes) -> str:
    """Read a header value as text; UTF-8 where it is, else Latin-1, never failing."""
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return value.decode("latin-1")


def _long_value(value: bytes) -> str:
    """Give a value as text. A key in the wrong header is still a key."""
    return remove_keys(text(value))


# Cached: most values of a client come with every call.
@functools.lru_cache(maxsize=4096)
def _short_value(value: bytes) -> str:
    return text(value) if len(value) < _KEY_MIN_BYTES else remove_keys(text(value))


# Cached: the same few names come with every call.
@functools.lru_cache(maxsize=1024)
def _recorded_request_name(raw: bytes) -> str:
    return _recorded_name(raw, _RECORDED_REQUEST, _RECORDED_REQUEST_PREFIXES)


@functools.lru_cache(maxsize=1024)
def _recorded_response_name(raw: bytes) -> str:
    return _recorded_name(raw, _RECORDED_RESPONSE, _RECORDED_RESPONSE_PREFIXES)


def _recorded_name(raw: bytes, names: frozenset[str], prefixes: tuple[str, ...]) -> str:
    """Give the name as text, or nothing when the header must not be kept."""
    name = raw.decode("latin-1")
    lower = name.lower()
    if lower not in names and not lower.startswith(prefixes):
        return ""
    return "" if any(word in lower for word in _SECRET_WORDS) else name


def _recorded_parameter(part: str) -> str:
    name, equals, _ = part.partition("=")
    if unquote(name).lower() in _RECORDED_PARAMETERS:
        return part
    # A bare word may be the key itself.
    return f"{name}={_HIDDEN}" if equals else _HIDDEN
