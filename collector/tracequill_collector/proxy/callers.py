"""Whether a call to AWS may be made as it came: its signature, and who asks. Pure.

Two things are refused here before anything is sent. A SigV4 signature holds for one host, so one
that was made for the proxy's address is none at AWS. And where the proxy signs with credentials of
its own, a page in a browser on this machine must not spend them.
"""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import unquote, urlsplit

from tracequill_collector.proxy.headers import RawHeaders
from tracequill_collector.proxy.route import Target

_SIGNED_QUERY = re.compile(r"(?:^|&)x-amz-signature=", re.IGNORECASE)
_LOCAL_DOMAIN = ".localhost"
# Containers call their machine host.docker.internal, host.containers.internal and the like. Nobody
# can have a name under it on the internet, but pages of a company's own network may.
_CONTAINERS_DOMAIN = ".internal"


def reason_to_refuse(target: Target, headers: RawHeaders) -> str | None:
    """Say why AWS, or the proxy, would not take this call; None for every other upstream."""
    if target.scope is not None:
        return _stranger(headers)
    if target.origin is not None and target.origin.is_aws:
        return _lost_signature(target, target.origin.authority, headers)
    return None


def _stranger(headers: RawHeaders) -> str | None:
    origin: str | None = None
    named = ""
    is_cross_site = False
    for name, value in headers:
        lower = name.lower()
        if lower == b"host":
            host = _host_of(f"//{value.decode('latin-1')}")
            if not _is_here(host) and not host.endswith(_CONTAINERS_DOMAIN):
                named = "Host header names another machine"
        elif lower == b"origin":
            origin = value.decode("latin-1")
            if not _is_here(_host_of(origin)):
                named = "Origin header names a page of another machine"
        elif lower == b"sec-fetch-site":
            is_cross_site = value.strip().lower() == b"cross-site"
    if not named and is_cross_site and origin is None:
        # A page that loads an image or follows a link does not say its name.
        named = "Sec-Fetch-Site header tells of a page of another machine"
    if not named:
        return None
    return (
        "calls on this route are signed with the proxy's own credentials, for programs on "
        f"this machine only, and this call's {named}. Call it as 127.0.0.1 or localhost."
    )


def _host_of(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def _is_here(host: str) -> bool:
    """Whether *host* can only be this machine."""
    if host == "localhost" or host.endswith(_LOCAL_DOMAIN):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _lost_signature(target: Target, authority: str, headers: RawHeaders) -> str | None:
    """Say that a signature was made for another host than *authority*, where that is so."""
    signed = False
    host = ""
    for name, value in headers:
        lower = name.lower()
        if lower == b"authorization":
            signed = signed or value.lstrip()[:5].upper() == b"AWS4-"
        elif lower == b"host":
            host = value.decode("latin-1").strip()
    signed = signed or bool(_SIGNED_QUERY.search(unquote(target.path.partition("?")[2])))
    # The host that a client signs for is the one that it sends.
    if not signed or host.lower() == authority.lower():
        return None
    route = target.route.name
    key = (
        "Send a Bedrock API key instead (Authorization: Bearer; boto3 sends the one of "
        "AWS_BEARER_TOKEN_BEDROCK to https addresses only), or "
        if target.vendor == "bedrock"
        else ""
    )
    let = f"{'let' if key else 'Let'} the proxy sign with its own AWS credentials"
    return (
        f"this call is signed for the proxy's address, and AWS takes a signature only for its own, "
        f"{authority}. {key}{let}: TRACEQUILL_PROXY_SIGN={route}, or 'sign: aws' for the route "
        f"{route!r} in tracequill.yaml."
    )
