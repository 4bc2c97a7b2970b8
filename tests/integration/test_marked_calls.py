"""Whatever an instrumentor traces after register() tells the proxy so, in every shape of call.

A call that were not marked would have a second LLM span behind the proxy; one that is marked and
has no span here would have none.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import tracequill
from tests.exchange_cases import Case
from tests.integration.sdk.replay import Applications, every_application
from tests.integration.sdk.upstream import Upstream
from tests.integration.test_same_span import OWN
from tracequill._config import ProxyAddress
from tracequill._register import registration
from tracequill.testing import CollectorServer

pytestmark = [
    pytest.mark.integration,
    pytest.mark.filterwarnings("ignore:Inheritance class AiohttpClientSession"),
]


class AnyAddress(ProxyAddress):
    """The proxy's address, wherever a case's client calls."""

    def matches(self, url: str) -> bool:
        """Whether a request to *url* goes to the proxy."""
        return True


@pytest.fixture(scope="module")
def traced() -> Iterator[Applications]:
    exporter = InMemorySpanExporter()
    upstream = Upstream()
    with ExitStack() as stack:
        collector = stack.enter_context(CollectorServer())
        provider = tracequill.register("shop", collector.url)
        stack.callback(tracequill.unregister)
        provider.add_span_processor(SimpleSpanProcessor(exporter))
        registration.proxy_headers.address = AnyAddress("http", "127.0.0.1", 4319)
        yield Applications(upstream, stack.enter_context(every_application(upstream)), exporter)


@pytest.mark.parametrize("case", OWN, ids=lambda case: case.name)
def test_a_call_is_marked_just_when_it_has_a_span(traced: Applications, case: Case) -> None:
    spans, _ = traced.run(case)
    headers = {name.lower(): value for name, value in traced.upstream.headers}

    assert ("x-tracequill-traced" in headers) == bool(spans)
    if spans:
        context = spans[0].context
        assert headers["traceparent"] == f"00-{context.trace_id:032x}-{context.span_id:016x}-01"
        assert headers["x-tracequill-project"] == "shop"
