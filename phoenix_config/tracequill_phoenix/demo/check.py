"""One LLM span a call: the spans that Phoenix has, against the calls that were made.

In comes what the applications counted; out come the spans, and one sentence for everything that
is missing or too much. Only Phoenix's REST API is used.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from tracequill_phoenix.demo.calls import Calls, Labelled

_WAIT_SECONDS = 30.0
_PAUSE_SECONDS = 0.25


class Phoenix(Protocol):
    """The part of ``PhoenixClient`` that is used."""

    def pages(self, path: str, **params: Any) -> Any: ...


@dataclass(frozen=True, slots=True)
class Found:
    """The spans of calls to models that one application's run has in Phoenix."""

    calls: Calls
    spans: tuple[dict[str, Any], ...]

    @property
    def problems(self) -> list[str]:
        """What is missing or too much; nothing when all is as it should be."""
        project, wanted, got = self.calls.project, self.calls.total, len(self.spans)
        if got < wanted:
            return [f"{project}: {wanted} calls, but only {got} of their spans came."]
        if got > wanted:
            return [f"{project}: {wanted} calls, but {got} spans: a call was kept twice."]
        problems = []
        for what, key, expected in (
            ("sessions", "session.id", self.calls.sessions),
            ("users", "user.id", self.calls.users),
        ):
            missing = expected - {span["attributes"].get(key) for span in self.spans}
            if missing:
                problems.append(f"{project}: no span of the {what} {', '.join(sorted(missing))}.")
        errors = sum(span["status_code"] == "ERROR" for span in self.spans)
        if errors != self.calls.refused:
            problems.append(
                f"{project}: {self.calls.refused} calls were refused, but {errors} spans say so."
            )
        return problems

    def span_id_of(self, labelled: Labelled) -> str:
        """The span of an answer, empty when it did not come: the one that the proxy named, else
        that of the last call in its trace that asked a model for words.
        """
        spans = [
            span
            for span in self.spans
            if span["context"]["trace_id"] == labelled.trace_id
            and span["span_kind"] == "LLM"
            and labelled.span_id in ("", span["context"]["span_id"])
        ]
        spans.sort(key=lambda span: span["start_time"])
        return str(spans[-1]["context"]["span_id"]) if spans else ""


def find_spans(phoenix: Phoenix, calls: Calls, since: datetime) -> Found:
    """Look once."""
    spans = phoenix.pages(
        f"/v1/projects/{calls.project}/spans",
        start_time=since.isoformat(),
        span_kind=["LLM", "EMBEDDING"],
    )
    return Found(calls, tuple(spans))


def wait_for_spans(
    phoenix: Phoenix,
    calls: Calls,
    since: datetime,
    progress: Callable[[int], None],
    wait_seconds: float = _WAIT_SECONDS,
) -> Found:
    """Look until there is a span for every call, or time is up; give what was found."""
    deadline = time.monotonic() + wait_seconds
    while True:
        found = find_spans(phoenix, calls, since)
        progress(len(found.spans))
        if len(found.spans) >= calls.total or time.monotonic() > deadline:
            return found
        time.sleep(_PAUSE_SECONDS)
