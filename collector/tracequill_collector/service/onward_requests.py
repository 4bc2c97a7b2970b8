"""Records become requests to send on, and requests become smaller ones.

Records enter; requests leave as bytes, with the policy applied. A header that named the project
becomes the attribute of the resource that says the same, because few backends know the header.
What no backend may get leaves apart, with the reason. No input or output.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tracequill_collector.errors import PermanentError
from tracequill_collector.otlp import (
    PROTOBUF,
    all_spans,
    count_spans,
    decompress,
    media_type,
    parse_traces,
    rejected_spans,
)
from tracequill_collector.pipeline import QueuedRecord, Record, RecordKind
from tracequill_collector.processor.decode import request_of_one
from tracequill_collector.processor.policy import Policy, PolicyCounts
from tracequill_collector.processor.sanitize import storable_text
from tracequill_collector.service.burying import (
    Letter,
    letter_of_record,
    letters_of_spans,
    record_of_one,
)

REQUEST_BYTES = 512 * 1024
"""Records share a request up to this size: far below the limit of any backend."""

_PROJECT_NAME = "openinference.project.name"

# The same span whenever it is sent: a backend that knows ids keeps one.
_PLAIN_TRACE_ID = bytes.fromhex("7261636571756c6c7472616365717569")
_PLAIN_SPAN_ID = bytes.fromhex("706c61696e207370")


@dataclass(frozen=True, slots=True)
class Piece:
    """A request, or a part of one."""

    payload: bytes
    spans: int


@dataclass(slots=True, eq=False)
class Parcel:
    """Records that follow one another, as one request."""

    records: list[QueuedRecord] = field(default_factory=list)
    piece: Piece = field(default_factory=lambda: Piece(b"", 0))
    letters: list[Letter] = field(default_factory=list)
    policy_counts: PolicyCounts = field(default_factory=PolicyCounts)
    count: int = 0
    """How many records."""
    next_sequence: int = 0
    """What follows its last record."""
    received_unix_ns: int = 0
    """When its oldest record was received."""
    is_done: bool = False

    def finish(self) -> None:
        """Be done, and hold nothing any more but the place in the queue."""
        self.is_done = True
        self.records, self.letters, self.piece = [], [], Piece(b"", 0)


def next_parcel(left: deque[QueuedRecord], *, max_bytes: int, policy: Policy | None) -> Parcel:
    """Take records from *left*, which is not empty, until they fill a request."""
    parcel = Parcel()
    payloads: list[bytes] = []
    size = spans = 0
    while left and size < REQUEST_BYTES:
        record = left[0].record
        if parcel.records and len(record.payload) > REQUEST_BYTES:
            break
        parcel.records.append(left.popleft())
        try:
            piece = _prepare(record, parcel, max_bytes, policy)
        except PermanentError as error:
            parcel.letters.append(letter_of_record(record, str(error)))
        except MemoryError:
            raise
        except Exception as error:  # a pure function: it fails on this record every time
            reason = f"the record cannot be read: {type(error).__name__}."
            parcel.letters.append(letter_of_record(record, reason))
        else:
            payloads.append(piece.payload)
            size += len(piece.payload)
            spans += piece.spans
    # A request is one repeated field, so requests one after the other are one request.
    parcel.piece = Piece(payloads[0] if len(payloads) == 1 else b"".join(payloads), spans)
    parcel.count = len(parcel.records)
    parcel.next_sequence = parcel.records[-1].sequence + 1
    parcel.received_unix_ns = min(item.record.received_unix_ns for item in parcel.records)
    return parcel


def _prepare(record: Record, parcel: Parcel, max_bytes: int, policy: Policy | None) -> Piece:
    if record.kind is not RecordKind.OTLP_TRACES:
        raise PermanentError(f"a record of kind {record.kind!r} holds no traces.")
    payload = decompress(record.payload, record.content_encoding, max_bytes)
    request = parse_traces(payload, record.content_type)
    refused = {place: reason for place, reason in rejected_spans(request)}
    project_name = record.project_name
    if policy is not None:
        project_name = policy.text(project_name)
        applied = policy.apply(request)
        parcel.policy_counts.update(applied.counts)
        # As the processor says it: a span that both refuse is one dead letter.
        refused |= applied.failed
    if refused:
        parcel.letters += letters_of_spans(record, refused, max_bytes=max_bytes)
        _keep_only(request, lambda place: place not in refused)
    if project_name:
        _name_project(request, storable_text(project_name))
    spans = count_spans(request)
    if not spans:
        return Piece(b"", 0)
    is_as_it_came = media_type(record.content_type) in ("", PROTOBUF) and not (
        policy or refused or record.project_name
    )
    return Piece(payload if is_as_it_came else request.SerializeToString(), spans)


def _name_project(request: ExportTraceServiceRequest, project_name: str) -> None:
    """Write the project into each resource; as in Phoenix a header goes before an attribute."""
    for resource_spans in request.resource_spans:
        attributes = resource_spans.resource.attributes
        kept = [pair for pair in attributes if pair.key != _PROJECT_NAME]
        if len(kept) < len(attributes):
            del attributes[:]
            attributes.extend(kept)
        attributes.add(key=_PROJECT_NAME).value.string_value = project_name


def halves(payload: bytes) -> list[Piece]:
    """Give the first and the second half of the spans of a request, with what surrounds them."""
    request = ExportTraceServiceRequest.FromString(payload)
    spans = count_spans(request)
    middle = spans // 2
    second = ExportTraceServiceRequest()
    second.CopyFrom(request)
    _keep_only(request, lambda place: place < middle)
    _keep_only(second, lambda place: place >= middle)
    return [
        Piece(request.SerializeToString(), middle),
        Piece(second.SerializeToString(), spans - middle),
    ]


def letter_of(piece: Piece, reason: str, received_unix_ns: int) -> Letter:
    """Give the dead letter of a request of one span."""
    request = ExportTraceServiceRequest.FromString(piece.payload)
    [surrounded] = all_spans(request)
    # Written anew: the same span is the same letter, whatever request it came with.
    record = Record(RecordKind.OTLP_TRACES, received_unix_ns, b"")
    return Letter(record_of_one(record, request_of_one(*surrounded)), reason)


def plain_request() -> bytes:
    """Give a request of one span that no backend has a reason to refuse."""
    now = time.time_ns()
    request = ExportTraceServiceRequest()
    resource_spans = request.resource_spans.add()
    for key in ("service.name", _PROJECT_NAME):
        resource_spans.resource.attributes.add(key=key).value.string_value = "tracequill"
    resource_spans.scope_spans.add().spans.add(
        trace_id=_PLAIN_TRACE_ID,
        span_id=_PLAIN_SPAN_ID,
        name="tracequill asks whether spans are taken",
        kind=Span.SPAN_KIND_INTERNAL,
        start_time_unix_nano=now,
        end_time_unix_nano=now,
    )
    return request.SerializeToString()


def _keep_only(request: ExportTraceServiceRequest, is_wanted: Callable[[int], bool]) -> None:
    """Remove the spans at all other places, and what surrounds none any more."""
    place = 0
    for resource_spans in request.resource_spans:
        for scope_spans in resource_spans.scope_spans:
            kept = [
                span for number, span in enumerate(scope_spans.spans, place) if is_wanted(number)
            ]
            place += len(scope_spans.spans)
            del scope_spans.spans[:]
            scope_spans.spans.extend(kept)
        scopes = [scope_spans for scope_spans in resource_spans.scope_spans if scope_spans.spans]
        del resource_spans.scope_spans[:]
        resource_spans.scope_spans.extend(scopes)
    resources = [item for item in request.resource_spans if item.scope_spans]
    del request.resource_spans[:]
    request.resource_spans.extend(resources)
