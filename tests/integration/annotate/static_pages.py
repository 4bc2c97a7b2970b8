"""An empty page with the annotation page's policy, and its modules, in a real browser.

No Phoenix: the modules know none. Whatever the browser asks for beside them is kept in ``asked``.
"""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, sync_playwright

import tracequill_phoenix

STATIC = Path(tracequill_phoenix.__file__).parent / "static" / "annotate"
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
PAGE = """<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>page</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="stylesheet" href="/annotate/conversation.css"><link rel="icon" href="data:,">
</head><body class="page"><main id="main"></main></body></html>"""
_TYPES = {".js": "text/javascript", ".css": "text/css"}


class StaticPages:
    """The server: its address, and what was asked of it that is not one of our files."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        pages = self

        class Answers(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                pages.answer(self)

            def log_message(self, *_arguments: Any) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        file = STATIC / request.path.removeprefix("/annotate/")
        if request.path == "/":
            body, kind = PAGE.encode(), "text/html"
        elif request.path.startswith("/annotate/") and file.is_file():
            body, kind = file.read_bytes(), _TYPES[file.suffix]
        else:
            self.asked.append(request.path)
            request.send_error(404)
            return
        request.send_response(200)
        request.send_header("Content-Type", f"{kind}; charset=utf-8")
        request.send_header("Content-Length", str(len(body)))
        request.send_header("Content-Security-Policy", POLICY)
        request.send_header("X-Content-Type-Options", "nosniff")
        request.end_headers()
        request.wfile.write(body)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@contextmanager
def running_browser() -> Iterator[Browser]:
    """Debian's Chromium."""
    chromium = shutil.which("chromium")
    assert chromium, "these tests need Chromium: apt-get install chromium"
    with sync_playwright() as playwright:
        # Without its sandbox, which does not work for root.
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield browser
        browser.close()


class Watched:
    """A page, and all that it must not do: ask for anything, say anything, or break its policy."""

    def __init__(self, page: Page, pages: StaticPages) -> None:
        self.page = page
        self.problems: list[str] = []
        self._ours = pages.url
        page.on("request", self._on_request)
        page.on("pageerror", lambda error: self.problems.append(f"error: {error}"))
        page.on("console", lambda message: self.problems.append(f"console: {message.text}"))
        page.on("dialog", lambda dialog: self.problems.append(f"dialog: {dialog.message}"))
        page.on("popup", lambda popup: self.problems.append(f"popup: {popup.url}"))
        page.add_init_script(
            "document.addEventListener('securitypolicyviolation', (event) => "
            "console.error('policy: ' + event.violatedDirective + ' ' + event.blockedURI));"
        )
        page.goto(pages.url)

    def _on_request(self, request: Any) -> None:
        ours = (f"{self._ours}/annotate/", "data:")
        if request.url != f"{self._ours}/" and not request.url.startswith(ours):
            self.problems.append(f"request: {request.url}")

    def show(self, conversation: dict[str, Any]) -> None:
        """Draw a conversation and let what it may have started happen."""
        self.page.evaluate(
            """async (conversation) => {
              const { renderConversation } = await import('/annotate/conversation.js');
              document.getElementById('main').replaceChildren(renderConversation(conversation));
              for (const fold of document.querySelectorAll('details')) fold.open = true;
              await new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
            }""",
            conversation,
        )

    def markdown(self, text: str) -> str:
        """Draw a text and give the elements it became."""
        drawn: str = self.page.evaluate(
            """async (text) => {
              const { renderMarkdown } = await import('/annotate/markdown.js');
              const main = document.getElementById('main');
              main.replaceChildren(renderMarkdown(text));
              for (const element of main.querySelectorAll('[dir=auto]')) {
                element.removeAttribute('dir');
              }
              return main.innerHTML;
            }""",
            text,
        )
        return drawn
