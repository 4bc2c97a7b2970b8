"""Errors of AWS's services as botocore raises them: an answer or a frame of a stream enters, a
Failure leaves. No input or output.
"""

from __future__ import annotations

from typing import Any

from tracequill_collector.recorder.aws.eventstream import EventStreamMessage
from tracequill_collector.recorder.body import header, parse_json
from tracequill_collector.recorder.call import Call, Failure
from tracequill_collector.recorder.message import mapping
from tracequill_collector.recorder.secret import remove_keys

# The errors that botocore has classes for, for the runtimes of Bedrock and SageMaker; any other is
# a plain ClientError.
_MODELED_ERRORS = frozenset(
    {
        "AccessDeniedException",
        "BadGatewayException",
        "ConflictException",
        "DependencyFailedException",
        "InternalDependencyException",
        "InternalFailure",
        "InternalServerException",
        "ModelError",
        "ModelErrorException",
        "ModelNotReadyException",
        "ModelStreamErrorException",
        "ModelTimeoutException",
        "ResourceNotFoundException",
        "ServiceQuotaExceededException",
        "ServiceUnavailable",
        "ServiceUnavailableException",
        "ThrottlingException",
        "ValidationError",
        "ValidationException",
    }
)


def failure(call: Call, operation: str, *, describes: bool) -> Failure:
    """Give the error that botocore raises for this answer.

    Some operations' instrumentors set the span's status message to the error's (*describes*), for
    others OpenTelemetry writes the error's name before it.
    """
    body = mapping(call.response_json)
    code = header(call.exchange.response_headers, "x-amzn-errortype")
    code = str(code or body.get("code") or body.get("__type") or call.exchange.status)
    code = code.partition(":")[0].rpartition("#")[2]
    message = _client_error(code, operation, body.get("message", body.get("Message", "")))
    if code in _MODELED_ERRORS:
        name, module = code, "botocore.errorfactory"
    else:
        name, module = "ClientError", "botocore.exceptions"
    return Failure(f"{module}.{name}", message, message if describes else "")


def stream_failure(message: EventStreamMessage, operation: str, *, describes: bool) -> Failure:
    """Give the error that botocore raises for a frame that is not an event."""
    if message.text_header(":message-type") == "error":
        code = message.headers.get(":error-code", "Unknown")
        said = message.headers.get(":error-message", "")
    else:
        code = message.headers.get(":exception-type", "Unknown")
        body = mapping(parse_json(message.payload))
        said = body.get("message", body.get("Message", ""))
    text = _client_error(str(code), operation, said)
    return Failure("botocore.exceptions.EventStreamError", text, text if describes else "")


def _client_error(code: str, operation: str, said: Any) -> str:
    text = remove_keys(said) if isinstance(said, str) else ""
    return f"An error occurred ({code}) when calling the {operation} operation: {text}"
