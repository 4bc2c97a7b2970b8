"""Make the pictures of README.md and docs/annotate.md anew: a real demo, in a real browser.

Run by ``make screenshot``; starts a stack of its own on free ports.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
import urllib.request
from pathlib import Path

from docs.images.annotate_pictures import take_pictures
from playwright.sync_api import Page, sync_playwright
from tests.acceptance.stack import Stack

HERE = Path(__file__).parent
PROJECT = "demo-support"
DEMO_SECONDS = 120


def tool_trace(stack: Stack) -> str:
    """The trace id of the demo's conversation with a tool."""
    url = f"{stack.phoenix}/v1/projects/{PROJECT}/spans?limit=500"
    with urllib.request.urlopen(url, timeout=30) as answer:
        spans = json.load(answer)["data"]
    for span in spans:
        if any(
            key.endswith("message.role") and value == "tool"
            for key, value in span["attributes"].items()
        ):
            return str(span["context"]["trace_id"])
    raise SystemExit("the demo left no trace with a tool")


def picture(page: Page, path: str, name: str) -> None:
    page.goto(path)
    page.wait_for_load_state("networkidle")
    page.wait_for_timeout(1500)
    page.screenshot(path=HERE / name)


def main() -> int:
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        stack = Stack(Path(folder))
        try:
            stack.start()
            stack.run_demo(DEMO_SECONDS)
            browser = playwright.chromium.launch(
                executable_path=shutil.which("chromium"), args=["--no-sandbox"]
            )
            page = browser.new_page(base_url=stack.phoenix, viewport={"width": 1440, "height": 860})
            picture(page, f"/redirects/traces/{tool_trace(stack)}", "trace.png")
            take_pictures(browser, stack.phoenix, PROJECT)
            browser.close()
            return stack.stop()
        finally:
            stack.end()


if __name__ == "__main__":
    sys.exit(main())
