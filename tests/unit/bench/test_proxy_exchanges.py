"""What the recorder is measured with, and what a peer is told."""

from __future__ import annotations

import json
import random
from itertools import islice
from pathlib import Path

import pytest
from bench.proxy import nginx
from bench.proxy.exchanges import MIX, SEED, fresh, make_templates
from bench.proxy.gateways import KINDS, NAMES, Upstreams

from tracequill_collector.recorder.interpret import interpret


async def test_every_exchange_of_the_mix_is_one_that_the_recorder_understands() -> None:
    templates = await make_templates()

    assert len(templates) == 200
    for exchange in islice(fresh(templates, random.Random(SEED)), len(templates)):
        span = interpret(exchange, "default")
        assert "tracequill.problem" not in span.attributes
        assert span.attributes["openinference.span.kind"] in ("LLM", "EMBEDDING")


async def test_every_exchange_has_ids_of_its_own() -> None:
    templates = (await make_templates())[:3]

    exchanges = list(islice(fresh(templates, random.Random(SEED)), 9))

    assert len({one.span_id for one in exchanges}) == 9
    assert exchanges[0].request_body == exchanges[3].request_body


def test_the_shares_of_the_mix_are_all_of_it() -> None:
    assert sum(MIX.values()) == pytest.approx(1)


def test_the_answer_stands_whole_in_the_configuration_of_nginx(tmp_path: Path) -> None:
    text = nginx.mock_configuration(tmp_path, 8080).read_text()

    answer = text.partition("return 200 '")[2].partition("';")[0]
    assert json.loads(answer) == nginx.answer_json()


@pytest.mark.parametrize("name", NAMES)
def test_calls_and_streams_are_sent_to_loopback(
    name: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    gateway = KINDS[name](tmp_path_factory.mktemp(name), Upstreams(1, 2, 3))

    for stream in (False, True):
        target = gateway.target(stream=stream)
        assert target.host == "127.0.0.1"
        assert target.path.endswith("/v1/chat/completions")
