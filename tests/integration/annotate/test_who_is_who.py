"""Whose answers are whose: keys, users who change or go, names from before, other people's ids."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import httpx
import pytest

from tests.integration.annotate.rig import (
    API,
    Call,
    Json,
    Worker,
    path_of,
    rows,
    span_annotations,
    write_calls,
)
from tests.integration.annotate.test_access import PASSWORD
from tests.integration.fixtures_phoenix import ADMIN_SECRET, PhoenixServer

pytestmark = pytest.mark.integration

SECRET_WORDS = "only-mona-knows"


class Users:
    """An administrator, and users who sign in as they are first asked for."""

    def __init__(self, server: PhoenixServer, stack: ExitStack) -> None:
        self.server, self._stack = server, stack
        self.admin = self.with_key(ADMIN_SECRET)
        self._known: dict[str, Worker] = {}

    def get(self, name: str, role: str = "MEMBER") -> Worker:
        if name not in self._known:
            email = f"{name}@example.org"
            self.add(name, email, role)
            client = self._stack.enter_context(self.server.client())
            self.sign_in(client, email)
            self._known[name] = Worker(client)
        return self._known[name]

    def add(self, name: str, email: str, role: str) -> None:
        user = {"email": email, "username": name, "role": role, "password": PASSWORD}
        body = {"user": user | {"auth_method": "LOCAL"}, "send_welcome_email": False}
        created = self.admin.client.post("/v1/users", json=body)
        assert created.status_code == 201, created.text

    def id_of(self, email: str) -> str:
        found: list[Json] = self.admin.client.get("/v1/users?limit=100").json()["data"]
        return next(str(user["id"]) for user in found if user["email"] == email)

    def sign_in(self, client: httpx.Client, email: str) -> None:
        answer = client.post("/auth/login", json={"email": email, "password": PASSWORD})
        assert answer.status_code == 204, answer.text

    def with_key(self, key: str) -> Worker:
        headers = {"Authorization": f"Bearer {key}"}
        return Worker(self._stack.enter_context(self.server.client(**headers)))


@pytest.fixture(scope="module")
def users(phoenix_with_users: PhoenixServer) -> Iterator[Users]:
    with ExitStack() as stack:
        yield Users(phoenix_with_users, stack)


def graphql(client: httpx.Client, query: str, **variables: Any) -> Any:
    """Ask what Phoenix's own pages ask."""
    body = client.post("/graphql", json={"query": query, "variables": variables}).json()
    assert not body.get("errors"), body
    return body["data"]


def _personal_key(client: httpx.Client) -> str:
    made = graphql(
        client,
        "mutation($input: CreateUserApiKeyInput!) { createUserApiKey(input: $input) { jwt } }",
        input={"name": "key"},
    )
    return str(made["createUserApiKey"]["jwt"])


def _system_key(client: httpx.Client) -> str:
    made = graphql(
        client,
        "mutation($input: CreateApiKeyInput!) { createSystemApiKey(input: $input) { jwt } }",
        input={"name": "key"},
    )
    return str(made["createSystemApiKey"]["jwt"])


def test_a_personal_key_answers_as_its_owner_and_a_system_key_as_the_system(users: Users) -> None:
    spans = write_calls(users.server, "keys", [Call(), Call()])
    kim = users.get("kim")
    queue = kim.create("keys", "keys", order="oldest")
    by_key = users.with_key(_personal_key(kim.client))
    by_system = users.with_key(_system_key(users.admin.client))

    for worker in (by_key, by_system):
        (item,) = worker.lease(queue)
        worker.answer(item)

    found = [row["identifier"] for span in spans for row in span_annotations(users.server, span)]
    assert found == [worker.get("/me")["person"]["person"] for worker in (kim, by_system)]
    assert by_system.get("/me")["person"]["name"] == "system"
    assert by_system.get("/me")["person"]["role"] == "member"
    path = f"/queues/{queue['queue_id']}"
    assert by_key.call("PATCH", path, {"overlap": 2})["overlap"] == 2
    assert by_system.call("PATCH", path, {"overlap": 3}, 403)["code"] == "not_allowed"
    assert kim.get(path)["mine"] == 1


def test_a_key_needs_no_page_and_a_cookie_does(users: Users) -> None:
    write_calls(users.server, "origins", [Call()])
    kim = users.get("kim")
    queue = kim.create("origins", "origins")
    path = f"{API}/queues/{queue['queue_id']}/release"
    elsewhere = {"Origin": "https://evil.example", "Host": "evil.example"}
    by_key = users.with_key(_personal_key(kim.client))

    assert by_key.client.post(path, json={}, headers=elsewhere).status_code == 200
    assert kim.client.post(path, json={}, headers=elsewhere).status_code == 403
    assert kim.client.get(f"{API}/me", headers={"Host": "evil.example"}).status_code == 403
    for wrong in ("Basic eDp5", "Bearer wrong", "Bearer"):
        headers = elsewhere | {"Authorization": wrong}
        assert kim.client.post(path, json={}, headers=headers).status_code == 401


def test_a_role_that_is_taken_away_is_gone_at_once(users: Users) -> None:
    write_calls(users.server, "roles", [Call(), Call()])
    rosa, kim = users.get("rosa"), users.get("kim")
    mine = rosa.create("rosas", "roles")
    open_to_all = kim.create("roles", "roles")
    (item,) = rosa.lease(open_to_all)

    graphql(
        users.admin.client,
        "mutation($input: PatchUserInput!) { patchUser(input: $input) { user { id } } }",
        input={"userId": users.id_of("rosa@example.org"), "newRole": "VIEWER"},
    )

    assert rosa.client.get(f"{API}/me").status_code == 401
    users.sign_in(rosa.client, "rosa@example.org")
    assert rosa.get("/me")["person"]["role"] == "viewer"
    assert rosa.answer(item, status=404)["code"] == "not_found"
    assert rosa.get(f"/queues/{mine['queue_id']}", 404)["code"] == "not_found"
    body = {"name": "another", "labels": [{"name": "quality"}]}
    assert rosa.post("/queues", body, 403)["code"] == "not_allowed"


def test_a_user_who_is_deleted_is_out_and_what_they_said_stays(users: Users) -> None:
    (span_id, _) = write_calls(users.server, "deleted users", [Call(), Call()])
    dora, kim = users.get("dora", "VIEWER"), users.get("kim")
    queue = kim.create("deleted users", "deleted users", members=["dora", "kim"], order="oldest")
    path = f"/queues/{queue['queue_id']}"
    first, second = dora.lease(queue, 2)
    dora.answer(first)
    flag = {"flag_id": str(uuid.uuid4()), "question": "?"}
    dora.post(f"{path_of(second)}/flag", flag)

    graphql(
        users.admin.client,
        "mutation($input: DeleteUsersInput!) { deleteUsers(input: $input) { userIds } }",
        input={"userIds": [users.id_of("dora@example.org")]},
    )

    assert dora.client.post(f"{API}{path_of(second)}/answer", json={}).status_code == 401
    (row,) = span_annotations(users.server, span_id)
    assert (row["label"], row["user_id"]) == ("good", None)
    (said,) = kim.get(f"{path_of(first)}/answers")["answers"]
    assert said["name"] == "dora"
    # The manager gives what they held to others, and may leave the list of people as it is.
    members = [member["person"] for member in queue["members"]]
    assert len(kim.call("PATCH", path, {"members": members})["members"]) == 2
    kim.call("PATCH", path, {"members": ["kim"]})
    assert [item["item_id"] for item in kim.lease(queue)] == [second["item_id"]]


def test_an_address_is_whose_it_is_whatever_others_are_called(users: Users) -> None:
    users.get("vally", "VIEWER")
    users.add("vally@example.org", "mallory@example.org", "VIEWER")
    write_calls(users.server, "addresses", [Call()])

    queue = users.get("kim").create("addresses", "addresses", members=["vally@example.org"])

    assert [member["name"] for member in queue["members"]] == ["vally"]


def test_names_from_before_users_signed_in_are_nobodys_now(users: Users) -> None:
    (span_id,) = write_calls(users.server, "before", [Call()])
    kim = users.get("kim")
    queue = users.admin.create("before", "before", overlap=2)
    path = f"/queues/{queue['queue_id']}"
    (item,) = users.admin.lease(queue)
    users.admin.post(f"{path}/release")
    _answered_before(users.server, item, "tracequill:Kim")
    cookie = {"Cookie": "tracequill-name=Kim"}

    with users.server.client(**cookie) as client:
        assert client.get(f"{API}/me").status_code == 401
    assert kim.call("PUT", "/me/name", {"name": "Kim"}, 409)["code"] == "not_allowed"
    assert kim.get(path)["may_manage"] is False
    assert kim.get(f"{path}/mine") == []
    assert [one["item_id"] for one in kim.lease(queue)] == [item["item_id"]]
    kim.answer(item, "bad")
    said = {one["name"]: one["values"]["quality"]["label"] for one in _said(users, item)}
    assert said == {"Kim": "good", "kim": "bad"}
    shown = users.admin.call("PATCH", path, {"members": ["tracequill:Kim", "kim"]})
    assert sorted(member["name"] for member in shown["members"]) == ["Kim", "kim"]
    refused = users.admin.call("PATCH", path, {"members": ["tracequill:Ana"]}, 422)
    assert refused["code"] == "invalid"
    assert len(span_annotations(users.server, span_id)) == 1


def _answered_before(server: PhoenixServer, item: Json, person: str) -> None:
    """Write what this person did while nobody signed in."""
    queue_id, item_id = item["queue_id"], item["item_id"]
    rows(
        server,
        "UPDATE tracequill.annotation_queues SET created_by = $2 WHERE queue_id = $1",
        queue_id,
        person,
    )
    rows(
        server,
        "INSERT INTO tracequill.annotation_queue_members (queue_id, person) VALUES ($1, $2)",
        queue_id,
        person,
    )
    rows(
        server,
        "UPDATE tracequill.annotation_slots SET state = 'answered', person = $2 "
        "WHERE item_id = $1 AND slot = 1",
        item_id,
        person,
    )
    rows(
        server,
        "INSERT INTO tracequill.annotation_answers (answer_id, queue_id, item_id, slot, person, "
        '"values") VALUES (gen_random_uuid(), $1, $2, 1, $3, \'{"quality": {"label": "good"}}\')',
        queue_id,
        item_id,
        person,
    )


def _said(users: Users, item: Json) -> list[Json]:
    answers: list[Json] = users.admin.get(f"{path_of(item)}/answers")["answers"]
    return answers


def test_ids_of_others_open_nothing(users: Users) -> None:
    write_calls(users.server, "ids", [Call(), Call()])
    kim, milo, vally = users.get("kim"), users.get("milo"), users.get("vally", "VIEWER")
    hers = kim.create("hers", "ids", members=["kim"], assigned_only=True)
    his = milo.create("his", "ids", members=["milo", "vally"])
    (item,) = kim.lease(hers)
    (other,) = milo.lease(his)
    said = {"values": {"quality": {"label": "good"}}}
    flag = {"flag_id": str(uuid.uuid4()), "question": "?"}
    milo.post(f"{path_of(other)}/flag", flag)
    kim.call("PUT", f"{path_of(item)}/draft", said)
    crossed = f"/queues/{his['queue_id']}/items/{item['item_id']}"
    answer = {"answer_id": str(uuid.uuid4())} | said
    requests = [
        ("POST", "/answer", answer),
        ("POST", "/skip", {}),
        ("POST", "/flag", {"flag_id": str(uuid.uuid4()), "question": "?"}),
        ("POST", "/open", {}),
        ("PUT", "/draft", said),
        ("DELETE", "/draft", None),
        ("PUT", "/consensus", said),
        ("GET", "/answers", None),
        ("GET", "", None),
    ]

    for method, what, body in requests:  # an item of another queue
        assert milo.call(method, crossed + what, body, 404)["code"] == "not_found", what
    for method, what, body in requests:  # a queue that one is not assigned to
        expected = 200 if method == "GET" and not what else 204 if method == "DELETE" else 403
        milo.call(method, path_of(item) + what, body, expected)
        vally.call(method, path_of(item) + what, body, 404)
    body = {"have": [item["item_id"]]}
    lost = milo.post(f"/queues/{his['queue_id']}/heartbeat", body)
    assert lost == {"renewed": [], "lost": [item["item_id"]]}
    assert milo.post(f"/queues/{his['queue_id']}/release", body) == {"released": []}
    assert milo.post(f"/queues/{hers['queue_id']}/release", body) == {"released": []}
    path = f"/queues/{hers['queue_id']}/flags/{flag['flag_id']}/reply"
    assert kim.post(path, {"reply": "!"}, 404)["code"] == "not_found"
    assert milo.post(f"/queues/{hers['queue_id']}/lease", {}, 403)["code"] == "not_allowed"
    assert milo.get(path_of(item))["draft"] is None
    shown = kim.get(path_of(item))
    assert (shown["state"], shown["draft"]["values"]) == ("leased", said["values"])


def test_no_route_tells_what_somebody_said_before_everybody_has(users: Users) -> None:
    write_calls(users.server, "blind", [Call(), Call()])
    mona, milo, vally = users.get("mona"), users.get("milo"), users.get("vally", "VIEWER")
    label = {"name": "blind", "kind": "CATEGORICAL", "values": [{"label": "yes"}, {"label": "no"}]}
    queue = mona.create("blind", "blind", labels=[label], overlap=3, members=["vally", "milo"])
    (item,) = mona.lease(queue)
    value = {"label": "yes", "explanation": SECRET_WORDS}
    mona.answer(item, values={"blind": value}, correction={"text": SECRET_WORDS})
    for worker in (milo, vally):
        assert item["item_id"] in [one["item_id"] for one in worker.lease(queue, 2)]
    described = users.admin.client.get(f"{API}/openapi.json").json()["paths"]
    reading = [
        path for path, methods in described.items() if "/queues" in path and "get" in methods
    ]
    assert len(reading) > 10

    for worker in (milo, vally, users.admin):
        for path in reading:
            address = path.format(**item)
            for query in ("", "?format=jsonl", "?resolved=true", f"?search={SECRET_WORDS}"):
                answer = worker.client.get(address + query)
                assert SECRET_WORDS not in answer.text, address
        opened = worker.client.post(f"{API}{path_of(item)}/open", json={})
        assert SECRET_WORDS not in opened.text
    progress = users.admin.get(f"/queues/{queue['queue_id']}/progress")
    assert progress["labels"] == [{"name": "blind", "counts": {"yes": 0, "no": 0}, "mean": None}]
    assert progress["answers"] == 1
