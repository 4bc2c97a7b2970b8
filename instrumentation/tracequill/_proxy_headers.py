"""One call, one LLM span: tells the proxy which calls have their span already.

What enters are requests of httpx, httpx2, aiohttp, botocore and aiobotocore just before they leave;
what leaves are the same requests, and to those for the proxy's address three headers were added:
``traceparent``, naming the LLM span of the call, ``x-tracequill-traced: 1``, and
``x-tracequill-project``, because a trace belongs to the project of whichever of its spans arrives
first, and the proxy's may. A call without an LLM span of ours gets none, so the proxy writes the
span. They are added after signing, so they are not part of a signature.

Libraries are patched when they are imported, never imported for it.
"""

from __future__ import annotations

import functools
import logging
import re
import sys
import weakref
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from types import ModuleType
from typing import Any
from urllib.parse import quote, urlsplit

import wrapt
from openinference.semconv.resource import ResourceAttributes
from openinference.semconv.trace import OpenInferenceSpanKindValues as Kind
from openinference.semconv.trace import SpanAttributes
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.trace import Span, SpanProcessor

from tracequill._config import ProxyAddress
from tracequill._log import SeldomLog, logger
from tracequill._provider import TracequillProvider

TRACEPARENT = "traceparent"
TRACED = "x-tracequill-traced"
PROJECT = "x-tracequill-project"

_ANTHROPIC = "openinference.instrumentation.anthropic"
_GOOGLE = "openinference.instrumentation.google_genai"
# Every span of these instrumentors is one call to a vendor, whatever its kind, and also where that
# is set later.
_CALL_SCOPES = frozenset(
    {
        _ANTHROPIC,
        _GOOGLE,
        "openinference.instrumentation.bedrock",
        "openinference.instrumentation.openai",
    }
)
_CALL_KINDS = frozenset({Kind.LLM.value, Kind.EMBEDDING.value, Kind.RERANKER.value})

# Calls whose span is not the current one when their request leaves: a stream that is asked for when
# it is read, and a library that makes a span of its own around the request. By the instrumentor,
# the paths of such calls, so that no other request is taken for one while a stream is open.
_LATE_CALLS = {
    _ANTHROPIC: re.compile(
        r"/v1/complete$|/v1/messages(/count_tokens)?$|/model/[^/]+/invoke(-with-response-stream)?$"
        r"|:(stream)?rawPredict$",
        re.IGNORECASE,
    ),
    _GOOGLE: re.compile(r":streamGenerateContent$"),
}
_late_calls: ContextVar[tuple[weakref.ref[Span], ...]] = ContextVar("late_calls", default=())


@dataclass(frozen=True)
class Target:
    """A method that sends one request, given as its first argument, with ``url`` and ``headers``.

    The first of *methods* that the class has is patched. httpx's public ``send`` follows
    redirects, taking headers along to other hosts; the private one below it sends one request.
    """

    module: str
    owner: str
    methods: tuple[str, ...] = ("_send_single_request", "send")
    is_request: bool = False
    """The class is that of the request itself, which sends itself."""


TARGETS = (
    Target("httpx", "Client"),
    Target("httpx", "AsyncClient"),
    Target("httpx2", "Client"),
    Target("httpx2", "AsyncClient"),
    Target("aiohttp.client_reqrep", "ClientRequest", ("_send", "send"), is_request=True),
    Target("botocore.httpsession", "URLLib3Session", ("send",)),
    Target("aiobotocore.httpsession", "AIOHTTPSession", ("send",)),
    Target("aiobotocore.httpxsession", "HttpxSession", ("send",)),
)


class LateCalls(SpanProcessor):
    """Remembers, for the context in which a late call's span starts, that it did."""

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Note *span* if it is that of a late call; forget those that have ended."""
        if span.instrumentation_scope and span.instrumentation_scope.name in _LATE_CALLS:
            _late_calls.set((*map(weakref.ref, open_late_calls()), weakref.ref(span)))


class ProxyHeaders:
    """Adds the headers from ``switch_on`` to ``switch_off``, and remembers what it replaced."""

    def __init__(self, provider: TracequillProvider, log: SeldomLog | None = None) -> None:
        self._provider = provider
        self._log = log or SeldomLog()
        self.address: ProxyAddress | None = None
        self._waits_for_imports = False
        self._replaced: list[tuple[type, str, Callable[..., Any], Callable[..., Any]]] = []

    def switch_on(self, address: ProxyAddress) -> None:
        """Add the headers to calls for *address*, in libraries imported already or later."""
        first = self.address is None
        self.address = address
        if not first:
            return
        self._provider.add_span_processor(LateCalls())
        for target in TARGETS:
            hook = functools.partial(self._patch_when_imported, target)
            if not self._waits_for_imports:
                wrapt.register_post_import_hook(hook, target.module)  # at once, if imported
            elif (module := sys.modules.get(target.module)) is not None:
                hook(module)
        self._waits_for_imports = True

    def switch_off(self) -> None:
        """Put back what was replaced; where somebody patched over it, do nothing from now on."""
        self.address = None
        while self._replaced:
            owner, method, original, replacement = self._replaced.pop()
            if owner.__dict__.get(method) is replacement:
                setattr(owner, method, original)

    def add(self, request: Any) -> None:
        """Add the headers to *request* where they belong; take them off where they do not."""
        address = self.address
        if address is None:
            return
        if not address.matches(str(request.url)):
            if TRACED in request.headers:  # a redirect to another host took them along
                for name in (TRACED, TRACEPARENT, PROJECT):
                    if name in request.headers:
                        del request.headers[name]
            return
        span = current_call(self._provider) or late_call(self._provider, str(request.url))
        if span is not None:
            context = span.get_span_context()
            # Sampled, whatever the trace around it is: this span is kept.
            request.headers[TRACEPARENT] = f"00-{context.trace_id:032x}-{context.span_id:016x}-01"
            request.headers[TRACED] = "1"
            project = self._provider.resource.attributes.get(ResourceAttributes.PROJECT_NAME, "")
            request.headers[PROJECT] = header_value(str(project))

    def _patch_when_imported(self, target: Target, module: ModuleType) -> None:
        """Patch *target*; an error here would make the application's import fail."""
        try:
            if self.address is not None:
                self._patch(getattr(module, target.owner), target)
        except Exception:
            logger.warning(
                "Tracequill cannot mark calls of %s for the proxy: they are recorded twice.",
                target.module,
                exc_info=True,
            )

    def _patch(self, owner: type, target: Target) -> None:
        method = next(name for name in target.methods if name in owner.__dict__)
        original = owner.__dict__[method]
        # httpx2 can stand in for httpx: the same class under two names.
        if any(known is owner and name == method for known, name, *_ in self._replaced):
            return

        # Not a coroutine function, also where the original is one: it gives the same awaitable.
        @functools.wraps(original)
        def send(client: Any, request: Any, *args: Any, **kwargs: Any) -> Any:
            try:
                self.add(client if target.is_request else request)
            except Exception as error:
                self._log.write(
                    logging.WARNING,
                    "headers",
                    "Tracequill could not mark a call for the proxy: %s.",
                    type(error).__name__,
                )
            return original(client, request, *args, **kwargs)

        setattr(owner, method, send)
        self._replaced.append((owner, method, original, send))


def header_value(text: str) -> str:
    """Give *text* as it can stand in a header: as it is, else encoded as RFC 8187 says."""
    if text.isascii() and text.isprintable():
        return text
    return f"UTF-8''{quote(text)}"


def current_call(provider: TracequillProvider) -> trace.Span | None:
    """Give the span of the LLM call that is being made, if *provider* made it and records it."""
    span = trace.get_current_span()
    if not span.is_recording() or getattr(span, "resource", None) is not provider.resource:
        return None
    scope = getattr(span, "instrumentation_scope", None)
    if scope is not None and scope.name in _CALL_SCOPES:
        return span
    attributes = getattr(span, "attributes", None) or {}
    # OpenInference holds the kind back until the span ends, if it was not given at the start.
    held_back = getattr(span, "_self_important_attributes", {})
    name = SpanAttributes.OPENINFERENCE_SPAN_KIND
    kind = held_back.get(name) or attributes.get(name)
    return span if kind in _CALL_KINDS else None


def late_call(provider: TracequillProvider, url: str) -> Span | None:
    """Give the late call that began in this context, is not over, and may make a request to *url*.

    The newest one, if there are several.
    """
    for span in reversed(open_late_calls()):
        scope = span.instrumentation_scope
        if scope is None or span.resource is not provider.resource:
            continue
        if _LATE_CALLS[scope.name].search(urlsplit(url).path):
            return span
    return None


def open_late_calls() -> list[Span]:
    """Give the late calls that began in this context and are not over."""
    started = (found() for found in _late_calls.get())
    return [span for span in started if span is not None and span.is_recording()]
