"""The page that describes our API."""

from __future__ import annotations

import pytest

from tests.integration.fixtures_phoenix import PhoenixServer

pytestmark = pytest.mark.integration


def test_the_page_shows_every_route_with_what_it_takes(phoenix_server: PhoenixServer) -> None:
    with phoenix_server.client() as client:
        answer = client.get("/tracequill/docs")
        paths = client.get("/tracequill/api/openapi.json").json()["paths"]

    assert answer.status_code == 200
    assert "script" not in answer.headers["content-security-policy"]
    assert len(paths) > 20
    for path, methods in paths.items():
        for method in methods:
            assert f"{method.upper()} {path}</code>" in answer.text
    assert "&#34;answer_id&#34;: &#34;uuid&#34;" in answer.text


def test_the_page_is_for_users_only(phoenix_with_users: PhoenixServer) -> None:
    with phoenix_with_users.client() as client:
        answer = client.get("/tracequill/docs")

    assert answer.status_code == 401
    assert "/queues" not in answer.text
