"""How much memory reading a request takes, told from its bytes before they are parsed.

Decompressed bytes come in, a number goes out, at the speed of a copy: nothing is parsed. What a
request takes depends less on its size than on its messages: an empty span is two bytes of protobuf
and 180 in memory. The number rather errs upwards; of what was made to mislead it, the worst took
2.2 times as much.
"""

from __future__ import annotations

from tracequill_collector.otlp.request import JSON, media_type

# Every message has its length before it, and many messages fit only when they are short: so their
# lengths are among these bytes. Tags are, too, and some of any text.
_SHORT_LENGTHS = bytes(range(16))
_MESSAGE_BYTES = 64
# Field 2 with nothing or one number in it: a span, which is the largest of all messages.
_SMALL_SPANS = (b"\x12\x00", b"\x12\x02")
_SPAN_BYTES = 128
# They are looked for, which takes longer, where more than one byte of eight is a short length; in
# what people send it is one of thirty.
_DENSE = 8

# Texts are held twice: as bytes or as Python's, and as protobuf's.
_TEXT_BYTES = 2
_JSON_TEXT_BYTES = 4

# A dictionary of Python's and a message; a text or number.
_JSON_OBJECT_BYTES = 320
_JSON_ITEM_BYTES = 64


def reading_bytes(plain: bytes, content_type: str) -> int:
    """Estimate what parsing and checking *plain* takes beside *plain* itself."""
    if media_type(content_type) == JSON:
        return (
            len(plain) * _JSON_TEXT_BYTES
            + (plain.count(b"{") + plain.count(b"[")) * _JSON_OBJECT_BYTES
            + plain.count(b",") * _JSON_ITEM_BYTES
        )
    messages = len(plain) - len(plain.translate(None, _SHORT_LENGTHS))
    cost = len(plain) * _TEXT_BYTES + messages * _MESSAGE_BYTES
    if messages * _DENSE > len(plain):
        cost += sum(plain.count(small) for small in _SMALL_SPANS) * _SPAN_BYTES
    return cost
