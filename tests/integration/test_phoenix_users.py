"""The forked Phoenix where users sign in: who may do what, and the database it has prepared."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
from sqlalchemy.ext.asyncio import create_async_engine

from tests.integration.databases import fetch_value
from tests.integration.fixtures_phoenix import ADMIN_SECRET, PhoenixServer
from tracequill_phoenix.migrations import upgrade

pytestmark = pytest.mark.integration

PASSWORD = "Correct-Horse-7"


@pytest.fixture
def server(phoenix_with_users: PhoenixServer) -> Iterator[PhoenixServer]:
    phoenix_with_users.collector.forget()
    yield phoenix_with_users


@pytest.fixture
def anonymous(server: PhoenixServer) -> Iterator[httpx.Client]:
    with server.client() as client:
        yield client


@pytest.fixture
def admin(server: PhoenixServer) -> Iterator[httpx.Client]:
    with server.client(Authorization=f"Bearer {ADMIN_SECRET}") as client:
        yield client


@pytest.fixture
def viewer(server: PhoenixServer, admin: httpx.Client) -> Iterator[httpx.Client]:
    """A client signed in as a user who may only read."""
    user = {
        "auth_method": "LOCAL",
        "email": "viewer@example.org",
        "username": "viewer",
        "role": "VIEWER",
        "password": PASSWORD,
    }
    created = admin.post("/v1/users", json={"user": user, "send_welcome_email": False})
    assert created.status_code in (201, 409), created.text
    with server.client() as client:
        answer = client.post("/auth/login", json={"email": user["email"], "password": PASSWORD})
        assert answer.status_code == 204, answer.text
        yield client


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v1/traces"),
        ("POST", "/v1/projects/p/spans"),
        ("GET", "/tracequill/"),
        ("GET", "/tracequill/api/openapi.json"),
    ],
)
def test_nobody_gets_in_without_a_key(
    server: PhoenixServer, anonymous: httpx.Client, method: str, path: str
) -> None:
    body: dict[str, list[str]] | None = {"data": []} if method == "POST" else None
    without = anonymous.request(method, path, json=body)
    wrong = anonymous.request(method, path, json=body, headers={"Authorization": "Bearer wrong"})

    assert (without.status_code, wrong.status_code) == (401, 401)
    assert server.collector.received == []


def test_probes_and_assets_need_no_key(anonymous: httpx.Client) -> None:
    for path in ("/healthz", "/readyz", "/metrics", "/tracequill/static/navigation.js"):
        assert anonymous.get(path).status_code == 200, path


def test_a_key_lets_spans_through(server: PhoenixServer, admin: httpx.Client) -> None:
    answer = admin.post("/v1/traces", content=b"body")

    assert answer.status_code == 200
    assert [received.body for received in server.collector.received] == [b"body"]


def test_a_viewer_may_read_our_page_and_send_nothing(
    server: PhoenixServer, viewer: httpx.Client
) -> None:
    assert viewer.get("/tracequill/").status_code == 200
    assert viewer.post("/v1/traces", content=b"body").status_code == 403
    assert viewer.post("/v1/projects/p/spans", json={"data": []}).status_code == 403
    assert server.collector.received == []


def test_clients_do_not_register_themselves(anonymous: httpx.Client) -> None:
    answer = anonymous.post("/oauth2/register", json={"redirect_uris": ["http://127.0.0.1/x"]})

    assert answer.status_code in (403, 404)


def test_a_second_server_waits_while_the_first_prepares_the_database(
    server: PhoenixServer,
) -> None:
    assert server.log.read_text().count("another server prepares the database") == 1
    assert server.tables_while_locked == 0


async def test_the_empty_database_has_both_schemas_now(server: PhoenixServer) -> None:
    revision = "SELECT version_num FROM {}.alembic_version"

    assert await fetch_value(server.database_url, revision.format("public"))
    assert await fetch_value(server.database_url, revision.format("tracequill")) == "0002"


async def test_our_migrations_change_nothing_when_run_again(server: PhoenixServer) -> None:
    engine = create_async_engine(
        server.database_url.replace("postgresql://", "postgresql+asyncpg://")
    )
    async with engine.connect() as connection:
        await connection.run_sync(upgrade)
    await engine.dispose()

    revisions = "SELECT count(*) FROM tracequill.alembic_version"
    assert await fetch_value(server.database_url, revisions) == 1
