"""The demo from beginning to end, with progress; returns what is wrong, which is nothing."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.status import Status

from tracequill.errors import CommandError
from tracequill.settings import Settings
from tracequill_phoenix.demo.calls import Calls
from tracequill_phoenix.demo.check import Found, find_spans, wait_for_spans
from tracequill_phoenix.demo.labels import QUEUE, build_dataset, label_answers, make_queue
from tracequill_phoenix.demo.summary import print_summary
from tracequill_phoenix.demo.support import PROJECT, run_support
from tracequill_phoenix.demo.uninstrumented import run_uninstrumented
from tracequill_phoenix.phoenix_client import PhoenixClient
from tracequill_phoenix.provision import Change, provision
from tracequill_phoenix.provision_file import read_provision

_PROVISION = Path(__file__).with_name("provision.yaml")


def run_demo(settings: Settings, console: Console) -> list[str]:
    """Send, label, build and check; give one sentence for everything that is missing.

    Raises CommandError when Phoenix cannot be asked, and the clients' own errors when the proxy
    cannot be reached.
    """
    since = datetime.now(UTC)
    run = since.strftime("%H%M%S")
    with PhoenixClient(settings) as phoenix, console.status("starting") as status:
        changes = provision(phoenix, read_provision(_PROVISION))
        _done(console, "projects and the annotation config 'quality'", _created(changes))
        applications = [
            _run(console, status, "instrumented", lambda: run_support(settings, run)),
            _run(console, status, "through the proxy", lambda: run_uninstrumented(settings, run)),
        ]
        found = [_wait(phoenix, status, calls, since) for calls in applications]
        arrived = sum(len(one.spans) for one in found)
        _done(console, f"{arrived} spans of calls to models are in Phoenix", "")
        labels = sum(label_answers(phoenix, one) for one in found)
        wanted_labels = sum(len(calls.labelled) for calls in applications)
        _done(console, f"{labels} answers labelled good or bad", "")
        problems = []
        dataset: dict[str, Any] = {}
        try:
            dataset = build_dataset(phoenix, PROJECT)
            _done(console, f"dataset '{dataset['name']}'", f"{dataset['added']} examples added")
        except CommandError as error:  # no good answer came: said together with the reason
            problems.append(str(error))
        queue_url = ""
        try:
            queue_url = make_queue(phoenix, PROJECT)
            _done(console, f"annotation queue '{QUEUE}'", "")
        except CommandError as error:
            problems.append(str(error))
        # Once more: a second span of a call may have come after the first.
        found = [find_spans(phoenix, calls, since) for calls in applications]
        projects = {
            calls.project: str(phoenix.get(f"/v1/projects/{calls.project}")["data"]["id"])
            for calls in applications
        }
    problems[:0] = [problem for one in found for problem in one.problems]
    if labels < wanted_labels:
        problems.append(f"{wanted_labels} answers were to be labelled, but only {labels} are.")
    print_summary(console, settings.phoenix_base_url, found, projects, labels, dataset, queue_url)
    return problems


def _run(console: Console, status: Status, how: str, application: Callable[[], Calls]) -> Calls:
    status.update(f"holding conversations, {how}")
    started = time.monotonic()
    calls = application()
    _done(
        console,
        f"{calls.project}, {how}: {calls.total} calls in {len(calls.sessions)} sessions",
        f"{time.monotonic() - started:.1f} s",
    )
    return calls


def _wait(phoenix: PhoenixClient, status: Status, calls: Calls, since: datetime) -> Found:
    def progress(count: int) -> None:
        status.update(f"waiting for the spans of {calls.project}: {count} of {calls.total}")

    return wait_for_spans(phoenix, calls, since, progress)


def _created(changes: list[Change]) -> str:
    created = sum(change.result == "created" for change in changes)
    return f"{created} created" if created else "there already"


def _done(console: Console, what: str, more: str) -> None:
    console.print(f"  [green]done[/green]  {what}{f' ({more})' if more else ''}", highlight=False)
