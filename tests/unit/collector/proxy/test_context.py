from __future__ import annotations

import pytest

from tracequill_collector.proxy.context import CallContext, read_context

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = "00f067aa0ba902b7"


def fixed_bytes(size: int) -> bytes:
    return bytes(range(1, size + 1))


def read(*headers: tuple[str, str]) -> CallContext:
    raw = [(name.encode(), value.encode()) for name, value in headers]
    return read_context(raw, "default", fixed_bytes)


def test_without_headers_the_ids_are_random_and_there_is_no_parent() -> None:
    context = read()

    assert context.trace_id == "0102030405060708090a0b0c0d0e0f10"
    assert context.span_id == "1112131415161718"
    assert (context.parent_span_id, context.traced, context.project_name) == ("", False, "default")


def test_a_traceparent_gives_trace_and_parent() -> None:
    context = read(("traceparent", f"00-{TRACE}-{PARENT}-01"))

    assert (context.trace_id, context.parent_span_id) == (TRACE, PARENT)
    assert context.span_id == "1112131415161718"


@pytest.mark.parametrize(
    "value",
    [
        "",
        f"00-{TRACE}-{PARENT}",
        f"00-{TRACE.upper()}-{PARENT}-01",
        f"ff-{TRACE}-{PARENT}-01",
        f"00-{TRACE}-{PARENT}-01-more",
        f"00-{'0' * 32}-{PARENT}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE}/../-{PARENT}-01",
    ],
)
def test_a_traceparent_that_is_not_valid_is_as_none(value: str) -> None:
    """Class: path traversal on disk. A trace id became a path in MLflow (CVE-2026-53995)."""
    context = read(("traceparent", value))

    assert (context.trace_id[:4], context.parent_span_id) == ("0102", "")


def test_two_traceparents_are_as_none() -> None:
    header = ("traceparent", f"00-{TRACE}-{PARENT}-01")

    assert read(header, header).parent_span_id == ""


def test_a_later_version_may_say_more() -> None:
    assert read(("traceparent", f"01-{TRACE}-{PARENT}-01-more")).trace_id == TRACE


def test_labels_come_from_our_headers() -> None:
    context = read(
        ("X-Tracequill-Session-Id", "conv-42"),
        ("x-tracequill-user-id", "ü-7"),
        ("x-tracequill-project", "support-bot"),
        ("x-tracequill-tags", "a, b ,,c"),
        ("x-tracequill-metadata", '{"tier": "gold"}'),
        ("x-tracequill-traced", "1"),
    )

    assert context.session_id == "conv-42"
    assert context.user_id == "ü-7"
    assert context.project_name == "support-bot"
    assert context.tags == ("a", "b", "c")
    assert context.metadata == '{"tier": "gold"}'
    assert context.traced


@pytest.mark.parametrize(
    ("value", "tags"),
    [
        ('["a, b", "c"]', ("a, b", "c")),
        ('["a", 1, null]', ("a", "1", "null")),
        ("[broken", ("[broken",)),
        ("", ()),
    ],
)
def test_tags_are_a_json_list_or_words_between_commas(value: str, tags: tuple[str, ...]) -> None:
    assert read(("x-tracequill-tags", value)).tags == tags


@pytest.mark.parametrize("value", ["[1]", "{broken", "text", "7"])
def test_metadata_that_is_no_json_object_is_left_out(value: str) -> None:
    assert read(("x-tracequill-metadata", value)).metadata == ""


@pytest.mark.parametrize(
    ("value", "traced"), [("1", True), ("true", True), ("0", False), ("false", False), ("", False)]
)
def test_traced_is_said_by_a_word(value: str, traced: bool) -> None:
    assert read(("x-tracequill-traced", value)).traced is traced


def test_text_beyond_ascii_comes_encoded_as_rfc_8187_says() -> None:
    headers = [
        (b"x-tracequill-project", b"UTF-8''Z%C3%BCrich"),
        (b"x-tracequill-user-id", b"100%25"),
    ]

    context = read_context(headers, "default")

    assert context.project_name == "Zürich"
    assert context.user_id == "100%25"
