"""Google's client for Python gets the same through the proxy, on the wire and as objects.

The upstream replays the cases of ``tests/data/exchanges``: every shape, errors too.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from google import genai
from google.genai import types

from tests.exchange_cases import Case, own_case, own_cases
from tests.integration.clients.ways import Ways
from tests.integration.sdk.gemini_application import GeminiApplication

pytestmark = pytest.mark.integration

MODEL = "gemini-3-small"
# Headers that differ from one answer to the next, or that the proxy adds.
_OF_THE_CALL = ("date", "x-tracequill-trace-id", "x-tracequill-span-id")


@pytest.fixture
def replay(ways: Ways) -> Iterator[Ways]:
    yield ways
    ways.vendor.replay = ()


@pytest.fixture(scope="module")
def application() -> Iterator[Callable[[str], GeminiApplication]]:
    """Give the application of each address; its connections are kept from call to call."""
    with contextlib.ExitStack() as stack:
        made: dict[str, GeminiApplication] = {}

        def at(url: str) -> GeminiApplication:
            if url not in made:
                made[url] = stack.enter_context(contextlib.closing(GeminiApplication(url)))
            return made[url]

        yield at


def plain(value: Any) -> Any:
    """Give an object of the library as data."""
    if hasattr(value, "model_dump"):
        value = value.model_dump()
    if isinstance(value, dict):
        return {
            name: plain(item) for name, item in value.items() if name.lower() not in _OF_THE_CALL
        }
    return [plain(item) for item in value] if isinstance(value, list) else value


@pytest.mark.parametrize("case", own_cases("gemini"), ids=lambda case: case.name)
def test_every_call_gives_the_same(
    replay: Ways, application: Callable[[str], GeminiApplication], case: Case
) -> None:
    def call(url: str) -> tuple[str, Any]:
        try:
            return "", [plain(answer) for answer in application(url).answers(case)]
        except Exception as error:
            return type(error).__name__, str(error)

    replay.vendor.replay = [case]
    (error, _), requests = replay.compare(call, "/gemini")

    # The library counts the attempts at an interaction without the first.
    again = case.path.endswith("/interactions") and case.status >= 400
    assert requests == 1 + again
    assert bool(error) == ("no-stack-trace" in case.differences)


def client(url: str) -> genai.Client:
    options = types.HttpOptions(base_url=url, retry_options=types.HttpRetryOptions(attempts=1))
    return genai.Client(api_key="test", http_options=options)


def water_level(riverName: str, maxResults: int = 1) -> int:
    """Give the water level of a river, in centimetres."""
    return len(riverName) * maxResults


def now() -> str:
    """Give the time."""
    return "10:00"


def call_functions(url: str) -> Any:
    """Let the library itself call what the model calls."""
    config = types.GenerateContentConfig(tools=[water_level, now])
    with client(url) as made:
        chat = made.chats.create(model=MODEL, config=config)
        answer = chat.send_message("How high is the water of the Trave?")
        history = chat.get_history()
    assert answer.text == "The Weser flows through Bremen."
    assert [len(content.parts or ()) for content in history] == [1, 3, 3, 1]
    return plain(answer), [plain(content) for content in history]


def converse(url: str) -> Any:
    """Talk twice, streamed."""
    with client(url) as made:
        chat = made.chats.create(model=MODEL)
        first = [plain(chunk) for chunk in chat.send_message_stream("Which river?")]
        second = [plain(chunk) for chunk in chat.send_message_stream("And its thoughts?")]
        history = chat.get_history()
    assert [content.role for content in history].count("user") == 2
    return first, second, [plain(content) for content in history]


@pytest.mark.parametrize(
    ("call", "answers"),
    [
        (call_functions, ["gemini-generate-tools", "gemini-generate"]),
        (converse, ["gemini-stream", "gemini-stream-thoughts"]),
    ],
)
def test_calls_that_take_turns_give_the_same(
    replay: Ways, call: Callable[[str], Any], answers: list[str]
) -> None:
    replay.vendor.replay = [own_case(name) for name in answers]
    _, requests = replay.compare(call, "/gemini")

    assert requests == len(answers)


@pytest.mark.parametrize("status", [429, 503])
def test_the_client_tries_again_as_it_does_without_the_proxy(replay: Ways, status: int) -> None:
    names = {429: "gemini-generate-rate-limited", 503: "gemini-generate-overloaded"}
    retry = types.HttpRetryOptions(attempts=2, initial_delay=0.01, jitter=0)

    def call(url: str) -> Any:
        options = types.HttpOptions(base_url=url, retry_options=retry)
        with genai.Client(api_key="test", http_options=options) as made:
            return plain(made.models.generate_content(model=MODEL, contents="Hello"))

    replay.vendor.replay = [own_case(names[status]), own_case("gemini-generate")]
    _, requests = replay.compare(call, "/gemini")

    assert requests == 2
