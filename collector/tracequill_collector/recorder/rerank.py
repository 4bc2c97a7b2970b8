"""Rerankings as Cohere, Jina, Together, Voyage and vLLM serve them: a Call enters, the
Interpretation of a span of kind RERANKER leaves. No input or output.
"""

from __future__ import annotations

from typing import Any

from openinference.semconv.trace import (
    DocumentAttributes,
    OpenInferenceSpanKindValues,
    RerankerAttributes,
    SpanAttributes,
)

from tracequill_collector.recorder.body import to_json
from tracequill_collector.recorder.call import Call, Interpretation
from tracequill_collector.recorder.message import Pairs, mapping, objects, text_or_none
from tracequill_collector.recorder.plain import plain

_KIND = OpenInferenceSpanKindValues.RERANKER.value


def interpret(call: Call) -> Interpretation | None:
    """Interpret the exchange, or give None when it orders no documents by a query."""
    if call.exchange.method != "POST" or call.segments[-1] != "rerank":
        return None
    request = mapping(call.request_json)
    query, documents = request.get("query"), request.get("documents")
    if not isinstance(query, str) or not isinstance(documents, list):
        return None
    # Values, model, tokens and status are those of any call.
    result = plain(call)
    result.name = "Rerank"
    model = result.attributes.pop(SpanAttributes.LLM_MODEL_NAME, None)
    result.add(
        [
            (SpanAttributes.OPENINFERENCE_SPAN_KIND, _KIND),
            (SpanAttributes.LLM_PROVIDER, call.provider or None),
            (RerankerAttributes.RERANKER_MODEL_NAME, model),
            (RerankerAttributes.RERANKER_QUERY, query),
            (RerankerAttributes.RERANKER_TOP_K, _whole(request.get("top_n", request.get("top_k")))),
        ]
    )
    for index, document in enumerate(documents):
        result.add(_document(RerankerAttributes.RERANKER_INPUT_DOCUMENTS, index, document))
    if call.succeeded:
        response = mapping(call.response_json)
        answers = objects(response.get("results", response.get("data")))
        for index, answer in enumerate(answers):
            prefix = RerankerAttributes.RERANKER_OUTPUT_DOCUMENTS
            result.add(_document(prefix, index, _answered(answer, documents)))
            score = answer.get("relevance_score", answer.get("score"))
            name = f"{prefix}.{index}.{DocumentAttributes.DOCUMENT_SCORE}"
            result.add([(name, score if isinstance(score, int | float) else None)])
    return result


def _answered(answer: dict[str, Any], documents: list[Any]) -> Any:
    """Give the document of a result: its own, or the one of the request that it points to."""
    if document := answer.get("document"):
        return document
    index = answer.get("index")
    if isinstance(index, int) and 0 <= index < len(documents):
        return documents[index]
    return None


def _document(prefix: str, index: int, document: Any) -> Pairs:
    content: Any = document
    if isinstance(document, dict):
        only_text = set(document) == {"text"}
        content = document["text"] if only_text else to_json(document)
        name = f"{prefix}.{index}.{DocumentAttributes.DOCUMENT_ID}"
        yield name, text_or_none(document.get("id"))
    yield f"{prefix}.{index}.{DocumentAttributes.DOCUMENT_CONTENT}", text_or_none(content)


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
