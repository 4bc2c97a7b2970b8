"""Bedrock's knowledge bases: what is asked and what is found enter, flat attributes leave.

Retrieve, RetrieveAndGenerate and its stream, and the documents that an agent looked up.
No input or output.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from openinference.semconv.trace import (
    DocumentAttributes,
    OpenInferenceMimeTypeValues,
    OpenInferenceSpanKindValues,
    SpanAttributes,
)

from tracequill_collector.recorder.body import to_json
from tracequill_collector.recorder.message import (
    Pairs,
    mapping,
    objects,
    text_or_none,
    without_large_binary,
)

_TEXT = OpenInferenceMimeTypeValues.TEXT.value
_CHUNK_ID = "x-amz-bedrock-kb-chunk-id"


def documents_attributes(found: Iterable[dict[str, Any]]) -> Pairs:
    """Give each document that was found, with where it lies."""
    for index, document in enumerate(found):
        prefix = f"{SpanAttributes.RETRIEVAL_DOCUMENTS}.{index}."
        content, about = mapping(document.get("content")), mapping(document.get("metadata"))
        chunk_id = about.get(_CHUNK_ID)
        yield prefix + DocumentAttributes.DOCUMENT_ID, str(chunk_id) if chunk_id else None
        yield prefix + DocumentAttributes.DOCUMENT_CONTENT, content.get("text") or None
        score = document.get("score")
        if isinstance(score, int | float) and score:
            yield prefix + DocumentAttributes.DOCUMENT_SCORE, float(score)
        place = {
            "location": document.get("location"),
            "metadata": about,
            "type": content.get("type"),
        }
        yield prefix + DocumentAttributes.DOCUMENT_METADATA, to_json(place)


def _question_attributes(question: Any, parameters: dict[str, Any]) -> Pairs:
    yield SpanAttributes.OPENINFERENCE_SPAN_KIND, OpenInferenceSpanKindValues.RETRIEVER.value
    yield SpanAttributes.INPUT_VALUE, text_or_none(mapping(question).get("text")) or ""
    yield SpanAttributes.INPUT_MIME_TYPE, _TEXT
    yield SpanAttributes.LLM_INVOCATION_PARAMETERS, to_json(without_large_binary(parameters))


def retrieve_request_attributes(knowledge_base_id: str, request: dict[str, Any]) -> Pairs:
    """Give everything that a request of Retrieve says."""
    parameters: dict[str, Any] = {"knowledgeBaseId": knowledge_base_id}
    if token := request.get("nextToken"):
        parameters["next_token"] = token
    if configuration := request.get("retrievalConfiguration"):
        parameters["retrieval_configuration"] = configuration
    yield from _question_attributes(request.get("retrievalQuery"), parameters)


def retrieve_response_attributes(response: dict[str, Any]) -> Pairs:
    """Give everything that an answer of Retrieve says."""
    yield from documents_attributes(objects(response.get("retrievalResults")))


def generate_request_attributes(request: dict[str, Any]) -> Pairs:
    """Give everything that a request of RetrieveAndGenerate says."""
    configuration = mapping(request.get("retrieveAndGenerateConfiguration"))
    is_base = configuration.get("type") == "KNOWLEDGE_BASE"
    kind = "knowledgeBaseConfiguration" if is_base else "externalSourcesConfiguration"
    model = mapping(configuration.get(kind)).get("modelArn", "")
    yield SpanAttributes.LLM_MODEL_NAME, text_or_none(model)
    names = ("retrieveAndGenerateConfiguration", "sessionConfiguration", "sessionId")
    parameters = {name: request[name] for name in names if request.get(name)}
    yield from _question_attributes(request.get("input"), parameters)


def generate_response_attributes(citations: list[dict[str, Any]], text: str) -> Pairs:
    """Give the answer and the documents it cites."""
    yield from documents_attributes(
        document
        for citation in citations
        for document in objects(citation.get("retrievedReferences"))
    )
    yield SpanAttributes.OUTPUT_VALUE, text
    yield SpanAttributes.OUTPUT_MIME_TYPE, _TEXT
