"""Make the pictures of docs/annotate.md: a queue of a project in a running Phoenix without sign-in.

``make screenshot`` does it with those of README.md; for a Phoenix that runs already:

``python -m docs.images.annotate_pictures http://127.0.0.1:6006 PROJECT``
"""

from __future__ import annotations

import argparse
import json
import shutil
import urllib.request
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, sync_playwright

HERE = Path(__file__).parent
NAME = "Ana"
ANSWER = '[data-place="answer"]'
QUEUE = {
    "name": "Answers of this week",
    "overlap": 2,
    "instructions": "Judge **only the answer**, not the question.\n\n"
    "- *good*: correct and polite\n"
    "- *bad*: wrong, rude, or it promises what we cannot keep",
    "labels": [
        {
            "name": "helpful",
            "kind": "CATEGORICAL",
            "description": "Would you be glad to get this answer?",
            "values": [{"label": label} for label in ("good", "middling", "bad")],
        },
        {
            "name": "problems",
            "kind": "CATEGORICAL",
            "required": False,
            "multiple": True,
            "values": [{"label": label} for label in ("wrong fact", "tone", "incomplete")],
        },
    ],
}


def call(base_url: str, method: str, path: str, body: object) -> Any:
    """Call the API as the person of the pictures."""
    request = urllib.request.Request(
        f"{base_url}/tracequill/api{path}",
        json.dumps(body).encode(),
        {"Content-Type": "application/json", "Cookie": f"tracequill-name={NAME}"},
        method=method,
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)["data"]


class Camera:
    """Takes pictures of one page into a folder."""

    def __init__(self, page: Page, folder: Path) -> None:
        self.page = page
        self.folder = folder

    def take(self, name: str) -> None:
        """Take a picture once everything is drawn."""
        self.page.wait_for_load_state("networkidle")
        self.page.wait_for_timeout(500)
        self.page.screenshot(path=self.folder / f"annotate-{name}.png")


def take_pictures(
    browser: Browser, base_url: str, project: str, folder: Path = HERE, thinking_ms: int = 2_000
) -> None:
    """Make a queue, answer some of it, and take pictures of its pages."""
    queue = call(base_url, "POST", "/queues", QUEUE | {"selection": {"project": project}})
    context = browser.new_context(viewport={"width": 1280, "height": 800}, locale="en-GB")
    context.add_cookies([{"name": "tracequill-name", "value": NAME, "url": base_url}])
    page = context.new_page()
    camera = Camera(page, folder)
    address = f"{base_url}/tracequill/annotate"
    page.goto(f"{address}/{queue['queue_id']}")
    page.locator(ANSWER).wait_for()
    for digit in "1213":
        page.wait_for_timeout(thinking_ms)
        page.keyboard.press(digit)
        page.keyboard.press("Enter")
    page.wait_for_timeout(500)
    page.keyboard.press("1")
    camera.take("work")
    page.keyboard.press("e")
    page.keyboard.press("Control+Home")
    page.keyboard.type("Thank you for asking. ")
    camera.take("correct")
    page.keyboard.press("Control+Enter")
    page.goto(f"{address}/new")
    page.get_by_label("Name of the queue").fill("Refunds")
    page.get_by_label("Project").select_option(project)
    page.get_by_label("Text contained").fill("refund")
    page.wait_for_timeout(1_000)
    camera.take("new")
    page.goto(f"{address}/{queue['queue_id']}/manage")
    page.locator(".figures").wait_for()
    camera.take("manage")
    context.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("base_url")
    parser.add_argument("project")
    parser.add_argument("--folder", type=Path, default=HERE)
    parser.add_argument("--thinking-ms", type=int, default=2_000)
    given = parser.parse_args()
    with sync_playwright() as playwright:
        program = shutil.which("chromium")
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        take_pictures(browser, given.base_url, given.project, given.folder, given.thinking_ms)
        browser.close()


if __name__ == "__main__":
    main()
