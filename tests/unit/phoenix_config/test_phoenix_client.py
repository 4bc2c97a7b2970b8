from __future__ import annotations

from collections.abc import Callable

import httpx
import pytest

from tracequill.errors import CommandError, UsageError
from tracequill.settings import Settings
from tracequill_phoenix.phoenix_client import PhoenixClient

Handler = Callable[[httpx.Request], httpx.Response]


def client(handler: Handler, key: str | None = None) -> PhoenixClient:
    return PhoenixClient(
        Settings.model_validate({"phoenix_api_key": key}), httpx.MockTransport(handler)
    )


def test_the_key_goes_along_and_pages_are_joined() -> None:
    seen: list[httpx.Request] = []

    def handler(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        last = "cursor" in request.url.params
        return httpx.Response(
            200, json={"data": [{"n": len(seen)}], "next_cursor": None if last else "abc"}
        )

    with client(handler, "key-1") as phoenix:
        assert list(phoenix.pages("/v1/projects")) == [{"n": 1}, {"n": 2}]
    assert seen[1].url.params["cursor"] == "abc"
    assert {request.headers["authorization"] for request in seen} == {"Bearer key-1"}


@pytest.mark.parametrize(
    ("response", "kind", "said"),
    [
        pytest.param(httpx.Response(401), CommandError, "asks for an API key", id="no key"),
        pytest.param(
            httpx.Response(403, text="Viewers cannot perform this action."),
            CommandError,
            "refused: Viewers cannot perform this action.",
            id="a viewer",
        ),
        pytest.param(
            httpx.Response(404, text="there is no project 'x'."),
            UsageError,
            "there is no project 'x'.",
            id="plain text, as Phoenix answers",
        ),
        pytest.param(
            httpx.Response(422, json={"detail": "the filter is not valid"}),
            UsageError,
            "the filter is not valid",
            id="JSON, as FastAPI answers",
        ),
        pytest.param(
            httpx.Response(422, json={"detail": [{"loc": ["body", "limit"], "msg": "too low"}]}),
            UsageError,
            "limit: too low",
            id="a wrong body",
        ),
        pytest.param(
            httpx.Response(409, text="it exists"), CommandError, "it exists", id="a conflict"
        ),
        pytest.param(
            httpx.Response(405), CommandError, "is not Tracequill's", id="a stock Phoenix"
        ),
        pytest.param(
            httpx.Response(500, text="<html>oops</html>"), CommandError, "status 500", id="broken"
        ),
    ],
)
def test_a_refusal_is_one_sentence(
    response: httpx.Response, kind: type[CommandError], said: str
) -> None:
    with client(lambda request: response) as phoenix, pytest.raises(CommandError) as caught:
        phoenix.post("/tracequill/api/datasets", {})

    assert type(caught.value) is kind
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_wrong_key_is_told_from_a_missing_one() -> None:
    with client(lambda request: httpx.Response(401), "key-1") as phoenix:
        with pytest.raises(CommandError, match="does not take the API key") as caught:
            phoenix.get("/v1/projects")

    assert "key-1" not in str(caught.value)


def test_what_is_not_phoenix_is_said() -> None:
    with client(lambda request: httpx.Response(200, text="hello")) as phoenix:
        with pytest.raises(CommandError, match="is not Phoenix"):
            phoenix.get("/v1/projects")


def test_a_phoenix_that_is_down_is_one_sentence() -> None:
    with PhoenixClient(Settings.model_validate({"phoenix_url": "http://127.0.0.1:1"})) as phoenix:
        with pytest.raises(CommandError, match=r"does not answer at http://127\.0\.0\.1:1\. Start"):
            phoenix.get("/v1/projects")
