"""``tracequill dead-letters``: what could not be interpreted or stored, why, and what then."""

from __future__ import annotations

import base64
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.highlighter import JSONHighlighter
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from tracequill.errors import CommandError, UsageError
from tracequill.settings import Settings, load_settings
from tracequill_collector.cli.options import AsJson, DataDir
from tracequill_collector.cli.replay import ask, finish, require_exporter
from tracequill_collector.errors import PermanentError, RetryableError
from tracequill_collector.otlp import decompress, parse_traces, to_json
from tracequill_collector.pipeline import Record, RecordKind
from tracequill_collector.queue.dead_letters import DeadLetter, DeadLetters
from tracequill_collector.replay import Progress as Replayed

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    help="What could not be interpreted or stored; it is kept whole until you discard it.",
)

# Which of 100,000 spans are meant is no text for a person.
_SHOWN_SIGNS = 200


@app.command("list")
def list_letters(data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """List the dead letters, oldest first."""
    letters = _all(load_settings(data_dir=data_dir))
    if as_json:
        _print_json([asdict(letter) for letter in letters])
        return
    console = Console()
    if not letters:
        console.print("There are no dead letters.")
        return
    table = Table()
    # The id is what the other commands take: it is never cut.
    table.add_column("id", no_wrap=True, min_width=max(len(one.letter_id) for one in letters))
    for name in ("received (UTC)", "what", "kind", "project", "bytes"):
        table.add_column(name)
    table.add_column("reason", min_width=20)
    for letter in letters:
        table.add_row(
            letter.letter_id,
            _moment(letter.received_unix_ns),
            _what(letter),
            letter.kind_name,
            _plain(letter.project_name),
            str(letter.payload_bytes),
            _plain(letter.reason),
        )
    console.print(table)


@app.command()
def show(
    letter_id: Annotated[str, typer.Argument(metavar="ID", help="As `list` prints it.")],
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Show one dead letter: the reason, and the payload as text where it can be read."""
    settings = load_settings(data_dir=data_dir)
    letter, record = _find(settings, letter_id)
    payload = _readable(record, settings.request_max_bytes) if record is not None else None
    if as_json:
        whole = base64.b64encode(record.payload).decode() if record is not None else None
        _print_json({**asdict(letter), "payload": payload, "payload_base64": whole})
        return
    console = Console()
    facts = Table(show_header=False, box=None, pad_edge=False)
    for name, value in {**asdict(letter), "what": _what(letter)}.items():
        shown = _moment(value) if name.endswith("_unix_ns") else value
        if name == "details":
            _add_details(facts, letter)
        elif shown != "":
            facts.add_row(name.removesuffix("_unix_ns").replace("_", " "), _plain(shown))
    console.print(facts)
    console.print()
    if payload is not None:
        console.print(_legible_json(payload), soft_wrap=True)
    else:
        console.print(
            "The payload cannot be shown as text; --json gives it in base64.", highlight=False
        )


def _what(letter: DeadLetter) -> str:
    count = letter.details.get("spans")
    return f"{count} spans" if letter.what == "spans" and count else letter.what


def _add_details(facts: Table, letter: DeadLetter) -> None:
    """Add what else is known of *letter*, one fact in a line."""
    for name, value in letter.details.items():
        if name == "reasons" and isinstance(value, dict):
            for reason, count in value.items():
                facts.add_row(_plain(f"{count} spans"), _plain(reason))
        elif value and name != "spans":
            text = str(value)
            shown = text if len(text) <= _SHOWN_SIGNS else f"{text[:_SHOWN_SIGNS]}… (all: --json)"
            facts.add_row(_plain(name.replace("_", " ")), _plain(shown))


@app.command("replay")
def replay_letters(
    letter_ids: Annotated[
        list[str] | None, typer.Argument(metavar="ID", help="As `list` prints them.")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="All of them.")] = False,
    as_json: AsJson = False,
    data_dir: DataDir = None,
) -> None:
    """Try dead letters once more, those of another backend there; what is taken then is gone."""
    settings = load_settings(data_dir=data_dir)
    letters_of: dict[str, list[str]] = {}
    for letter in _chosen(settings, letter_ids or [], everything):
        backend = str(letter.details.get("exporter", ""))
        letters_of.setdefault(backend, []).append(letter.letter_id)
    for backend in sorted(letters_of):
        try:
            require_exporter(settings, backend)
        except CommandError as error:
            if not backend or not everything:
                raise
            count = len(letters_of.pop(backend))
            noun = "dead letter is" if count == 1 else "dead letters are"
            Console(stderr=True).print(
                f"{count} {noun} left out: {error}", markup=False, highlight=False, soft_wrap=True
            )
    total = Replayed()
    for backend, wanted in letters_of.items():
        replayed = ask(settings, "replaying dead letters", backend, letter_ids=wanted)
        _add(total, replayed)
    finish(total, as_json=as_json)


def _add(total: Replayed, replayed: Replayed) -> None:
    """Add the counts of a request to those of others."""
    for name in ("records", "stored_spans", "seen_before_spans", "replaced_spans"):
        setattr(total, name, getattr(total, name) + getattr(replayed, name))
    total.dead_letters += replayed.dead_letters
    total.solved_letters += replayed.solved_letters
    total.problem = total.problem or replayed.problem


@app.command()
def discard(
    letter_ids: Annotated[
        list[str] | None, typer.Argument(metavar="ID", help="As `list` prints them.")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="All of them.")] = False,
    is_sure: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    data_dir: DataDir = None,
) -> None:
    """Delete dead letters for good."""
    settings = load_settings(data_dir=data_dir)
    found = _chosen(settings, letter_ids or [], everything)
    if not found:
        Console().print("There are no dead letters.")
        return
    noun = "dead letter" if len(found) == 1 else "dead letters"
    if not is_sure:
        if not sys.stdin.isatty():
            raise UsageError(f"{len(found)} {noun} would be deleted for good. Confirm with --yes.")
        typer.confirm(f"Delete {len(found)} {noun} for good?", abort=True)
    letters = DeadLetters(settings.dead_letters_dir)
    with _telling():
        count = sum(letters.remove(letter.letter_id) for letter in found)
    Console().print(f"{count} {noun} discarded.", highlight=False)


def _chosen(settings: Settings, letter_ids: list[str], everything: bool) -> list[DeadLetter]:
    if everything == bool(letter_ids):
        raise UsageError("give the ids of dead letters, or --all.")
    letters = _all(settings)
    if everything:
        return letters
    by_id = {letter.letter_id: letter for letter in letters}
    return [
        by_id[letter_id] if letter_id in by_id else _unknown(settings, letter_id)
        for letter_id in dict.fromkeys(letter_ids)
    ]


def _all(settings: Settings) -> list[DeadLetter]:
    with _telling():
        return DeadLetters(settings.dead_letters_dir).list()


@contextmanager
def _telling() -> Iterator[None]:
    """Say what the folder answered; a person tries again, not we."""
    try:
        yield
    except RetryableError as error:
        raise CommandError(str(error)) from None


def _unknown(settings: Settings, letter_id: str) -> NoReturn:
    raise UsageError(
        f"there is no dead letter {letter_id!r} in {settings.dead_letters_dir}. "
        "'tracequill dead-letters list' shows all."
    )


def _find(settings: Settings, letter_id: str) -> tuple[DeadLetter, Record | None]:
    letters = DeadLetters(settings.dead_letters_dir)
    try:
        with _telling():
            found = letters.show(letter_id)
    except ValueError:  # of a kind that only a newer Tracequill knows, or damaged
        return next(item for item in _all(settings) if item.letter_id == letter_id), None
    if found is None:
        _unknown(settings, letter_id)
    return found


def _readable(record: Record, max_bytes: int) -> Any:
    """Give the payload in OTLP's JSON, or None where it is not legible."""
    if record.kind is not RecordKind.OTLP_TRACES:
        return None
    try:
        plain = decompress(record.payload, record.content_encoding, max_bytes)
        return to_json(parse_traces(plain, record.content_type))
    except PermanentError:
        return None


def _legible_json(content: Any) -> Text:
    """Give *content* as JSON for a person; signs that a terminal would obey are escaped."""
    whole = json.dumps(content, indent=2, ensure_ascii=False)
    signs = (
        sign if sign.isprintable() or sign == "\n" else json.dumps(sign)[1:-1] for sign in whole
    )
    text = Text("".join(signs))
    JSONHighlighter().highlight(text)
    return text


def _print_json(content: Any) -> None:
    sys.stdout.write(f"{json.dumps(content, indent=2)}\n")


def _moment(unix_ns: int) -> str:
    return datetime.fromtimestamp(unix_ns / 1e9, UTC).strftime("%Y-%m-%d %H:%M:%S")


def _plain(value: object) -> str:
    """Take away what a sender could use to write on the terminal."""
    signs = (sign if sign.isprintable() else "\N{REPLACEMENT CHARACTER}" for sign in str(value))
    return escape("".join(signs))
