"""What a vendor's module is given and what it gives back. No input or output.

A Call is an exchange with its bodies decoded; an Interpretation is what a span says about it
beyond the facts that hold for every exchange.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any
from urllib.parse import unquote

from tracequill_collector.exchange import Exchange
from tracequill_collector.recorder.body import (
    Body,
    decode_body,
    header,
    media_type,
    parse_json,
    to_text,
)
from tracequill_collector.recorder.multipart import MEDIA_TYPE as FORM_TYPE
from tracequill_collector.recorder.multipart import Form, parse_form
from tracequill_collector.recorder.span import Attributes, RecordedEvent, StatusCode

# Each takes a thousand bytes on its way. Nobody reads a conversation of so many messages.
_MAX_ADDED = 100_000
# llm.provider, as the instrumentors infer it from the host; a vendor not listed names itself.
_PROVIDERS = {
    "anthropic": "anthropic",
    "azure": "azure",
    "bedrock": "aws",
    "gemini": "google",
    "groq": "groq",
    "mistral": "mistralai",
    "ollama": "ollama",
    "openai": "openai",
    "sagemaker": "aws",
    "together": "together",
}


@dataclass(frozen=True)
class Call:
    """One exchange, its bodies without content encoding."""

    exchange: Exchange

    @cached_property
    def path(self) -> str:
        """The path without the query, still percent-encoded."""
        return self.exchange.path.partition("?")[0]

    @cached_property
    def segments(self) -> list[str]:
        """The segments of the path, decoded one by one: a model's ARN holds slashes."""
        return [unquote(segment) for segment in self.path.strip("/").split("/")]

    @cached_property
    def provider(self) -> str:
        """The value of ``llm.provider`` for this exchange's vendor."""
        return _PROVIDERS.get(self.exchange.vendor, self.exchange.vendor)

    @cached_property
    def request(self) -> Body:
        """The request body."""
        return decode_body(self.exchange.request_body, self.exchange.request_headers)

    @cached_property
    def response(self) -> Body:
        """The response body."""
        return decode_body(self.exchange.response_body, self.exchange.response_headers)

    @cached_property
    def request_json(self) -> Any:
        """The request body as JSON, or None."""
        return parse_json(self.request.data) if self.request.data else None

    @cached_property
    def response_json(self) -> Any:
        """The response body as JSON, or None."""
        return parse_json(self.response.data) if self.response.data else None

    @cached_property
    def request_text(self) -> str | None:
        """The request body as text, or None when it is not text."""
        return to_text(self.request.data, media_type(self.exchange.request_headers))

    @cached_property
    def response_text(self) -> str | None:
        """The response body as text, or None when it is not text."""
        return to_text(self.response.data, media_type(self.exchange.response_headers))

    @cached_property
    def form(self) -> Form:
        """The request as a form; without parts when it is none."""
        content_type = header(self.exchange.request_headers, "content-type")
        if media_type(self.exchange.request_headers) != FORM_TYPE or not self.request.data:
            return Form()
        return parse_form(self.request.data, content_type)

    @cached_property
    def response_type(self) -> str:
        """The media type of the response."""
        return media_type(self.exchange.response_headers)

    @property
    def is_whole(self) -> bool:
        """Whether the whole answer crossed and was recorded."""
        exchange = self.exchange
        complete = exchange.end == "complete" and not exchange.response_cut
        return complete and not self.response.problem

    @property
    def succeeded(self) -> bool:
        """Whether the upstream answered with a status of success."""
        return 200 <= self.exchange.status < 300


@dataclass(frozen=True, slots=True)
class Failure:
    """What the client's own library raises for this exchange."""

    type: str
    """The qualified name of the exception: ``openai.RateLimitError``."""
    message: str
    description: str = ""
    """The status message of the span; empty: the exception's name and message."""


@dataclass(slots=True)
class Interpretation:
    """What an exchange says: a span's name, flat attributes, events and status.

    An answer that tells the steps it was made in, as an agent's does, has an interpretation of each
    as a child.
    """

    name: str
    attributes: Attributes = field(default_factory=dict)
    events: list[RecordedEvent] = field(default_factory=list)
    status: StatusCode = "OK"
    status_message: str = ""
    problems: list[str] = field(default_factory=list)
    """What could not be interpreted; of the exchange's own span, not of a step's."""
    start_unix_ns: int = 0
    """When a step began; 0: not known."""
    end_unix_ns: int = 0
    """When a step ended; 0: not known."""
    children: list[Interpretation] = field(default_factory=list)
    """The steps, in order."""

    def add(self, pairs: Iterable[tuple[str, Any]]) -> None:
        """Add attributes, as many as there may be; a None is no value."""
        for count, (key, value) in enumerate(pairs):
            if count == _MAX_ADDED:
                self.problems.append(f"more than {_MAX_ADDED} values of one kind")
                break
            if value is not None:
                self.attributes[key] = value

    def fail(self, failure: Failure, unix_ns: int) -> None:
        """Record *failure* as an exception event and as the span's status."""
        self.status = "ERROR"
        name = failure.type.rpartition(".")[2]
        self.status_message = failure.description or f"{name}: {failure.message}"
        self.events.append(
            RecordedEvent(
                "exception",
                unix_ns,
                {
                    "exception.type": failure.type,
                    "exception.message": failure.message,
                    "exception.escaped": "False",
                },
            )
        )
