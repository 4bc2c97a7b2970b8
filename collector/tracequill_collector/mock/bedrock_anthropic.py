"""Anthropic's messages as Bedrock's invoke carries them."""

from __future__ import annotations

from tracequill_collector.mock.anthropic_messages import Written, write
from tracequill_collector.mock.anthropic_request import InvalidMessages, read_messages
from tracequill_collector.mock.bedrock_errors import invalid
from tracequill_collector.mock.conversation import Json
from tracequill_collector.mock.reply import MockRequest


def write_anthropic(request: MockRequest, fields: Json, model: str) -> Written:
    """Read the body and answer it; a BedrockError when the vendor would refuse it."""
    if "anthropic_version" not in fields:
        raise invalid("anthropic_version: Field required")
    try:
        return write(request, read_messages(fields), model, "bdrk_")
    except InvalidMessages as error:
        raise invalid(str(error)) from None
