"""A receiver that can keep nothing more asks its senders to come back."""

from __future__ import annotations

import grpc
import pytest
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status

from tests.integration.receiver_rig import (
    ReceiverProcess,
    request_of,
    span,
    trailers_of,
)

pytestmark = pytest.mark.integration


def test_a_full_queue_asks_to_send_again_in_the_words_of_both_protocols(
    receiver: ReceiverProcess,
) -> None:
    receiver.variables["TRACEQUILL_QUEUE_MAX_BYTES"] = str(1 << 20)
    receiver.start()
    large = request_of(span(1, name="x" * 500_000))
    receiver.export(large)
    receiver.export(large)

    with pytest.raises(grpc.RpcError) as caught:
        receiver.export(large)
    answer = receiver.post(large)

    trailers = trailers_of(caught.value)
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    assert "raise queue_max_bytes" in (caught.value.details() or "")
    delay = RetryInfo.FromString(trailers["google.rpc.retryinfo-bin"]).retry_delay.seconds
    assert 1 <= delay <= 3
    assert Status.FromString(trailers["grpc-status-details-bin"]).code == 14
    assert answer.status == 503
    assert 1 <= int(answer.headers["Retry-After"]) <= 3
    assert Status.FromString(answer.body).code == 14
    assert receiver.request("GET", "/readyz").status == 503
    assert receiver.request("GET", "/healthz").status == 200
    assert len(receiver.records()) == 2
