"""The upstream of traced applications: it answers every call with the case, and keeps the request.

``transport`` is for clients that take one of httpx, ``serve`` for all others.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Protocol

from tests.exchange_cases import Case


@dataclass
class Upstream:
    """Answers with ``case`` and keeps the request it got."""

    case: Case | None = None
    method: str = ""
    path: str = ""
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes = b""

    def answer(
        self, method: str, path: str, headers: Iterable[tuple[str, str]], body: bytes
    ) -> Case:
        """Take a request and give the case to answer with."""
        self.method, self.path, self.headers, self.body = method, path, list(headers), body
        assert self.case is not None
        return self.case


class Application(Protocol):
    """An application that calls one vendor, traced by its instrumentor."""

    vendors: tuple[str, ...]
    """Whose cases it can run."""

    def call(self, case: Case) -> None:
        """Make the call of *case* and read the answer to its end."""


@contextlib.contextmanager
def serve(upstream: Upstream) -> Iterator[str]:
    """Give the URL of a server on loopback before *upstream*."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"] or 0))
            case = upstream.answer(self.command, self.path, self.headers.items(), body)
            self.send_response(case.status)
            for name, value in case.response_headers:
                self.send_header(name, value)
            self.send_header("content-length", str(len(case.response_body)))
            self.end_headers()
            self.wfile.write(case.response_body)

        do_GET = do_POST

        def log_message(self, format: str, *args: Any) -> None:
            """Write nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
