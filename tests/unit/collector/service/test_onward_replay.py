"""Dead letters of a backend are sent to it again: those that it takes are gone, others stay."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.collector.service.onward_rig import BAD, BUSY, DONE, PLAIN, Backend, Rig, until
from tracequill_collector.exporter.otlp import Answer, Meaning

pytestmark = pytest.mark.usefixtures("quick")


async def test_a_letter_that_is_taken_is_gone_and_one_that_is_refused_stays(
    tmp_path: Path,
) -> None:
    backend = Backend(lambda names: BAD if names != [PLAIN] else DONE)
    rig = Rig(tmp_path, backend, ("a", "b", "c"))

    async with rig.running():
        await rig.all_done()
        assert rig.buried == ["a", "b", "c"]
        answers = {"a": [BUSY, DONE], "b": [BAD], "c": [Answer(Meaning.DONE, rejected_spans=1)]}
        backend.answer = lambda names: answers[names[0]].pop(0)
        letter_ids = [letter.letter_id for letter in rig.dead_letters.list()]
        request = rig.replays.add(letter_ids=[*letter_ids, "0" * 20])
        await until(lambda: bool((now := rig.replays.progress(request)) and now.is_done))

    progress = rig.replays.progress(request)
    assert progress is not None
    assert (progress.solved_letters, progress.stored_spans, progress.dead_letters) == (1, 1, 2)
    assert rig.buried == ["b", "c"]
    assert sorted(backend.taken) == ["a", "c"]


async def test_a_request_that_was_cancelled_goes_no_further(tmp_path: Path) -> None:
    backend = Backend(lambda names: BAD if names != [PLAIN] else DONE)
    rig = Rig(tmp_path, backend, ("a", "b", "c"))

    async with rig.running():
        await rig.all_done()
        backend.hold.clear()
        request = rig.replays.add(letter_ids=[item.letter_id for item in rig.dead_letters.list()])
        await until(lambda: backend.under_way == 1)
        rig.replays.cancel(request)
        asked = len(backend.asked)
        backend.answer = lambda names: DONE
        backend.hold.set()
        await until(lambda: len(rig.buried) == 2)
        await until(lambda: rig.replays.next() is None)

    assert len(backend.asked) == asked
