"""What the recorder makes of Bedrock's and SageMaker's exchanges is redacted as everything else is.

LiteLLM's guardrails were silently skipped for what it passed through (B15, litellm 30194).
"""

from __future__ import annotations

from pathlib import Path

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests import exchange_cases
from tracequill_collector.processor.detectors import NAMES
from tracequill_collector.processor.policy import Policy
from tracequill_collector.processor.redact import Redaction
from tracequill_collector.recorder.interpret import interpret
from tracequill_collector.recorder.span import encode_request, encode_spans

_PLANTED = {"Spree": "ada.beispiel@example.com", "Havel": "bert.beispiel@example.org"}
_NAMES = [
    path.stem
    for prefix in ("bedrock", "sagemaker")
    for path in sorted(exchange_cases.FOLDER.glob(f"{prefix}-*.json"))
    if any(word in path.read_text(encoding="utf-8") for word in _PLANTED)
]


@pytest.mark.parametrize("name", _NAMES)
def test_an_address_is_found_in_every_shape(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (exchange_cases.FOLDER / f"{name}.json").read_text(encoding="utf-8")
    for word, address in _PLANTED.items():
        text = text.replace(word, address)
    (tmp_path / f"{name}.json").write_text(text, encoding="utf-8")
    monkeypatch.setattr(exchange_cases, "FOLDER", tmp_path)
    span = interpret(exchange_cases.own_case(name).exchange(), "p")
    encoded = encode_request(encode_spans(span), "p")
    request = ExportTraceServiceRequest.FromString(encoded)

    applied = Policy(redaction=Redaction(detectors=NAMES)).apply(request)

    kept = request.SerializeToString()
    assert not applied.failed
    assert b"beispiel" in encoded
    assert b"beispiel" not in kept
    assert len(kept) > len(encoded) // 2
