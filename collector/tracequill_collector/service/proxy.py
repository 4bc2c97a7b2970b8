"""The forwarding process of the proxy: joins the server, the upstreams and the queue.

``python -m tracequill_collector.service.proxy``, configured by the environment alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import resource
import sys
from pathlib import Path

from tracequill.settings import Settings
from tracequill_collector.errors import StartError
from tracequill_collector.mock import MockUpstream
from tracequill_collector.proxy.app import ProxyServer
from tracequill_collector.proxy.credentials import AwsCredentials
from tracequill_collector.proxy.forward import Forwarder, ForwardLimits
from tracequill_collector.proxy.http_upstream import HttpUpstream
from tracequill_collector.proxy.metrics import ProxyMetrics
from tracequill_collector.proxy.record import ExchangeSink
from tracequill_collector.proxy.route import RouteTable
from tracequill_collector.proxy.signing import SigningUpstream
from tracequill_collector.proxy.upstream import BuiltInUpstream, Upstream
from tracequill_collector.queue import quarantine
from tracequill_collector.queue.disk import Disk
from tracequill_collector.queue.writer import QueueWriter
from tracequill_collector.service.memory import settle
from tracequill_collector.service.process import run_service

# Streams in flight are finished; less than what the supervisor waits before it kills.
_DRAIN_SECONDS = 50.0
_FILES_WANTED = 65536
_FILES_RESERVED = 64
# Two sockets, the client's and the upstream's; and files for long bodies: that of the request, that
# of the response, and one that is to be signed.
_FILES_OF_A_CALL = 5
_CONNECTIONS_MAX = 8192

_log = logging.getLogger(__name__)


async def main(settings: Settings, stop: asyncio.Event) -> None:
    """Forward and record calls until *stop* is set."""
    routes = RouteTable(settings.routes, settings.upstreams, settings.proxy_sign)
    _check_signing(settings, routes)
    files = _raise_file_limit() - _FILES_RESERVED
    connections_max = max(min(_CONNECTIONS_MAX, files // _FILES_OF_A_CALL), 1)
    folder = settings.proxy_queue_dir.parent
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    metrics = ProxyMetrics()
    async with contextlib.AsyncExitStack() as stack:
        queue = await QueueWriter.open(settings.proxy_queue_dir, max_bytes=settings.queue_max_bytes)
        stack.push_async_callback(queue.close)
        sink = ExchangeSink(
            queue,
            max_bytes=settings.queue_max_bytes,
            on_full=settings.proxy_on_queue_full,
            count_lost=metrics.count_lost,
        )
        stack.push_async_callback(sink.close)
        upstream: Upstream = await stack.enter_async_context(HttpUpstream())
        if routes.signed_names:
            credentials = await stack.enter_async_context(AwsCredentials())
            upstream = SigningUpstream(upstream, credentials.get, folder)
        forwarder = Forwarder(
            routes,
            upstream,
            BuiltInUpstream(
                MockUpstream(
                    settings.mock_latency_seconds,
                    settings.mock_chunk_seconds,
                    settings.mock_error_share,
                    settings.mock_requests_per_second,
                )
            ),
            sink,
            metrics,
            limits=ForwardLimits(settings.proxy_body_max_bytes, calls_max=connections_max),
            spill_folder=folder,
            project_name=settings.proxy_project_name,
        )
        _watch(metrics, forwarder, settings.proxy_queue_dir)
        server = ProxyServer(forwarder, metrics, connections_max=connections_max)
        settle()
        await server.start(settings.host, settings.proxy_port)
        _log.info("proxy takes calls", extra={"host": settings.host, "port": settings.proxy_port})
        await stop.wait()
        await server.stop(_DRAIN_SECONDS)
        _log.info("proxy stopped")


def _watch(metrics: ProxyMetrics, forwarder: Forwarder, queue_dir: Path) -> None:
    """Publish what is asked for anew each time that the metrics are read."""
    metrics.watch(
        "tracequill_proxy_requests_in_flight", "Calls in flight.", lambda: forwarder.calls
    )
    metrics.watch(
        "tracequill_proxy_queue_bytes",
        "What the recorder has not yet taken from the queue.",
        lambda: forwarder.sink.backlog_bytes,
    )
    metrics.watch(
        "tracequill_proxy_queue_quarantined_bytes",
        "Damaged bytes of recorded calls, put aside in the queue's folder quarantine.",
        lambda: quarantine.kept_bytes(Disk(), queue_dir),
    )
    metrics.watch_recorder(queue_dir.parent / "recorder.status.json")


def _check_signing(settings: Settings, routes: RouteTable) -> None:
    """Refuse to sign for whoever reaches this machine: nobody is asked for a key yet."""
    if routes.signed_names and not settings.is_loopback:
        raise StartError(
            f"host is {settings.host!r}, which other machines can reach, and calls on "
            f"{', '.join(routes.signed_names)} are signed with the proxy's own AWS credentials, "
            "which anybody there could spend. Set host to 127.0.0.1, or take these routes out of "
            "TRACEQUILL_PROXY_SIGN and 'sign: aws' out of their entries in tracequill.yaml."
        )


def _raise_file_limit() -> int:
    """Allow as many open files as the system lets us, and give the number."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _FILES_WANTED if hard == resource.RLIM_INFINITY else min(hard, _FILES_WANTED)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        return wanted
    return wanted if soft == resource.RLIM_INFINITY else soft


if __name__ == "__main__":
    sys.exit(run_service("proxy", main))
