"""An exchange: one LLM call as it crossed the proxy, and its form in a queue record.

The proxy writes it, the recorder reads it; this module knows neither. No input or output.

Payload of a record of kind EXCHANGE, all integers little-endian::

    version u8 (1) · header length u32 · header (JSON) · request body · response body

The lengths of the bodies stand in the header.

Keys of vendors are no part of it. The proxy leaves out headers and values of queries by name;
``remove_keys`` is the net below that, for the proxy and for what the recorder makes of an exchange.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass, field, fields
from typing import Literal

import orjson

from tracequill_collector.errors import PermanentError

_VERSION = 1
_PREFIX = struct.Struct("<BI")

Headers = tuple[tuple[str, str], ...]
"""Names and values in the order they crossed, repeated ones repeated, secrets already removed."""

End = Literal["complete", "client_disconnected", "upstream_cut", "upstream_unreachable"]


KEY_REMOVED = "[key removed]"

# Patterns cannot know every key. No part of one may try each position of a long run again.
_KEY = re.compile(
    r"""
      (?<![A-Za-z0-9])
      (?:
          (?:sk|pk|rk|ek|gsk|xai|tgp|hf|nvapi|r8|pplx)[-_][A-Za-z0-9_\-*]{6,}       # vendors' keys
        | AIza[A-Za-z0-9_\-*]{10,}                                          # Google
        | (?:AKIA|ASIA|ABSK)[A-Za-z0-9+/=*]{12,}                            # AWS
        | (?<![_\-])eyJ[A-Za-z0-9_\-]{8,}\.[A-Za-z0-9_\-]{8,}(?:\.[A-Za-z0-9_\-]*)?  # JWT
      )
    | (?<=[Bb]earer\ )[A-Za-z0-9_\-.=+/~]{8,}
    """,
    re.VERBOSE,
)
_HALF_MASKED = re.compile(r"(?<![A-Za-z0-9])[A-Za-z0-9_\-]{0,12}\*{4,}[A-Za-z0-9_\-*]{0,12}")
# Each key has one of these in it. Looking for them takes a tenth of the time.
_MARKS = (
    *("k-", "k_", "xai", "tgp", "hf-", "hf_", "nvapi", "r8-", "r8_", "pplx", "AIza"),
    *("AKIA", "ASIA", "ABSK", "eyJ", "earer ", "****"),
)


def remove_keys(text: str) -> str:
    """Give *text* with everything that looks like a key replaced."""
    for mark in _MARKS:
        if mark in text:
            return _HALF_MASKED.sub(KEY_REMOVED, _KEY.sub(KEY_REMOVED, text))
    return text


@dataclass(frozen=True, slots=True)
class Exchange:
    """Request and response of one call, with the ids that its span will have."""

    route: str
    """The route's name, ``openai`` or ``bedrock``; a region is not part of it."""
    vendor: str
    """Whose wire format it is: openai, bedrock, anthropic, ..."""
    region: str
    """The region of a regional route, else empty."""
    method: str
    path: str
    """The raw path at the upstream, without route and region, with the query, keys removed."""
    trace_id: str
    """32 lower-case hex digits, fixed when forwarding, so that replays are idempotent."""
    span_id: str
    """16 lower-case hex digits."""
    parent_span_id: str
    """From ``traceparent``; empty when the call came without one."""
    traced: bool
    """The application's own instrumentor writes the LLM span (``x-tracequill-traced``)."""
    start_unix_ns: int
    first_byte_unix_ns: int
    """When the first byte of the response body came; 0 when none did."""
    end_unix_ns: int
    end: End
    error: str
    """What failed, in one sentence without secrets; empty when nothing did."""
    status: int
    """The upstream's HTTP status; 0 when there was none."""
    chunk_count: int
    request_headers: Headers
    response_headers: Headers
    request_body_bytes: int
    """How many bytes crossed; more than ``len(request_body)`` when the record was cut."""
    response_body_bytes: int
    session_id: str = ""
    user_id: str = ""
    project_name: str = ""
    tags: tuple[str, ...] = ()
    metadata: str = ""
    """JSON object as text, as the client sent it; empty when it sent none."""
    request_body: bytes = field(default=b"", repr=False)
    response_body: bytes = field(default=b"", repr=False)

    @property
    def request_cut(self) -> bool:
        """Whether the recorded request body is only the beginning of what crossed."""
        return self.request_body_bytes > len(self.request_body)

    @property
    def response_cut(self) -> bool:
        """Whether the recorded response body is only the beginning of what crossed."""
        return self.response_body_bytes > len(self.response_body)

    def to_bytes(self) -> bytes:
        """Encode for a queue record."""
        header = {name: getattr(self, name) for name in _HEADER_FIELDS}
        header["request_length"] = len(self.request_body)
        header["response_length"] = len(self.response_body)
        encoded = orjson.dumps(header)
        prefix = _PREFIX.pack(_VERSION, len(encoded))
        return b"".join((prefix, encoded, self.request_body, self.response_body))

    @classmethod
    def from_bytes(cls, payload: bytes) -> Exchange:
        """Decode; a PermanentError says what is wrong with the payload."""
        try:
            version, header_length = _PREFIX.unpack_from(payload)
            if version != _VERSION:
                raise PermanentError(
                    f"exchange has version {version}; this Tracequill reads {_VERSION}. Upgrade it."
                )
            start = _PREFIX.size + header_length
            header = orjson.loads(payload[_PREFIX.size : start])
            middle = start + header.pop("request_length")
            end = middle + header.pop("response_length")
            if end != len(payload):
                raise PermanentError(
                    f"exchange is {len(payload)} bytes long, its header says {end}."
                )
            for name in ("request_headers", "response_headers"):
                header[name] = tuple((key, value) for key, value in header[name])
            header["tags"] = tuple(header["tags"])
            return cls(
                **{name: value for name, value in header.items() if name in _HEADER_FIELDS},
                request_body=payload[start:middle],
                response_body=payload[middle:end],
            )
        except (struct.error, orjson.JSONDecodeError, KeyError, TypeError, ValueError) as error:
            raise PermanentError(f"exchange cannot be decoded: {error}.") from error


# dataclasses.asdict copies every value deeply, which would cost the proxy 60 µs a call.
_HEADER_FIELDS = frozenset(item.name for item in fields(Exchange)) - {
    "request_body",
    "response_body",
}
