"""What our API says of itself: it is OpenAPI, and what is answered has the shapes that it names."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest

from tests.integration.annotate.rig import API, QUALITY, Call, Json, Worker, named, write_calls
from tests.integration.fixtures_phoenix import PhoenixServer

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def described(phoenix_server: PhoenixServer) -> Json:
    with phoenix_server.client() as client:
        found: Json = client.get(f"{API}/openapi.json").json()
    return found


@pytest.fixture
def ana(phoenix_server: PhoenixServer) -> Iterator[Worker]:
    with named(phoenix_server, "Ana") as worker:
        yield worker


def operations(described: Json) -> Iterator[tuple[str, str, Json]]:
    for path, methods in described["paths"].items():
        for method, operation in methods.items():
            yield method, path, operation


def references(part: Any) -> Iterator[str]:
    if isinstance(part, dict):
        if isinstance(part.get("$ref"), str):
            yield part["$ref"]
        for inner in part.values():
            yield from references(inner)
    elif isinstance(part, list):
        for inner in part:
            yield from references(inner)


def test_the_description_is_openapi_whose_references_lead_somewhere(described: Json) -> None:
    schemas = described["components"]["schemas"]

    assert described["openapi"].startswith("3.")
    assert described["info"]["title"]
    for reference in references(described):
        assert reference.removeprefix("#/components/schemas/") in schemas, reference
    for name, schema in schemas.items():
        assert re.fullmatch(r"[a-zA-Z0-9._-]+", name)
        jsonschema.Draft202012Validator.check_schema(schema)
    ids = [operation["operationId"] for _, _, operation in operations(described)]
    assert len(set(ids)) == len(ids)


def test_every_route_says_what_it_takes_answers_and_refuses(described: Json) -> None:
    for method, path, operation in operations(described):
        where = f"{method} {path}"
        responses = operation["responses"]
        named_in_path = set(re.findall(r"\{(\w+)\}", path))
        given = {one["name"] for one in operation.get("parameters", ()) if one["in"] == "path"}
        assert given == named_in_path, where
        assert all(response["description"] for response in responses.values()), where
        done = {status: response for status, response in responses.items() if status < "300"}
        assert len(done) == 1, where
        for status, response in done.items():
            assert status == "204" or any(
                one.get("schema") for one in response["content"].values()
            ), where
        assert {"401", "403", "422"} <= responses.keys(), where
        reads = method == "get" or "/selection/" in path
        assert reads or {"409", "507"} <= responses.keys(), where


def test_the_page_shows_requests_and_answers_and_loads_nothing_from_elsewhere(
    phoenix_server: PhoenixServer,
) -> None:
    with phoenix_server.client() as client:
        page = client.get("/tracequill/docs")

    assert "script" not in page.headers["content-security-policy"]
    assert not re.search(r"(src|href)=\"(https?:)?//", page.text)
    assert "&#34;krippendorff_alpha&#34;" in page.text
    assert "&#34;counted_all&#34;: &#34;boolean&#34;" in page.text
    assert page.text.count("<h4>Answers</h4>") == page.text.count("<section>")
    assert "<script" not in page.text


def differences(described: Json, method: str, path: str, answer: Any) -> list[str]:
    """Say where *answer* has less, or more, than the description of *path* names."""
    responses = described["paths"][f"{API}{path}"][method]["responses"]
    (done,) = [response for status, response in responses.items() if status < "300"]
    schema = done["content"]["application/json"]["schema"]
    closed = {
        name: {**part, "additionalProperties": False} if "properties" in part else part
        for name, part in described["components"]["schemas"].items()
    }
    whole = {**schema, "components": {"schemas": closed}}
    return [
        f"{method} {path}: {error.json_path}: {error.message}"
        for error in jsonschema.Draft202012Validator(whole).iter_errors(answer)
    ]


def test_what_is_answered_has_the_shapes_that_are_described(
    phoenix_server: PhoenixServer, described: Json, ana: Worker
) -> None:
    write_calls(phoenix_server, "shapes", [Call(session="s", user="u") for _ in range(4)])
    stars = {"name": "tone", "kind": "CATEGORICAL", "values": [
        {"label": label, "score": score} for score, label in enumerate(("cold", "fair", "warm"))
    ]}  # fmt: skip
    queue = ana.create("shapes", "shapes", overlap=2, labels=[QUALITY, stars])
    wrong: list[str] = []
    base, shown = f"/queues/{queue['queue_id']}", "/queues/{queue_id}"

    def holds(method: str, path: str, body: object = None, **params: Any) -> Any:
        real = path.replace(shown, base)
        for name, value in params.items():
            real = real.replace(f"{{{name}}}", str(value))
        answer = ana.client.request(method, f"{API}{real}", json=body)
        assert answer.is_success, answer.text
        wrong.extend(differences(described, method.lower(), path, answer.json()))
        return answer.json()["data"]

    values = {"quality": {"label": "good", "explanation": "so"}, "tone": {"label": "fair"}}
    items = holds("POST", f"{shown}/lease", {"count": 4})["items"]
    holds("POST", f"{shown}/heartbeat", {"have": [items[0]["item_id"]]})
    item = f"{shown}/items/{{item_id}}"
    ids = [one["item_id"] for one in items]
    holds("PUT", f"{item}/draft", {"values": values}, item_id=ids[0])
    correction = {"text": "Better."}
    timing = {"shown_at": "2026-01-01T12:00:00Z", "submitted_at": "2026-01-01T12:00:04Z"}
    for number, item_id in enumerate(ids[:2]):
        body = {
            "answer_id": f"00000000-0000-4000-8000-{queue['queue_id']:06}{number:06}",
            "values": values,
            "correction": correction,
            "timing": timing,
        }
        holds("POST", f"{item}/answer", body, item_id=item_id)
    holds("POST", f"{item}/skip", {}, item_id=ids[2])
    flag_id = f"00000000-0000-4000-9000-{queue['queue_id']:012}"
    holds("POST", f"{item}/flag", {"flag_id": flag_id, "question": "What?"}, item_id=ids[3])
    holds("GET", f"{shown}/flags")
    holds("POST", f"{shown}/flags/{{flag_id}}/reply", {"reply": "This."}, flag_id=flag_id)
    holds("GET", item, item_id=ids[3])
    holds("GET", f"{shown}/recent")
    holds("GET", f"{shown}/mine")
    with named(phoenix_server, "Ben") as ben:
        for one in ben.lease(queue, 4):
            ben.answer(one, values={"quality": {"label": "bad"}, "tone": {"label": "warm"}})
    for part in ("progress", "agreement", "disagreements", "items"):
        holds("GET", f"{shown}/{part}")
    holds("PUT", f"{item}/consensus", {"values": values, "reason": "so"}, item_id=ids[0])
    holds("GET", f"{item}/answers", item_id=ids[0])
    holds("POST", f"{item}/open", {}, item_id=ids[1])
    holds("POST", f"{shown}/undo", {"item_id": None})
    holds("POST", f"{shown}/release", {})
    holds("POST", f"{shown}/items", {"project": "shapes"})
    holds("PATCH", shown, {"instructions": "x", "members": ["Ana"]})
    holds("GET", shown)
    holds("GET", "/queues")
    for path in ("/me", "/people", "/label-configs", "/projects"):
        holds("GET", path)
    holds("GET", "/projects/{name}/facets", name="shapes")
    holds("POST", "/selection/preview", {"project": "shapes", "limit": 2})
    holds("POST", "/selection/expression", {"project": "shapes", "text": "x"})
    assert wrong == []
