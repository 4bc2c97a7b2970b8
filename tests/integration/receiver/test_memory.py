"""What was refused is let go of at once: under load nothing waits for the garbage collector."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Awaitable, Callable, Iterator

import grpc
import pytest

from tests.integration.receiver.inside import Inside, servers
from tests.integration.receiver_rig import EXPORT, request_of, span
from tracequill_collector.errors import CollectorError, PermanentError, QueueFullError
from tracequill_collector.pipeline import Record
from tracequill_collector.testing import RecordSink

pytestmark = pytest.mark.integration

REFUSALS = 20
SIZE = 1_000_000
LARGE = request_of(span(1, name="x" * SIZE))


@pytest.fixture
def no_collector() -> Iterator[None]:
    """Without the garbage collector a cycle stays, however small the test is."""
    gc.collect()
    gc.disable()
    tracemalloc.start()
    try:
        yield
    finally:
        tracemalloc.stop()
        gc.enable()


class Refusing(RecordSink):
    """Raises a new error for every record, as the queue does."""

    def __init__(self, kind: type[CollectorError]) -> None:
        super().__init__()
        self._kind = kind

    async def consume(self, record: Record) -> None:
        """Refuse."""
        raise self._kind("it is refused.")


async def _by_grpc(inside: Inside) -> None:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{inside.grpc_port}") as channel:
        call = channel.unary_unary(EXPORT, bytes, bytes)(LARGE, timeout=30)
        # Asked for its code a call raises nothing, so that the client keeps no traceback.
        assert await call.code() is not grpc.StatusCode.OK


async def _by_http(inside: Inside) -> None:
    assert (await inside.post(LARGE)).status in (400, 503)


@pytest.mark.parametrize("send", [_by_grpc, _by_http])
@pytest.mark.parametrize("kind", [QueueFullError, PermanentError])
async def test_a_refused_request_is_gone_when_it_is_answered(
    send: Callable[[Inside], Awaitable[None]], kind: type[CollectorError], no_collector: None
) -> None:
    async with servers(Refusing(kind), patience_seconds=0.01) as inside:
        await send(inside)
        before, _ = tracemalloc.get_traced_memory()
        for _ in range(REFUSALS):
            await send(inside)
        after, _ = tracemalloc.get_traced_memory()

    # One request may still be on its way out of the server or of the test's own client.
    assert after - before < 3 * SIZE
