"""What a page of another site can try: forms, frames, addresses that lead elsewhere."""

from __future__ import annotations

import json
import re
import uuid

import httpx
import pytest

from tests.integration.annotate.rig import API, Call, named, path_of, write_calls
from tests.integration.fixtures_phoenix import PhoenixServer

pytestmark = pytest.mark.integration

EVIL = "https://evil.example"
PAGES = ("", "new", "1", "1/mine", "1/manage")


def test_a_form_of_another_kind_is_no_request_of_ours_even_where_it_holds_json(
    phoenix_server: PhoenixServer,
) -> None:
    write_calls(phoenix_server, "forms", [Call()])
    with named(phoenix_server, "Ana") as ana:
        (item,) = ana.lease(ana.create("forms", "forms"))
        body = json.dumps(
            {"answer_id": str(uuid.uuid4()), "values": {"quality": {"label": "good"}}}
        )
        for kind in (
            "text/plain",
            "application/x-www-form-urlencoded",
            "multipart/form-data; boundary=x",
            "text/json",
            "",
        ):
            headers = {"Content-Type": kind} if kind else {}
            path = f"{API}{path_of(item)}/answer"
            answer = ana.client.post(path, content=body.encode(), headers=headers)
            assert (answer.status_code, answer.json()["code"]) == (422, "invalid"), kind
        for what in ("skip", "open", "answer"):  # some of these take no body
            path = f"{API}{path_of(item)}/{what}"
            form = {"Content-Type": "text/plain", "Origin": EVIL}
            assert ana.client.post(path, content=body.encode(), headers=form).status_code in (
                403,
                422,
            )
        shown = ana.get(path_of(item))

    assert (shown["state"], shown["answer"]) == ("leased", None)


def test_reading_needs_our_own_name_too(phoenix_server: PhoenixServer) -> None:
    with named(phoenix_server, "Ana") as ana:
        for path in ("/me", "/queues", "/people", "/label-configs", "/projects"):
            answer = ana.client.get(f"{API}{path}", headers={"Host": "evil.example:6006"})
            assert (answer.status_code, answer.json()["code"]) == (403, "unknown_host"), path


def test_no_other_site_may_read_an_answer_or_frame_a_page(phoenix_server: PhoenixServer) -> None:
    with named(phoenix_server, "Ana") as ana:
        asked = {
            "Origin": EVIL,
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "authorization, content-type",
        }
        preflight = ana.client.options(f"{API}/queues", headers=asked)
        read = ana.client.get(f"{API}/queues", headers={"Origin": EVIL})
        refused = ana.client.get(f"{API}/queues/999999999", headers={"Origin": EVIL})
        for answer in (preflight, read, refused):
            assert "access-control-allow-origin" not in answer.headers
        for answer in (read, refused):
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert answer.headers["cache-control"] == "no-store"
        for page in PAGES:
            _assert_stands_alone(ana.client.get(f"/tracequill/annotate/{page}"))


def _assert_stands_alone(answer: httpx.Response) -> None:
    assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
    assert answer.headers["x-frame-options"] == "DENY"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/tracequill/annotate/1", {}),
        (f"/tracequill/annotate/1?returnUrl={EVIL}&next={EVIL}", {}),
        ("/tracequill/annotate/1", {"Host": "evil.example"}),
        ("/tracequill/annotate/1", {"X-Forwarded-Host": "evil.example", "Referer": EVIL}),
        ("/tracequill/annotate/1", {"X-Forwarded-Prefix": "//evil.example"}),
        ("/tracequill/annotate/1", {"X-Original-Url": f"/{EVIL}"}),
    ],
)
def test_signing_in_leads_to_the_page_that_was_asked_for_and_nowhere_else(
    phoenix_with_users: PhoenixServer, path: str, headers: dict[str, str]
) -> None:
    with phoenix_with_users.client() as client:
        answer = client.get(path, headers=headers)

    assert answer.status_code == 401
    _assert_stands_alone(answer)
    assert re.findall(r'href="([^"]*login[^"]*)"', answer.text) == [
        "/login?returnUrl=%2Ftracequill%2Fannotate%2F1"
    ]
    assert "evil.example" not in answer.text


@pytest.mark.parametrize(
    "path",
    [
        "/tracequill/annotate//evil.example",
        "//evil.example/tracequill/annotate/1",
        "/tracequill/annotate/%2f%2fevil.example",
        "/tracequill/annotate/1/%0d%0aLocation:%20https:%2f%2fevil.example",
        "/tracequill/annotate?x=//evil.example",
        "/tracequill/static/annotate/..%2f..%2fapp.py",
        "/tracequill/static/annotate/%2e%2e/%2e%2e/app.py",
        "/tracequill/static/annotate/..%5capp.py",
        "/tracequill/static/annotate/%2fetc%2fpasswd",
        "/tracequill/static/annotate/work.js%00.css",
        "/tracequill/static/annotate/" + "x" * 5000 + ".js",
    ],
)
def test_no_address_leads_out(phoenix_server: PhoenixServer, path: str) -> None:
    with phoenix_server.client() as client:
        # As it stands: a client would tidy it up.
        answer = client.send(
            httpx.Request("GET", httpx.URL(phoenix_server.base_url, raw_path=path.encode()))
        )

    assert answer.status_code < 500
    assert "evil.example" not in answer.headers.get("location", "").split("?")[0]
    assert "root:" not in answer.text
    assert "from __future__" not in answer.text
