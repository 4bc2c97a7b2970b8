"""Spans that are too large become smaller, and say so: nothing goes without a mark.

A span enters and is changed in place; how often each limit cut something leaves. A text is cut
between two characters and ends in what was done. What identifies and classifies a span goes last.
Applying the limits twice is the same as once. No input or output.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tracequill_collector.processor.marks import LIMITED_KEY, OWN_KEYS, cut_sign, find_cut_sign

SHORTEST_BYTES = 128
"""The least limit of one text: a shorter one is not worth cutting, nor would the mark fit."""
SHORTEST_SPAN_BYTES = 4096
"""The least limit of a span."""

# Room for the mark of the span, and for lengths that take a byte more.
_ROOM_BYTES = 256

# Kept first when there are too many attributes: what pages, costs and searches are built on.
_FIRST = (
    "openinference.",
    "session.id",
    "user.id",
    "llm.model_name",
    "llm.provider",
    "llm.system",
    "llm.token_count.",
    "input.",
    "output.",
    "exception.",
    "metadata",
    "tag.tags",
)
_JSON_MIME_TYPE = "application/json"


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits; 0 is none. Raises ValueError for one that is too small to be kept."""

    attribute_max_bytes: int = 0
    """The longest text of one value, in UTF-8."""
    attributes_max: int = 0
    """The most attributes of a span, our own marks apart."""
    events_max: int = 0
    span_max_bytes: int = 0
    """The largest span, as protobuf."""

    def __post_init__(self) -> None:
        for name, least in (
            ("attribute_max_bytes", SHORTEST_BYTES),
            ("span_max_bytes", SHORTEST_SPAN_BYTES),
        ):
            if 0 < getattr(self, name) < least:
                raise ValueError(f"{name} is {getattr(self, name)}, but at least {least}, or 0")

    def apply(self, span: Span) -> Counter[str]:
        """Change *span* in place; give how often each limit cut something."""
        cut: Counter[str] = Counter()
        if self.events_max and len(span.events) > self.events_max:
            cut["events"] = _drop_events(span, self.events_max)
        if self.attributes_max and len(span.attributes) > self.attributes_max:
            cut["attributes"] = _drop_attributes(span, self.attributes_max)
        if self.attribute_max_bytes and span.ByteSize() > self.attribute_max_bytes:
            cut["attribute_bytes"] = _cut_texts(span, self.attribute_max_bytes)
        if self.span_max_bytes and span.ByteSize() > self.span_max_bytes:
            cut["span_bytes"] = _fit(span, self.span_max_bytes)
        cut = +cut
        if cut:
            _mark(span, cut)
        return cut


def cut_text(text: str, most: int) -> str:
    """Give the beginning of *text* in *most* bytes of UTF-8, and a note of what is missing."""
    most = max(most, SHORTEST_BYTES)
    if len(text) * 4 <= most:
        return text
    encoded = text.encode("utf-8", "replace")
    size = len(encoded)
    if size <= most:
        return text
    # Cut once before, it still says how long it was at first.
    if before := find_cut_sign(text):
        encoded = text[: before.start()].encode("utf-8", "replace")
        size = max(size, int(before[1]))
    room = most - len(cut_sign(size, size).encode())
    kept = encoded[:room].decode("utf-8", "ignore")
    return kept + cut_sign(len(kept.encode()), size)


def is_cut(text: str) -> bool:
    """Say whether *text* ends in the note of ``cut_text``."""
    return find_cut_sign(text) is not None


def _mark(span: Span, cut: Counter[str]) -> None:
    """Say what was cut, after what an earlier collector on the way has said."""
    said = ", ".join(f"{name}: {count}" for name, count in sorted(cut.items()))
    for pair in span.attributes:
        if pair.key == LIMITED_KEY:
            # No longer than what it is to explain, however many collectors there are.
            before = pair.value.string_value[: _ROOM_BYTES // 4]
            pair.value.string_value = f"{before}; {said}" if before else said
            return
    span.attributes.add(key=LIMITED_KEY).value.string_value = said


# --- too many --------------------------------------------------------------------------------


def _drop_events(span: Span, most: int) -> int:
    """Keep the exceptions, then the first ones."""
    places = sorted(
        range(len(span.events)),
        key=lambda place: (span.events[place].name != "exception", place),
    )
    kept = [span.events[place] for place in sorted(places[:most])]
    dropped = len(span.events) - len(kept)
    del span.events[:]
    span.events.extend(kept)
    span.dropped_events_count = min(span.dropped_events_count + dropped, 2**32 - 1)
    return dropped


def _drop_attributes(span: Span, most: int) -> int:
    """Keep our own marks beside the limit, then what comes first in importance, then in order."""
    own = [place for place, pair in enumerate(span.attributes) if pair.key in OWN_KEYS]
    others = sorted(
        (place for place, pair in enumerate(span.attributes) if pair.key not in OWN_KEYS),
        key=lambda place: (not span.attributes[place].key.startswith(_FIRST), place),
    )
    kept = [span.attributes[place] for place in sorted((*own, *others[:most]))]
    dropped = len(span.attributes) - len(kept)
    if dropped:
        del span.attributes[:]
        span.attributes.extend(kept)
        span.dropped_attributes_count = min(span.dropped_attributes_count + dropped, 2**32 - 1)
    return dropped


# --- too long --------------------------------------------------------------------------------


def _texts(span: Span) -> Iterator[tuple[Any, str]]:
    """Yield each text of *span*: what holds it, and its name there. Our own marks stay."""
    yield span, "name"
    if span.HasField("status"):
        yield span.status, "message"
    for pair in span.attributes:
        if pair.key not in OWN_KEYS:
            yield from _texts_in(pair.value)
    for event in span.events:
        yield event, "name"
        for pair in event.attributes:
            yield from _texts_in(pair.value)
    for link in span.links:
        for pair in link.attributes:
            yield from _texts_in(pair.value)


def _texts_in(value: AnyValue) -> Iterator[tuple[AnyValue, str]]:
    kind = value.WhichOneof("value")
    if kind in ("string_value", "bytes_value"):
        yield value, kind
    elif kind == "array_value":
        for item in value.array_value.values:
            yield from _texts_in(item)
    elif kind == "kvlist_value":
        for pair in value.kvlist_value.values:
            yield from _texts_in(pair.value)


def _cut_texts(span: Span, most: int) -> int:
    most = max(most, SHORTEST_BYTES)
    count = 0
    for holder, name in list(_texts(span)):
        text = getattr(holder, name)
        if isinstance(text, bytes):
            # The beginning of an image is no image.
            if len(text) > most:
                holder.string_value = cut_sign(0, len(text))
                count += 1
        elif (new := cut_text(text, most)) is not text:
            setattr(holder, name, new)
            count += 1
    if count:
        _no_json_any_more(span)
    return count


def _fit(span: Span, most: int) -> int:
    """Cut the longest texts of *span*, all to one length, until it fits."""
    sizes = sorted(
        (
            len(text) if isinstance(text, bytes) else len(text.encode("utf-8", "replace"))
            for text in (getattr(holder, name) for holder, name in _texts(span))
        ),
        reverse=True,
    )
    excess = span.ByteSize() - most + _ROOM_BYTES
    length = 0
    for place, size in enumerate(sizes, start=1):
        following = sizes[place] if place < len(sizes) else 0
        if (size - following) * place >= excess:
            length = size - -(-excess // place)
            break
        excess -= (size - following) * place
    return _cut_texts(span, length) + _cut_values(span, most - _ROOM_BYTES)


def _cut_values(span: Span, most: int) -> int:
    """Cut whole values, the largest first, where cutting texts was not enough: lists of numbers."""
    excess = span.ByteSize() - most
    if excess <= 0:
        return 0
    lists = [span.attributes]
    lists += [event.attributes for event in span.events]
    lists += [link.attributes for link in span.links]
    places = [
        pair
        for pairs in lists
        for pair in pairs
        if pair.key not in OWN_KEYS and pair.value.ByteSize() > SHORTEST_BYTES
    ]
    places.sort(key=lambda pair: (pair.key.startswith(_FIRST), -pair.value.ByteSize()))
    count = 0
    for pair in places:
        size = pair.value.ByteSize()
        pair.value.string_value = cut_sign(0, size)
        excess -= size - pair.value.ByteSize()
        count += 1
        if excess <= 0:
            break
    return count


def _no_json_any_more(span: Span) -> None:
    """What was cut is no JSON: pages would try to read it."""
    by_key = {pair.key: pair for pair in span.attributes}
    for side in ("input", "output"):
        value, mime_type = by_key.get(f"{side}.value"), by_key.get(f"{side}.mime_type")
        if (
            value is not None
            and mime_type is not None
            and mime_type.value.string_value == _JSON_MIME_TYPE
            and is_cut(value.value.string_value)
        ):
            mime_type.value.string_value = "text/plain"
