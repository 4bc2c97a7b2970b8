"""What a call says about itself in its headers: trace, session, user, project, tags, metadata.

Raw headers in, a CallContext out. Pure but for the random ids. What cannot be read is left out:
a bad header of ours never fails a call.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

import orjson

from tracequill_collector.proxy.headers import RawHeaders, text

_PREFIX = b"x-tracequill-"
# https://www.w3.org/TR/trace-context/#traceparent-header; a later version may say more at the end.
_TRACEPARENT = re.compile(rb"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}(-.*)?")
_NOT_SET = frozenset({"", "0", "false", "no"})
# A longer one is no id that a person or a program looks for; it would stand in every span.
_LABEL_MAX_CHARACTERS = 1000
_TAGS_MAX = 100
# Escapes can write what no header may hold: line ends, NUL.
_NO_CONTROLS = {code: None for code in (*range(0x20), *range(0x7F, 0xA0))}


@dataclass(frozen=True, slots=True)
class CallContext:
    """Ids and labels of one call, fixed when it is forwarded."""

    trace_id: str
    span_id: str
    parent_span_id: str
    traced: bool
    session_id: str = ""
    user_id: str = ""
    project_name: str = ""
    tags: tuple[str, ...] = ()
    metadata: str = ""


def read_context(
    headers: RawHeaders,
    project_name: str,
    random_bytes: Callable[[int], bytes] = os.urandom,
) -> CallContext:
    """Read the context; ids that the headers do not give are random, the project *project_name*."""
    ours: dict[bytes, str] = {}
    parents: list[bytes] = []
    for name, value in headers:
        lower = name.lower()
        if lower.startswith(_PREFIX):
            ours[lower[len(_PREFIX) :]] = text(value).strip()
        elif lower == b"traceparent":
            parents.append(value.strip())
    trace_id, parent_span_id = _read_parent(parents)
    ids = random_bytes(24)
    return CallContext(
        trace_id=trace_id or ids[:16].hex(),
        span_id=ids[16:].hex(),
        parent_span_id=parent_span_id,
        traced=ours.get(b"traced", "").lower() not in _NOT_SET,
        session_id=_label(_decode(ours.get(b"session-id", ""))),
        user_id=_label(_decode(ours.get(b"user-id", ""))),
        project_name=_label(_decode(ours.get(b"project", ""))) or project_name,
        tags=_read_tags(ours.get(b"tags", "")),
        metadata=_read_metadata(ours.get(b"metadata", "")),
    )


def _read_parent(values: list[bytes]) -> tuple[str, str]:
    """Give trace id and parent span id, both empty when there is no one valid ``traceparent``."""
    if len(values) != 1 or not (match := _TRACEPARENT.fullmatch(values[0])):
        return "", ""
    version, trace_id, span_id, more = match.groups()
    if version == b"ff" or (version == b"00" and more is not None):
        return "", ""
    if not trace_id.strip(b"0") or not span_id.strip(b"0"):
        return "", ""
    return trace_id.decode(), span_id.decode()


def _decode(value: str) -> str:
    """Undo RFC 8187, which a client uses for what is not ASCII: ``UTF-8''Z%C3%BCrich``."""
    if value[:7].lower() != "utf-8''":
        return value
    return unquote(value[7:], errors="replace")


def _label(value: str) -> str:
    """Give *value* as one short line, or nothing when it is too long to be a label."""
    if not value.isprintable():
        value = value.translate(_NO_CONTROLS)
    return value if len(value) <= _LABEL_MAX_CHARACTERS else ""


def _read_tags(value: str) -> tuple[str, ...]:
    parts: list[str] = []
    listed = _parse(value) if value.startswith("[") else None
    if isinstance(listed, list):
        parts.extend(item if isinstance(item, str) else _dump(item) for item in listed)
    elif value:
        parts.extend(value.split(","))
    return tuple(tag for part in parts if (tag := _label(part.strip())))[:_TAGS_MAX]


def _read_metadata(value: str) -> str:
    return value if isinstance(_parse(value), dict) else ""


def _parse(value: str) -> Any:
    try:
        return orjson.loads(value)
    except orjson.JSONDecodeError:
        return None


def _dump(value: Any) -> str:
    return orjson.dumps(value).decode()
