from __future__ import annotations

import json
from typing import Any

import pytest

from tests.exchange_cases import own_case
from tracequill_collector.recorder.interpret import interpret
from tracequill_collector.recorder.span import RecordedSpan

_CASE = own_case("together-rerank")


def _span(**changes: Any) -> RecordedSpan:
    return interpret(_CASE.exchange(**changes), "default-project")


def test_a_reranking_has_query_documents_scores_and_tokens() -> None:
    span = _span()
    found = {name: span.attributes[name] for name in span.attributes if name.startswith("reranker")}
    spree = '{"title": "Spree", "text": "It ends in the Havel."}'

    assert (span.name, span.attributes["openinference.span.kind"]) == ("Rerank", "RERANKER")
    assert found == {
        "reranker.model_name": "rank-small",
        "reranker.query": "Where does the Spree end?",
        "reranker.top_k": 2,
        "reranker.input_documents.0.document.content": "The Havel is long.",
        "reranker.input_documents.1.document.content": spree,
        "reranker.output_documents.0.document.content": spree,
        "reranker.output_documents.0.document.score": 0.98,
        "reranker.output_documents.1.document.content": "The Havel is long.",
        "reranker.output_documents.1.document.score": 0.11,
    }
    assert span.attributes["llm.token_count.prompt"] == 30
    assert span.attributes["llm.provider"] == "together"


def test_results_without_documents_point_to_those_of_the_request() -> None:
    answer = {"results": [{"index": 1, "relevance_score": 1}, {"index": 7}, {"index": None}]}
    found = _span(response_body=json.dumps(answer).encode()).attributes

    assert "Havel" in found["reranker.output_documents.0.document.content"]
    assert "reranker.output_documents.1.document.content" not in found


@pytest.mark.parametrize(
    "request_json",
    [{}, [], {"query": 1, "documents": []}, {"query": "a", "documents": {}}],
    ids=str,
)
def test_what_has_no_query_and_documents_is_a_plain_span(request_json: Any) -> None:
    assert _span(request_body=json.dumps(request_json).encode()).name == "POST /v1/rerank"


def test_a_reranking_that_failed_says_so() -> None:
    span = _span(status=400, response_body=b'{"error": "no"}')

    assert (span.status, span.status_message) == ("ERROR", "HTTP 400")
