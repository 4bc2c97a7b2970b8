"""What cannot be kept now is refused so that it comes again, whatever the reason."""

from __future__ import annotations

import errno
import json
from pathlib import Path

import grpc
import pytest
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.json_format import ParseDict
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status

from tests.integration.receiver.inside import Inside, servers
from tests.integration.receiver_rig import JSON, PROTOBUF, request_of, span, trailers_of
from tracequill_collector.errors import QueueFullError, RetryableError
from tracequill_collector.queue.writer import QueueWriter
from tracequill_collector.testing import FailingConsumer, FailingDisk

pytestmark = pytest.mark.integration

BODY = request_of(span(1))
JSON_BODY = json.dumps(
    {"resourceSpans": [{"scopeSpans": [{"spans": [{"traceId": "ab" * 16, "spanId": "cd" * 8}]}]}]}
).encode()
SECRET = "the answer is forty-two"

NOT_NOW = [
    pytest.param(QueueFullError("the queue is full."), id="queue full"),
    pytest.param(RetryableError("the disk failed.", delay_seconds=60), id="disk failed"),
    pytest.param(OSError(errno.ENOSPC, SECRET), id="disk full, unexpectedly"),
    pytest.param(ValueError(SECRET), id="a mistake of ours"),
]


async def _refused(inside: Inside) -> grpc.RpcError:
    with pytest.raises(grpc.RpcError) as caught:
        await inside.export(BODY)
    return caught.value


def _delay(details: list[AnyMessage]) -> int:
    retry = RetryInfo()
    assert details[0].Unpack(retry)
    return int(retry.retry_delay.seconds)


@pytest.mark.parametrize("error", NOT_NOW)
async def test_over_grpc_it_is_unavailable_with_the_delay_in_both_trailers(
    error: Exception,
) -> None:
    async with servers(FailingConsumer(error)) as inside:
        refusal = await _refused(inside)

    trailers = trailers_of(refusal)
    whole = Status.FromString(trailers["grpc-status-details-bin"])
    assert refusal.code() is grpc.StatusCode.UNAVAILABLE
    assert whole.code == grpc.StatusCode.UNAVAILABLE.value[0]
    assert whole.message == refusal.details()
    own = RetryInfo.FromString(trailers["google.rpc.retryinfo-bin"]).retry_delay.seconds
    assert own == _delay(list(whole.details))
    assert 1 <= own <= 3
    assert SECRET not in whole.message


@pytest.mark.parametrize("error", NOT_NOW)
@pytest.mark.parametrize("content_type", [PROTOBUF, JSON])
async def test_over_http_it_is_503_with_a_status_in_the_senders_own_content_type(
    error: Exception, content_type: str
) -> None:
    async with servers(FailingConsumer(error)) as inside:
        answer = await inside.post(BODY if content_type == PROTOBUF else JSON_BODY, content_type)

    if content_type == PROTOBUF:
        whole = Status.FromString(answer.body)
    else:
        whole = ParseDict(json.loads(answer.body), Status())
    assert answer.status == 503
    assert answer.headers["Content-Type"].partition(";")[0] == content_type
    assert whole.code == grpc.StatusCode.UNAVAILABLE.value[0]
    assert int(answer.headers["Retry-After"]) == _delay(list(whole.details))
    assert 1 <= int(answer.headers["Retry-After"]) <= 3
    assert SECRET not in whole.message


async def test_a_full_disk_is_not_now_and_space_again_is_enough(tmp_path: Path) -> None:
    disk = FailingDisk()
    queue = await QueueWriter.open(tmp_path / "queue", max_bytes=1 << 30, disk=disk)
    try:
        async with servers(queue) as inside:
            assert await inside.export(BODY) == b""
            disk.errors["write"] = [OSError(errno.ENOSPC, "No space left on device")] * 50
            refusal = await _refused(inside)
            answer = await inside.post(BODY)
            disk.errors["write"] = []

            assert refusal.code() is grpc.StatusCode.UNAVAILABLE
            assert "google.rpc.retryinfo-bin" in trailers_of(refusal)
            assert (answer.status, "Retry-After" in answer.headers) == (503, True)
            assert await inside.export(BODY) == b""
            assert (await inside.post(BODY)).status == 200
    finally:
        await queue.close()
