"""Bodies and headers made to hurt: the recorder stays small and quick, and its keys are its own."""

from __future__ import annotations

import gzip
import json
import time
from typing import Any

import pytest

from tests.exchange_cases import own_case
from tracequill_collector.exchange import Exchange
from tracequill_collector.proxy.context import read_context
from tracequill_collector.recorder import body
from tracequill_collector.recorder.attributes import PROBLEM
from tracequill_collector.recorder.body import parse_json
from tracequill_collector.recorder.call import Interpretation
from tracequill_collector.recorder.interpret import interpret
from tracequill_collector.recorder.span import RecordedSpan, encode_span

MEGABYTE = 1024 * 1024
JSON = ("content-type", "application/json")
GZIP = ("content-encoding", "gzip")


def asked(said: bytes, *headers: tuple[str, str], path: str = "/v1/chat/completions") -> Exchange:
    return own_case("openai-chat").exchange(
        path=path, request_body=said, request_body_bytes=len(said), request_headers=headers
    )


@pytest.mark.parametrize(
    "values",
    [
        b'{"messages":[' + b"{}," * 5_000 + b"{}]}",
        b"[" + b"[]," * 5_000 + b"[]]",
        b"{" + b'"a":1,' * 30_000 + b'"a":1}',
        b"[" + b"1," * 50_001 + b"1]",
    ],
    ids=["objects", "lists", "names", "items"],
)
def test_a_small_body_of_millions_of_values_is_not_made_into_objects(
    values: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Class: gzip bomb in the log decoder. 300 KB that unpack to a list of lists took 2 GB as
    objects; the recorder would be killed, start again, and read the same exchange.
    """
    assert parse_json(values) is not None
    for mark, most in body._MAX_JSON.items():
        monkeypatch.setitem(body._MAX_JSON, mark, most // 100)
    span = interpret(asked(gzip.compress(values, 1), JSON, GZIP), "default")

    assert parse_json(values) is None
    assert encode_span(span).ByteSize() < 2 * len(values)


def test_marks_within_a_text_are_no_values() -> None:
    """A question about a large JSON file is text, however many braces it holds."""
    text = r'[{"a\\": 1}, "\"' * 600_000
    asked = {"text": text}

    assert parse_json(json.dumps(asked)) == asked


@pytest.mark.parametrize("tail", [b'\\"', b'"', b"\\", b"{"], ids=repr)
def test_a_text_without_end_is_read_once(tail: bytes) -> None:
    """Class: DoS. Each quotation mark must not read the rest of the body anew."""
    started = time.process_time()
    parse_json(b'["' + tail * 100_000 + b"{" * 600_000)

    assert time.process_time() - started < 5


@pytest.mark.parametrize(
    ("boundary", "form"),
    [
        (b"-" * 60, (b"-" * 62 + b"\r\n") * 200_000),
        (b"-" * 6, b"-" * (12 * MEGABYTE)),
        (b"x", b"--x\r\n" * 2_000_000),
        (b"x", b"--x\r\n" + b"A: b\r\n" * 2_000_000),
        (b"", b"--\r\n" * 2_000_000),
        (b"-" * 60_000, b"-" * (4 * MEGABYTE)),
    ],
    ids=[
        "all boundaries",
        "only dashes",
        "empty parts",
        "a head without end",
        "none",
        "a long one",
    ],
)
def test_a_form_of_boundaries_takes_no_longer_than_its_length(boundary: bytes, form: bytes) -> None:
    """Class: DoS by multipart boundary. Dashes at its end kept litellm's parser busy for good
    (CVE-2024-8984); the proxy parses no form, and the recorder each byte once.
    """
    kind = ("content-type", f"multipart/form-data; boundary={boundary.decode()}")
    started = time.process_time()
    span = interpret(asked(form, kind, path="/v1/files"), "default")

    assert time.process_time() - started < 10
    assert span.attributes["openinference.span.kind"]


def test_more_attributes_than_anybody_reads_are_left_out_and_told() -> None:
    result = Interpretation("x")
    result.add((f"a.{number}", number) for number in range(10**9))
    result.add([("b", 1)])

    assert len(result.attributes) == 100_001
    assert result.problems == ["more than 100000 values of one kind"]


HOSTILE: dict[str, str] = {
    "session-id": "UTF-8''a%00%0d%0aX-Evil:%201",
    "user-id": '"},{"__proto__": {"x": 1}}' + "u" * 900,
    "project": "UTF-8''../../etc%2Fpasswd%0d%0a",
    "tags": '["__proto__", "a.b.c", "", {"constructor": 1}]',
    "metadata": '{"__proto__": {"polluted": true}, "a.b": 1, "\\u0000": 3}',
    "llm.model_name": "evil",
    "openinference.span.kind": "AGENT",
    "__proto__": "x",
    "a" * 300: "x",
}


def test_no_header_makes_an_attribute_of_its_own() -> None:
    """Class: attribute injection. A key from outside reached prototypes in Langfuse 3.167.4, and
    with them other tenants' traces. Here every key is the recorder's own.
    """

    def span_with(context: dict[str, str]) -> RecordedSpan:
        headers = [
            (f"x-tracequill-{name}".encode(), said.encode()) for name, said in context.items()
        ]
        read = read_context(headers, "default", lambda size: b"\x01" * size)
        fields: dict[str, Any] = {
            name: getattr(read, name)
            for name in ("session_id", "user_id", "project_name", "tags", "metadata")
        }
        return interpret(own_case("openai-chat").exchange(**fields), "default")

    plain = span_with(
        dict.fromkeys(("session-id", "user-id"), "a") | {"tags": "t", "metadata": "{}"}
    )
    span = span_with(HOSTILE)
    encoded = encode_span(span)

    assert span.attributes.keys() == plain.attributes.keys()
    assert span.attributes["session.id"] == "aX-Evil: 1"
    assert span.project_name == "../../etc/passwd"
    assert span.attributes["tag.tags"] == ["__proto__", "a.b.c", '{"constructor":1}']
    assert span.attributes["metadata"] == HOSTILE["metadata"]
    assert PROBLEM not in span.attributes
    assert len({item.key for item in encoded.attributes}) == len(encoded.attributes)


def test_labels_have_a_length_and_a_number() -> None:
    """Class: attribute injection. What does not fit is left out; the call goes on."""
    headers = [
        (b"x-tracequill-session-id", b"s" * 1001),
        (b"x-tracequill-user-id", b"u" * 1000),
        (b"x-tracequill-project", b"p" * 1001),
        (b"x-tracequill-tags", b"t," * 200 + b"t" * 1001),
    ]
    context = read_context(headers, "default")

    assert (context.session_id, context.project_name) == ("", "default")
    assert context.user_id == "u" * 1000
    assert context.tags == ("t",) * 100
