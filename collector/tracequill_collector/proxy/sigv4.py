"""AWS Signature Version 4: a request and credentials in, the headers that sign it out. Pure.

What is signed is what crosses: the path and query as they stand on the wire, the ``Host`` that is
really sent. Only ``Host``, ``Content-Type`` and ``X-Amz-*`` are signed, because whatever else is on
the way may change (docs/decisions/0050-signing-in-the-proxy.md). Whose credentials these are, and
when to sign, is not known here.
"""

from __future__ import annotations

import functools
import hashlib
import hmac
import time
from typing import NamedTuple
from urllib.parse import quote, unquote_plus, unquote_to_bytes

from tracequill_collector.proxy.headers import RawHeaders

_ALGORITHM = "AWS4-HMAC-SHA256"
_STRIPPED = frozenset(
    {b"authorization", b"x-amz-content-sha256", b"x-amz-date", b"x-amz-security-token"}
)
# What a presigned URL carries (X-Amz-Signature and the others), in lower case.
_STRIPPED_PARAMETERS = frozenset(
    {
        "x-amz-algorithm",
        "x-amz-credential",
        "x-amz-date",
        "x-amz-expires",
        "x-amz-security-token",
        "x-amz-signature",
        "x-amz-signedheaders",
    }
)


class Credentials(NamedTuple):
    """An access key, and the token of a temporary one."""

    access_key: str
    secret_key: str
    token: str | None = None

    def __repr__(self) -> str:
        return "Credentials(***)"


class Scope(NamedTuple):
    """What a signature is good for. The service is AWS's name for signing: ``bedrock``."""

    region: str
    service: str


def unsigned_path(path: str) -> str:
    """Give raw *path* without the query parameters of a presigned URL; all else stays raw."""
    before, mark, query = path.partition("?")
    if not query:
        return path
    kept = [part for part in query.split("&") if not _is_signature(part)]
    return before + mark + "&".join(kept) if kept else before


def unsigned_headers(headers: RawHeaders) -> list[tuple[bytes, bytes]]:
    """Give *headers* without any key or signature, and with one ``Content-Type``.

    Two of them are joined on AWS's side, and no signature holds over what comes out.
    """
    kept: list[tuple[bytes, bytes]] = []
    typed = False
    for name, value in headers:
        lower = name.lower()
        if lower in _STRIPPED or (typed and lower == b"content-type"):
            continue
        typed = typed or lower == b"content-type"
        kept.append((name, value))
    return kept


def sign(
    method: str,
    path: str,
    headers: RawHeaders,
    body_sha256: str,
    credentials: Credentials,
    scope: Scope,
    unix_seconds: float,
) -> list[tuple[bytes, bytes]]:
    """Give the headers to add to a request that holds no signature yet."""
    timestamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(unix_seconds))
    added = [(b"X-Amz-Date", timestamp.encode("ascii"))]
    if credentials.token:
        added.append((b"X-Amz-Security-Token", credentials.token.encode("ascii")))
    canonical, names = _canonical_headers([*headers, *added])
    before, _, query = path.partition("?")
    request = b"\n".join(
        (
            method.encode("ascii"),
            canonical_path(before).encode("ascii"),
            canonical_query(query).encode("ascii"),
            canonical,
            b"",
            names,
            body_sha256.encode("ascii"),
        )
    )
    day = timestamp[:8]
    place = f"{day}/{scope.region}/{scope.service}/aws4_request"
    hashed = hashlib.sha256(request).hexdigest()
    to_sign = f"{_ALGORITHM}\n{timestamp}\n{place}\n{hashed}"
    key = _signing_key(credentials.secret_key, day, scope)
    signature = hmac.new(key, to_sign.encode("ascii"), hashlib.sha256).hexdigest()
    authorization = (
        f"{_ALGORITHM} Credential={credentials.access_key}/{place}, "
        f"SignedHeaders={names.decode('ascii')}, Signature={signature}"
    )
    return [*added, (b"Authorization", authorization.encode("ascii"))]


@functools.lru_cache(maxsize=1024)
def canonical_path(path: str) -> str:
    """Encode raw *path* once more, as every service but S3 does: ``%2F`` becomes ``%252F``."""
    segments = [segment for segment in path.split("/") if segment]
    end = "/" if segments and path.endswith("/") else ""
    return quote("/" + "/".join(segments) + end, safe="/")


def canonical_query(query: str) -> str:
    """Write raw *query* as AWS does: each name and value decoded, encoded anew, all sorted."""
    pairs = []
    for part in query.split("&") if query else ():
        name, _, value = part.partition("=")
        pairs.append((_encoded_anew(name), _encoded_anew(value)))
    return "&".join(f"{name}={value}" for name, value in sorted(pairs))


def _encoded_anew(text: str) -> str:
    # As bytes: what is encoded need not be UTF-8.
    return quote(unquote_to_bytes(text.replace("+", " ")), safe="")


def _canonical_headers(headers: RawHeaders) -> tuple[bytes, bytes]:
    """Give the signed headers as AWS writes them, and the list of their names."""
    signed: dict[bytes, list[bytes]] = {}
    for name, value in headers:
        lower = name.lower()
        if lower in (b"host", b"content-type") or lower.startswith(b"x-amz-"):
            signed.setdefault(lower, []).append(b" ".join(value.split()))
    names = sorted(signed)
    return b"".join(name + b":" + b",".join(signed[name]) + b"\n" for name in names)[:-1], (
        b";".join(names)
    )


# The key of one day: four of the five HMACs of a signature. Never a signature itself.
@functools.lru_cache(maxsize=8)
def _signing_key(secret_key: str, day: str, scope: Scope) -> bytes:
    key = ("AWS4" + secret_key).encode("ascii")
    for part in (day, scope.region, scope.service, "aws4_request"):
        key = hmac.digest(key, part.encode("ascii"), "sha256")
    return key


def _is_signature(parameter: str) -> bool:
    return unquote_plus(parameter.partition("=")[0]).lower() in _STRIPPED_PARAMETERS
