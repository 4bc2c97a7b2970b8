from __future__ import annotations

import orjson
import pytest

from tracequill_collector.proxy.refusal import Refusal, refuse


def header(refusal: Refusal, name: bytes) -> bytes | None:
    return dict(refusal.headers).get(name)


def test_openai_reads_an_error_object() -> None:
    refusal = refuse("openai", 502, "upstream", "it is gone.")

    assert (refusal.status, refusal.reason) == (502, "Bad Gateway")
    assert orjson.loads(refusal.body) == {
        "error": {
            "message": "Tracequill proxy: it is gone.",
            "type": "api_error",
            "param": None,
            "code": "tracequill_upstream",
        }
    }


@pytest.mark.parametrize("vendor", ["bedrock", "bedrock-agent", "sagemaker"])
def test_aws_reads_a_message_and_a_type_header(vendor: str) -> None:
    refusal = refuse(vendor, 503, "queue_full", "no room.")

    assert orjson.loads(refusal.body) == {"message": "Tracequill proxy: no room."}
    assert header(refusal, b"x-amzn-ErrorType") == b"ServiceUnavailableException"
    assert header(refusal, b"Retry-After") == b"1"


def test_anthropic_reads_a_typed_error() -> None:
    body = orjson.loads(refuse("anthropic", 503, "busy", "no room.").body)

    assert (body["type"], body["error"]["type"]) == ("error", "overloaded_error")


def test_gemini_reads_code_and_status() -> None:
    error = orjson.loads(refuse("gemini", 504, "upstream", "late.").body)["error"]

    assert (error["code"], error["status"]) == (504, "DEADLINE_EXCEEDED")


@pytest.mark.parametrize("vendor", ["openai", "bedrock", "anthropic", "gemini", "", "vllm"])
@pytest.mark.parametrize("status", [400, 403, 404, 405, 413, 500, 502, 503, 504])
def test_every_refusal_says_its_length_and_type(vendor: str, status: int) -> None:
    refusal = refuse(vendor, status, "code", "message.")

    assert header(refusal, b"Content-Length") == str(len(refusal.body)).encode()
    assert header(refusal, b"Content-Type") == b"application/json"
    assert orjson.loads(refusal.body)
