"""Spans to make conversations of, and the conversation of attributes."""

from __future__ import annotations

import base64
from typing import Any

from tracequill_phoenix.annotate.conversation import conversation_of
from tracequill_phoenix.dataset_export.testing import llm_span, message

USER = message("user", "Is it raining in Paris?")
ANSWER = message("assistant", "Yes.")
PNG = "data:image/png;base64," + base64.b64encode(b"\x89PNG" * 10).decode()


def conversation(attributes: Any, **more: Any) -> dict[str, Any]:
    return conversation_of(
        attributes=attributes,
        name="ChatCompletion",
        start_time="2026-11-21T10:00:00Z",
        end_time="2026-11-21T10:00:01Z",
        **more,
    )


def span(attributes: dict[str, Any], at: str = "2026-11-21T09:00:00Z") -> dict[str, Any]:
    return {"attributes": attributes, "name": "ask", "start_time": at, "end_time": at}


def parts_of(contents: list[dict[str, Any]]) -> list[dict[str, Any]]:
    parts: list[dict[str, Any]] = conversation(
        llm_span([message("user", contents=contents)], [ANSWER])
    )["messages"][0]["parts"]
    return parts
