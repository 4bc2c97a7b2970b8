"""Make the pictures of docs/annotate.md: a queue of a project in a running Phoenix without sign-in.

``python docs/images/annotate_pictures.py http://127.0.0.1:6006 PROJECT``
"""

from __future__ import annotations

import json
import shutil
import sys
import urllib.request
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, sync_playwright

HERE = Path(__file__).parent
NAME = "Ana"
QUEUE = {
    "name": "Support answers",
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


def picture(page: Page, name: str) -> None:
    """Take a picture once everything is drawn."""
    page.wait_for_load_state("networkidle")
    page.wait_for_timeout(500)
    page.screenshot(path=HERE / f"annotate-{name}.png")


def take_pictures(base_url: str, project: str) -> None:
    """Make a queue, answer some of it, and take pictures of its pages."""
    queue = call(base_url, "POST", "/queues", QUEUE | {"selection": {"project": project}})
    with sync_playwright() as playwright:
        chromium = shutil.which("chromium")
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        context = browser.new_context(viewport={"width": 1280, "height": 800}, locale="en-GB")
        context.add_cookies([{"name": "tracequill-name", "value": NAME, "url": base_url}])
        page = context.new_page()
        address = f"{base_url}/tracequill/annotate"
        page.goto(f"{address}/{queue['queue_id']}")
        page.locator('[data-place="answer"]').wait_for()
        for digit in "1213":
            page.wait_for_timeout(2_000)
            page.keyboard.press(digit)
            page.keyboard.press("Enter")
        page.wait_for_timeout(500)
        page.keyboard.press("1")
        picture(page, "work")
        page.keyboard.press("e")
        page.keyboard.press("Control+Home")
        page.keyboard.type("Thank you for asking. ")
        picture(page, "correct")
        page.keyboard.press("Control+Enter")
        page.goto(f"{address}/new")
        page.get_by_label("Name of the queue").fill("Refunds")
        page.get_by_label("Project").select_option(project)
        page.get_by_label("Text contained").fill("refund")
        page.wait_for_timeout(1_000)
        picture(page, "new")
        page.goto(f"{address}/{queue['queue_id']}/manage")
        page.locator(".figures").wait_for()
        picture(page, "manage")
        browser.close()


if __name__ == "__main__":
    take_pictures(*sys.argv[1:3])
