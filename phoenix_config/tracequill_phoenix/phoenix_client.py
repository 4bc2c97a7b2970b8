"""How commands speak to the running Phoenix: HTTP in and out, every failure one sentence.

Nothing here knows what a command does, and nothing imports Phoenix.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import httpx

from tracequill.errors import CommandError, UsageError
from tracequill.settings import Settings

# A dataset of a hundred thousand spans is built in one request.
_READ_TIMEOUT_SECONDS = 1800.0
_CONNECT_TIMEOUT_SECONDS = 5.0
_PAGE = 100


class PhoenixClient:
    """Phoenix's REST API and ours, with the API key of the settings; a context manager."""

    def __init__(self, settings: Settings, transport: httpx.BaseTransport | None = None) -> None:
        self._base_url = settings.phoenix_base_url
        key = settings.phoenix_api_key
        self._has_key = bool(key)
        self._http = httpx.Client(
            base_url=self._base_url,
            headers={"Authorization": f"Bearer {key}"} if key else {},
            timeout=httpx.Timeout(_READ_TIMEOUT_SECONDS, connect=_CONNECT_TIMEOUT_SECONDS),
            # A proxy in the environment must not catch what goes to this machine.
            trust_env=urlsplit(self._base_url).hostname not in ("127.0.0.1", "localhost", "::1"),
            transport=transport,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._http.close()

    def get(self, path: str, **params: Any) -> Any:
        """Give the JSON that GET *path* answers."""
        return self._call("GET", path, params=params)

    def post(self, path: str, body: object) -> Any:
        """Give the JSON that POST *path* answers."""
        return self._call("POST", path, json=body)

    def patch(self, path: str, body: object) -> Any:
        """Give the JSON that PATCH *path* answers."""
        return self._call("PATCH", path, json=body)

    def put(self, path: str, body: object = None) -> Any:
        """Give the JSON that PUT *path* answers."""
        return self._call("PUT", path, json=body)

    def download(self, path: str, write: Callable[[bytes], object], **params: Any) -> None:
        """Give the bytes that GET *path* answers to *write*, piece by piece.

        *write* is called only when the answer is no refusal.
        """
        try:
            with self._http.stream("GET", path, params=params) as response:
                if not response.is_success:
                    response.read()
                    raise self._failure(response, path)
                for piece in response.iter_bytes():
                    write(piece)
        except httpx.TimeoutException as error:
            raise self._too_late() from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise self._nobody_there() from error

    def pages(self, path: str, **params: Any) -> Iterator[dict[str, Any]]:
        """Give every item of a list that Phoenix answers in pages."""
        params["limit"] = _PAGE
        while True:
            page = self.get(path, **params)
            yield from page["data"]
            if not page.get("next_cursor"):
                return
            params["cursor"] = page["next_cursor"]

    def _call(self, method: str, path: str, **arguments: Any) -> Any:
        try:
            response = self._http.request(method, path, **arguments)
        except httpx.TimeoutException as error:
            raise self._too_late() from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise self._nobody_there() from error
        if response.is_success:
            return _json(response, self._base_url)
        raise self._failure(response, path)

    def _too_late(self) -> CommandError:
        return CommandError(
            f"Phoenix at {self._base_url} did not answer in time. See whether it is busy."
        )

    def _nobody_there(self) -> CommandError:
        return CommandError(
            f"Phoenix does not answer at {self._base_url}. Start it with 'tracequill up', "
            "or say where it is with TRACEQUILL_PHOENIX_URL."
        )

    def _failure(self, response: httpx.Response, path: str) -> CommandError:
        status = response.status_code
        said = _detail(response)
        if status == 401:
            what = "does not take the API key" if self._has_key else "asks for an API key"
            return CommandError(
                f"Phoenix at {self._base_url} {what}. Create one in its settings and set "
                "TRACEQUILL_PHOENIX_API_KEY."
            )
        unknown = status == 405 or (status == 404 and said in ("", "Not Found"))
        if unknown and path.startswith("/tracequill/"):
            return CommandError(
                f"the Phoenix at {self._base_url} is not Tracequill's. Start it with "
                "'tracequill phoenix', or correct TRACEQUILL_PHOENIX_URL."
            )
        if status in (400, 404, 409, 422) and said:
            return UsageError(said) if status != 409 else CommandError(said)
        return CommandError(f"Phoenix at {self._base_url} refused: {said or f'status {status}'}")


def _json(response: httpx.Response, base_url: str) -> Any:
    try:
        return response.json()
    except ValueError as error:
        raise CommandError(
            f"what answers at {base_url} is not Phoenix. Correct TRACEQUILL_PHOENIX_URL."
        ) from error


def _detail(response: httpx.Response) -> str:
    """The sentence in an error of FastAPI's, which is JSON with ``detail``, or plain text."""
    try:
        detail = response.json()["detail"]
    except (ValueError, KeyError, TypeError):
        text = response.text.strip()
        return text if len(text) < 500 and "<html" not in text.lower() else ""
    if isinstance(detail, list) and detail and isinstance(detail[0], dict):
        first = detail[0]
        where = ".".join(str(part) for part in first.get("loc", ()) if part != "body")
        return f"{where}: {first.get('msg', 'is wrong')}"
    return str(detail)
