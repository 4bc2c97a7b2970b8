from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import httpx2
import openai
import pytest
from opentelemetry.sdk.trace import ReadableSpan

import tracequill
from tracequill import _register
from tracequill._config import Destination
from tracequill._processor import BackgroundProcessor, InlineProcessor
from tracequill.testing import MemorySender

ANSWER = {
    "id": "c",
    "object": "chat.completion",
    "created": 1,
    "model": "m",
    "choices": [
        {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "hi"}}
    ],
}


@pytest.fixture
def senders(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, MemorySender]]:
    """What was sent, by URL and project; nothing leaves the process."""
    made: dict[str, MemorySender] = {}

    def open_memory(destination: Destination) -> MemorySender:
        return made.setdefault(f"{destination.project_name} {destination.url}", MemorySender())

    monkeypatch.setattr(_register, "open_sender", open_memory)
    yield made
    tracequill.unregister()


@pytest.fixture
def client() -> Iterator[openai.OpenAI]:
    transport = httpx2.MockTransport(lambda request: httpx2.Response(200, json=ANSWER))
    with httpx2.Client(transport=transport) as http_client:
        yield openai.OpenAI(
            api_key="k", base_url="http://upstream/v1", http_client=http_client, max_retries=0
        )


def call(client: openai.OpenAI) -> None:
    client.chat.completions.create(model="m", messages=[{"role": "user", "content": "hello"}])


def sent(senders: dict[str, MemorySender], project: str) -> list[ReadableSpan]:
    assert tracequill.flush()
    return senders[f"{project} http://127.0.0.1:4318/v1/traces"].spans


def test_one_line_says_where_prompts_go(
    senders: dict[str, MemorySender], capsys: pytest.CaptureFixture[str]
) -> None:
    tracequill.register("shop", "https://name:secret@collector:9", api_key="secret")
    tracequill.register("shop", "https://name:secret@collector:9", api_key="secret")

    captured = capsys.readouterr()
    assert captured.err == (
        "Tracequill sends prompts and answers of project 'shop' to "
        "https://collector:9/v1/traces (traced: anthropic, bedrock, google_genai, openai).\n"
    )
    assert captured.out == ""


def test_the_line_can_go_to_the_log(
    senders: dict[str, MemorySender],
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "tracequill")

    tracequill.register("shop", verbose=False, auto_instrument=False)

    assert "of project 'shop'" in caplog.text
    assert "traced: nothing by itself" in caplog.text
    assert capsys.readouterr().err == ""


def test_opentelemetry_switched_off_is_said(
    senders: dict[str, MemorySender],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    client: openai.OpenAI,
) -> None:
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")

    tracequill.register()
    call(client)

    assert "traces nothing: OTEL_SDK_DISABLED is true" in capsys.readouterr().err
    assert sent(senders, "default") == []


def test_registered_twice_a_call_has_one_span_and_the_last_destination_holds(
    senders: dict[str, MemorySender], client: openai.OpenAI
) -> None:
    first = tracequill.register("one")
    call(client)
    again = tracequill.register("one")
    call(client)
    second = tracequill.register("two")
    call(client)

    assert first is again is second
    assert len(sent(senders, "one")) == 2
    assert len(sent(senders, "two")) == 1
    assert len(senders) == 2


def test_the_same_destination_keeps_its_thread(senders: dict[str, MemorySender]) -> None:
    tracequill.register("one")
    tracequill.register("one", auto_instrument=False)

    assert len(_register.registration.processors) == 1
    assert _register.registration.instruments.names == ()


def test_unregistered_nothing_is_traced_and_registering_again_works(
    senders: dict[str, MemorySender], client: openai.OpenAI
) -> None:
    original = openai.OpenAI.request
    tracequill.register("one")
    assert openai.OpenAI.request is not original
    tracequill.unregister()
    call(client)

    assert openai.OpenAI.request is original
    tracequill.register("one")
    call(client)
    assert len(sent(senders, "one")) == 1


def test_a_provider_that_was_shut_down_starts_again(
    senders: dict[str, MemorySender], client: openai.OpenAI
) -> None:
    tracequill.register("one").shutdown()
    call(client)
    tracequill.register("one")
    call(client)

    assert len(sent(senders, "one")) == 1


def test_an_error_of_the_application_is_recorded_and_raised_untouched(
    senders: dict[str, MemorySender],
) -> None:
    error = httpx2.ConnectTimeout("no route")

    def fail(request: Any) -> httpx2.Response:
        raise error

    tracequill.register()
    with httpx2.Client(transport=httpx2.MockTransport(fail)) as http_client:
        client = openai.OpenAI(
            api_key="k", base_url="http://upstream/v1", http_client=http_client, max_retries=0
        )
        with pytest.raises(openai.APITimeoutError) as raised:
            call(client)

    assert raised.value.__cause__ is error
    (span,) = sent(senders, "default")
    assert span.status.description == f"APITimeoutError: {raised.value}"
    assert span.events[0].name == "exception"


def test_batches_are_the_default_and_can_be_done_without(
    senders: dict[str, MemorySender], client: openai.OpenAI
) -> None:
    tracequill.register()
    assert isinstance(_register.registration.processors[-1], BackgroundProcessor)

    tracequill.register(batch=False)
    call(client)

    assert isinstance(_register.registration.processors[-1], InlineProcessor)
    (sender,) = senders.values()
    assert len(sender.spans) == 1


def test_a_wrong_setting_changes_nothing(
    senders: dict[str, MemorySender], client: openai.OpenAI
) -> None:
    tracequill.register("one")
    with pytest.raises(ValueError, match="endpoint is 'ftp://c'"):
        tracequill.register("two", "ftp://c")
    with pytest.raises(ValueError, match="proxy_url is 'ftp://p'"):
        tracequill.register("two", proxy_url="ftp://p")
    call(client)

    assert len(sent(senders, "one")) == 1


def test_flushing_without_register_is_done_at_once() -> None:
    assert tracequill.flush(timeout_seconds=0)
    tracequill.unregister()
