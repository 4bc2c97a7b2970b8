"""What each answer of a backend leads to: what is sent again, and what is a dead letter."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from tests.unit.collector.service.onward_rig import (
    BAD,
    BROKEN,
    DONE,
    FORBIDDEN,
    PLAIN,
    TOO_LARGE,
    Backend,
    Rig,
    until,
)
from tracequill_collector.errors import RetryableError
from tracequill_collector.exporter.otlp import Answer, Meaning
from tracequill_collector.service import onward

pytestmark = pytest.mark.usefixtures("quick")


async def test_one_bad_span_goes_to_the_dead_letters_and_costs_no_other(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    backend = Backend(lambda names: BAD if "bad" in names else DONE)
    names = tuple(f"{number}" for number in range(50))
    rig = Rig(tmp_path, backend, (*names[:20], "bad", *names[20:]))

    with caplog.at_level(logging.INFO):
        async with rig.running():
            await rig.all_done()

    assert sorted(backend.taken) == sorted(names)
    assert rig.buried == ["bad"]
    [letter] = rig.dead_letters.list()
    assert letter.reason == "otlp-x: it answered 400. It said: about a secret prompt"
    assert letter.details == {"exporter": "otlp-x"}
    assert "secret prompt" not in caplog.text + rig.loop.progress.waiting
    assert len(backend.asked) < 20


async def test_a_bad_span_alone_is_found_out_with_a_plain_one(tmp_path: Path) -> None:
    backend = Backend(lambda names: BAD if "bad" in names else DONE)
    rig = Rig(tmp_path, backend, ("bad",))

    async with rig.running():
        await rig.all_done()

    assert backend.asked == [["bad"], [PLAIN]]
    assert rig.buried == ["bad"]


@pytest.mark.parametrize("refusal", [BAD, TOO_LARGE], ids=["bad", "too large"])
async def test_a_backend_that_refuses_everything_makes_no_dead_letters(
    tmp_path: Path, refusal: Answer, caplog: pytest.LogCaptureFixture
) -> None:
    refuses = True
    backend = Backend(lambda names: refusal if refuses else DONE)
    names = [tuple(f"{number}-{place}" for place in range(64)) for number in range(4)]
    rig = Rig(tmp_path, backend, *names)

    async with rig.running():
        await until(lambda: backend.asked.count([PLAIN]) > 20)
        assert rig.buried == [] and rig.reader.committed == []
        assert "it refuses every span" in rig.loop.progress.waiting
        # Each request was halved once down to a span, and from then on only plain spans are sent.
        assert sum(asked != [PLAIN] for asked in backend.asked) == 4 * 7
        refuses = False
        await rig.all_done()

    assert sorted(backend.taken) == sorted(name for some in names for name in some)
    assert rig.buried == []
    [alarm] = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert alarm.getMessage() == "spans are not sent on now"


async def test_a_backend_that_begins_to_refuse_everything_halfway_makes_no_dead_letters(
    tmp_path: Path,
) -> None:
    refuses = False

    def answer(names: list[str]) -> Answer:
        nonlocal refuses
        if names == ["bad"]:
            refuses = True
        return BAD if refuses or "bad" in names else DONE

    backend = Backend(answer)
    rig = Rig(tmp_path, backend, ("a", "b", "bad", "c", "d", "e", "f", "g"))

    async with rig.running():
        await until(lambda: backend.asked.count([PLAIN]) > 5)
        assert rig.buried == []
        backend.answer = lambda names: BAD if "bad" in names else DONE
        await rig.all_done()

    assert sorted(backend.taken) == ["a", "b", "c", "d", "e", "f", "g"]
    assert rig.buried == ["bad"]


async def test_a_request_too_large_is_sent_in_pieces_and_only_what_stays_too_large_is_buried(
    tmp_path: Path,
) -> None:
    backend = Backend(lambda names: TOO_LARGE if len("".join(names)) > 4 else DONE)
    rig = Rig(tmp_path, backend, ("a", "b", "c", "d", "e", "f"), ("too large",), ("g", "h"))

    def is_too_large(names: list[str]) -> Answer:
        size = 0 if names == [PLAIN] else len("".join(names))
        return TOO_LARGE if size > 4 else DONE

    backend.answer = is_too_large
    async with rig.running():
        await rig.all_done()

    assert sorted(backend.taken) == ["a", "b", "c", "d", "e", "f", "g", "h"]
    assert rig.buried == ["too large"]


async def test_rejected_spans_are_counted_logged_once_and_not_sent_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rejecting = Answer(Meaning.DONE, rejected_spans=2, said="about a secret prompt")
    rig = Rig(tmp_path, Backend(lambda names: rejecting), ("a", "b", "c"), ("d",))

    async with rig.running():
        await rig.all_done()

    assert sorted(rig.backend.asked) == [["a", "b", "c"], ["d"]]
    assert (rig.loop.progress.rejected_spans, rig.loop.progress.sent_spans) == (3, 1)
    assert rig.buried == []
    [alarm] = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert "secret" not in str(vars(alarm))


async def test_a_backend_that_rejects_all_takes_nothing(tmp_path: Path) -> None:
    """A 200 with every span rejected does not prove that a refused span was at fault."""

    def answer(names: list[str]) -> Answer:
        return BAD if names == ["bad"] else Answer(Meaning.DONE, rejected_spans=len(names))

    rig = Rig(tmp_path, Backend(answer), ("bad",), ("a",))

    async with rig.running():
        await until(lambda: rig.backend.asked.count([PLAIN]) > 3)
        assert rig.buried == []
        rig.backend.answer = lambda names: DONE
        await rig.all_done()


async def test_a_missing_right_is_waited_for_with_an_alarm(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    forbids = True
    rig = Rig(tmp_path, Backend(lambda names: FORBIDDEN if forbids else DONE), ("a", "b"))

    with caplog.at_level(logging.INFO):
        async with rig.running():
            await until(lambda: rig.loop.progress.failed_tries > 20)
            assert rig.loop.progress.waiting == "it answered 401"
            forbids = False
            await rig.all_done()

    assert rig.backend.taken == ["a", "b"] and rig.buried == []
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("ERROR", "spans are not sent on now"),
        ("INFO", "spans are sent on again"),
    ]


async def test_a_span_on_which_the_backend_breaks_holds_nothing_up_for_ever(
    tmp_path: Path,
) -> None:
    backend = Backend(lambda names: BROKEN if "poison" in names else DONE)
    rig = Rig(tmp_path, backend, ("a", "b", "poison", "c"), ("d",))

    async with rig.running():
        await rig.all_done()

    assert sorted(backend.taken) == ["a", "b", "c", "d"]
    assert rig.buried == ["poison"]
    assert backend.asked.count(["a", "b", "poison", "c"]) == onward._SPLIT_TRIES
    assert backend.asked.count(["poison"]) == onward._GIVE_UP_TRIES


async def test_a_backend_that_breaks_on_everything_is_waited_for(tmp_path: Path) -> None:
    breaks = True
    backend = Backend(lambda names: BROKEN if breaks else DONE)
    rig = Rig(tmp_path, backend, ("a", "b"), ("c",))

    async with rig.running():
        await until(lambda: len(backend.asked) > 100)
        assert ["a"] not in backend.asked, "it was halved in vain"
        breaks = False
        await rig.all_done()

    assert sorted(backend.taken) == ["a", "b", "c"] and rig.buried == []


async def test_a_full_disk_keeps_a_refused_span_until_it_can_be_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = Rig(tmp_path, Backend(lambda names: BAD if "bad" in names else DONE), ("bad",))
    add, is_full = rig.dead_letters.add, True

    def add_or_fail(*arguments: object, **named: object) -> str:
        if is_full:
            raise RetryableError("a dead letter cannot be written: the disk is full.")
        return add(*arguments, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(rig.dead_letters, "add", add_or_fail)

    async with rig.running():
        await until(lambda: "disk is full" in rig.loop.progress.waiting)
        assert rig.reader.committed == []
        is_full = False
        await rig.all_done()

    assert rig.buried == ["bad"]
