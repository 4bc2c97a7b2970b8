"""Whatever crosses, a span comes: it raises nothing, keeps what is there, and ends in time."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.exchange_cases import Case, encode_body, own_case, own_cases
from tracequill_collector.errors import PermanentError
from tracequill_collector.exchange import Exchange
from tracequill_collector.recorder import attributes
from tracequill_collector.recorder.body import parse_json
from tracequill_collector.recorder.interpret import interpret
from tracequill_collector.recorder.secret import remove_keys
from tracequill_collector.recorder.span import RecordedSpan, encode_spans

_CASES = own_cases()
_JSON_REQUESTS = [case for case in _CASES if case.request_body and not case.form]
_JSON_ANSWERS = [
    case
    for case in _CASES
    if case.response_headers[0][1].startswith("application/json")
    and parse_json(case.response_body) is not None
]
_STREAMS = [
    case
    for case in _CASES
    if case.response_body and "stream" in case.response_headers[0][1].partition(";")[0]
]
_SETTINGS = settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))


def _interpreted(exchange: Exchange) -> RecordedSpan:
    """Interpret and encode, without the net that catches what an interpreter raises."""
    span = interpret(exchange, "default-project")
    encode_spans(span)

    assert "cannot be interpreted" not in span.attributes.get(attributes.PROBLEM, "")
    return span


# --- valid bodies in which values are others ------------------------------------------------

_WORDS = st.sampled_from(
    """messages role content type text tool_calls function name arguments id index delta choices
    usage input output tools system toolUse toolResult source bytes message data embedding prompt
    contentBlockIndex start stopReason results generations model input_tokens image_url url summary
    inferenceConfig additionalModelRequestFields toolConfig json metadata response error thinking
    candidates parts functionCall usageMetadata content_block b64_json images documents""".split()
)
_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-1, 3)
    | st.sampled_from([10**15, 10**25, -(2**63), 1e300, "\x00", "x" * 50])
    | st.floats()
    | _WORDS
    | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_WORDS, inner, max_size=5),
    max_leaves=20,
)


def _changed(value: Any, change: st.DataObject, depth: int = 0) -> Any:
    """Give a valid body in which some values are replaced by any others."""
    if depth and change.draw(st.integers(0, 9)) == 0:
        return change.draw(_VALUES)
    if isinstance(value, dict):
        return {key: _changed(item, change, depth + 1) for key, item in value.items()}
    if isinstance(value, list):
        return [_changed(item, change, depth + 1) for item in value]
    return value


@_SETTINGS
@given(st.data())
def test_any_json_in_any_field_of_a_request_gives_a_span(data: st.DataObject) -> None:
    case = data.draw(st.sampled_from(_JSON_REQUESTS))
    body = json.dumps(_changed(case.request_json, data)).encode()

    _interpreted(case.exchange(request_body=body, request_body_bytes=len(body)))


@_SETTINGS
@given(st.data())
def test_any_json_in_any_field_of_an_answer_gives_a_span(data: st.DataObject) -> None:
    case = data.draw(st.sampled_from(_JSON_ANSWERS))
    body = json.dumps(_changed(json.loads(case.response_body), data)).encode()

    _interpreted(case.exchange(response_body=body, response_body_bytes=len(body)))


@_SETTINGS
@given(st.data())
def test_any_json_as_a_body_gives_a_span(data: st.DataObject) -> None:
    case = data.draw(st.sampled_from(_CASES))
    request, response = (json.dumps(data.draw(_VALUES)).encode() for _ in range(2))

    _interpreted(case.exchange(request_body=request, response_body=response))


@_SETTINGS
@given(st.data())
def test_any_events_give_a_span(data: st.DataObject) -> None:
    case = data.draw(st.sampled_from(_STREAMS))
    if "eventstream" in case.response_headers[0][1]:
        body = b"".join(_frames(data, chunked="invoke" in case.path))
    else:
        types = sorted(_event_types(case)) or [""]
        event = st.dictionaries(_WORDS, _VALUES, max_size=5)
        named = st.builds(lambda item, kind: {**item, "type": kind}, event, st.sampled_from(types))
        events = data.draw(st.lists(event | named, max_size=6))
        lines = (f"data: {json.dumps(event)}\n\n" for event in events)
        body = "".join(lines).encode()

    _interpreted(case.exchange(response_body=body))


def _event_types(case: Case) -> set[str]:
    """Give the types of the events in a case's stream."""
    lines = case.response_body.decode("utf-8", "replace").splitlines()
    events = [parse_json(line[6:]) for line in lines if line.startswith("data: {")]
    return {str(event.get("type", "")) for event in events if isinstance(event, dict)}


def _frames(data: st.DataObject, *, chunked: bool) -> list[bytes]:
    kinds = ["messageStart", "contentBlockStart", "contentBlockDelta", "contentBlockStop"]
    kinds = [*kinds, "messageStop", "metadata", "chunk", "trace", "output", "citation"]
    claude = ["message_start", "content_block_start", "content_block_delta", "message_delta"]
    frames = []
    for _ in range(data.draw(st.integers(1, 6))):
        event = data.draw(st.dictionaries(_WORDS, _VALUES, max_size=5))
        event["type"] = data.draw(st.sampled_from([*claude, "message_stop"]))
        event[data.draw(st.sampled_from(kinds))] = data.draw(_VALUES)
        frame = {"chunk": event}
        if not chunked:
            frame = {"event": data.draw(st.sampled_from(kinds)), "payload": event}
        frames.append(encode_body({"eventstream": [frame]}))
    return frames


def _with_each_field(body: bytes, other: str) -> list[bytes]:
    """Give a JSON object once for each of its first fields, which is *other*."""
    value = parse_json(body)
    mark = "in place of a field"
    names = list(value)[:3] if isinstance(value, dict) else []
    changed = [{**value, name: mark} for name in names]
    return [json.dumps(item).replace(f'"{mark}"', other).encode() for item in changed]


@pytest.mark.parametrize("depth", [100, 900, 5000])
def test_values_as_deep_as_a_well_give_a_span(depth: int) -> None:
    well = '{"a": [' * (depth // 2) + "]}" * (depth // 2)
    for case in _CASES:
        for body in _with_each_field(case.request_body, well):
            encode_spans(interpret(case.exchange(request_body=body), "default-project"))
        for body in _with_each_field(case.response_body, well):
            encode_spans(interpret(case.exchange(response_body=body), "default-project"))


# --- bytes that were cut or turned over -----------------------------------------------------


def _damaged(body: bytes, data: st.DataObject) -> bytes:
    damaged = bytearray(body)
    for _ in range(data.draw(st.integers(0, 4)) if body else 0):
        position = data.draw(st.integers(0, len(damaged) - 1))
        damaged[position] ^= data.draw(st.integers(1, 255))
    start = data.draw(st.sampled_from([0, 0, 0, 1, len(body) // 2]))
    return bytes(damaged[start : data.draw(st.integers(0, len(damaged)))])


@_SETTINGS
@given(st.data())
def test_damaged_bodies_give_a_span_that_keeps_them(data: st.DataObject) -> None:
    case = data.draw(st.sampled_from(_CASES))
    request, response = _damaged(case.request_body, data), _damaged(case.response_body, data)
    span = _interpreted(case.exchange(request_body=request, response_body=response))

    if _is_broken_text(request):
        assert span.attributes["input.value"] == request.decode()


def _is_broken_text(body: bytes) -> bool:
    """Whether it is text that is no JSON and holds nothing that is removed from a span."""
    try:
        json.loads(body)
    except UnicodeDecodeError:
        return False
    except ValueError:
        return body.startswith(b'{"') and b"boundary" not in body
    return False


@pytest.mark.parametrize("case", _JSON_ANSWERS, ids=lambda case: case.name)
def test_an_answer_that_was_cut_is_kept_as_text(case: Case) -> None:
    half = case.response_body[: len(case.response_body) // 2].decode("utf-8", "ignore")
    span = _interpreted(case.exchange(response_body=half.encode()))

    assert span.attributes[attributes.RESPONSE_CUT] is True
    # What an asynchronous call answers stands in the headers.
    if 200 <= case.status < 300 and case.name != "sagemaker-async":
        assert span.attributes["output.value"] in (half, remove_keys(half))


@_SETTINGS
@given(
    st.sampled_from(_CASES),
    st.text(max_size=12),
    st.sampled_from(["gzip", "br", "zstd", "deflate", "gzip, br", "x"]),
    st.sampled_from(["application/json", "text/event-stream", "multipart/form-data", "image/png"]),
    st.integers(0, 999),
)
def test_headers_that_are_wrong_give_a_span(
    case: Case, boundary: str, encoding: str, content_type: str, status: int
) -> None:
    headers = (
        ("content-type", f"{content_type}; boundary={boundary}"),
        ("Content-Encoding", encoding),
    )
    changes = {"request_headers": headers, "response_headers": headers, "status": status}

    _interpreted(case.exchange(**changes))


@_SETTINGS
@given(st.data())
def test_any_path_gives_a_span(data: st.DataObject) -> None:
    case = data.draw(st.sampled_from(_CASES))
    known = st.sampled_from(sorted({part for case in _CASES for part in case.path.split("/")}))
    path = data.draw(st.lists(known | st.text(max_size=5), max_size=6))
    method = data.draw(st.sampled_from(["POST", "GET", "DELETE", "", "PURGE"]))

    _interpreted(case.exchange(path="/" + "/".join(path), method=method))


@_SETTINGS
@given(*[st.sampled_from(_CASES)] * 4)
def test_the_bodies_of_one_vendor_at_the_path_of_another_give_a_span(
    case: Case, path: Case, request: Case, response: Case
) -> None:
    _interpreted(
        case.exchange(
            path=path.path,
            vendor=path.vendor,
            request_body=request.request_body,
            response_body=response.response_body,
            response_headers=response.response_headers,
        )
    )


@_SETTINGS
@given(st.data())
def test_only_unusable_ids_and_times_are_refused(data: st.DataObject) -> None:
    names = ["trace_id", "span_id", "parent_span_id", "vendor", "region", "metadata", "error"]
    texts = {name: data.draw(st.text(max_size=34)) for name in names}
    times = {"end_unix_ns": data.draw(st.integers(-1, 2**64))}
    exchange = own_case("openai-chat").exchange(**texts, **times)
    try:
        encode_spans(interpret(exchange, "default-project"))
    except PermanentError as error:
        assert "exchange has" in str(error)


# --- bounded time ---------------------------------------------------------------------------

_MEGABYTE = 1024 * 1024


def _repeated(event: dict[str, Any]) -> bytes:
    one = encode_body({"sse": [event]})
    return one * (_MEGABYTE // len(one))


@pytest.mark.parametrize("path", ["chat/completions", "completions", "responses", "unknown"])
@pytest.mark.parametrize(
    "event",
    [
        pytest.param({"a": [1]}, id="lists that grow"),
        pytest.param({"a": {"b": [1]}}, id="lists that grow inside"),
        pytest.param({"choices": [{"index": 0, "delta": {"content": "x"}}]}, id="short texts"),
        pytest.param({"choices": [{"index": 0, "delta": {"content": [1]}}]}, id="content lists"),
        pytest.param({"type": "response.output_text.delta", "delta": "x"}, id="short deltas"),
    ],
)
def test_a_long_stream_takes_time_in_proportion_to_its_length(
    path: str, event: dict[str, Any]
) -> None:
    body = _repeated(event)
    half, whole = (
        min(_seconds(path, body[:size]) for _ in range(2)) for size in (len(body) // 4, len(body))
    )

    # Four times the work; what grows with the square would take sixteen times.
    assert whole < 10 * half + 0.05


def _seconds(path: str, body: bytes) -> float:
    case = own_case("openai-chat-stream")
    started = time.process_time()
    _interpreted(case.exchange(path=f"/v1/{path}", response_body=body))
    return time.process_time() - started
