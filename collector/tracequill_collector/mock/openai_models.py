"""The models the mock has: GET /v1/models, and which name an answer carries.

The vendor answers an alias with the dated name behind it; prices hang on that name.
"""

from __future__ import annotations

import re
from typing import Any

from tracequill_collector.mock.openai_errors import OpenAIError, unknown_model

# Alias, dated name, time of creation.
_MODELS = (
    ("gpt-3.5-turbo", "gpt-3.5-turbo-0125", 1677610602),
    ("gpt-4", "gpt-4-0613", 1687882411),
    ("gpt-4-turbo", "gpt-4-turbo-2024-04-09", 1712361441),
    ("gpt-4o", "gpt-4o-2024-08-06", 1715367049),
    ("gpt-4o-mini", "gpt-4o-mini-2024-07-18", 1721172741),
    ("gpt-4.1", "gpt-4.1-2025-04-14", 1744316542),
    ("gpt-4.1-mini", "gpt-4.1-mini-2025-04-14", 1744318173),
    ("gpt-4.1-nano", "gpt-4.1-nano-2025-04-14", 1744321707),
    ("gpt-5", "gpt-5-2025-08-07", 1754425777),
    ("gpt-5-mini", "gpt-5-mini-2025-08-07", 1754425928),
    ("gpt-5-nano", "gpt-5-nano-2025-08-07", 1754426384),
    ("o3", "o3-2025-04-16", 1744225308),
    ("o4-mini", "o4-mini-2025-04-16", 1744225351),
    ("mock-model", "mock-model", 1700000000),
    ("text-embedding-ada-002", "text-embedding-ada-002", 1671217299),
    ("text-embedding-3-small", "text-embedding-3-small", 1705948997),
    ("text-embedding-3-large", "text-embedding-3-large", 1705953180),
    ("mock-embedding", "mock-embedding", 1700000000),
)
_DATED = {alias: dated for alias, dated, _ in _MODELS}
# Newer and fine-tuned models of the vendor's families are there as well, under their own name.
_FAMILY = re.compile(r"(ft:)?(gpt-|chatgpt-|o\d|codex-|mock-)[\w.:-]*\Z")
_EMBEDDING = re.compile(r"(text-embedding-|mock-embedding)[\w.-]*\Z")
_REASONING = re.compile(r"(o\d|gpt-5)")

DIMENSIONS = {"text-embedding-3-large": 3072}
DEFAULT_DIMENSIONS = 1536


def chat_model(model: str) -> str:
    """Give the name that answers of *model* carry; an OpenAIError when there is none."""
    if _EMBEDDING.match(model):
        raise OpenAIError(
            404,
            "This is not a chat model and thus not supported in the v1/chat/completions endpoint.",
            param="model",
        )
    if model not in _DATED and not _FAMILY.match(model):
        raise unknown_model(model)
    return _DATED.get(model, model)


def embedding_model(model: str) -> str:
    """Give *model* if it makes embeddings; an OpenAIError when it does not exist or does not."""
    if _EMBEDDING.match(model):
        return model
    chat_model(model)
    raise OpenAIError(403, "You are not allowed to generate embeddings from this model")


def is_reasoning(model: str) -> bool:
    """Whether *model* thinks before it answers, and counts tokens for it."""
    return _REASONING.match(model) is not None


def list_models() -> dict[str, Any]:
    """Answer GET /v1/models."""
    names = dict.fromkeys(
        (name, created) for alias, dated, created in _MODELS for name in (alias, dated)
    )
    return {"object": "list", "data": [_entry(name, created) for name, created in names]}


def get_model(model: str) -> dict[str, Any]:
    """Answer GET /v1/models/{model}."""
    for alias, dated, created in _MODELS:
        if model in (alias, dated):
            return _entry(model, created)
    if _FAMILY.match(model) or _EMBEDDING.match(model):
        return _entry(model, 1700000000)
    raise OpenAIError(
        404, f"The model '{model}' does not exist", param="model", code="model_not_found"
    )


def _entry(model: str, created: int) -> dict[str, Any]:
    owner = "mock" if model.startswith("mock-") else "system"
    return {"id": model, "object": "model", "created": created, "owned_by": owner}
