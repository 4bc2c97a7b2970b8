"""Where a call goes: a raw request path and the configured routes in, an upstream out.

Pure: it opens nothing, and it knows neither headers nor bodies. Every host stands in the
configuration; a request chooses among routes and gives a region, nothing more.
"""

from __future__ import annotations

import difflib
import functools
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from urllib.parse import unquote, urlsplit

from tracequill.settings import RouteSettings
from tracequill_collector.errors import PermanentError, StartError
from tracequill_collector.proxy.sigv4 import Scope

_REGION_MARK = "{region}"
_REGION = re.compile(r"[a-z]{2,4}(?:-[a-z]{2,12}){1,3}-[0-9]{1,2}")
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_TARGET = re.compile(r"/[\x21-\x7e]*")
_PAGES = frozenset({"healthz", "readyz", "metrics"})
_MOCK = "mock"
# How the path begins where a base URL names no route, and how it should.
_FORGOTTEN = {
    "": "openai/v1",
    "chat": "openai/v1/chat",
    "embeddings": "openai/v1/embeddings",
    "model": "bedrock/us-east-1/model",
    "responses": "openai/v1/responses",
    "v1": "openai/v1",
    "v1beta": "gemini/v1beta",
}
_GEMINI = "gemini"
# Where files go at Gemini. Of a base URL given with a file its Python library keeps only the host.
_UPLOAD = "upload"

# Name, vendor (whose wire format it is), upstream. No upstream: it is built in.
_TABLE: tuple[tuple[str, str, str], ...] = (
    ("openai", "openai", "https://api.openai.com"),
    ("anthropic", "anthropic", "https://api.anthropic.com"),
    (_GEMINI, "gemini", "https://generativelanguage.googleapis.com"),
    ("mistral", "mistral", "https://api.mistral.ai"),
    ("together", "together", "https://api.together.ai"),
    ("groq", "groq", "https://api.groq.com"),
    ("ollama", "ollama", "http://127.0.0.1:11434"),
    ("bedrock", "bedrock", "https://bedrock-runtime.{region}.amazonaws.com"),
    ("bedrock-agent", "bedrock-agent", "https://bedrock-agent-runtime.{region}.amazonaws.com"),
    ("sagemaker", "sagemaker", "https://runtime.sagemaker.{region}.amazonaws.com"),
    (_MOCK, _MOCK, ""),
)
# Built-in routes that lead to this machine.
_LOCAL = frozenset({"ollama", _MOCK})
# What AWS calls a service in a signature; bedrock-runtime and both agents are one.
_SIGNED_SERVICES = {"bedrock": "bedrock", "bedrock-agent": "bedrock", "sagemaker": "sagemaker"}
_AWS_DOMAINS = (
    ".amazonaws.com",
    ".amazonaws.com.cn",
    ".amazonaws.eu",
    ".api.amazonwebservices.com.cn",
    ".api.amazonwebservices.eu",
    ".api.aws",
)


class RouteError(PermanentError):
    """No upstream belongs to this path; the message is for the caller, in its vendor's format."""

    def __init__(self, message: str, *, status: int, code: str, vendor: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.vendor = vendor


@dataclass(frozen=True)
class Origin:
    """Scheme, host and port of an upstream."""

    scheme: str
    host: str
    port: int
    authority: str
    """What stands in the ``Host`` header."""
    public: bool = False
    """Only a public address may be connected to."""

    @functools.cached_property
    def is_aws(self) -> bool:
        """Whether AWS answers there, under its own name, and checks signatures."""
        return self.host.endswith(_AWS_DOMAINS)


@dataclass(frozen=True, slots=True)
class Route:
    """One line of the table: a path prefix and where it leads."""

    name: str
    vendor: str
    upstream: str
    """Base URL, perhaps with ``{region}``; empty for what is built in."""
    regional: bool
    """The second path segment is a region."""
    public: bool = False
    """The upstream is on the internet; no other address is connected to."""
    sign_service: str = ""
    """The service that calls are signed for; empty: they cross with what the client gave them."""
    sign_region: str = ""
    """The region that calls are signed for; empty: that of the path."""


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
    scope: Scope | None = None
    """What the proxy signs this call for, with its own credentials; None: it does not."""


class RouteTable:
    """The routes of one configuration. The same path always leads to the same place."""

    def __init__(
        self,
        routes: Mapping[str, RouteSettings] | None = None,
        upstreams: Mapping[str, str] | None = None,
        sign: Iterable[str] = (),
    ) -> None:
        """Join the built-in routes, *routes* of the configuration and replaced *upstreams*.

        Calls on the routes named by *sign* are signed. Raises StartError for a name or a URL that
        cannot be, and for a route whose signature would not be known.
        """
        self._routes = {
            name: Route(name, vendor, upstream, _REGION_MARK in upstream, name not in _LOCAL)
            for name, vendor, upstream in _TABLE
        }
        configured = dict(routes or {})
        for name, settings in configured.items():
            self._configure(name, settings)
        for name, upstream in (upstreams or {}).items():
            route = self._known(name, "TRACEQUILL_UPSTREAM_" + name.upper().replace("-", "_"))
            # Who writes a host into a variable may mean any host.
            public = bool(configured.get(name, RouteSettings()).public)
            self._routes[name] = replace(route, upstream=upstream.rstrip("/"), public=public)
        for name in {*sign, *(name for name, one in configured.items() if one.sign)}:
            self._sign(name, configured.get(name, RouteSettings()))
        for route in self._routes.values():
            if route.upstream:
                _base(route, "us-east-1")
        self._base = functools.lru_cache(maxsize=256)(_base)

    @property
    def names(self) -> list[str]:
        """The names of all routes, sorted."""
        return sorted(self._routes)

    @property
    def signed_names(self) -> list[str]:
        """The names of the routes whose calls are signed, sorted."""
        return sorted(name for name, route in self._routes.items() if route.sign_service)

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
        if route is None and name == _UPLOAD:
            route, rest = self._routes[_GEMINI], path[1:]
        vendor = route.vendor if route else ""
        if _has_dot_segment(path):
            raise _refused("the path has a dot segment ('.' or '..'); write it without", vendor)
        if route is None:
            raise RouteError(
                f"there is no route {name[:64]!r}. The routes are {', '.join(self.names)}: "
                f"/{{route}}/{{the vendor's path}}.{_hint(name, self.names)}",
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
        scope = None
        if route.sign_service:
            scope = Scope(route.sign_region or region, route.sign_service)
        return Target(route, vendor, region, origin, at_upstream, scope)

    def _configure(self, name: str, settings: RouteSettings) -> None:
        if not _NAME.fullmatch(name) or name in _PAGES:
            raise StartError(
                f"routes: {name!r} cannot be a route's name. "
                "Use lower-case letters, digits and hyphens, and no page's name "
                f"({', '.join(sorted(_PAGES))})."
            )
        route = self._routes.get(name)
        if settings.upstream is not None:
            upstream = settings.upstream.rstrip("/")
            vendor = settings.vendor or name
            route = Route(name, vendor, upstream, _REGION_MARK in upstream)
        elif route is None or not route.upstream:
            raise StartError(
                f"routes: {name!r} names no upstream. Add upstream: https://host/path."
            )
        elif settings.vendor is not None:
            route = replace(route, vendor=settings.vendor)
        if settings.public is not None:
            route = replace(route, public=settings.public)
        self._routes[name] = route

    def _known(self, name: str, variable: str) -> Route:
        route = self._routes.get(name)
        if route is None:
            raise StartError(
                f"{variable} names the route {name!r}, which does not exist. "
                f"The routes are {', '.join(self.names)}.{_nearest(name, self.names)}"
            )
        return route

    def _sign(self, name: str, settings: RouteSettings) -> None:
        route = self._known(name, "TRACEQUILL_PROXY_SIGN")
        service = settings.sign_service or _SIGNED_SERVICES.get(route.vendor, "")
        if not route.upstream or not service:
            raise StartError(
                f"calls on the route {name!r} cannot be signed: its vendor {route.vendor!r} is "
                f"none of {', '.join(_SIGNED_SERVICES)}. Set routes.{name}.sign_service to AWS's "
                "name of the service, or do not sign."
            )
        if not route.regional and not settings.sign_region:
            raise StartError(
                f"calls on the route {name!r} cannot be signed: its upstream has no {{region}}. "
                f"Set routes.{name}.sign_region."
            )
        region = settings.sign_region or ""
        self._routes[name] = replace(route, sign_service=service, sign_region=region)


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
    port = port or default
    origin = Origin(parts.scheme, parts.hostname, port, parts.netloc, route.public)
    return origin, parts.path


def _bad_upstream(route: Route) -> StartError:
    # The value may hold a password; it is not repeated.
    return StartError(
        f"the upstream of route {route.name!r} is not a URL like https://host:port/path, without "
        "user, password and query. Correct it in tracequill.yaml or TRACEQUILL_UPSTREAM_"
        f"{route.name.upper().replace('-', '_')}."
    )


def _refused(reason: str, vendor: str = "") -> RouteError:
    return RouteError(f"{reason}.", status=400, code="bad_path", vendor=vendor)


def _hint(name: str, names: list[str]) -> str:
    """Say what was meant: a path of a vendor's, or a name that is like a route's."""
    if name in _FORGOTTEN:
        return f" The route comes first, as in /{_FORGOTTEN[name]}."
    return _nearest(name, names)


def _nearest(name: str, names: list[str]) -> str:
    near = difflib.get_close_matches(name[:64].lower(), names, n=1)
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
