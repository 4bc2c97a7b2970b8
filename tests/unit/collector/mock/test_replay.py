from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.exchange_cases import FOLDER, Case, encode_body, own_cases
from tests.unit.collector.mock.exchange import Got, ask, fixed_upstream
from tracequill_collector.errors import StartError
from tracequill_collector.mock.case_body import BOUNDARY
from tracequill_collector.mock.recording import RecordedExchange, read_recording
from tracequill_collector.mock.replay import Replay

_CHAT = "/v1/chat/completions"


def _exchange(**changes: Any) -> RecordedExchange:
    fields: dict[str, Any] = {
        "name": "one",
        "method": "POST",
        "path": _CHAT,
        "request_body": b'{"model": "m", "messages": [1]}',
        "status": 200,
        "headers": [("content-type", "application/json")],
        "response_body": b'{"answer": 1}',
    }
    return RecordedExchange(**{**fields, **changes})


async def _ask(
    exchanges: list[RecordedExchange], path: str = _CHAT, body: bytes | None = None, **more: Any
) -> Got:
    sent = exchanges[0].request_body if body is None else body
    return await ask(path, upstream=fixed_upstream(replay=Replay(exchanges)), body=sent, **more)


# --- what a request is compared by --------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        b'{"model": "m", "messages": [1]}',
        b'{"messages":[1],"model":"m"}',
        b'\n{ "model" : "\\u006d", "messages": [ 1 ] }',
    ],
)
async def test_a_json_body_is_compared_as_json(body: bytes) -> None:
    got = await _ask([_exchange()], body=body)

    assert (got.status, got.body) == (200, b'{"answer": 1}')
    assert got.headers["content-length"] == "13"


async def test_a_form_is_compared_whatever_stands_between_its_parts_and_in_any_order() -> None:
    parts = [{"name": "model", "text": "m"}, {"name": "n", "text": "1"}]
    form, other = (encode_body({"form": items}) for items in (parts, parts[::-1]))
    other = other.replace(BOUNDARY.encode(), b"--a-b-c--")

    assert (await _ask([_exchange(request_body=form)], body=other)).status == 200
    other = other.replace(b"\r\n1\r\n", b"\r\n2\r\n")
    assert (await _ask([_exchange(request_body=form)], body=other)).status == 404


@pytest.mark.parametrize("body", [b"", b"\xff\x00", b"[" * 300 + b"]" * 300, b'{"a": 1'])
async def test_any_other_body_is_compared_byte_by_byte(body: bytes) -> None:
    assert (await _ask([_exchange(request_body=body)])).status == 200
    assert (await _ask([_exchange(request_body=body)], body=body + b" x")).status == 404


async def test_method_and_raw_path_with_its_query_are_compared() -> None:
    path = "/model/a%2Fb/invoke?x=1"
    exchanges = [_exchange(path=path)]

    assert (await _ask(exchanges, path)).status == 200
    assert (await _ask(exchanges, path.replace("%2F", "/"))).status == 404
    assert (await _ask(exchanges, path.replace("=1", "=2"))).status == 404
    assert (await _ask(exchanges, path, method="PUT")).status == 404


async def test_answers_to_the_same_request_take_turns() -> None:
    exchanges = [_exchange(status=429), _exchange(status=200)]
    upstream = fixed_upstream(replay=Replay(exchanges))
    statuses = [
        (await ask(_CHAT, upstream=upstream, body=exchanges[0].request_body)).status
        for _ in range(3)
    ]

    assert statuses == [429, 200, 429]


# --- what is answered ---------------------------------------------------------------------


async def test_status_and_headers_are_those_that_were_recorded() -> None:
    headers = [("content-type", "text/plain"), ("retry-after", "3"), ("Content-Length", "999")]
    got = await _ask([_exchange(status=529, headers=headers, response_body=b"busy")])

    assert (got.status, got.body) == (529, b"busy")
    assert got.headers == {
        "content-type": "text/plain",
        "retry-after": "3",
        "content-length": "4",
    }


@pytest.mark.parametrize(
    ("content_type", "chunks"),
    [
        ("text/event-stream", [b"event: a\ndata: 1\n\n", b": ping\n\n", b"data: 2\n\n", b"data"]),
        ("text/event-stream; charset=utf-8", [b"data: 1\r\n\r\n", b"data: 2\r\n\r\n"]),
        ("application/x-ndjson", [b'{"a": 1}\n', b'{"b": 2}\n', b"{"]),
        (
            "application/vnd.amazon.eventstream",
            [
                encode_body({"eventstream": [{"event": "a", "payload": {"b": 1}}]}),
                encode_body({"eventstream": [{"said": "hello"}]}),
                b"\x00\x00\x00\x09abc",
            ],
        ),
    ],
)
async def test_a_stream_comes_in_the_pieces_that_a_server_sends(
    content_type: str, chunks: list[bytes]
) -> None:
    headers = [("content-type", content_type)]
    got = await _ask([_exchange(headers=headers, response_body=b"".join(chunks))])

    assert got.chunks == chunks
    assert "content-length" not in got.headers


async def test_calls_fail_as_they_do_without_a_recording() -> None:
    upstream = fixed_upstream(replay=Replay([_exchange()]), error_share=1)

    assert (await ask(_CHAT, upstream=upstream, body=b"{}")).status == 500


# --- what was not recorded ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "headers", "where"),
    [
        ("/v1/other", [], ("error", "message")),
        ("/v1/messages", [("anthropic-version", "2023-06-01")], ("error", "message")),
        ("/model/a.b-c/invoke", [], ("message",)),
        ("/v1beta/models/g:generateContent", [], ("error", "message")),
        ("/api/chat", [], ("error",)),
    ],
    ids=["OpenAI", "Anthropic", "Bedrock", "Google", "Ollama"],
)
async def test_what_was_not_recorded_is_an_error_in_the_vendors_format(
    path: str, headers: list[tuple[str, str]], where: tuple[str, ...]
) -> None:
    got = await _ask([_exchange()], path, headers=headers)
    message: Any = got.json
    for name in where:
        message = message[name]

    assert got.status == 404
    assert message == f"None of the 1 recorded exchanges is POST {path}."


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (
            b'{"model": "x", "messages": [1], "n": 1}',
            "POST /v1/chat/completions was recorded 2 times, but not with this body; the nearest "
            "differs in model, n.",
        ),
        (b"[]", "POST /v1/chat/completions was recorded 2 times, but not with this body."),
    ],
)
async def test_a_body_that_was_not_recorded_is_told_by_the_fields_that_differ(
    body: bytes, reason: str
) -> None:
    other = _exchange(request_body=b'{"model": "y", "messages": [2], "n": 7}')
    got = await _ask([_exchange(), other], body=body)

    assert got.json["error"]["message"] == reason
    assert got.json["error"]["code"] == "not_recorded"


async def test_another_query_is_told() -> None:
    got = await _ask([_exchange(path="/v1/files?a=1")], "/v1/files?a=2")

    assert got.json["error"]["message"].endswith("is POST /v1/files with this query.")


# --- files --------------------------------------------------------------------------------


async def test_every_exchange_of_a_folder_is_replayed() -> None:
    upstream = fixed_upstream(replay=Replay(read_recording(FOLDER)))
    cases = own_cases()
    seen: set[tuple[str, str, bytes]] = set()
    for case in cases:
        key = (case.method, case.path, case.request_body)
        if key in seen:
            continue
        seen.add(key)
        got = await ask(case.path, upstream=upstream, method=case.method, body=case.request_body)
        assert got.status in _statuses(case, cases), case.name
        assert got.body in _bodies(case, cases), case.name


def _same(case: Case, cases: list[Case]) -> list[Case]:
    return [other for other in cases if (other.method, other.path) == (case.method, case.path)]


def _statuses(case: Case, cases: list[Case]) -> list[int]:
    return [other.status for other in _same(case, cases)]


def _bodies(case: Case, cases: list[Case]) -> list[bytes]:
    return [other.response_body for other in _same(case, cases)]


def test_a_file_of_lines_is_read(tmp_path: Path) -> None:
    line = {
        "id": "a",
        "method": "POST",
        "path": _CHAT,
        "request_body": {"text": "{}"},
        "response_body": {"base64": "AAE="},
        "status": 200,
        "content_type": "application/json",
        "provider": "openai",
    }
    place = tmp_path / "exchanges.jsonl"
    place.write_text(json.dumps(line) + "\n\n" + json.dumps({**line, "id": "b"}))

    first, second = read_recording(place)
    assert (first.name, second.name) == ("a", "b")
    assert (first.request_body, first.response_body) == (b"{}", b"\x00\x01")
    assert first.headers == [("content-type", "application/json")]


def test_the_example_of_the_page_is_a_recording(tmp_path: Path) -> None:
    page = (FOLDER.parents[2] / "docs" / "mock.md").read_text(encoding="utf-8")
    example = page.partition("```json\n")[2].partition("```")[0]
    (tmp_path / "exchanges.jsonl").write_text(example, encoding="utf-8")

    (exchange,) = read_recording(tmp_path / "exchanges.jsonl")
    assert exchange.headers == [("content-type", "text/event-stream"), ("x-request-id", "req_1")]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "line 1 is no recorded exchange: Expecting"),
        ("[]", "line 1 is no recorded exchange: it is no JSON object"),
        ('{"method": "POST"}', "line 1 is no recorded exchange: 'path' is missing"),
        ('{"method": 1, "path": "/"}', "line 1 is no recorded exchange: 1 is not a text"),
        (
            '{"method": "POST", "path": "/", "request_body": {"xml": 1}}',
            "a body is one of json, text",
        ),
        ("\n", "holds no exchange"),
    ],
)
def test_a_file_that_is_no_recording_says_why(tmp_path: Path, text: str, reason: str) -> None:
    place = tmp_path / "exchanges.jsonl"
    place.write_text(text)

    with pytest.raises(StartError, match=reason):
        read_recording(place)


def test_a_folder_without_exchanges_or_a_missing_file_says_so(tmp_path: Path) -> None:
    with pytest.raises(StartError, match="holds no exchange"):
        read_recording(tmp_path)
    with pytest.raises(StartError, match=r"cannot be read \(No such file"):
        read_recording(tmp_path / "none.jsonl")
