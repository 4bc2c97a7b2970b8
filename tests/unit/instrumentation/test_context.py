from __future__ import annotations

import asyncio
import contextvars
import json
import threading
from collections.abc import Iterator

import pytest
from opentelemetry.sdk.trace import ReadableSpan

import tracequill
from tracequill.testing import current_provider, recording


@pytest.fixture
def spans() -> Iterator[list[ReadableSpan]]:
    with recording(auto_instrument=False) as finished:
        yield finished


def make_span(name: str = "span") -> None:
    with current_provider().get_tracer("test").start_as_current_span(name):
        pass


def context_of(span: ReadableSpan) -> dict[str, object]:
    known = ("session.id", "user.id", "metadata", "tag.tags")
    return {key: value for key, value in (span.attributes or {}).items() if key in known}


def test_session_user_metadata_and_tags_stand_on_every_span_inside(
    spans: list[ReadableSpan],
) -> None:
    with (
        tracequill.session("s"),
        tracequill.user("u"),
        tracequill.metadata({"plan": "pro", "größe": 1}),
        tracequill.tags(["a", "b"]),
        current_provider().get_tracer("test").start_as_current_span("outer"),
    ):
        make_span()
    make_span()

    inner, outer, after = spans
    assert context_of(inner) == context_of(outer)
    assert context_of(inner)["session.id"] == "s"
    assert context_of(inner)["user.id"] == "u"
    assert context_of(inner)["tag.tags"] == ("a", "b")
    assert json.loads(str(context_of(inner)["metadata"])) == {"plan": "pro", "größe": 1}
    assert context_of(after) == {}


def test_the_inner_one_holds_until_it_ends(spans: list[ReadableSpan]) -> None:
    with tracequill.session("outer"):
        with tracequill.session("inner"):
            make_span()
        make_span()

    assert [context_of(span)["session.id"] for span in spans] == ["inner", "outer"]


def test_what_is_no_string_becomes_one(spans: list[ReadableSpan]) -> None:
    with (
        tracequill.session(42),  # type: ignore[arg-type]
        tracequill.user(7),  # type: ignore[arg-type]
        tracequill.tags("one"),
        tracequill.metadata({"object": object}),
    ):
        make_span()

    found = context_of(spans[0])
    assert (found["session.id"], found["user.id"], found["tag.tags"]) == ("42", "7", ("one",))
    assert "class 'object'" in json.loads(str(found["metadata"]))["object"]


def test_each_is_a_decorator_for_functions_of_every_sort(spans: list[ReadableSpan]) -> None:
    @tracequill.session("plain")
    def plain() -> None:
        make_span()

    @tracequill.session("async")
    async def coroutine() -> None:
        make_span()

    @tracequill.session("generator")
    def generator() -> Iterator[int]:
        make_span()
        yield 1

    plain()
    asyncio.run(coroutine())
    list(generator())
    make_span()

    sessions = [context_of(span).get("session.id") for span in spans]
    assert sessions == ["plain", "async", "generator", None]


async def test_tasks_inherit_and_do_not_disturb_each_other(spans: list[ReadableSpan]) -> None:
    both_inside = asyncio.Barrier(2)

    async def converse(name: str) -> None:
        async with tracequill.user(name):
            await both_inside.wait()
            make_span(name)

    async with tracequill.session("shared"), asyncio.TaskGroup() as tasks:
        for name in ("a", "b"):
            tasks.create_task(converse(name))

    assert {span.name: context_of(span) for span in spans} == {
        "a": {"session.id": "shared", "user.id": "a"},
        "b": {"session.id": "shared", "user.id": "b"},
    }


def test_a_thread_inherits_only_a_copied_context(spans: list[ReadableSpan]) -> None:
    with tracequill.session("s"):
        context = contextvars.copy_context()
        for target in (make_span, lambda: context.run(make_span)):
            thread = threading.Thread(target=target)
            thread.start()
            thread.join()

    assert [context_of(span) for span in spans] == [{}, {"session.id": "s"}]
