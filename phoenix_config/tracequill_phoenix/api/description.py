"""The OpenAPI description of our API: what FastAPI knows of the routes, and what they answer.

A route writes its JSON itself, so that FastAPI knows of requests only. Here each answer gets its
shape and each refusal its status. Nothing here runs a route.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import TypeAdapter
from typing_extensions import TypedDict

from tracequill_phoenix.api import shapes

# Apart from the shapes of requests, some of which have the same names.
_NAME = "given.{model}"
_REF = f"#/components/schemas/{_NAME}"
_JSON = "application/json"
_PREFIX = "/tracequill/api"
_QUEUE = "/queues/{queue_id}"
_ITEM = f"{_QUEUE}/items/{{item_id}}"
_FILE = "the file"
# What each answers below ``data``; None is no content.
ANSWERS: dict[tuple[str, str], Any] = {
    ("get", "/me"): shapes.Me,
    ("put", "/me/name"): shapes.Me,
    ("get", "/people"): list[shapes.Choosable],
    ("get", "/label-configs"): list[shapes.Label],
    ("get", "/projects"): list[shapes.Project],
    ("get", "/projects/{name}/facets"): shapes.Facets,
    ("post", "/selection/expression"): shapes.Expression,
    ("post", "/selection/preview"): shapes.Preview,
    ("get", "/queues"): list[shapes.Queue],
    ("post", "/queues"): shapes.Queue,
    ("get", _QUEUE): shapes.Queue,
    ("patch", _QUEUE): shapes.Queue,
    ("delete", _QUEUE): None,
    ("post", f"{_QUEUE}/items"): shapes.Added,
    ("get", f"{_QUEUE}/figures"): shapes.Figures,
    ("post", f"{_QUEUE}/lease"): shapes.Leased,
    ("post", f"{_QUEUE}/heartbeat"): shapes.Renewed,
    ("post", f"{_QUEUE}/release"): shapes.Released,
    ("get", _ITEM): shapes.Item,
    ("put", f"{_ITEM}/draft"): shapes.Saved,
    ("delete", f"{_ITEM}/draft"): None,
    ("post", f"{_ITEM}/answer"): shapes.Answered,
    ("post", f"{_ITEM}/skip"): shapes.Skipped,
    ("post", f"{_ITEM}/flag"): shapes.Flagged,
    ("post", f"{_ITEM}/open"): shapes.Item,
    ("post", f"{_QUEUE}/undo"): shapes.Undone,
    ("get", f"{_QUEUE}/flags"): list[shapes.ListedFlag],
    ("post", f"{_QUEUE}/flags/{{flag_id}}/reply"): shapes.Flagged,
    ("get", f"{_QUEUE}/recent"): list[shapes.Recent],
    ("get", f"{_QUEUE}/mine"): list[shapes.Mine],
    ("get", f"{_QUEUE}/progress"): shapes.Progress,
    ("get", f"{_QUEUE}/agreement"): shapes.Agreement,
    ("get", f"{_QUEUE}/disagreements"): list[shapes.Disagreement],
    ("get", f"{_QUEUE}/items"): list[shapes.ListedItem],
    ("get", f"{_ITEM}/answers"): shapes.Answers,
    ("put", f"{_ITEM}/consensus"): shapes.Consensus,
    ("delete", f"{_ITEM}/consensus"): None,
    ("get", f"{_QUEUE}/download"): _FILE,
}
_PAGED = ("/mine", "/disagreements", f"{_QUEUE}/items")
_REFUSALS = {
    "401": "Nobody is signed in.",
    "403": "This person may not, Phoenix only shows, or the request came from another site.",
    "404": "There is none, or none for this person.",
    "409": "It has changed meanwhile; `code` says how.",
    "422": "Something in the request is wrong; the sentence says what.",
    "507": "Phoenix's storage is full; nothing is written.",
}


class Refusal(TypedDict, total=False):
    """Why something was refused: a sentence for the person, and mostly a word for programs."""

    detail: str
    code: Literal[
        "name_needed",
        "not_allowed",
        "cross_site",
        "unknown_host",
        "not_found",
        "lease_lost",
        "already_answered",
        "id_taken",
        "name_taken",
        "archived",
        "not_recent",
        "incomplete",
        "invalid",
    ]
    missing: list[str]
    draft_kept: bool
    answer: shapes.Answer


def described(description: dict[str, Any]) -> dict[str, Any]:
    """Add to FastAPI's *description* what the routes of the annotation queue answer."""
    schemas = description.setdefault("components", {}).setdefault("schemas", {})
    refusal = _content(Refusal, schemas)
    for path, methods in description["paths"].items():
        for method, operation in methods.items():
            key = (method, path.removeprefix(_PREFIX))
            responses = operation["responses"]
            if key in ANSWERS:
                status = next(iter(responses))
                responses[status] = _answer(key, schemas)
            for code, why in _REFUSALS.items():
                is_for = code not in ("409", "507") or method != "get"
                is_for = is_for and (code != "404" or "{" in path)
                if is_for:
                    responses[code] = {"description": why, "content": refusal}
    return description


def _answer(key: tuple[str, str], schemas: dict[str, Any]) -> dict[str, Any]:
    shape = ANSWERS[key]
    if shape is None:
        return {"description": "Done."}
    if shape is _FILE:
        any_bytes = {"schema": {"type": "string", "format": "binary"}}
        kinds = (
            "text/csv",
            "application/x-ndjson",
            "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
        )
        return {"description": "The file.", "content": dict.fromkeys(kinds, any_bytes)}
    schema = _schema(shape, schemas)
    properties = {"data": schema}
    if key[0] == "get" and key[1].endswith(_PAGED):
        properties["next_cursor"] = {"anyOf": [{"type": "string"}, {"type": "null"}]}
    whole = {"type": "object", "properties": properties, "required": list(properties)}
    return {"description": "Done.", "content": {_JSON: {"schema": whole}}}


def _content(shape: Any, schemas: dict[str, Any]) -> dict[str, Any]:
    return {_JSON: {"schema": _schema(shape, schemas)}}


def _schema(shape: Any, schemas: dict[str, Any]) -> dict[str, Any]:
    """Give a reference to the schema of *shape*, put with all that it names among *schemas*."""
    made = TypeAdapter(shape).json_schema(ref_template=_REF)
    for name, part in made.pop("$defs", {}).items():
        schemas[_NAME.format(model=name)] = part
    if made.get("type") != "object":
        return made
    name = _NAME.format(model=shape.__name__)
    schemas[name] = made
    return {"$ref": _REF.format(model=shape.__name__)}
