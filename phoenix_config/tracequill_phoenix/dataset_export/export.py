"""A dataset becomes a training file: read, convert, check and write, one example at a time.

In comes a dataset at a version; out come the file, its manifest and a report of every example
that did not fit. Either every row of the file is valid, or there is no file. This is the one
place that joins the source, the formats and the files.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import asyncpg
import orjson

from tracequill.errors import CommandError
from tracequill_phoenix.dataset_export import openai_chat
from tracequill_phoenix.dataset_export.conversation import Conversation
from tracequill_phoenix.dataset_export.finding import Finding
from tracequill_phoenix.dataset_export.messages import to_conversation
from tracequill_phoenix.dataset_export.source import DatasetVersion, Example, read_examples
from tracequill_phoenix.dataset_export.write import (
    Document,
    LineFile,
    OutputFile,
    StandardOutput,
)

# How many reasons a person is shown; the report has them all.
SHOWN_REASONS = 5


class TrainingFormat(Protocol):
    """What a module of a format gives; ``openai_chat`` is one."""

    def to_row(self, conversation: Conversation, *, train_history: bool) -> dict[str, Any]: ...

    def validate(self, row: object) -> list[Finding]: ...

    def has_image(self, row: dict[str, Any]) -> bool: ...

    def check_file(self, rows: int, image_rows: int, size_bytes: int) -> list[Finding]: ...


FORMATS: dict[str, TrainingFormat] = {"openai-chat": openai_chat}


@dataclass(frozen=True, slots=True)
class ExportOptions:
    """What was asked for; *output* None is standard output."""

    format_name: str
    output: Path | None
    report: Path | None = None
    skip_bad: bool = False
    strict: bool = False
    train_history: bool = False

    @property
    def manifest(self) -> Path | None:
        """Where the training file's origin is written down."""
        return self.output.with_name(f"{self.output.name}.manifest.json") if self.output else None


@dataclass(slots=True)
class Summary:
    """What an export did, for a person and for machines."""

    dataset: DatasetVersion
    format_name: str
    examples: int = 0
    written: int = 0
    skipped: int = 0
    size_bytes: int = 0
    sha256: str = ""
    codes: Counter[str] = field(default_factory=Counter)
    file_findings: list[Finding] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)
    """The first errors, as sentences."""

    def to_json(self) -> dict[str, Any]:
        """Give all but the reasons, as the head of manifest and report."""
        return {
            "dataset": self.dataset.name,
            "dataset_id": self.dataset.dataset_node_id,
            "version": self.dataset.number,
            "version_id": self.dataset.version_node_id,
            "format": self.format_name,
            "examples": self.examples,
            "written": self.written,
            "skipped": self.skipped,
            "size_bytes": self.size_bytes,
            "sha256": self.sha256,
            "findings_by_code": dict(sorted(self.codes.items())),
            "file_warnings": [f"{f.code}: {f.message}" for f in self.file_findings],
        }


async def export_dataset(
    connection: asyncpg.Connection,
    dataset: DatasetVersion,
    options: ExportOptions,
    progress: Callable[[int], None] = lambda examples: None,
) -> Summary:
    """Write the training file of *dataset* and give the summary.

    Raises CommandError, with no file written, when an example does not fit the format and
    *skip_bad* is not set, when nothing is left, or when a rule of the whole file is broken and
    *strict* is set. The report is written in every case.
    """
    training_format = FORMATS[options.format_name]
    summary = Summary(dataset, options.format_name)
    image_rows = 0
    with ExitStack() as stack:
        file = stack.enter_context(_open(options.output))
        spans = stack.enter_context(Document("span_ids"))
        report = stack.enter_context(Document("findings"))
        async for batch in read_examples(connection, dataset):
            for example in batch:
                summary.examples += 1
                row = _row(example, training_format, options, summary, report)
                if row is not None:
                    image_rows += training_format.has_image(row)
                    file.write(orjson.dumps(row) + b"\n")
                    spans.add(example.span_id)
                    summary.written += 1
            progress(summary.examples)
        summary.size_bytes, summary.sha256 = file.size_bytes, file.sha256()
        summary.skipped = summary.examples - summary.written
        summary.file_findings = training_format.check_file(
            summary.written, image_rows, summary.size_bytes
        )
        if options.report:
            report.save(options.report, summary.to_json())
        _refuse(summary, options)
        _commit(file, spans, summary, options)
    return summary


def _row(
    example: Example,
    training_format: TrainingFormat,
    options: ExportOptions,
    summary: Summary,
    report: Document,
) -> dict[str, Any] | None:
    """Convert and check one example; None when it does not fit."""
    row: dict[str, Any] | None = None
    findings = _check_example(example)
    if not findings and example.attributes is not None:
        conversation = to_conversation(example.attributes, example.span_kind)
        findings = conversation.findings
        # Without messages or an answer the format's own rules would only say the same again.
        if not any(finding.code in ("no_messages", "no_answer") for finding in findings):
            row = training_format.to_row(conversation, train_history=options.train_history)
            findings += training_format.validate(row)
    for finding in findings:
        summary.codes[finding.code] += 1
        report.add(
            {
                "row": summary.examples,
                "span_id": example.span_id,
                "level": "error" if finding.is_error else "warning",
                "code": finding.code,
                "message": finding.message,
            }
        )
    errors = [finding for finding in findings if finding.is_error]
    if errors and len(summary.reasons) < SHOWN_REASONS:
        first = errors[0]
        about = f"span {example.span_id}" if example.span_id else "no span"
        summary.reasons.append(f"example {summary.examples} ({about}): {first.message}")
    return None if errors else row


def _check_example(example: Example) -> list[Finding]:
    if example.attributes is None:
        text = "its span is not stored: it was deleted, or the example was never made from one"
        return [Finding("span_gone", text)]
    if example.is_failed:
        return [Finding("call_failed", "the call ended in an error, so there is no whole answer")]
    if example.is_edited:
        text = "it was edited in Phoenix after it was made from its span, which has the old answer"
        return [Finding("example_edited", text)]
    return []


def _refuse(summary: Summary, options: ExportOptions) -> None:
    if summary.skipped and not options.skip_bad:
        reasons = "".join(f"\n  {reason}" for reason in summary.reasons)
        more = summary.skipped - len(summary.reasons)
        if more > 0:
            reasons += f"\n  and {more} more; --report FILE lists them all"
        raise CommandError(
            f"{summary.skipped} of {summary.examples} examples do not fit "
            f"{options.format_name!r}; nothing was written. Correct the dataset, or leave them "
            f"out with --skip-bad.{reasons}"
        )
    if not summary.written:
        what = "none of its examples fits" if summary.examples else "it has no examples"
        raise CommandError(
            f"nothing was written for the dataset {summary.dataset.name!r}: {what}. "
            "Add spans to it with 'tracequill dataset build --append'."
        )
    if options.strict and summary.file_findings:
        raise CommandError(
            f"{summary.file_findings[0].message}; nothing was written. "
            "Change the dataset, or leave --strict away."
        )


def _commit(file: LineFile, spans: Document, summary: Summary, options: ExportOptions) -> None:
    file.commit()
    if options.manifest:
        spans.save(options.manifest, summary.to_json())


def _open(output: Path | None) -> LineFile:
    return OutputFile(output) if output else StandardOutput()
