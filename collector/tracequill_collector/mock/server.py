"""The mock upstream on a loopback port, for use without the proxy.

``python -m tracequill_collector.mock.server --port 0`` prints its address on one line when it
takes work, and stops on SIGTERM or Ctrl-C.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
from collections.abc import Callable

from aiohttp import web

from tracequill_collector.errors import StartError
from tracequill_collector.mock.upstream import MockUpstream

_HOST = "127.0.0.1"
_BODY_MOST_BYTES = 64 * 1024 * 1024


def mock_app(upstream: MockUpstream) -> web.Application:
    """Give the application that answers every path from *upstream*."""

    async def answer(request: web.Request) -> web.StreamResponse:
        response = await upstream.handle(
            request.method,
            request.raw_path,
            [(name, value) for name, value in request.headers.items()],
            await request.read(),
        )
        sent = web.StreamResponse(status=response.status)
        for name, value in response.headers:
            sent.headers.add(name, value)
        await sent.prepare(request)
        if request.method != "HEAD":
            async for chunk in response.chunks:
                await sent.write(chunk)
        await sent.write_eof()
        return sent

    app = web.Application(client_max_size=_BODY_MOST_BYTES)
    app.router.add_route("*", "/{path:.*}", answer)
    return app


async def serve(upstream: MockUpstream, port: int, ready: Callable[[str], None]) -> None:
    """Serve until a signal comes; *ready* is called with the address; port 0 takes a free one.

    Raises StartError when the port is taken.
    """
    runner = web.AppRunner(mock_app(upstream), access_log=None, shutdown_timeout=1)
    await runner.setup()
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    try:
        site = web.TCPSite(runner, _HOST, port)
        try:
            await site.start()
        except OSError as error:
            raise StartError(
                f"port {port} on {_HOST} cannot be used ({_reason(error)}). Stop what listens "
                "there, or choose another with --port."
            ) from None
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stopped.set)
        ready(f"http://{_HOST}:{runner.addresses[0][1]}")
        await stopped.wait()
    finally:
        await runner.cleanup()


def _reason(error: OSError) -> str:
    # asyncio puts the address into the text, which stands beside it already.
    return os.strerror(error.errno) if error.errno and error.errno > 0 else str(error)


def main(words: list[str] | None = None) -> int:
    """Run the server with the options in *words*."""
    parser = argparse.ArgumentParser(prog="python -m tracequill_collector.mock.server")
    parser.add_argument("--port", type=int, default=9010, help="0 takes a free one")
    parser.add_argument("--latency-seconds", type=float, default=0.0)
    parser.add_argument("--chunk-seconds", type=float, default=0.0)
    parser.add_argument("--error-share", type=float, default=0.0)
    parser.add_argument("--requests-per-second", type=float, default=0.0)
    options = vars(parser.parse_args(words))
    port = options.pop("port")
    try:
        asyncio.run(serve(MockUpstream(**options), port, _print_address))
    except StartError as error:
        sys.stderr.write(f"tracequill mock: {error}\n")
        return error.exit_code
    return 0


def _print_address(address: str) -> None:
    sys.stdout.write(f"{address}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
