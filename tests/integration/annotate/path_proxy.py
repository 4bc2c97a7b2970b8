"""A reverse proxy that shows a server below a path, as one sets it up in front of Phoenix.

It takes the path away before it passes a request on; what is asked beside the path it refuses and
keeps in ``strays``.
"""

from __future__ import annotations

import http.client
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.ports import free_port

_HOP_BY_HOP = ("connection", "keep-alive", "transfer-encoding", "content-length", "upgrade")
_TIMEOUT_SECONDS = 60
_CHUNK_BYTES = 65_536


class PathProxy:
    """The proxy, on a free port; ``backend_port`` is set once the server behind it is known."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}{path}"
        self.backend_port = 0
        self.strays: list[str] = []
        proxy = self

        class Exchange(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                proxy._pass_on(self)

            do_POST = do_PUT = do_PATCH = do_DELETE = do_GET

            def log_message(self, *_: Any) -> None: ...

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_: Any) -> None: ...  # browsers break off

        self._server = Server(("127.0.0.1", self.port), Exchange)
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self) -> None:
        """Listen no more."""
        self._server.shutdown()
        self._server.server_close()

    def _pass_on(self, request: BaseHTTPRequestHandler) -> None:
        if not request.path.startswith(f"{self.path}/"):
            self.strays.append(request.path)
            request.send_error(404)
            return
        length = int(request.headers.get("Content-Length", "0"))
        body = request.rfile.read(length) if length else None
        backend = http.client.HTTPConnection(
            "127.0.0.1", self.backend_port, timeout=_TIMEOUT_SECONDS
        )
        try:
            # Like nginx without more settings: the backend sees its own name as Host.
            headers = {
                name: value
                for name, value in request.headers.items()
                if name.lower() not in (*_HOP_BY_HOP, "host")
            }
            backend.request(request.command, request.path.removeprefix(self.path), body, headers)
            self._answer(request, backend.getresponse())
        finally:
            backend.close()

    def _answer(self, request: BaseHTTPRequestHandler, answer: http.client.HTTPResponse) -> None:
        request.send_response_only(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in _HOP_BY_HOP:
                request.send_header(name, value)
        request.send_header("Connection", "close")
        request.end_headers()
        while chunk := answer.read1(_CHUNK_BYTES):
            request.wfile.write(chunk)
            request.wfile.flush()
