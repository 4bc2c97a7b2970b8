"""For the same requests the rows equal those of Phoenix's own ingestion (promise 2 of DESIGN)."""

from __future__ import annotations

import json
import random
import string
from collections.abc import Callable
from typing import Any

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span

from tests.exchange_cases import Case, corpus_cases, own_cases
from tests.integration.collector.drawn import span_id, trace_id
from tests.integration.collector.exporting import export, record_of, spans_of
from tests.integration.collector.generated import generated_requests
from tests.integration.collector.oracle import (
    NOT_COMPARED,
    Phoenix,
    assert_same_rows,
    compared_columns,
    stored_rows,
)
from tests.integration.collector.prices import enter_prices
from tests.otlp_values import pairs
from tracequill_collector.exchange import Exchange
from tracequill_collector.exporter.specificity import specificity
from tracequill_collector.pipeline import Record, RecordKind
from tracequill_collector.processor.attributes import unflatten
from tracequill_collector.recorder.interpret import interpret
from tracequill_collector.recorder.span import encode_request, encode_spans

pytestmark = pytest.mark.integration

NewDatabase = Callable[[], str]

# Compression would make anything but noise short enough for an index.
_NOISE = "".join(random.Random(1).choices(string.ascii_letters, k=9000))
_VENDORS = "openai gemini anthropic bedrock bedrock-agent together groq mistral ollama".split()


async def test_requests_stored_one_by_one(
    phoenix: Phoenix, pair: tuple[str, str], requests: list[bytes], records: list[Record]
) -> None:
    theirs, ours = pair
    phoenix.ingest(theirs, [(payload, None) for payload in requests])

    await export(ours, *(spans_of([record]) for record in records))

    assert_same_rows(await stored_rows(ours), await stored_rows(theirs))


async def test_requests_stored_as_one_batch_backwards(
    phoenix: Phoenix, pair: tuple[str, str], requests: list[bytes], records: list[Record]
) -> None:
    theirs, ours = pair
    phoenix.ingest(theirs, [(payload, None) for payload in reversed(requests)])

    await export(ours, spans_of(records[::-1]))

    assert_same_rows(await stored_rows(ours), await stored_rows(theirs))


@pytest.mark.parametrize("seed", [1, 2])
async def test_generated_traces_in_random_pieces(
    phoenix: Phoenix, pair: tuple[str, str], seed: int
) -> None:
    theirs, ours = pair
    requests = generated_requests(seed, traces=40, requests=12)
    phoenix.ingest(theirs, [(payload, None) for payload in requests])

    # Batches need not be requests: cut the spans anew, in their order.
    spans = spans_of([record_of(payload) for payload in requests])
    cuts = sorted(random.Random(seed).sample(range(len(spans)), 9))
    await export(ours, *(spans[a:b] for a, b in zip([0, *cuts], [*cuts, len(spans)], strict=True)))

    assert_same_rows(await stored_rows(ours), await stored_rows(theirs))


async def test_the_project_header_goes_before_the_resource(
    phoenix: Phoenix, pair: tuple[str, str], requests: list[bytes]
) -> None:
    theirs, ours = pair
    phoenix.ingest(theirs, [(requests[0], "from the header"), (requests[5], None)])

    named = Record(RecordKind.OTLP_TRACES, 0, requests[0], project_name="from the header")
    await export(ours, spans_of([named]), spans_of([record_of(requests[5])]))

    assert_same_rows(await stored_rows(ours), await stored_rows(theirs))


async def test_every_column_is_compared(new_database: NewDatabase) -> None:
    columns = await compared_columns(new_database())

    assert {table: all_ - compared for table, (all_, compared) in columns.items()} == NOT_COMPARED


async def test_calls_that_the_proxy_recorded(phoenix: Phoenix, pair: tuple[str, str]) -> None:
    theirs, ours = pair
    requests = [
        encode_request(encode_spans(interpret(_numbered(case, number), "app")), "recorded")
        for number, case in enumerate([*own_cases(), *corpus_cases(*_VENDORS)], 1)
    ]
    phoenix.ingest(theirs, [(payload, None) for payload in requests])

    spans = spans_of([record_of(payload) for payload in requests])
    await export(ours, spans[:50], spans[50:])

    rows = await stored_rows(ours)
    assert_same_rows(rows, await stored_rows(theirs))
    # Those of an agent's steps among them.
    assert len(rows["spans"]) == len(spans) > len(requests) > 50


async def test_what_a_call_says_of_itself_is_no_sql(
    phoenix: Phoenix, pair: tuple[str, str]
) -> None:
    """Class: SQL injection. litellm put an Authorization header into a query (CVE-2026-42208)."""
    theirs, ours = pair
    sql = "x'); DROP TABLE spans; --\\.\n\t$1 %s {0} \"\\N"
    exchange = own_cases()[0].exchange(
        session_id=sql, user_id=sql, tags=(sql,), metadata=json.dumps({sql: sql})
    )
    payload = encode_request(encode_spans(interpret(exchange, "app")), sql)
    phoenix.ingest(theirs, [(payload, None)])

    await export(ours, spans_of([record_of(payload)]))

    rows = await stored_rows(ours)
    assert_same_rows(rows, await stored_rows(theirs))
    for table in ("projects", "project_sessions"):
        assert [row for row in rows[table] if sql in row], table


def _numbered(case: Case, number: int) -> Exchange:
    """Give the exchange of *case* with ids of its own; three calls make a trace."""
    return case.exchange(trace_id=f"{1 + number // 3:032x}", span_id=f"{number:016x}")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        pytest.param("our.text", "before\0after", id="NUL"),
        pytest.param("our.\0key", "text", id="NUL in a key"),
        pytest.param("our.bytes", b"\x00\xff", id="bytes"),
        pytest.param("our.list", [{"a": [b"bytes", "\0"]}], id="bytes in a list"),
        pytest.param("metadata", '{"text": "\\ud800"}', id="lone surrogate"),
        pytest.param("metadata", '{"text": "\\u0000"}', id="NUL in JSON"),
        pytest.param("metadata", '{"number": 18446744073709551616}', id="long number"),
        pytest.param("metadata", "[" * 300 + "]" * 300, id="deep JSON"),
        pytest.param(".".join("abcdefghij" * 30), 1, id="deep key"),
    ],
)
async def test_what_phoenix_loses_is_kept_and_the_rest_is_the_same(
    phoenix: Phoenix, pair: tuple[str, str], key: str, value: Any
) -> None:
    theirs, ours = pair
    good = _request(1, [("llm.model_name", "gpt-4o"), ("openinference.span.kind", "LLM")])
    bad = _request(2, [(key, value), ("session.id", "only here")])
    requests = [good, bad, _request(4, [])]
    phoenix.ingest(theirs, [(payload, None) for payload in requests])

    await export(ours, spans_of([record_of(payload) for payload in requests]))

    mine, others = await stored_rows(ours), await stored_rows(theirs)
    lost = [row for row in mine["spans"] if row not in others["spans"]]
    assert [row[0] for row in lost] == [span_id(2).hex()]
    for table, column in (("spans", 1), ("traces", 0), ("project_sessions", 0)):
        gone = ("only here", trace_id(2).hex())
        mine[table] = [row for row in mine[table] if row[column] not in gone]
    assert_same_rows(mine, others)


def _request(number: int, attributes: list[tuple[str, Any]], *, parent: int = 0) -> bytes:
    span = Span(
        trace_id=trace_id(number),
        span_id=span_id(number),
        parent_span_id=span_id(parent) if parent else b"",
        start_time_unix_nano=1_770_000_000_000_000_000,
        end_time_unix_nano=1_770_000_001_000_000_000,
        attributes=pairs(attributes),
    )
    scope_spans = [ScopeSpans(spans=[span])]
    return ExportTraceServiceRequest(
        resource_spans=[ResourceSpans(scope_spans=scope_spans)]
    ).SerializeToString()


async def test_a_span_id_under_a_second_trace_leaves_no_empty_trace(
    phoenix: Phoenix, pair: tuple[str, str]
) -> None:
    theirs, ours = pair
    first = _request(1, [])
    second = first.replace(trace_id(1), b"second trace ...")
    phoenix.ingest(theirs, [(first, None), (second, None)])

    _, rejected = await export(ours, spans_of([record_of(first), record_of(second)]))

    mine, others = await stored_rows(ours), await stored_rows(theirs)
    assert rejected.span_ids == [span_id(1).hex()]
    assert [row[0] for row in others["traces"] if row not in mine["traces"]] == [
        b"second trace ...".hex()
    ]
    others["traces"] = mine["traces"]
    assert_same_rows(mine, others)


@pytest.mark.parametrize("key", ["session.id", "user.id", "project"])
async def test_what_is_too_long_for_an_index_is_stored_by_neither(
    phoenix: Phoenix, pair: tuple[str, str], key: str
) -> None:
    theirs, ours = pair
    bad = _request(2, [(key, _NOISE)])
    project = _NOISE if key == "project" else None
    requests = [(_request(1, []), None), (bad, project), (_request(4, []), None)]
    phoenix.ingest(theirs, requests)

    records = [
        Record(RecordKind.OTLP_TRACES, 0, payload, project_name=name or "")
        for payload, name in requests
    ]
    _, rejected = await export(ours, spans_of(records))

    assert rejected.span_ids == [span_id(2).hex()]
    assert_same_rows(await stored_rows(ours), await stored_rows(theirs))


async def test_a_kind_of_token_with_too_long_a_name_has_no_cost(
    phoenix: Phoenix, pair: tuple[str, str]
) -> None:
    theirs, ours = pair
    llm = [("openinference.span.kind", "LLM"), ("llm.model_name", "gpt-4o")]
    requests = [
        _request(1, [*llm, (f"llm.token_count.prompt_details.{_NOISE}", 3)]),
        _request(4, [*llm, ("llm.token_count.prompt", 3)]),
    ]
    phoenix.ingest(theirs, [(payload, None) for payload in requests])

    _, rejected = await export(ours, spans_of([record_of(payload) for payload in requests]))

    rows = await stored_rows(ours)
    assert rejected == []
    assert len(rows["span_costs"]) == 1
    assert_same_rows(rows, await stored_rows(theirs))


async def test_sums_that_no_column_holds(phoenix: Phoenix, pair: tuple[str, str]) -> None:
    theirs, ours = pair
    sent = [(4, 1, 1_500_000_000), (7, 1, 1_500_000_000), (1, 0, 5), (10, 1, 400_000_000)]
    sent += [(13, 1, 1_500_000_000), (16, 13, 100_000_000), (19, 4, 300_000_000)]
    requests = [_request(number, _llm(tokens), parent=parent) for number, parent, tokens in sent]
    phoenix.ingest(theirs, [(payload, None) for payload in requests])

    _, rejected = await export(ours, spans_of([record_of(payload) for payload in requests]))

    rows = await stored_rows(ours)
    assert_same_rows(rows, await stored_rows(theirs))
    assert rejected and len(rows["spans"]) + len(rejected) == len(requests)


def _llm(tokens: int) -> list[tuple[str, Any]]:
    return [
        ("openinference.span.kind", "LLM"),
        ("llm.model_name", "gpt-4o"),
        ("llm.token_count.prompt", tokens),
    ]


async def test_prices_that_people_entered(
    phoenix: Phoenix, new_database: NewDatabase, requests: list[bytes]
) -> None:
    theirs, ours = new_database(), new_database()
    for database in (theirs, ours):
        await enter_prices(database)
    phoenix.ingest(theirs, [(payload, None) for payload in requests])

    await export(ours, *(spans_of([record_of(payload)]) for payload in requests))

    assert_same_rows(await stored_rows(ours), await stored_rows(theirs))


_SEGMENTS = st.sampled_from(["a", "b", "0", "1", "01", "-1", "", " a ", "é", "10", "x y", "٣"])
_KEYS = st.lists(_SEGMENTS, min_size=1, max_size=5).map(".".join)
_VALUES = st.one_of(st.none(), st.integers(0, 9), st.just({"a": {"0": 1}}), st.just([1, {"a": 2}]))
_CASES = st.lists(st.lists(st.tuples(_KEYS, _VALUES), max_size=6), min_size=20, max_size=40)


@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(_CASES)
def test_keys_are_nested_alike(phoenix: Phoenix, cases: list[list[tuple[str, object]]]) -> None:
    # As in a request, where the attributes of a span are collected by their key first.
    collected = [
        pairs for pairs in (list(dict(case).items()) for case in cases) if _is_settled(pairs)
    ]

    assert [unflatten(pairs) for pairs in collected] == phoenix.unflatten(collected)


def _is_settled(pairs: list[tuple[str, object]]) -> bool:
    """Whether Phoenix gives the same every time.

    Where two keys mean the same place, or get there on both sides of an empty segment, its winner
    depends on the order of a set.
    """
    paths = [_path(key) for key, _ in pairs]
    tops = [next(filter(None, path), "") for path in paths]
    return len({tuple(filter(None, path)) for path in paths}) == len(paths) and not any(
        "" in path and tops.count(top) > 1 for path, top in zip(paths, tops, strict=True)
    )


def _path(key: str) -> list[str]:
    segments = [segment.strip() for segment in key.split(".")]
    return [str(int(segment)) if segment.isdigit() else segment for segment in segments]


async def test_patterns_are_equally_specific(phoenix: Phoenix, new_database: NewDatabase) -> None:
    connection = await asyncpg.connect(new_database())
    try:
        found = await connection.fetch("SELECT name_pattern FROM generative_models")
    finally:
        await connection.close()
    patterns = [record["name_pattern"] for record in found] + [
        "",
        "^$",
        "a",
        "(?i)^gpt-4(?:o|\\.1)(?P<date>-\\d{4}-\\d{2,})?$",
        "(?i)(?m)^a\\$",
        "a\\\\$",
        "[]abc]",
        "[^a\\]b]+.*|\\D{2}",
        "{a}{,5}x{2}y{2,}",
        "(?<!x)a(?-i:b)\\.\\\\",
    ]

    assert [specificity(pattern) for pattern in patterns] == phoenix.specificity(patterns)
