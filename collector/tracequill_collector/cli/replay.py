"""``tracequill replay``: what the queues have kept is interpreted and stored once more."""

from __future__ import annotations

import json
import re
import sys
import time
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from tracequill.errors import CommandError, UsageError
from tracequill.settings import Settings, load_settings
from tracequill_collector.cli.options import AsJson, DataDir
from tracequill_collector.errors import RetryableError
from tracequill_collector.queue.history import oldest_record
from tracequill_collector.replay import Progress as Replayed
from tracequill_collector.replay import Replays, Request
from tracequill_collector.service.consumers import ONWARD_PREFIX
from tracequill_collector.status import Status, read_status

app = typer.Typer(add_completion=False)

_POLL_SECONDS = 0.1
_SILENT_SECONDS = 10.0
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_AGO = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)([smhd])")
_LAST_UNIX_NS = 2**63 - 1


@app.command()
def replay(
    since: Annotated[
        str,
        typer.Option(
            metavar="T",
            help="A time (2026-05-01T12:00, UTC without a zone), or how long ago (90m, 2d).",
        ),
    ],
    until: Annotated[
        str | None, typer.Option(metavar="T", help="The end, as --since. \\[default: now]")
    ] = None,
    project: Annotated[str | None, typer.Option(help="Only the spans of this project.")] = None,
    is_replacing: Annotated[
        bool,
        typer.Option(
            "--replace", help="Write spans that are stored already anew; annotations stay."
        ),
    ] = False,
    as_json: AsJson = False,
    data_dir: DataDir = None,
) -> None:
    """Store again what was received since T, as far back as it was kept.

    A span that is stored already stays as it is, unless --replace is given.
    Calls that went through the proxy are interpreted anew as well. New spans
    go first, so it may take a while.
    """
    settings = load_settings(data_dir=data_dir)
    since_unix_ns = read_moment("--since", since)
    until_unix_ns = time.time_ns() if until is None else read_moment("--until", until)
    if until_unix_ns <= since_unix_ns:
        raise UsageError(f"--until {until or 'now'} is not after --since {since}.")
    if project == "":
        raise UsageError("--project is empty. Leave it away for all projects.")
    require_exporter(settings)
    say_what_is_gone(settings, since_unix_ns)
    replayed = ask(
        settings,
        "replaying",
        since_unix_ns=since_unix_ns,
        until_unix_ns=until_unix_ns,
        project_name=project or "",
        is_replacing=is_replacing,
    )
    finish(replayed, as_json=as_json)


def say_what_is_gone(settings: Settings, since_unix_ns: int) -> None:
    """Say how far each queue reaches back, where what it held since *since_unix_ns* is gone."""
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    for name, folder in (
        ("collector", settings.collector_queue_dir),
        ("proxy", settings.proxy_queue_dir),
    ):
        if not folder.is_dir():  # it has never run here
            continue
        try:
            oldest = oldest_record(folder)
        except (OSError, RetryableError) as error:
            raise CommandError(f"the queue at {folder} cannot be read: {error}") from None
        if oldest is None:
            console.print(f"The {name}'s queue holds nothing.")
        elif oldest.sequence > 0 and since_unix_ns < oldest.record.received_unix_ns:
            moment = _moment(oldest.record.received_unix_ns)
            console.print(f"The {name}'s queue reaches back to {moment} UTC; see queue.keep_hours.")


def read_moment(option: str, text: str) -> int:
    """Read a time, or how long ago, as Unix nanoseconds; UsageError for anything else."""
    if found := _AGO.fullmatch(text):
        moment_ns = time.time_ns() - int(float(found[1]) * _UNITS[found[2]] * 1e9)
    else:
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            raise UsageError(
                f"{option} is {text!r}, which is no time. Give one like 2026-05-01T12:00, or 90m."
            ) from None
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        moment_ns = int(moment.timestamp() * 1e9)
    return min(max(moment_ns, 0), _LAST_UNIX_NS)


def require_exporter(settings: Settings, backend: str = "") -> Status:
    """Give the status of the exporter; CommandError unless one runs that could do the work.

    *backend* is the consumer that sends to another backend; empty for Postgres.
    """
    status = read_status(settings.data_dir / "collector" / "exporter.status.json")
    if status is None or status.age_seconds > _SILENT_SECONDS:
        raise CommandError(
            f"no exporter runs at {settings.data_dir.absolute()}. "
            "Start it ('tracequill up' or 'tracequill collector'), or set data_dir."
        )
    if backend:
        if backend.removeprefix(ONWARD_PREFIX) not in _onward(status):
            raise CommandError(
                f"no exporter {backend.removeprefix(ONWARD_PREFIX)!r} runs. Name it under "
                "exporters in tracequill.yaml and start the collector again, or discard what "
                "only that backend has refused."
            )
    elif "stored_spans" not in status.values:
        raise CommandError(
            "the exporter has no database, and only there spans are stored again. "
            "Set TRACEQUILL_DATABASE_URL for 'tracequill collector'."
        )
    return status


def _onward(status: Status) -> dict[str, dict[str, Any]]:
    """Give what the exporter says of other backends."""
    found = status.values.get("onward")
    return found if isinstance(found, dict) else {}


def ask(settings: Settings, what: str, backend: str = "", **wanted: Any) -> Replayed:
    """Leave a request for *wanted*, as Replays.add takes it, and follow it to its end."""
    replays = Replays(settings.replay_dir / backend)
    try:
        request = replays.add(**wanted)
    except OSError as error:
        raise CommandError(
            f"{settings.replay_dir} cannot be written: {error.strerror}. "
            "Run the command as the user of the exporter, or free some disk."
        ) from None
    return follow(settings, replays, request, what, backend)


def follow(
    settings: Settings, replays: Replays, request: Request, what: str, backend: str = ""
) -> Replayed:
    """Wait until *request* is done and give what became of it; an interrupt cancels it."""
    try:
        with Progress(
            TextColumn(what),
            BarColumn(),
            TaskProgressColumn(),
            TimeElapsedColumn(),
            console=Console(stderr=True),
            disable=not sys.stderr.isatty(),
            transient=True,
        ) as bar:
            task = bar.add_task("", total=1.0)
            told = ""
            while True:
                replayed = replays.progress(request) or Replayed()
                if replayed.is_done:
                    return replayed
                status = require_exporter(settings, backend)
                about = _onward(status).get(backend.removeprefix(ONWARD_PREFIX), {})
                waiting = str((about if backend else status.values).get("waiting", ""))
                bar.update(task, completed=replayed.share)
                if waiting and waiting != told:
                    bar.console.print(
                        f"It waits: {waiting}", markup=False, highlight=False, soft_wrap=True
                    )
                told = waiting
                time.sleep(_POLL_SECONDS)
    finally:
        # A request that nobody waits for is not begun behind his back.
        replays.forget(request)


def finish(replayed: Replayed, *, as_json: bool) -> None:
    """Say what became of a request; CommandError where it did not reach its end."""
    facts = {
        name: value
        for name, value in asdict(replayed).items()
        if name not in ("share", "is_done", "queue", "next_sequence", "below_sequences")
    }
    if as_json:
        sys.stdout.write(f"{json.dumps(facts)}\n")
    if replayed.problem:
        raise CommandError(f"the replay ended early: {replayed.problem}")
    if not as_json:
        parts = [
            f"{replayed.stored_spans} spans stored",
            f"{replayed.replaced_spans} replaced",
            f"{replayed.seen_before_spans} were there already",
        ]
        if replayed.solved_letters:
            parts.append(f"{_letters(replayed.solved_letters)} solved")
        if replayed.dead_letters:
            parts.append(f"{_letters(replayed.dead_letters)} could not be solved")
        Console().print(f"{', '.join(parts)}.", highlight=False)


def _letters(count: int) -> str:
    return f"{count} dead letter" if count == 1 else f"{count} dead letters"


def _moment(unix_ns: int) -> str:
    return datetime.fromtimestamp(unix_ns / 1e9, UTC).strftime("%Y-%m-%d %H:%M:%S")
