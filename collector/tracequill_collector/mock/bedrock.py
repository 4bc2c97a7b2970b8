"""The Bedrock runtime: chooses the operation by path, adds the vendor's headers, answers errors."""

from __future__ import annotations

import re
from urllib.parse import unquote

from tracequill_collector.mock.bedrock_converse import converse, converse_stream
from tracequill_collector.mock.bedrock_errors import (
    BedrockError,
    invalid,
    overloaded,
    server_error,
    throttled,
    unknown_operation,
    wrong_credentials,
)
from tracequill_collector.mock.bedrock_invoke import invoke, invoke_stream
from tracequill_collector.mock.conversation import uuid_identifier
from tracequill_collector.mock.reply import MockRequest, Reply, compact_json

# A model id is one raw segment of the path: what it holds of `:` and `/` is percent-encoded.
_PATH = re.compile(r"/model/([^/]+)/([a-z-]+)\Z")
_MODEL = re.compile(
    r"(?:(?:[a-z]{2}|us-gov|apac|global)\.)?"
    r"(?:ai21|amazon|anthropic|cohere|deepseek|google|meta|minimax|mistral|mock|moonshot|nvidia"
    r"|openai|qwen|stability|writer|zai)\.[\w.:-]+\Z"
    r"|arn:aws[\w-]*:bedrock:[\w-]*:\d*:[\w.:/-]+\Z"
)
_CREDENTIAL = re.compile(r"Credential=([^/,\s]*)")
_ERROR_SPACE = ":http://internal.amazon.com/coral/com.amazon.bedrock/"


class Bedrock:
    """The Bedrock runtime under ``/model``."""

    def reply(self, request: MockRequest) -> Reply:
        """Answer one request, with an exception in the vendor's format where one is due."""
        try:
            reply = self._operation(request)
        except BedrockError as error:
            return self._error(request, error)
        headers = [*reply.headers, self._request_id(request)]
        return Reply(reply.status, headers, reply.chunks, reply.broken_off)

    def failure(self, request: MockRequest, status: int) -> Reply:
        """Answer 429, 500 or 503."""
        known = {429: throttled, 503: overloaded}
        return self._error(request, known.get(status, server_error)())

    def malformed(self, request: MockRequest) -> Reply:
        """Answer a body that is JSON, but nothing that the operation understands."""
        return self._error(request, invalid("Malformed input request: a field has a wrong type."))

    def unrecorded(self, request: MockRequest, reason: str) -> Reply:
        """Answer a request that a recording has no answer to."""
        return self._error(request, BedrockError(404, "ResourceNotFoundException", reason))

    def _operation(self, request: MockRequest) -> Reply:
        match = _PATH.match(request.path)
        if match is None or request.method != "POST":
            raise unknown_operation()
        authorization = request.headers.get("authorization", "")
        credential = _CREDENTIAL.search(authorization)
        key = credential[1] if credential else authorization.removeprefix("Bearer ").strip()
        if key == "invalid":
            raise wrong_credentials()
        model, operation = unquote(match[1]), match[2]
        if operation not in (
            "converse",
            "converse-stream",
            "invoke",
            "invoke-with-response-stream",
        ):
            raise unknown_operation()
        if _MODEL.match(model) is None:
            raise invalid("The provided model identifier is invalid.")
        if operation == "converse":
            return converse(request)
        if operation == "converse-stream":
            return converse_stream(request)
        return invoke(request, model) if operation == "invoke" else invoke_stream(request, model)

    def _error(self, request: MockRequest, error: BedrockError) -> Reply:
        headers = [
            ("content-type", "application/json"),
            self._request_id(request),
            ("x-amzn-errortype", error.name + _ERROR_SPACE),
        ]
        body = {"message": error.message} if error.message else {}
        return Reply(error.status, headers, [compact_json(body)])

    def _request_id(self, request: MockRequest) -> tuple[str, str]:
        return "x-amzn-requestid", uuid_identifier(request.path, request.body)
