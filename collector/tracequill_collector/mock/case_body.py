"""Bodies as a recorded exchange writes them down: JSON that reads well enters, bytes leave.

``tests/data/exchanges/README.md`` describes the forms. No input or output.
"""

from __future__ import annotations

import base64
import json
from typing import Any

from tracequill_collector.mock.eventstream import event_frame, exception_frame, frame

BOUNDARY = "boundary-of-a-case"
"""What stands between the parts of a form."""

_FORMS = ("json", "text", "base64", "form", "ndjson", "sse", "eventstream")


def encode_body(body: dict[str, Any]) -> bytes:
    """Give the bytes of *body*; ValueError when it has a form that is not known."""
    if "json" in body:
        text = _json(body["json"])
        for name, characters in body.get("filled", {}).items():
            text = text.replace(name, "A" * characters)
        return text.encode()
    if "text" in body:
        text = body["text"]
        whole: str = text if isinstance(text, str) else "\n".join(text)
        return (whole * int(body.get("repeat", 1))).encode()
    if "base64" in body:
        return base64.b64decode(body["base64"])
    if "form" in body:
        return b"".join(map(_form_part, body["form"])) + f"--{BOUNDARY}--\r\n".encode()
    if "ndjson" in body:
        return b"".join(_json(line).encode() + b"\n" for line in body["ndjson"])
    if "sse" in body:
        return b"".join(_sse(event) for event in body["sse"])
    if "eventstream" in body:
        return b"".join(_eventstream_message(message) for message in body["eventstream"])
    if body:
        raise ValueError(f"a body is one of {', '.join(_FORMS)}, not {', '.join(sorted(body))}")
    return b""


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _sse(event: Any) -> bytes:
    if isinstance(event, str):
        return f"data: {event}\n\n".encode()
    name = f"event: {event['type']}\n" if "type" in event else ""
    return f"{name}data: {_json(event)}\n\n".encode()


def _form_part(part: dict[str, Any]) -> bytes:
    disposition = f'form-data; name="{part["name"]}"'
    if "filename" in part:
        disposition += f'; filename="{part["filename"]}"'
    head = f"--{BOUNDARY}\r\nContent-Disposition: {disposition}\r\n"
    if "content_type" in part:
        head += f"Content-Type: {part['content_type']}\r\n"
    described = ("name", "filename", "content_type")
    content = {key: value for key, value in part.items() if key not in described}
    return head.encode() + b"\r\n" + encode_body(content) + b"\r\n"


def _eventstream_message(message: dict[str, Any]) -> bytes:
    if "part" in message:
        return frame(
            [
                (":event-type", "PayloadPart"),
                (":message-type", "event"),
                (":content-type", "application/octet-stream"),
            ],
            message["part"].encode(),
        )
    if "error" in message:
        return frame(
            [
                (":message-type", "error"),
                (":error-code", message["error"]),
                (":error-message", message["message"]),
            ],
            b"",
        )
    if "chunk" in message:
        inner = base64.b64encode(_json(message["chunk"]).encode()).decode()
        return event_frame("chunk", _json({"bytes": inner, "p": "abcdef"}).encode())
    if "said" in message:
        inner = base64.b64encode(message["said"].encode()).decode()
        return event_frame("chunk", _json({"bytes": inner}).encode())
    if "exception" in message:
        return exception_frame(message["exception"], _json(message["payload"]).encode())
    return event_frame(message["event"], _json(message["payload"]).encode())
