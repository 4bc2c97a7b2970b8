"""What nobody's page sends: numbers beyond all bounds, text that Postgres refuses, bombs."""

from __future__ import annotations

import json
import select
import socket
import uuid
from collections.abc import Iterator

import httpx
import pytest

from tests.integration.annotate.rig import (
    API,
    QUALITY,
    Call,
    Json,
    Worker,
    named,
    path_of,
    rows,
    span_annotations,
    write_calls,
)
from tests.integration.fixtures_phoenix import PhoenixServer

pytestmark = pytest.mark.integration

# NUL and half of a pair: JSON can say them, Postgres and UTF-8 cannot hold them.
UNSTORABLE = "a\x00b\ud800c"
REPAIRED = "a\ufffdb\ufffdc"
HUGE_INTEGERS = (2**31, 2**63, 10**30, -1)
LABELS = [
    QUALITY,
    {"name": "odd stars", "kind": "CONTINUOUS", "required": False},
    {
        "name": "odd tags",
        "kind": "CATEGORICAL",
        "multiple": True,
        "required": False,
        "values": [{"label": "rude"}],
    },
    {"name": "odd remark", "kind": "FREEFORM", "required": False},
]


@pytest.fixture(scope="module")
def ana(phoenix_server: PhoenixServer) -> Iterator[Worker]:
    with named(phoenix_server, "Ana") as worker:
        yield worker


@pytest.fixture(scope="module")
def item(phoenix_server: PhoenixServer, ana: Worker) -> Json:
    """A question of a queue with every kind of label, held by Ana."""
    write_calls(phoenix_server, "odd bodies", [Call()])
    (item,) = ana.lease(ana.create("odd bodies", "odd bodies", labels=LABELS))
    return item


def _send(worker: Worker, method: str, path: str, content: str | bytes) -> httpx.Response:
    headers = {"Content-Type": "application/json"}
    return worker.client.request(method, f"{API}{path}", content=content, headers=headers)


def _queue_body(**fields: object) -> str:
    body = {"name": f"odd {uuid.uuid4()}", "labels": [QUALITY], "selection": None} | fields
    return json.dumps(body)


def _answer_body(values: str = '{"quality": {"label": "good"}}', more: str = "") -> str:
    return f'{{"answer_id": "{uuid.uuid4()}", "values": {values}{more}}}'


SAID = "/queues/{queue_id}/items/{item_id}"
REFUSED = [
    *[("POST", "/queues", _queue_body(overlap=number)) for number in HUGE_INTEGERS],
    *[("POST", "/queues", _queue_body(keep_days=number)) for number in HUGE_INTEGERS],
    *[("POST", "/queues", _queue_body(lease_seconds=number)) for number in HUGE_INTEGERS],
    ("POST", "/queues", _queue_body(labels=[QUALITY] * 2)),
    ("POST", "/queues", _queue_body(labels=[QUALITY] * 10_000)),
    ("POST", "/queues", _queue_body(labels=[{"name": "\x00"}])),
    ("POST", "/queues", _queue_body(name=" \n ")),
    ("POST", "/queues", _queue_body(name="x" * 201)),
    ("POST", "/queues", _queue_body(instructions="x" * 50_001)),
    ("POST", "/queues", '{"name": "x", "\\ud800": 1}'),
    ("POST", "/queues", '{"name": "\\ud800", "labels": [{"name": "\\udc00", "kind": "\\ud800"}]}'),
    ("POST", "/queues", _queue_body(selection={"project": "odd bodies", "sample": 10**30})),
    ("POST", "/queues", _queue_body(selection={"project": "odd bodies", "sample": 0})),
    ("POST", "/selection/preview", json.dumps({"project": "odd bodies", "sample": 2**70})),
    *[
        (
            "POST",
            "/selection/expression",
            json.dumps({"project": "p", "since": time}),
        )
        for time in ("0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", 1e300, "x")
    ],
    ("POST", "/queues/{queue_id}/items", '{"span_ids": []}'),
    ("POST", "/queues/{queue_id}/items", '{"span_ids": ["\\u0000"]}'),
    ("POST", "/queues/{queue_id}/items", '{"project": "odd bodies", "where": "\\u0000"}'),
    ("POST", "/queues/{queue_id}/items", json.dumps({"project": "p", "where": "(" * 9_000})),
    *[("POST", "/queues/{queue_id}/lease", f'{{"count": {n}}}') for n in (0, 2**63, "1e400")],
    *[("POST", "/queues/{queue_id}/lease", f'{{"have": [{n}]}}') for n in (0, 2**63, "NaN")],
    ("POST", "/queues/{queue_id}/lease", json.dumps({"have": [1] * 101})),
    *[("POST", SAID + "/answer", _answer_body(number)) for number in ("[]", "1", "null")],
    *[
        ("POST", SAID + "/answer", _answer_body('{"quality": {"label": ' + label + "}}"))
        for label in ("1", "[]", "{}", '["good"]', '"\\u0000"', '"x"')
    ],
    *[
        (
            "POST",
            SAID + "/answer",
            _answer_body(f'{{"quality": {{"label": "good"}}, "odd stars": {{"score": {score}}}}}'),
        )
        for score in ("NaN", "Infinity", "-Infinity", "1e400", "1e300", 10**30, "true", '"1"')
    ],
    *[
        (
            "POST",
            SAID + "/answer",
            _answer_body(f'{{"quality": {{"label": "good"}}, "odd tags": {{"labels": {tags}}}}}'),
        )
        for tags in ('"rude"', "[[]]", "[{}]", '["x"]')
    ],
    *[
        ("POST", SAID + "/answer", _answer_body(more=f', "timing": {{"{name}": {value}}}'))
        for name, value in (
            ("keys", 2**31),
            ("keys", -1),
            ("shown_at", '"0001-01-01T00:00:00+23:59"'),
            ("submitted_at", '"9999-12-31T23:59:59-23:59"'),
            ("first_key_at", "1e300"),
        )
    ],
    ("POST", SAID + "/answer", _answer_body(more=', "correction": {"text": 1}')),
    *[
        (method, SAID + what, body)
        for method, what, body in (
            ("PUT", "/draft", '{"values": {"odd stars": {"score": NaN}}}'),
            ("PUT", "/draft", '{"values": {"odd stars": {"score": 1e400}}}'),
            ("PUT", "/draft", '{"values": {"odd stars": {"score": 1' + "0" * 400 + "}}}"),
            ("PUT", "/draft", '{"correction": {"text": "", "message": {"n": 1e300}}}'),
            ("PUT", "/draft", '{"values": ' + '{"a":' * 65 + "1" + "}" * 66),
            ("POST", "/flag", '{"flag_id": "1", "question": "?"}'),
            ("POST", "/flag", json.dumps({"flag_id": str(uuid.uuid4()), "question": ""})),
        )
    ],
    *[
        ("POST", "/queues/{queue_id}/lease", body)
        for body in ("[" * 200_000, '{"a":' * 200_000, "1" * 10_000, "", "\x00", "nonsense", '"x"')
    ],
]


@pytest.mark.parametrize(
    ("method", "path", "body"),
    REFUSED,
    ids=[f"{n} {one[2][:60]!r}" for n, one in enumerate(REFUSED)],
)
def test_what_cannot_be_meant_is_refused_in_a_sentence(
    ana: Worker, item: Json, method: str, path: str, body: str
) -> None:
    answer = _send(ana, method, path.format(**item), body)

    assert answer.status_code in (400, 404, 422), answer.text
    assert len(answer.json()["detail"]) > 10


@pytest.mark.parametrize(
    "path",
    [
        "/queues/{queue_id}/mine?cursor=MDAwMS0wMS0wMVQwMDowMDowMCsyMzo1OSAx",  # before the year 1
        "/queues/{queue_id}/mine?cursor=MjAyNi0wMS0wMVQwMDowMDowMFogLTk5OTk5OTk5OTk5OTk5OTk5OTk5",
        "/queues/{queue_id}/mine?cursor=MjAyNi0wMS0wMVQwMDowMDowMFogMTExMTExMTExMTExMTExMTExMTExMTEx",
        "/queues/{queue_id}/mine?cursor=%ff%00",
        "/queues/{queue_id}/mine?search=%ff%00",
        "/queues/{queue_id}/disagreements?cursor=-1",
        "/queues/{queue_id}/disagreements?cursor=99999999999999999999",
        "/queues/{queue_id}/disagreements?label=%00",
        "/queues/{queue_id}/items?state=%00",
        "/queues/{queue_id}/download?format=../etc/passwd",
        "/people?search=%00%ff",
        "/queues/" + "9" * 5000,
        "/queues/-1",
        "/queues/%00",
        "/queues/١",
        "/projects/%ff/facets",
    ],
)
def test_no_address_is_an_error_of_the_server(ana: Worker, item: Json, path: str) -> None:
    assert ana.client.get(f"{API}{path.format(**item)}").status_code < 500


WRONG = {
    "integer": ("x", "", "0", "-1", "1.5", "9" * 30, "9" * 5000, "%00", "201"),
    "boolean": ("perhaps", "", "2", "%00"),
    "enum": ("nonsense", "Answer", "%00", "9" * 5000),
    "cursor": ("nonsense", "-1", "%ff%00", "9" * 5000),
}


def test_every_wrong_parameter_of_an_address_is_refused_in_one_shape(
    ana: Worker, item: Json
) -> None:
    tried = set()
    for path, operations in ana.client.get(f"{API}/openapi.json").json()["paths"].items():
        for parameter in operations.get("get", {}).get("parameters", []):
            name, schema = parameter["name"], parameter["schema"]
            kind = "enum" if "enum" in schema else name if name == "cursor" else schema["type"]
            for value in WRONG.get(kind, ()):
                if parameter["in"] == "query":
                    url = f"{path.format(**item)}?{name}={value}"
                elif value in ("", "201"):  # another address; a number like others
                    continue
                else:
                    url = path.format(**{**item, name: value})
                answer = ana.client.get(url)
                assert answer.status_code == 422, (url, answer.text)
                assert answer.json().keys() == {"detail", "code"}
                assert (answer.json()["code"], type(answer.json()["detail"])) == ("invalid", str)
                assert 10 < len(answer.json()["detail"]) < 500, url
                tried.add(f"{path} {name}")
    assert len(tried) > 20


@pytest.mark.parametrize("number", ["0", "-1", "x", "9" * 20, "9" * 5000, "1e3", "%00", "<b>"])
@pytest.mark.parametrize("page", ["", "/mine", "/manage"])
def test_no_address_of_a_page_is_one_either(ana: Worker, number: str, page: str) -> None:
    answer = ana.client.get(f"/tracequill/annotate/{number}{page}")

    assert answer.status_code == 404
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    assert "There is no such queue." in answer.text
    assert '/tracequill/annotate/"' in answer.text
    assert "<b>" not in answer.text


def test_text_that_postgres_refuses_is_repaired_wherever_it_is_said(
    phoenix_server: PhoenixServer, ana: Worker
) -> None:
    name = f"{UNSTORABLE} {uuid.uuid4()}"
    (span_id,) = write_calls(phoenix_server, "unstorable", [Call()])
    label = {"name": name, "kind": "CATEGORICAL", "description": UNSTORABLE}
    queue = ana.create(
        name,
        "unstorable",
        labels=[label | {"values": [{"label": UNSTORABLE}]}],
        instructions=UNSTORABLE,
    )
    (item,) = ana.lease(queue)
    value = {name: {"label": UNSTORABLE, "explanation": UNSTORABLE}}
    said: Json = {
        "values": value,
        "correction": {"text": UNSTORABLE, "message": {UNSTORABLE: UNSTORABLE}},
    }
    ana.call("PUT", f"{path_of(item)}/draft", said)
    flag = {"flag_id": str(uuid.uuid4()), "question": UNSTORABLE}
    ana.post(f"{path_of(item)}/flag", flag | said)
    path = f"/queues/{queue['queue_id']}"
    ana.post(f"{path}/flags/{flag['flag_id']}/reply", {"reply": UNSTORABLE})

    (returned,) = ana.lease(queue)
    answered = ana.answer(returned, **said)["answer"]
    decided = ana.call("PUT", f"{path_of(item)}/consensus", {"reason": UNSTORABLE, **said})

    repaired = name.replace(UNSTORABLE, REPAIRED)
    expected = {repaired: {"label": REPAIRED, "explanation": REPAIRED}}
    assert (queue["name"], queue["instructions"]) == (repaired, REPAIRED)
    assert (returned["flag"]["question"], returned["flag"]["reply"]) == (REPAIRED, REPAIRED)
    assert answered["values"] == decided["values"] == expected
    assert answered["correction"]["message"] == {REPAIRED: REPAIRED}
    assert decided["reason"] == REPAIRED
    assert {row["name"] for row in span_annotations(phoenix_server, span_id)} == {
        repaired,
        "correction",
    }
    assert [row["item_id"] for row in ana.get(f"{path}/mine?search=a%EF%BF%BDb")] != []
    for what in ("csv", "xlsx", "jsonl"):
        assert ana.client.get(f"{API}{path}/download?format={what}").status_code == 200


@pytest.mark.parametrize("score", [1e300, -1e300, 2.0**80, 1e-300, 0.1])
def test_scores_and_bounds_of_any_size_are_kept_and_shown(
    phoenix_server: PhoenixServer, ana: Worker, score: float
) -> None:
    write_calls(phoenix_server, "large scores", [Call()])
    labels = [
        {
            "name": f"choices {score}",
            "kind": "CATEGORICAL",
            "values": [{"label": "x", "score": score}],
        },
        {"name": f"bounds {score}", "kind": "CONTINUOUS", "lower_bound": score, "required": False},
    ]

    queue = ana.create(f"large scores {score}", "large scores", labels=labels)

    choices, bounds = ana.get(f"/queues/{queue['queue_id']}")["labels"]
    assert (choices["values"][0]["score"], bounds["lower_bound"]) == (score, score)
    assert ana.get("/queues") != []


def test_a_body_without_end_is_refused_before_it_is_read(ana: Worker, item: Json) -> None:
    head = (
        f"POST {API}{path_of(item)}/flag HTTP/1.1\r\nHost: localhost\r\n"
        "Content-Type: application/json\r\n"
    )
    port = ana.client.base_url.port

    assert _sent_until_closed(port, head + "Content-Length: 999999999999\r\n\r\n", b"x") < 16
    chunk = b"100000\r\n" + b"x" * 2**20 + b"\r\n"
    assert _sent_until_closed(port, head + "Transfer-Encoding: chunked\r\n\r\n", chunk) < 32


def _sent_until_closed(port: int | None, head: str, piece: bytes) -> int:
    """Send a body without end; give how many pieces went before the server would hear no more."""
    with socket.create_connection(("127.0.0.1", port or 0), timeout=10) as connection:
        connection.sendall(head.encode())
        for sent in range(200):
            try:
                connection.sendall(piece)
            except ConnectionError:
                return sent
            if select.select([connection], [], [], 0.05)[0]:
                break
        else:
            return 200
        try:
            assert b" 413 " in connection.recv(1000).split(b"\r\n")[0]
        except ConnectionError:
            pass  # it would not hear the rest, and the answer is lost with it
        return sent


def test_a_name_that_takes_long_to_compose_is_refused_at_once(ana: Worker) -> None:
    marks = "\u0301\u0316" * 500_000  # put in order one by one they take hours

    assert ana.call("PUT", "/me/name", {"name": "a" + marks}, 422)["code"] == "invalid"


def test_names_that_look_the_same_are_one_person(
    phoenix_server: PhoenixServer, ana: Worker
) -> None:
    def give(name: str, status: int = 200) -> Json:
        with phoenix_server.client() as client:
            given: Json = Worker(client).call("PUT", "/me/name", {"name": name}, status)
            return given

    first = give("Siobhán O'Brien-Fine")["person"]
    for name in (
        " siobhán  O'BRIEN-fine\t",
        "Siobhán\u00a0O’Brien\u2011Fine",
        "Siobha\u0301n O'Brien-\ufb01ne",
    ):
        assert give(name)["person"] == first
    for name in ("Siobhán\u200b O'Brien-Fine", "Siobhán O'Brien-Fine\u2060", "\ufeffSiobhán"):
        assert give(name, 422)["code"] == "invalid"
    queue = ana.create("look alike", "odd", selection=None, members=["Siobhán O’Brien–Fine"])
    assert [member["person"] for member in queue["members"]] == [first["person"]]


def test_somebody_of_a_name_from_before_stays_who_they_are(
    phoenix_server: PhoenixServer, ana: Worker
) -> None:
    added = rows(
        phoenix_server,
        "INSERT INTO tracequill.annotation_people (person, name) VALUES "
        "('tracequill:D''Arc', 'D''Arc'), ('tracequill:D’Arc', 'D’Arc') RETURNING name",
    )

    for row in added:
        with named(phoenix_server, row["name"]) as worker:
            assert worker.get("/me")["person"]["person"] == f"tracequill:{row['name']}"


def test_two_labels_that_would_be_one_annotation_in_phoenix_are_refused(ana: Worker) -> None:
    name = f"tags {uuid.uuid4()}"
    tags = {"name": name, "kind": "CATEGORICAL", "multiple": True, "values": [{"label": "rude"}]}
    other = {"name": f"{name}: rude", "kind": "FREEFORM"}
    body = {"name": name, "labels": [tags, other]}

    refused = ana.post("/queues", body, 422)

    assert refused["code"] == "invalid"
    assert f"{name}: rude" in refused["detail"]


def test_nothing_odd_was_kept(phoenix_server: PhoenixServer, ana: Worker, item: Json) -> None:
    shown = ana.get(path_of(item))

    assert (shown["answer"], shown["draft"], shown["flag"]) == (None, None, None)
    found = rows(
        phoenix_server, "SELECT count(*) FROM tracequill.annotation_people WHERE name = ''"
    )
    assert found == [{"count": 0}]
