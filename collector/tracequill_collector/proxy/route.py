"""Where a call goes: a raw request path and the configured routes in, an upstream out.

Pure: it opens nothing, and it knows neither headers nor bodies. Every host stands in the
configuration; a request chooses among routes and gives a region, nothing more.
"""

from __future__ import annotations

import difflib
import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from tracequill.settings import RouteSettings
from tracequill_collector.errors import PermanentError, StartError

_REGION_MARK = "{region}"
_REGION = re.compile(r"[a-z]{2,4}(?:-[a-z]{2,12}){1,3}-[0-9]{1,2}")
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_TARGET = re.compile(r"/[\x21-\x7e]*")
_PAGES = frozenset({"healthz", "readyz", "metrics"})
_MOCK = "mock"

# Name, vendor (whose wire format it is), upstream. No upstream: it is built in.
_TABLE: tuple[tuple[str, str, str], ...] = (
    ("openai", "openai", "https://api.openai.com"),
    ("anthropic", "anthropic", "https://api.anthropic.com"),
    ("gemini", "gemini", "https://generativelanguage.googleapis.com"),
    ("mistral", "mistral", "https://api.mistral.ai"),
    ("together", "together", "https://api.together.ai"),
    ("groq", "groq", "https://api.groq.com"),
    ("ollama", "ollama", "http://127.0.0.1:11434"),
    ("bedrock", "bedrock", "https://bedrock-runtime.{region}.amazonaws.com"),
    ("bedrock-agent", "bedrock-agent", "https://bedrock-agent-runtime.{region}.amazonaws.com"),
    ("sagemaker", "sagemaker", "https://runtime.sagemaker.{region}.amazonaws.com"),
    (_MOCK, _MOCK, ""),
)
_REGIONAL = frozenset(name for name, _, upstream in _TABLE if _REGION_MARK in upstream)


class RouteError(PermanentError):
    """No upstream belongs to this path; the message is for the caller, in its vendor's format."""

    def __init__(self, message: str, *, status: int, code: str, vendor: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.vendor = vendor


@dataclass(frozen=True, slots=True)
class Origin:
    """Scheme, host and port of an upstream."""

    scheme: str
    host: str
    port: int
    authority: str
    """What stands in the ``Host`` header."""


@dataclass(frozen=True, slots=True)
class Route:
    """One line of the table: a path prefix and where it leads."""

    name: str
    vendor: str
    upstream: str
    """Base URL, perhaps with ``{region}``; empty for what is built in."""
    regional: bool
    """The second path segment is a region."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where one call goes."""

    route: Route
    vendor: str
    """Whose wire format this call speaks; the mock's paths tell."""
    region: str
    """The region of a regional route, else empty."""
    origin: Origin | None
    """None for what is built in."""
    path: str
    """Raw path and query at the upstream, nothing decoded, nothing normalised."""


class RouteTable:
    """The routes of one configuration. The same path always leads to the same place."""

    def __init__(
        self,
        routes: Mapping[str, RouteSettings] | None = None,
        upstreams: Mapping[str, str] | None = None,
    ) -> None:
        """Join the built-in routes, *routes* of the configuration and replaced *upstreams*.

        Raises StartError for a name or a URL that cannot be.
        """
        self._routes = {
            name: Route(name, vendor, upstream, name in _REGIONAL)
            for name, vendor, upstream in _TABLE
        }
        for name, settings in (routes or {}).items():
            if not _NAME.fullmatch(name) or name in _PAGES:
                raise StartError(
                    f"routes: {name!r} cannot be a route's name. "
                    "Use lower-case letters, digits and hyphens, and no page's name "
                    f"({', '.join(sorted(_PAGES))})."
                )
            regional = _REGION_MARK in settings.upstream
            self._routes[name] = Route(
                name, settings.vendor or name, settings.upstream.rstrip("/"), regional
            )
        for name, upstream in (upstreams or {}).items():
            self._replace(name, upstream)
        for route in self._routes.values():
            if route.upstream:
                _base(route, "us-east-1")
        self._base = functools.lru_cache(maxsize=256)(_base)

    @property
    def names(self) -> list[str]:
        """The names of all routes, sorted."""
        return sorted(self._routes)

    def find(self, raw: str) -> Target:
        """Give the target of the raw request target *raw*, path and query as they came.

        Raises RouteError for an unknown route, a bad region, a dot segment in any spelling and
        whatever is no path.
        """
        if not _TARGET.fullmatch(raw) or "#" in raw:
            raise _refused("the request target must be a path of printable ASCII characters")
        path, mark, query = raw.partition("?")
        name, _, rest = path[1:].partition("/")
        route = self._routes.get(name)
        vendor = route.vendor if route else ""
        if _has_dot_segment(path):
            raise _refused("the path has a dot segment ('.' or '..'); write it without", vendor)
        if route is None:
            raise RouteError(
                f"there is no route {name[:64]!r}. The routes are {', '.join(self.names)}: "
                f"/{{route}}/{{the vendor's path}}.{_nearest(name, self.names)}",
                status=404,
                code="unknown_route",
                vendor="",
            )
        region = ""
        if route.regional:
            region, _, rest = rest.partition("/")
            if not _REGION.fullmatch(region):
                raise _refused(
                    f"route {name!r} needs a region after it, as in /{name}/us-east-1/…; "
                    f"{region[:64]!r} is none",
                    vendor,
                )
        origin, prefix = self._base(route, region) if route.upstream else (None, "")
        at_upstream = f"{prefix}/{rest}{mark}{query}"
        if route.name == _MOCK:
            vendor = _mock_vendor(rest)
        return Target(route, vendor, region, origin, at_upstream)

    def _replace(self, name: str, upstream: str) -> None:
        route = self._routes.get(name)
        variable = "TRACEQUILL_UPSTREAM_" + name.upper().replace("-", "_")
        if route is None:
            raise StartError(
                f"{variable} names the route {name!r}, which does not exist. "
                f"The routes are {', '.join(self.names)}.{_nearest(name, self.names)}"
            )
        self._routes[name] = Route(name, route.vendor, upstream.rstrip("/"), route.regional)


def _base(route: Route, region: str) -> tuple[Origin, str]:
    """Give origin and path prefix of *route*'s upstream in *region*."""
    url = route.upstream.replace(_REGION_MARK, region)
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise _bad_upstream(route) from None
    if (
        parts.scheme not in ("http", "https")
        or not parts.hostname
        or "@" in parts.netloc
        or parts.query
        or parts.fragment
        or not _TARGET.fullmatch("/" + url)
        or "{" in url
    ):
        raise _bad_upstream(route)
    default = 443 if parts.scheme == "https" else 80
    return Origin(parts.scheme, parts.hostname, port or default, parts.netloc), parts.path


def _bad_upstream(route: Route) -> StartError:
    # The value may hold a password; it is not repeated.
    return StartError(
        f"the upstream of route {route.name!r} is not a URL like https://host:port/path, without "
        "user, password and query. Correct it in tracequill.yaml or TRACEQUILL_UPSTREAM_"
        f"{route.name.upper().replace('-', '_')}."
    )


def _refused(reason: str, vendor: str = "") -> RouteError:
    return RouteError(f"{reason}.", status=400, code="bad_path", vendor=vendor)


def _nearest(name: str, names: list[str]) -> str:
    near = difflib.get_close_matches(name[:64], names, n=1)
    return f" Did you mean {near[0]!r}?" if near else ""


def _has_dot_segment(path: str) -> bool:
    """Tell whether any server could read ``.`` or ``..`` as a segment of *path*."""
    # Decoded more than once: what is behind the upstream may decode again.
    for _ in range(3):
        if "." in path:
            for segment in path.replace("\\", "/").split("/"):
                # Some servers cut a segment at ';' before they resolve it.
                if segment.partition(";")[0] in (".", ".."):
                    return True
        decoded = unquote(path)
        if decoded == path:
            return False
        path = decoded
    return False


def _mock_vendor(rest: str) -> str:
    if rest.startswith(("model/", "guardrail/")):
        return "bedrock"
    if rest.startswith("v1/messages"):
        return "anthropic"
    return "openai"
