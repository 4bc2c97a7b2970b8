"""Spans that are too large become smaller, and say so: nothing goes without a mark.

A span enters and is changed in place; how often each limit cut something leaves. A text is cut
between two characters and ends in what was done. What identifies and classifies a span goes last.
No input or output.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span

_SIGN = "… [cut by tracequill: {kept} of {size} bytes]"
_SIGN_START = "… [cut by tracequill: "
# A text this short is not worth cutting, nor would the mark fit.
_SHORTEST_BYTES = 128

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
    "tracequill.",
)
_JSON_MIME_TYPE = "application/json"
_MARK_KEY = "tracequill.limited"


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits; 0 is none."""

    attribute_max_bytes: int = 0
    """The longest text of one value, in UTF-8."""
    attributes_max: int = 0
    events_max: int = 0
    span_max_bytes: int = 0
    """The largest span, as protobuf. Texts are cut until it fits; what is no text stays."""

    def apply(self, span: Span) -> Counter[str]:
        """Change *span* in place; give how often each limit cut something."""
        cut: Counter[str] = Counter()
        if self.events_max and len(span.events) > self.events_max:
            cut["events"] = len(span.events) - self.events_max
            kept = sorted(
                sorted(
                    range(len(span.events)),
                    key=lambda place: (span.events[place].name != "exception", place),
                )[: self.events_max]
            )
            events = [span.events[place] for place in kept]
            del span.events[:]
            span.events.extend(events)
        if self.attributes_max and len(span.attributes) > self.attributes_max:
            cut["attributes"] = _drop_attributes(span, self.attributes_max)
        if self.attribute_max_bytes:
            cut["attribute_bytes"] = _cut_texts(span, self.attribute_max_bytes)
        if self.span_max_bytes and span.ByteSize() > self.span_max_bytes:
            cut["span_bytes"] = _fit(span, self.span_max_bytes)
        cut = +cut
        if cut:
            said = ", ".join(f"{name}: {count}" for name, count in sorted(cut.items()))
            _mark(span, said)
        return cut


def _mark(span: Span, text: str) -> None:
    for pair in span.attributes:
        if pair.key == _MARK_KEY:
            pair.value.string_value = text
            return
    new = span.attributes.add()
    new.key = _MARK_KEY
    new.value.string_value = text


def _drop_attributes(span: Span, most: int) -> int:
    places = sorted(
        range(len(span.attributes)),
        key=lambda place: (not span.attributes[place].key.startswith(_FIRST), place),
    )
    kept = [span.attributes[place] for place in sorted(places[:most])]
    dropped = len(span.attributes) - len(kept)
    del span.attributes[:]
    span.attributes.extend(kept)
    return dropped


def _texts(span: Span) -> Iterator[AnyValue]:
    """Yield every value of *span* that is a text."""
    for pairs in (span.attributes, *(event.attributes for event in span.events)):
        for pair in pairs:
            yield from _texts_in(pair.value)
    for link in span.links:
        for pair in link.attributes:
            yield from _texts_in(pair.value)


def _texts_in(value: AnyValue) -> Iterator[AnyValue]:
    kind = value.WhichOneof("value")
    if kind == "string_value":
        yield value
    elif kind == "array_value":
        for item in value.array_value.values:
            yield from _texts_in(item)
    elif kind == "kvlist_value":
        for pair in value.kvlist_value.values:
            yield from _texts_in(pair.value)


def _cut_texts(span: Span, most: int) -> int:
    count = 0
    for value in _texts(span):
        text = value.string_value
        if len(text) * 4 > most and (new := cut_text(text, most)) is not text:
            value.string_value = new
            count += 1
    if count:
        _no_json_any_more(span)
    return count


def cut_text(text: str, most: int) -> str:
    """Give the beginning of *text* in *most* bytes of UTF-8, and a note of what is missing."""
    encoded = text.encode("utf-8", "replace")
    most = max(most, _SHORTEST_BYTES)
    if len(encoded) <= most or _SIGN_START in text[-80:]:
        return text
    room = most - len(_SIGN.format(kept=len(encoded), size=len(encoded)).encode())
    kept = encoded[:room].decode("utf-8", "ignore")
    return kept + _SIGN.format(kept=len(kept.encode()), size=len(encoded))


def _fit(span: Span, most: int) -> int:
    """Cut the longest texts of *span*, all to one length, until it fits."""
    values = list(_texts(span))
    sizes = sorted(len(value.string_value.encode("utf-8", "replace")) for value in values)
    excess = span.ByteSize() - most + 256  # the mark, and lengths that take a byte more
    length = 0
    for place, size in enumerate(reversed(sizes), start=1):
        following = sizes[-place - 1] if place < len(sizes) else 0
        if (size - following) * place >= excess:
            length = size - -(-excess // place)
            break
        excess -= (size - following) * place
    return _cut_texts(span, max(length, _SHORTEST_BYTES))


def _no_json_any_more(span: Span) -> None:
    """What was cut is no JSON: pages would try to read it."""
    by_key = {pair.key: pair for pair in span.attributes}
    for side in ("input", "output"):
        value, mime_type = by_key.get(f"{side}.value"), by_key.get(f"{side}.mime_type")
        if (
            value is not None
            and mime_type is not None
            and mime_type.value.string_value == _JSON_MIME_TYPE
            and _SIGN_START in value.value.string_value[-80:]
        ):
            mime_type.value.string_value = "text/plain"
