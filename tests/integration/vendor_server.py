"""A vendor on loopback: it answers as OpenAI, Bedrock, Anthropic and Gemini do, always the same."""

from __future__ import annotations

import base64
import json
import struct
import threading
import zlib
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self


def chat(body: dict[str, Any]) -> tuple[str, bytes]:
    answer = {"id": "c", "created": 1, "model": body["model"]}
    if not body.get("stream"):
        message = {"role": "assistant", "content": "On its way."}
        choice = {"index": 0, "finish_reason": "stop", "message": message}
        usage = {"prompt_tokens": 4, "completion_tokens": 3, "total_tokens": 7}
        answer |= {"object": "chat.completion", "choices": [choice], "usage": usage}
        return "application/json", json.dumps(answer).encode()
    lines = [
        json.dumps(
            answer
            | {
                "object": "chat.completion.chunk",
                "choices": [{"index": 0, "delta": {"content": word}, "finish_reason": None}],
            }
        )
        for word in ("On ", "its ", "way.")
    ]
    return "text/event-stream", "".join(f"data: {x}\n\n" for x in [*lines, "[DONE]"]).encode()


def embeddings(body: dict[str, Any]) -> tuple[str, bytes]:
    data = [{"object": "embedding", "index": 0, "embedding": [0.5, 0.25]}]
    usage = {"prompt_tokens": 1, "total_tokens": 1}
    answer = {"object": "list", "data": data, "model": body["model"], "usage": usage}
    return "application/json", json.dumps(answer).encode()


def frame(kind: str, payload: dict[str, Any]) -> bytes:
    """One message of AWS's eventstream encoding."""
    headers = b"".join(
        struct.pack(f">B{len(name)}sBH", len(name), name.encode(), 7, len(value)) + value.encode()
        for name, value in (
            (":event-type", kind),
            (":content-type", "application/json"),
            (":message-type", "event"),
        )
    )
    body = json.dumps(payload).encode()
    prelude = struct.pack(">II", 16 + len(headers) + len(body), len(headers))
    message = prelude + struct.pack(">I", zlib.crc32(prelude)) + headers + body
    return message + struct.pack(">I", zlib.crc32(message))


def converse(body: dict[str, Any]) -> tuple[str, bytes]:
    answer = {
        "output": {"message": {"role": "assistant", "content": [{"text": "On its way."}]}},
        "stopReason": "end_turn",
        "usage": {"inputTokens": 4, "outputTokens": 3, "totalTokens": 7},
        "metrics": {"latencyMs": 1},
    }
    return "application/json", json.dumps(answer).encode()


def converse_stream(body: dict[str, Any]) -> tuple[str, bytes]:
    usage = {"inputTokens": 4, "outputTokens": 3, "totalTokens": 7}
    frames = [
        frame("messageStart", {"role": "assistant"}),
        frame("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": "On its way."}}),
        frame("contentBlockStop", {"contentBlockIndex": 0}),
        frame("messageStop", {"stopReason": "end_turn"}),
        frame("metadata", {"usage": usage, "metrics": {"latencyMs": 1}}),
    ]
    return "application/vnd.amazon.eventstream", b"".join(frames)


MESSAGE = {
    "id": "m",
    "type": "message",
    "role": "assistant",
    "model": "claude",
    "content": [{"type": "text", "text": "On its way."}],
    "stop_reason": "end_turn",
    "usage": {"input_tokens": 4, "output_tokens": 3},
}


def invoke(body: dict[str, Any]) -> tuple[str, bytes]:
    return "application/json", json.dumps(MESSAGE).encode()


def message_events() -> list[dict[str, Any]]:
    delta = {"type": "text_delta", "text": "On its way."}
    return [
        {"type": "message_start", "message": MESSAGE | {"content": []}},
        {
            "type": "content_block_start",
            "index": 0,
            "content_block": {"type": "text", "text": ""},
        },
        {"type": "content_block_delta", "index": 0, "delta": delta},
        {"type": "content_block_stop", "index": 0},
        {
            "type": "message_delta",
            "delta": {"stop_reason": "end_turn"},
            "usage": {"output_tokens": 3},
        },
        {"type": "message_stop"},
    ]


def invoke_stream(body: dict[str, Any]) -> tuple[str, bytes]:
    frames = [
        frame("chunk", {"bytes": base64.b64encode(json.dumps(event).encode()).decode()})
        for event in message_events()
    ]
    return "application/vnd.amazon.eventstream", b"".join(frames)


def messages(body: dict[str, Any]) -> tuple[str, bytes]:
    if not body.get("stream"):
        return "application/json", json.dumps(MESSAGE).encode()
    events = [f"event: {e['type']}\ndata: {json.dumps(e)}\n\n" for e in message_events()]
    return "text/event-stream", "".join(events).encode()


CONTENT = {
    "candidates": [
        {
            "content": {"role": "model", "parts": [{"text": "On its way."}]},
            "finishReason": "STOP",
            "index": 0,
        }
    ],
    "usageMetadata": {"promptTokenCount": 4, "candidatesTokenCount": 3, "totalTokenCount": 7},
    "modelVersion": "gemini-2.5-flash",
    "responseId": "r",
}


def generate(body: dict[str, Any]) -> tuple[str, bytes]:
    return "application/json", json.dumps(CONTENT).encode()


def generate_stream(body: dict[str, Any]) -> tuple[str, bytes]:
    return "text/event-stream", f"data: {json.dumps(CONTENT)}\r\n\r\n".encode()


ANSWERS: dict[str, Callable[[dict[str, Any]], tuple[str, bytes]]] = {
    "/chat/completions": chat,
    "/embeddings": embeddings,
    "/converse": converse,
    "/converse-stream": converse_stream,
    "/invoke": invoke,
    "/invoke-with-response-stream": invoke_stream,
    "/v1/messages": messages,
    ":generateContent": generate,
    ":streamGenerateContent": generate_stream,
}


class VendorServer:
    """Answers by path, and keeps the headers of each request."""

    def __init__(self) -> None:
        self.headers: list[dict[str, str]] = []
        vendor = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                vendor.headers.append({n.lower(): v for n, v in self.headers.items()})
                path = self.path.partition("?")[0]
                answer = next(answer for end, answer in ANSWERS.items() if path.endswith(end))
                content_type, content = answer(body)
                self.send_response(500 if body.get("model") == "broken" else 200)
                self.send_header("content-type", content_type)
                self.send_header("content-length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, format: str, *arguments: object) -> None:
                """Write nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True
        )

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
