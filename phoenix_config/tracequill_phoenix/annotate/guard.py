"""Whether a request comes from one of our own pages, or from no page at all.

A browser lets any page send requests to this server with the visitor's cookie, and a name that an
attacker points to this machine makes his page one of ours. Both are refused here, by the headers
that a page cannot set. A request with a token of its own needs neither: no page of others has it.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from urllib.parse import SplitResult, urlsplit

from tracequill_phoenix.annotate.errors import QueueError

_READING = ("GET", "HEAD", "OPTIONS")


class Guard:
    """Knows under which names this server is reached."""

    def __init__(self, own_urls: Iterable[str], own_hosts: Iterable[str] = ()) -> None:
        split = [urlsplit(url) for url in own_urls]
        names = (url.hostname for url in split)
        self._hosts = {name.lower() for name in (*names, *own_hosts) if name}
        self._origins = {_origin(url) for url in split}

    def check(self, method: str, headers: Mapping[str, str], *, authentication: bool) -> None:
        """Raise QueueError for a name that is not ours, and for a write from another site."""
        scheme = headers.get("authorization", "").partition(" ")[0]
        has_token = authentication and scheme.lower() == "bearer"  # else it says nothing
        host = headers.get("host", "")
        if not has_token and not self._is_ours(host):
            raise QueueError(
                403,
                "unknown_host",
                f"this server does not know itself as {host!r}. Open it by its address, or have "
                "PHOENIX_ROOT_URL set to this name.",
            )
        if method in _READING or has_token or self._is_same_site(headers, host):
            return
        raise QueueError(
            403,
            "cross_site",
            "this was sent from a page of another site, and nothing was changed. Open the page "
            "from Phoenix, or have PHOENIX_ROOT_URL set to its address.",
        )

    def _is_ours(self, host: str) -> bool:
        """Addresses cannot be pointed elsewhere, nor can names without a dot by strangers."""
        name = _hostname(host)
        if not name:
            return False
        if name in self._hosts or name.endswith(".localhost") or "." not in name:
            return True
        return _is_address(name)

    def _is_same_site(self, headers: Mapping[str, str], host: str) -> bool:
        site, origin = headers.get("sec-fetch-site"), headers.get("origin")
        if site in ("same-origin", "none"):
            return True
        if origin is None:
            return site is None  # no browser: those send one of the two
        split = _split(origin)
        if split is None:
            return False
        # Another port of this machine is another site: the whole origin counts.
        return _origin(split) in self._origins or (
            site is None and split.netloc.lower() == host.lower()
        )


def _split(url: str) -> SplitResult | None:
    try:
        return urlsplit(url)
    except ValueError:
        return None


def _origin(url: SplitResult) -> tuple[str, str, int | None]:
    """Give scheme, name and port; a port that cannot be one is that of nobody."""
    try:
        port = url.port or {"http": 80, "https": 443}.get(url.scheme)
    except ValueError:
        port = -1
    return url.scheme, (url.hostname or "").lower(), port


def _hostname(host: str) -> str:
    try:
        return (urlsplit(f"//{host}").hostname or "").lower().rstrip(".")
    except ValueError:
        return ""


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
