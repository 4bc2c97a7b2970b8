"""Exchanges with Gemini's API: a Call enters, the Interpretation that the SDK's span equals leaves.

The Gemini API and Vertex AI differ in what stands before the model in the path, and in embeddings;
the rest is one format. Knows the endpoints that make LLM, embedding and cache spans; everything
else (counting tokens, files, batches) is not for this module. No input or output.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Callable, Iterator
from http import HTTPStatus
from typing import Any

from openinference.semconv.trace import (
    EmbeddingAttributes,
    OpenInferenceLLMProviderValues,
    OpenInferenceMimeTypeValues,
    OpenInferenceSpanKindValues,
    SpanAttributes,
)

from tracequill_collector.recorder.body import parse_json, to_json
from tracequill_collector.recorder.call import Call, Failure, Interpretation
from tracequill_collector.recorder.gemini import interactions
from tracequill_collector.recorder.gemini.content import (
    request_attributes,
    response_attributes,
    texts,
    usage_attributes,
)
from tracequill_collector.recorder.gemini.names import python_names
from tracequill_collector.recorder.gemini.stream import response_of_chunks
from tracequill_collector.recorder.message import Pairs, mapping, objects, text_or_none
from tracequill_collector.recorder.secret import remove_keys
from tracequill_collector.recorder.sse import parse_sse

_JSON = OpenInferenceMimeTypeValues.JSON.value
_LLM = OpenInferenceSpanKindValues.LLM
_EMBEDDING = OpenInferenceSpanKindValues.EMBEDDING
_GOOGLE = OpenInferenceLLMProviderValues.GOOGLE.value
_ERRORS = "google.genai.errors"
_SSE_FIELDS = (b"data:", b"event:", b"id:", b"retry:", b":")
_BETWEEN_ITEMS = re.compile(r"[\[,\s]*")


def interpret(call: Call) -> Interpretation | None:
    """Interpret the exchange, or give None when its endpoint is none of these."""
    if call.exchange.method != "POST":
        return None
    last = call.segments[-1]
    if last == "interactions":
        return interactions.interpret(call)
    if last == "cachedContents":
        return _create_cache(call)
    model, colon, method = last.rpartition(":")
    interpreter = _INTERPRETERS.get(method) if colon and len(call.segments) > 1 else None
    return interpreter(call, _model(call, model)) if interpreter else None


def _model(call: Call, name: str) -> str:
    """Name the model: by its own name, or by its path when it is no model of Google's."""
    *folders, kind, _ = call.segments
    if kind == "models":
        return name
    start = folders.index("projects") if "projects" in folders else len(folders)
    return "/".join((*folders[start:], kind, name))


def _start(
    call: Call, name: str, kind: OpenInferenceSpanKindValues, request: dict[str, Any]
) -> Interpretation:
    result = Interpretation(name)
    result.add([(SpanAttributes.OPENINFERENCE_SPAN_KIND, kind.value)])
    if isinstance(call.request_json, dict):
        result.add(
            [
                (SpanAttributes.INPUT_VALUE, to_json(request)),
                (SpanAttributes.INPUT_MIME_TYPE, _JSON),
            ]
        )
    else:
        result.add([(SpanAttributes.INPUT_VALUE, call.request_text)])
        result.problems.append("request body is not a JSON object")
    if not call.succeeded and call.exchange.status:
        result.fail(_failure(call), call.exchange.end_unix_ns)
    return result


def _request(call: Call) -> dict[str, Any]:
    return mapping(python_names(mapping(call.request_json)))


def _failure(call: Call) -> Failure:
    """Give the error that Google's library raises for this answer."""
    status = call.exchange.status
    body = call.response_json
    if body is None:
        body = {"message": call.response.data.decode("utf-8", "replace"), "status": _phrase(status)}
    return _error(status, body)


def _error(status: Any, body: Any) -> Failure:
    if isinstance(body, list) and len(body) == 1:
        body = body[0]
    error = mapping(mapping(body).get("error"))
    reason = mapping(body).get("status", error.get("status"))
    name = "APIError"
    if isinstance(status, int) and 400 <= status < 600:
        name = "ClientError" if status < 500 else "ServerError"
    return Failure(f"{_ERRORS}.{name}", remove_keys(f"{status} {reason}. {body}"))


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""


def _response(call: Call, result: Interpretation) -> dict[str, Any]:
    """Give the answer of a call without a stream; empty when there is none."""
    if not call.succeeded:
        return {}
    if isinstance(call.response_json, dict):
        return mapping(python_names(call.response_json))
    if call.response.data:
        result.add([(SpanAttributes.OUTPUT_VALUE, call.response_text)])
        result.problems.append("response body is not a JSON object")
        if call.is_whole:
            # The library reads the body as JSON too, and raises what this raises.
            try:
                json.loads(call.response.data)
            except ValueError as error:
                failure = Failure("json.decoder.JSONDecodeError", str(error))
                result.fail(failure, call.exchange.end_unix_ns)
    return {}


def _output(result: Interpretation, response: dict[str, Any]) -> None:
    if response:
        result.add(
            [
                (SpanAttributes.OUTPUT_VALUE, to_json(response)),
                (SpanAttributes.OUTPUT_MIME_TYPE, _JSON),
            ]
        )


def _generate(call: Call, model: str) -> Interpretation:
    request = _request(call)
    result = _start(call, "GenerateContent", _LLM, request)
    _add_generated(result, model, request, _response(call, result))
    return result


def _stream_generate(call: Call, model: str) -> Interpretation:
    request = _request(call)
    result = _start(call, "GenerateContentStream", _LLM, request)
    response = response_of_chunks(_chunks(call, result)) if call.succeeded else {}
    _add_generated(result, model, request, response)
    return result


def _add_generated(
    result: Interpretation, model: str, request: dict[str, Any], response: dict[str, Any]
) -> None:
    result.add([(SpanAttributes.LLM_PROVIDER, _GOOGLE), (SpanAttributes.LLM_MODEL_NAME, model)])
    result.add(request_attributes(request))
    _output(result, response)
    result.add(response_attributes(response))


def _chunks(call: Call, result: Interpretation) -> Iterator[dict[str, Any]]:
    """Give the chunks of a stream until its end or its error, which is recorded."""
    for chunk in _events(call) if call.response_type == "text/event-stream" else _array(call):
        value = parse_json(chunk) if isinstance(chunk, str) else chunk
        if not isinstance(value, dict):
            result.problems.append("stream holds an event that is not a JSON object")
            if isinstance(chunk, str) and value is None and call.is_whole:
                message = f"Failed to parse response as JSON. Raw response: {remove_keys(chunk)}"
                failure = Failure(f"{_ERRORS}.UnknownApiResponseError", message)
                result.fail(failure, call.exchange.end_unix_ns)
                return
            continue
        if isinstance(error := value.get("error"), dict):
            failure = _error(error.get("code"), value)
            result.fail(failure, call.exchange.end_unix_ns)
            return
        yield mapping(python_names(value))


def _events(call: Call) -> Iterator[str]:
    """Give the data of a stream's events; an error may come after them as plain JSON."""
    body = call.response.data
    for event in parse_sse(body):
        yield event.data
    if b'"error"' in body:
        rest = b"".join(line for line in body.splitlines() if not line.startswith(_SSE_FIELDS))
        if isinstance(parse_json(rest), dict):
            yield rest.decode()


def _array(call: Call) -> Iterator[Any]:
    """Give the items of a JSON array, which is how a stream comes without ``alt=sse``."""
    if isinstance(whole := call.response_json, list):
        yield from whole
        return
    if whole is not None:
        yield whole
        return
    # The array is cut: what is whole at its beginning counts.
    start = 0
    text = call.response.data.decode("utf-8", "replace")
    decoder = json.JSONDecoder()
    while between := _BETWEEN_ITEMS.match(text, start):
        try:
            item, start = decoder.raw_decode(text, between.end())
        except (ValueError, RecursionError):
            return
        yield item


def _embed(call: Call, model: str) -> Interpretation:
    """Interpret the Gemini API's embedding of many, and of one."""
    request = _request(call)
    result = _start(call, "EmbedContent", _EMBEDDING, request)
    requests = objects(request.get("requests")) or ([request] if request else [])
    _add_embeddings_request(
        result,
        model,
        [texts(item.get("content")) for item in requests],
        {k: v for k, v in (requests or [{}])[0].items() if k not in ("content", "model")},
    )
    response = _response(call, result)
    embeddings = objects(response.get("embeddings")) or [mapping(response.get("embedding"))]
    _output(result, response)
    result.add(usage_attributes(response.get("usage_metadata")))
    result.add(_vectors(embeddings))
    return result


def _predict(call: Call, model: str) -> Interpretation | None:
    """Interpret Vertex AI's embeddings; its other predictions have formats of their own."""
    if "embedding" not in model:
        return None
    request = _request(call)
    result = _start(call, "EmbedContent", _EMBEDDING, request)
    instances = objects(request.get("instances"))
    _add_embeddings_request(
        result,
        model,
        [text_or_none(item.get("content")) for item in instances],
        {k: v for k, v in (instances or [{}])[0].items() if k != "content"},
    )
    response = _response(call, result)
    _output(result, response)
    predictions = objects(response.get("predictions"))
    result.add(_vectors([mapping(item.get("embeddings")) for item in predictions]))
    return result


def _add_embeddings_request(
    result: Interpretation, model: str, contents: list[str | None], parameters: dict[str, Any]
) -> None:
    result.add([(SpanAttributes.LLM_PROVIDER, _GOOGLE)])
    result.add([(SpanAttributes.EMBEDDING_MODEL_NAME, model)])
    if parameters:
        result.add([(SpanAttributes.EMBEDDING_INVOCATION_PARAMETERS, to_json(parameters))])
    for index, text in enumerate(contents):
        result.add([(_embedding(index, EmbeddingAttributes.EMBEDDING_TEXT), text)])


def _vectors(embeddings: list[dict[str, Any]]) -> Pairs:
    for index, embedding in enumerate(embeddings):
        values = embedding.get("values")
        if isinstance(values, list) and all(isinstance(value, int | float) for value in values):
            with contextlib.suppress(OverflowError):
                vector = [float(value) for value in values]
                yield _embedding(index, EmbeddingAttributes.EMBEDDING_VECTOR), vector or None


def _embedding(index: int, name: str) -> str:
    return f"{SpanAttributes.EMBEDDING_EMBEDDINGS}.{index}.{name}"


def _create_cache(call: Call) -> Interpretation:
    result = _start(call, "Caches.create", OpenInferenceSpanKindValues.CHAIN, _request(call))
    response = _response(call, result)
    _output(result, response)
    usage = mapping(response.get("usage_metadata"))
    result.add(
        [
            (SpanAttributes.LLM_MODEL_NAME, text_or_none(response.get("model")) or None),
            (SpanAttributes.LLM_TOKEN_COUNT_TOTAL, usage.get("total_token_count") or None),
        ]
    )
    return result


_INTERPRETERS: dict[str, Callable[[Call, str], Interpretation | None]] = {
    "generateContent": _generate,
    "streamGenerateContent": _stream_generate,
    "embedContent": _embed,
    "batchEmbedContents": _embed,
    "predict": _predict,
}
