"""Exchanges to test with: files of `tests/data/exchanges` and of the corpus enter, cases leave.

The format is described in `tests/data/exchanges/README.md`.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tracequill_collector.exchange import Exchange, Headers
from tracequill_collector.mock.case_body import BOUNDARY as BOUNDARY
from tracequill_collector.mock.case_body import encode_body as encode_body
from tracequill_collector.mock.eventstream import frame

FOLDER = Path(__file__).parent / "data" / "exchanges"
CORPUS_VARIABLE = "TRACEQUILL_CORPUS"

START_UNIX_NS = 1_790_000_000_000_000_000
TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
SPAN_ID = "b7ad6b7169203331"


@dataclass(frozen=True)
class Case:
    """One call: what a client sends and what its upstream answers."""

    name: str
    vendor: str
    method: str
    path: str
    request_body: bytes
    status: int
    response_headers: Headers
    response_body: bytes
    region: str = ""
    differences: frozenset[str] = frozenset()
    """Entries of the recorder's table of differences that this case shows."""
    extra_body: tuple[str, ...] = ()
    """Fields of the request that a client gives as ``extra_body``."""
    client: str = ""
    """Which of a library's clients calls, and how, where there are several: ``async stream``."""
    form: tuple[dict[str, Any], ...] = ()
    """The parts of a request that is a form, as the case writes them."""
    fields: dict[str, Any] = field(default_factory=dict)
    """Fields of the exchange that differ from a plain, complete one."""

    @property
    def request_json(self) -> Any:
        """The request body as JSON."""
        return json.loads(self.request_body)

    @property
    def request_type(self) -> str:
        """The content type of the request."""
        return f"multipart/form-data; boundary={BOUNDARY}" if self.form else "application/json"

    def exchange(self, **changes: Any) -> Exchange:
        """Give the exchange that the proxy keeps of this call."""
        exchange = Exchange(
            route=self.vendor,
            vendor=self.vendor,
            region=self.region,
            method=self.method,
            path=self.path,
            trace_id=TRACE_ID,
            span_id=SPAN_ID,
            parent_span_id="",
            traced=False,
            start_unix_ns=START_UNIX_NS,
            first_byte_unix_ns=START_UNIX_NS + 250_000_000 if self.response_body else 0,
            end_unix_ns=START_UNIX_NS + 1_000_000_000,
            end="complete",
            error="",
            status=self.status,
            chunk_count=1,
            request_headers=(("content-type", self.request_type),),
            response_headers=self.response_headers,
            request_body_bytes=len(self.request_body),
            response_body_bytes=len(self.response_body),
            request_body=self.request_body,
            response_body=self.response_body,
        )
        return replace(exchange, **_exchange_fields({**self.fields, **changes}))


def own_cases(prefix: str = "") -> list[Case]:
    """Give the cases of this repository whose name begins with *prefix*."""
    return [_read_own(path) for path in sorted(FOLDER.glob(f"{prefix}*.json"))]


def own_case(name: str) -> Case:
    """Give one case of this repository."""
    return _read_own(FOLDER / f"{name}.json")


def corpus_cases(*vendors: str) -> list[Case]:
    """Give the recorded exchanges of *vendors*; none without them, which the report's head says."""
    folder = os.environ.get(CORPUS_VARIABLE)
    if not folder:
        return []
    lines = (Path(folder) / "exchanges.jsonl").read_text(encoding="utf-8").splitlines()
    cases = (_of_corpus(json.loads(line)) for line in lines)
    return [case for case in cases if case.vendor in vendors]


def _exchange_fields(changes: dict[str, Any]) -> dict[str, Any]:
    fields = dict(changes)
    if "tags" in fields:
        fields["tags"] = tuple(fields["tags"])
    return fields


def _read_own(path: Path) -> Case:
    content = json.loads(path.read_text(encoding="utf-8"))
    request, response = content["request"], content["response"]
    body = encode_body(response.get("body", {}))
    return Case(
        name=path.stem,
        vendor=content["vendor"],
        region=content.get("region", ""),
        method=request.get("method", "POST"),
        path=request["path"],
        request_body=encode_body(request.get("body", {})),
        status=response["status"],
        response_headers=(
            ("content-type", response["content_type"]),
            *response.get("headers", {}).items(),
        ),
        response_body=body,
        differences=frozenset(content.get("differences", ())),
        extra_body=tuple(request.get("extra_body", ())),
        form=tuple(request.get("body", {}).get("form", ())),
        client=request.get("client", ""),
        fields=content.get("exchange", {}),
    )


def _of_corpus(line: dict[str, Any]) -> Case:
    return Case(
        name=line["id"],
        vendor=line["provider"].replace("_", "-"),
        region="us-east-1" if line["provider"].startswith("bedrock") else "",
        method=line["method"],
        path=line["path"],
        request_body=encode_body(line["request_body"]),
        status=line["status"],
        response_headers=(("content-type", line["content_type"]),),
        response_body=encode_body(line["response_body"]),
    )


def encode_eventstream(headers: dict[str, str], payload: bytes) -> bytes:
    """Encode one message of an AWS event stream, all headers as text."""
    return frame(list(headers.items()), payload)
