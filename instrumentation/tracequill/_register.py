"""``register()``: one call, and the application's LLM calls are traced.

What enters are the arguments and the environment; what leaves is a TracerProvider, with
instrumentors that give it their spans and a thread that delivers them. ``register()`` raises for
a wrong setting; after that nothing of ours raises into the application.
"""

from __future__ import annotations

import atexit
import os
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from openinference.instrumentation import TracerProvider
from opentelemetry import trace
from opentelemetry.sdk.resources import Resource

from tracequill._config import (
    Destination,
    Protocol,
    ProxyAddress,
    resolve_destination,
    resolve_proxy,
)
from tracequill._instruments import Instruments
from tracequill._log import logger
from tracequill._processor import (
    CLOSE_TIMEOUT_SECONDS,
    BackgroundProcessor,
    InlineProcessor,
)
from tracequill._provider import TracequillProvider, project_resource
from tracequill._proxy_headers import ProxyHeaders
from tracequill._sender import open_sender

Processor = BackgroundProcessor | InlineProcessor


@dataclass
class Registration:
    """What one process has registered; there is one."""

    provider: TracequillProvider = field(default_factory=TracequillProvider)
    instruments: Instruments = field(default_factory=Instruments)
    destination: Destination | None = None
    # Those of earlier destinations stay until the end: a stream may still end in one.
    processors: list[Processor] = field(default_factory=list)
    lock: threading.RLock = field(default_factory=threading.RLock)

    def __post_init__(self) -> None:
        self.proxy_headers = ProxyHeaders(self.provider)

    def point_to(self, destination: Destination) -> bool:
        """Send spans that start from now on to *destination*; False when they go there already."""
        if self.destination == destination and self.provider.current is not None:
            return False
        sender = open_sender(destination)
        kind = BackgroundProcessor if destination.batch else InlineProcessor
        processor = kind(sender, destination.shown_url)
        self.follow(project_resource(destination.project_name), processor)
        self.destination = destination
        return True

    def follow(self, resource: Resource, processor: Processor) -> None:
        """Let spans that start from now on carry *resource* and end in *processor*."""
        self.processors.append(processor)
        self.provider.follow(resource, processor)

    def trace_calls(self, auto_instrument: bool, proxy: ProxyAddress) -> None:
        """Switch instrumentors on or off, and mark calls for the proxy at *proxy*."""
        self.proxy_headers.switch_on(proxy)
        if auto_instrument:
            self.instruments.switch_on(self.provider)
        else:
            self.instruments.switch_off()
        self.provider.silent_scopes = self.instruments.own_tracers

    def stop(self, timeout_seconds: float) -> None:
        """Deliver what waits within *timeout_seconds* and put back what was replaced."""
        self.instruments.switch_off()
        self.proxy_headers.switch_off()
        self.close(timeout_seconds)
        self.provider.shutdown()
        self.destination = None

    def close(self, timeout_seconds: float) -> None:
        """Deliver what waits, in all processors together within *timeout_seconds*."""
        deadline = time.monotonic() + timeout_seconds
        while self.processors:
            # The newest first: what waits for an earlier destination may never be taken.
            self.processors.pop().close(max(0.0, deadline - time.monotonic()))


registration = Registration()
_prepared = False


def register(
    project_name: str | None = None,
    endpoint: str | None = None,
    api_key: str | None = None,
    protocol: Protocol | None = None,
    *,
    auto_instrument: bool = True,
    batch: bool = True,
    headers: Mapping[str, str] | None = None,
    proxy_url: str | None = None,
    set_global_tracer_provider: bool = False,
    verbose: bool = True,
) -> TracerProvider:
    """Trace the LLM calls of this process, and say in one line where prompts go.

    Call it once at the start, before boto3 clients are made. Called again, the last call holds:
    the same provider comes back and sends to the new destination; clients stay traced, and no
    span is made twice.

    project_name: else TRACEQUILL_PROJECT_NAME, PHOENIX_PROJECT, PHOENIX_PROJECT_NAME, "default".
    endpoint: base URL of a collector; else TRACEQUILL_ENDPOINT, PHOENIX_COLLECTOR_ENDPOINT,
        OTEL_EXPORTER_OTLP_ENDPOINT, http://127.0.0.1:4318.
    api_key: sent as a bearer token; else TRACEQUILL_API_KEY, PHOENIX_API_KEY.
    protocol: "http/protobuf", or "grpc", which needs the grpc extra; follows from the port.
    auto_instrument: trace with every installed OpenInference instrumentor.
    batch: send from a background thread; False sends each span before its call returns.
    headers: more headers for the endpoint.
    proxy_url: address of the proxy, whose calls are marked as traced; else
        TRACEQUILL_PROXY_URL, http://127.0.0.1:4319 with the port of TRACEQUILL_PROXY_PORT.
    set_global_tracer_provider: also let spans that are made through OpenTelemetry's global API
        go to Tracequill; not done where the application has a provider already.
    verbose: write the line to stderr; else it is logged.

    Raises ValueError for a wrong setting and ModuleNotFoundError for gRPC without its extra.
    """
    destination = resolve_destination(
        project_name=project_name,
        endpoint=endpoint,
        api_key=api_key,
        protocol=protocol,
        headers=headers,
        batch=batch,
    )
    proxy = resolve_proxy(proxy_url)
    with registration.lock:
        changed = registration.point_to(destination)
        registration.trace_calls(auto_instrument, proxy)
        if set_global_tracer_provider:
            _set_global(registration.provider)
        _prepare_for_the_end()
        if changed:
            _say_where(destination, registration.instruments.names, verbose)
        return registration.provider


def unregister(timeout_seconds: float = CLOSE_TIMEOUT_SECONDS) -> None:
    """Undo ``register()``: deliver what waits, and put back everything that was replaced."""
    with registration.lock:
        registration.stop(timeout_seconds)


def flush(timeout_seconds: float = 10.0) -> bool:
    """Wait until every span that has ended is delivered; False when time ran out.

    Call it where the process may be frozen or killed next, as at the end of a serverless call.
    """
    deadline = time.monotonic() + timeout_seconds
    return all(
        [
            processor.force_flush(int(max(0.0, deadline - time.monotonic()) * 1000))
            for processor in reversed(registration.processors)
        ]
    )


def _set_global(provider: TracequillProvider) -> None:
    current = trace.get_tracer_provider()
    if current is provider:
        return
    if not isinstance(current, trace.ProxyTracerProvider):
        logger.warning(
            "The application has a global TracerProvider (%s) already; Tracequill leaves it. Its "
            "own spans reach Tracequill through the provider that register() returns.",
            type(current).__name__,
        )
        return
    trace.set_tracer_provider(provider)


def _say_where(destination: Destination, names: tuple[str, ...], verbose: bool) -> None:
    if os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        line = "Tracequill traces nothing: OTEL_SDK_DISABLED is true."
    else:
        line = (
            f"Tracequill sends prompts and answers of project {destination.project_name!r} to "
            f"{destination.shown_url} (traced: {', '.join(names) or 'nothing by itself'})."
        )
    if verbose and sys.stderr is not None:  # there is none under pythonw
        sys.stderr.write(f"{line}\n")
    else:
        logger.info("%s", line)


def _prepare_for_the_end() -> None:
    """Deliver what waits when the process ends, also one that multiprocessing forked."""
    global _prepared
    if _prepared:
        return
    _prepared = True
    atexit.register(_at_exit)
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_after_fork)


def _at_exit() -> None:
    registration.close(CLOSE_TIMEOUT_SECONDS)


def _after_fork() -> None:
    registration.lock = threading.RLock()
    # A child of multiprocessing ends without atexit; it runs finalizers of its own, which it
    # clears first and then asks this registry for.
    util = sys.modules.get("multiprocessing.util")
    if util is not None:
        util.register_after_fork(
            registration, lambda _: util.Finalize(None, _at_exit, exitpriority=0)
        )
