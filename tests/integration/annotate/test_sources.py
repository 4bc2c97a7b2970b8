"""What is judged, as Phoenix's tables may hold it."""

from __future__ import annotations

import pytest

from tests.integration.annotate.rig import Call, named, rows, span_annotations, write_calls
from tests.integration.fixtures_phoenix import PhoenixServer

pytestmark = pytest.mark.integration


def test_numbers_that_no_computer_word_holds_are_shown_and_answered(
    phoenix_server: PhoenixServer,
) -> None:
    (span_id,) = write_calls(phoenix_server, "large numbers", [Call()])
    rows(
        phoenix_server,
        "UPDATE spans SET attributes = jsonb_set(jsonb_set(attributes, '{llm,seed}', "
        "'123456789012345678901234567890'), '{llm,limit}', '1e400') "
        "WHERE span_id = $1 RETURNING id",
        span_id,
    )

    with named(phoenix_server, "Ana") as ana:
        queue = ana.create("large numbers", "large numbers")
        (item,) = ana.lease(queue)
        ana.answer(item)

    assert item["conversation"]["question"] == Call().question
    assert len(span_annotations(phoenix_server, span_id)) == 1
