"""What every call of the demo shares: where it goes, how it is counted, and the two functions.

A call that the vendor refuses is a call too: it has a span like every other.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import boto3
import openai
from botocore.config import Config
from botocore.exceptions import ClientError

from tracequill.settings import Settings
from tracequill_phoenix.demo.conversations import Verdict

T = TypeVar("T")

CHAT_MODEL = "gpt-4o-mini"
RESPONSES_MODEL = "gpt-4.1-mini"
EMBEDDING_MODEL = "text-embedding-3-small"
EMBEDDING_DIMENSIONS = 256  # enough for six pages, and easier on the eye in a trace
WRONG_MODEL = "no-such-model"
NOVA = "us.amazon.nova-lite-v1:0"
CLAUDE = "us.anthropic.claude-haiku-4-5-20251001-v1:0"
INSTRUCTIONS = (
    "You are the support desk of Fennel & Finch, a shop for garden and kitchen tools. "
    "Answer in at most three sentences."
)

ORDER_STATUS = {
    "name": "get_order_status",
    "description": "Where an order is and when it arrives.",
    "parameters": {
        "type": "object",
        "properties": {"order_id": {"type": "string", "description": "As A-1042."}},
        "required": ["order_id"],
        "additionalProperties": False,
    },
}
STOCK = {
    "name": "get_stock",
    "description": "How many pieces of an article a shop has in stock.",
    "parameters": {
        "type": "object",
        "properties": {
            "article_number": {"type": "string", "description": "As B-400."},
            "shop": {"type": "string", "description": "The town of the shop."},
        },
        "required": ["article_number", "shop"],
        "additionalProperties": False,
    },
}


class Refused(Exception):
    """The vendor answered a call with an error."""


@dataclass(frozen=True, slots=True)
class Labelled:
    """An answer that a person judges: its trace, or its very span when that is known."""

    verdict: Verdict
    trace_id: str
    span_id: str = ""


@dataclass
class Calls:
    """What one application has called."""

    project: str
    made: Counter[str] = field(default_factory=Counter)
    refused: int = 0
    sessions: set[str] = field(default_factory=set)
    users: set[str] = field(default_factory=set)
    labelled: list[Labelled] = field(default_factory=list)

    @property
    def total(self) -> int:
        """How many calls were made, refused ones among them."""
        return self.made.total()

    def make(self, operation: str, call: Callable[..., T], **arguments: Any) -> T:
        """Make and count one call; Refused when the vendor answers an error."""
        self.made[operation] += 1
        try:
            return call(**arguments)
        except (openai.APIStatusError, ClientError) as error:
            self.refused += 1
            raise Refused(str(error)) from error


def run_function(name: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """Do what the model asks the application to do."""
    if name == ORDER_STATUS["name"]:
        return {**arguments, "status": "on its way", "arrives": "Thursday"}
    return {**arguments, "pieces": 12}


def chat_tool(tool: dict[str, Any]) -> Any:
    """A function as chat completions want it."""
    return {"type": "function", "function": tool}


def converse_tool(tool: dict[str, Any]) -> Any:
    """A function as converse wants it."""
    return {
        "toolSpec": {
            "name": tool["name"],
            "description": tool["description"],
            "inputSchema": {"json": tool["parameters"]},
        }
    }


def claude_body(question: str) -> str:
    """The body of invoke for Claude."""
    return json.dumps(
        {
            "anthropic_version": "bedrock-2023-05-31",
            "max_tokens": 300,
            "system": INSTRUCTIONS,
            "messages": [{"role": "user", "content": question}],
        }
    )


def clean_environment() -> None:
    """Keep what the shell says about vendors, networks and tracing out of this process.

    All that the demo calls is on this machine, and no key of anybody may leave by it.
    """
    for name in list(os.environ):
        if name.startswith(("AWS_", "OPENAI_", "OTEL_")):
            del os.environ[name]
    os.environ["AWS_CONFIG_FILE"] = os.environ["AWS_SHARED_CREDENTIALS_FILE"] = os.devnull
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = "*"


def proxy_url(settings: Settings) -> str:
    """The proxy's address as a client on this machine reaches it."""
    host = settings.host if settings.host not in ("0.0.0.0", "::", "") else "127.0.0.1"
    return f"http://{f'[{host}]' if ':' in host else host}:{settings.proxy_port}"


def openai_client(settings: Settings) -> openai.OpenAI:
    """The real client; only its base URL says that it goes through the proxy."""
    return openai.OpenAI(
        base_url=f"{proxy_url(settings)}/mock/v1",
        api_key="demo",
        max_retries=0,  # a second try would be a second call
        timeout=20,
    )


def bedrock_client(settings: Settings) -> Any:
    """The real client; only its endpoint says that it goes through the proxy."""
    return boto3.client(
        "bedrock-runtime",
        region_name="us-east-1",
        endpoint_url=f"{proxy_url(settings)}/mock",
        aws_access_key_id="demo",
        aws_secret_access_key="demo",
        config=Config(retries={"total_max_attempts": 1}, connect_timeout=5, read_timeout=20),
    )
