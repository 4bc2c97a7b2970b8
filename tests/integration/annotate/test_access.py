"""Who may do what with a queue, and from where."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import httpx
import pytest

from tests.integration.annotate.rig import (
    API,
    QUALITY,
    Call,
    Worker,
    named,
    path_of,
    rows,
    span_annotations,
    write_calls,
)
from tests.integration.fixtures_phoenix import ADMIN_SECRET, PhoenixServer

pytestmark = pytest.mark.integration

PASSWORD = "Correct-Horse-7"


@pytest.fixture(scope="module")
def people(phoenix_with_users: PhoenixServer) -> Iterator[dict[str, Worker]]:
    """A member who makes queues, another one, two viewers, and an administrator."""
    with ExitStack() as stack:
        bearer = {"Authorization": f"Bearer {ADMIN_SECRET}"}
        admin = stack.enter_context(phoenix_with_users.client(**bearer))
        found = {"admin": Worker(admin)}
        for name, role in (
            ("mia", "MEMBER"),
            ("max", "MEMBER"),
            ("vera", "VIEWER"),
            ("viktor", "VIEWER"),
        ):
            found[name] = Worker(stack.enter_context(phoenix_with_users.client()))
            _sign_in(admin, found[name].client, name, role)
        yield found


def _sign_in(admin: httpx.Client, client: httpx.Client, name: str, role: str) -> None:
    user = {
        "auth_method": "LOCAL",
        "email": f"{name}@example.org",
        "username": name,
        "role": role,
        "password": PASSWORD,
    }
    created = admin.post("/v1/users", json={"user": user, "send_welcome_email": False})
    assert created.status_code in (201, 409), created.text
    answer = client.post("/auth/login", json={"email": user["email"], "password": PASSWORD})
    assert answer.status_code == 204, answer.text


def test_an_answer_is_the_row_that_phoenixs_own_page_would_write(
    phoenix_with_users: PhoenixServer, people: dict[str, Worker]
) -> None:
    (span_id,) = write_calls(phoenix_with_users, "users", [Call()])
    queue = people["mia"].create("users", "users")
    (item,) = people["mia"].lease(queue)
    me = people["mia"].get("/me")["person"]

    people["mia"].answer(item)

    (row,) = span_annotations(phoenix_with_users, span_id)
    assert me["name"] == "mia"
    assert row["identifier"] == me["person"]
    assert row["identifier"].startswith("px-app:")
    assert row["user_id"] is not None
    _label_in_phoenix(people["mia"].client, span_id, "bad")
    (edited,) = span_annotations(phoenix_with_users, span_id)
    assert (edited["label"], edited["identifier"]) == ("bad", me["person"])


def _label_in_phoenix(client: httpx.Client, span_id: str, label: str) -> None:
    """Do what Phoenix's own page does when a label is chosen there."""

    def graphql(query: str, **variables: Any) -> Any:
        body = client.post("/graphql", json={"query": query, "variables": variables}).json()
        assert not body.get("errors"), body
        return body["data"]

    node = graphql("query($id: String!) { getSpanByOtelId(spanId: $id) { id } }", id=span_id)
    annotation = {
        "spanId": node["getSpanByOtelId"]["id"],
        "name": "quality",
        "label": label,
        "annotatorKind": "HUMAN",
        "source": "APP",
        "metadata": {},
    }
    graphql(
        "mutation($input: [CreateSpanAnnotationInput!]!) { createSpanAnnotations(input: $input)"
        " { spanAnnotations { id } } }",
        input=[annotation],
    )


def test_a_viewer_answers_the_queues_that_they_are_assigned_to_and_does_nothing_more(
    phoenix_with_users: PhoenixServer, people: dict[str, Worker]
) -> None:
    write_calls(phoenix_with_users, "viewers", [Call(), Call()])
    mia, vera, viktor = people["mia"], people["vera"], people["viktor"]
    queue = mia.create("viewers", "viewers", members=["vera@example.org"])
    path = f"/queues/{queue['queue_id']}"

    assert [member["name"] for member in queue["members"]] == ["vera"]
    assert [shown["name"] for shown in vera.get("/queues")] == ["viewers"]
    assert vera.get("/me")["waiting"] == 2
    (item,) = vera.lease(queue)
    vera.answer(item)
    vera.post(f"{path}/undo")
    vera.answer(item)

    assert viktor.get("/queues") == []
    assert viktor.get(path, 404)["code"] == "not_found"
    assert viktor.post(f"{path}/lease", {"count": 1}, 404)["code"] == "not_found"
    assert viktor.answer(item, status=404)["code"] == "not_found"
    for forbidden in (vera, viktor):
        body = {"name": "theirs", "labels": [QUALITY]}
        assert forbidden.post("/queues", body, 403)["code"] == "not_allowed"
        preview = forbidden.post("/selection/preview", {"project": "viewers"}, 403)
        assert preview["code"] == "not_allowed"
        for readable in ("people", "projects", "label-configs", "projects/viewers/facets"):
            assert forbidden.get(f"/{readable}", 403)["code"] == "not_allowed"
    assert vera.call("PATCH", path, {"overlap": 2}, 403)["code"] == "not_allowed"
    assert vera.get(f"{path}/flags", 403)["code"] == "not_allowed"
    assert vera.post(f"{path}/items", {"project": "viewers"}, 403)["code"] == "not_allowed"
    assert vera.call("DELETE", path, status=403)["code"] == "not_allowed"


def test_a_member_manages_their_own_queues_and_an_administrator_all(
    phoenix_with_users: PhoenixServer, people: dict[str, Worker]
) -> None:
    write_calls(phoenix_with_users, "members", [Call()])
    queue = people["mia"].create("members", "members")
    path = f"/queues/{queue['queue_id']}"

    assert people["max"].call("PATCH", path, {"overlap": 2}, 403)["code"] == "not_allowed"
    assert people["max"].get(path)["may_manage"] is False
    assert people["mia"].call("PATCH", path, {"overlap": 2})["overlap"] == 2
    assert people["admin"].call("PATCH", path, {"name": "renamed"})["name"] == "renamed"
    assert len(people["max"].lease(queue)) == 1
    people["mia"].call("PATCH", path, {"assigned_only": True, "members": ["mia"]})
    assert people["max"].post(f"{path}/lease", {"count": 1}, 403)["code"] == "not_allowed"
    people["mia"].call("PATCH", path, {"archived": True})
    assert people["mia"].post(f"{path}/lease", {"count": 1}, 409)["code"] == "archived"
    assert people["mia"].call("DELETE", path, status=204) is None


def test_results_are_for_those_who_manage_and_what_others_said_for_those_who_said_something(
    phoenix_with_users: PhoenixServer, people: dict[str, Worker]
) -> None:
    write_calls(phoenix_with_users, "results", [Call()])
    mia, vera, admin = people["mia"], people["vera"], people["admin"]
    queue = mia.create("results", "results", members=["vera", "mia"], overlap=2)
    path = f"/queues/{queue['queue_id']}"
    for worker, label in ((mia, "good"), (vera, "bad")):
        (item,) = worker.lease(queue)
        worker.answer(item, label)
    consensus = {"values": {"quality": {"label": "bad"}}}

    for what in ("progress", "agreement", "disagreements", "items", "download"):
        for worker in (vera, people["max"]):
            assert worker.get(f"{path}/{what}", 403)["code"] == "not_allowed"
        for worker in (mia, admin):
            answer = worker.client.get(f"{API}{path}/{what}")
            assert answer.status_code == 200, answer.text
    for worker in (vera, people["max"]):
        refused = worker.call("PUT", f"{path_of(item)}/consensus", consensus, 403)
        assert refused["code"] == "not_allowed"
        worker.call("DELETE", f"{path_of(item)}/consensus", status=403)
    assert len(vera.get(f"{path_of(item)}/answers")["answers"]) == 2
    assert people["max"].get(f"{path_of(item)}/answers", 403)["code"] == "not_allowed"
    assert people["viktor"].get(f"{path_of(item)}/answers", 404)["code"] == "not_found"
    decided = mia.call("PUT", f"{path_of(item)}/consensus", consensus)
    assert decided["decided_by"]["name"] == "mia"
    with phoenix_with_users.client() as client:
        assert client.get(f"{API}{path}/download").status_code == 401


def test_nobody_gets_in_unsigned(phoenix_with_users: PhoenixServer) -> None:
    with phoenix_with_users.client() as client:
        for method, path in (
            ("GET", "/me"),
            ("GET", "/queues"),
            ("POST", "/queues"),
            ("POST", "/queues/1/lease"),
            ("POST", "/queues/1/items/1/answer"),
        ):
            answer = client.request(method, f"{API}{path}", json={} if method == "POST" else None)
            assert answer.status_code == 401, path


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"}, "cross_site"),
        ({"Sec-Fetch-Site": "same-site"}, "cross_site"),
        ({"Origin": "https://evil.example"}, "cross_site"),
        ({"Origin": "null"}, "cross_site"),
        ({"Host": "evil.example"}, "unknown_host"),
    ],
)
def test_no_other_site_writes(
    phoenix_server: PhoenixServer, headers: dict[str, str], code: str
) -> None:
    write_calls(phoenix_server, "sites", [Call()])
    with named(phoenix_server, "Ana") as ana:
        queue = ana.create(f"sites {headers}", "sites")
        (item,) = ana.lease(queue)
        path = f"{API}{path_of(item)}/skip"

        refused = ana.client.post(path, json={}, headers=headers)
        own = {"Sec-Fetch-Site": "same-origin", "Origin": phoenix_server.base_url}
        taken = ana.client.post(path, json={}, headers=own)

    assert (refused.status_code, refused.json()["code"]) == (403, code)
    assert taken.status_code == 200


def test_a_name_is_asked_for_and_kept_as_it_was_first_written(
    phoenix_server: PhoenixServer,
) -> None:
    write_calls(phoenix_server, "names", [Call()])
    with phoenix_server.client() as client:
        worker = Worker(client)
        queue = worker.create("names", "names")
        path = f"/queues/{queue['queue_id']}/lease"

        assert worker.get("/me")["needs_name"] is True
        assert worker.post(path, {"count": 1}, 403)["code"] == "name_needed"
        assert worker.call("PUT", "/me/name", {"name": " \u202e "}, 422)["code"] == "invalid"
        assert worker.call("PUT", "/me/name", {"name": "  Zoë  Q "})["person"]["name"] == "Zoë Q"
        assert worker.call("PUT", "/me/name", {"name": "zoë q"})["person"]["name"] == "Zoë Q"
        assert len(worker.lease(queue)) == 1


def test_the_description_names_every_route(phoenix_server: PhoenixServer) -> None:
    with phoenix_server.client() as client:
        paths = client.get(f"{API}/openapi.json").json()["paths"]

    assert "/tracequill/api/queues/{queue_id}/items/{item_id}/answer" in paths
    assert "/tracequill/api/datasets" in paths


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", f"/queues/{10**30}", None, 422),
        ("GET", "/queues/999999999999", None, 404),
        ("GET", "/queues/999999999999/items/1", None, 404),
        ("GET", "/projects/%00/facets", None, 200),
        ("GET", "/queues/{id}/mine?cursor=nonsense", None, 422),
        ("GET", "/queues/{id}/mine?limit=0", None, 422),
        ("GET", "/queues/{id}/mine?search=%00%25_", None, 200),
        ("POST", "/queues/{id}/lease", {"count": 11}, 422),
        ("POST", "/queues/{id}/lease", {"have": [10**30]}, 422),
        ("POST", "/queues/{id}/lease", {"have": [2**62]}, 200),
        ("POST", "/queues/{id}/lease", {"item_id": 2**62}, 404),
        ("POST", "/queues/{id}/lease", [], 422),
        ("POST", "/queues", {"name": "x"}, 422),
        ("POST", "/selection/preview", {"project": "odd", "where": "x" * 20_001}, 422),
    ],
)
def test_odd_requests_are_refused_in_a_sentence(
    phoenix_server: PhoenixServer, method: str, path: str, body: object, status: int
) -> None:
    with named(phoenix_server, "Ana") as ana:
        queues = [queue for queue in ana.get("/queues") if queue["name"] == "odd"]
        if not queues:
            write_calls(phoenix_server, "odd", [Call()])
            queues = [ana.create("odd", "odd")]
        answered = ana.call(method, path.replace("{id}", str(queues[0]["queue_id"])), body, status)

    if status >= 400:
        assert answered["code"] in ("invalid", "not_found")
        assert len(answered["detail"]) > 10


@pytest.mark.parametrize("who", ["max", "vera"], ids=["member", "viewer"])
def test_what_somebody_wrote_who_is_assigned_no_more_is_kept_as_a_draft(
    phoenix_with_users: PhoenixServer, people: dict[str, Worker], who: str
) -> None:
    name = f"unassigned {who}"
    write_calls(phoenix_with_users, name, [Call()] * 3)
    mia, worker, viktor = people["mia"], people[who], people["viktor"]
    queue = mia.create(name, name, assigned_only=True, members=[who, "mia"])
    path = f"/queues/{queue['queue_id']}"
    answered, item, flagged = worker.lease(queue, 3)
    worker.answer(answered)
    flag = {"flag_id": str(uuid.uuid4()), "question": "So?"}
    said: dict[str, Any] = {
        "values": {"quality": {"label": "bad"}},
        "correction": {"text": "Better."},
    }

    mia.call("PATCH", path, {"members": ["mia"]})
    refused = [
        worker.answer(item, status=403 if who == "max" else 404, **said),
        worker.post(f"{path_of(flagged)}/flag", flag | said, 403 if who == "max" else 404),
    ]
    assert {one["draft_kept"] for one in refused} == {True}
    assert "draft_kept" not in viktor.answer(item, status=404)  # who was never asked
    mia.call("PATCH", path, {"members": [who]})
    returned = worker.lease(queue, 2)

    assert {one["item_id"] for one in returned} == {item["item_id"], flagged["item_id"]}
    for one in returned:
        assert one["draft"]["values"] == said["values"]
        assert one["draft"]["correction"]["text"] == "Better."
    kept = rows(
        phoenix_with_users,
        "SELECT count(DISTINCT person) FROM tracequill.annotation_drafts WHERE item_id = $1",
        item["item_id"],
    )
    assert kept == [{"count": 1}]


def test_what_somebody_wrote_in_a_queue_that_is_archived_is_kept_as_a_draft(
    phoenix_with_users: PhoenixServer, people: dict[str, Worker]
) -> None:
    write_calls(phoenix_with_users, "put away", [Call()])
    mia, vera = people["mia"], people["vera"]
    queue = mia.create("put away", "put away", members=["vera"])
    path = f"/queues/{queue['queue_id']}"
    (item,) = vera.lease(queue)

    mia.call("PATCH", path, {"archived": True})
    refused = vera.answer(item, "bad", 409)
    flag = {"flag_id": str(uuid.uuid4()), "question": "So?"}
    assert "draft_kept" not in vera.post(f"{path_of(item)}/flag", flag, 409)  # says nothing
    mia.call("PATCH", path, {"archived": False})

    assert (refused["code"], refused["draft_kept"]) == ("archived", True)
    assert vera.lease(queue)[0]["draft"]["values"] == {"quality": {"label": "bad"}}
