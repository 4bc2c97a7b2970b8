from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tracequill._command import main
from tracequill.errors import UsageError
from tracequill.settings import load_settings
from tracequill_collector.cli.replay import read_moment, say_what_is_gone
from tracequill_collector.pipeline import Record, RecordKind
from tracequill_collector.queue.disk import Disk
from tracequill_collector.queue.frame import encode
from tracequill_collector.queue.segment import SegmentWriter
from tracequill_collector.status import write_status

_SECOND_NS = 10**9


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-05-01T12:00", datetime(2026, 5, 1, 12, tzinfo=UTC)),
        ("2026-05-01", datetime(2026, 5, 1, tzinfo=UTC)),
        ("2026-05-01 12:00:01+02:00", datetime(2026, 5, 1, 10, 0, 1, tzinfo=UTC)),
        ("2026-05-01T12:00:00Z", datetime(2026, 5, 1, 12, tzinfo=UTC)),
    ],
)
def test_a_time_without_a_zone_is_utc(text: str, moment: datetime) -> None:
    assert read_moment("--since", text) == int(moment.timestamp()) * _SECOND_NS


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("1.5m", 90), ("2h", 7200), ("3d", 3 * 86400)]
)
def test_how_long_ago_is_counted_from_now(text: str, seconds: int) -> None:
    ago = time.time_ns() - read_moment("--since", text)

    assert abs(ago - seconds * _SECOND_NS) < 20 * _SECOND_NS


@pytest.mark.parametrize(
    ("text", "unix_ns"), [("0001-01-01", 0), ("9999-12-31", 2**63 - 1), ("999999999d", 0)]
)
def test_a_time_beyond_what_a_record_can_have_is_the_first_or_the_last(
    text: str, unix_ns: int
) -> None:
    assert read_moment("--since", text) == unix_ns


@pytest.mark.parametrize("text", ["", "yesterday", "5", "-5m", "5 m", "2026-13-01", "1e9s", "٣h"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="which is no time"):
        read_moment("--since", text)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--since", "yesterday"], "--since is 'yesterday', which is no time."),
        (["--since", "1h", "--until", "soon"], "--until is 'soon', which is no time."),
        (["--since", "1h", "--until", "2h"], "--until 2h is not after --since 1h."),
        (["--since", "9000-01-01"], "--until now is not after --since 9000-01-01."),
        (["--since", "1h", "--project", ""], "--project is empty."),
        ([], "--since"),
    ],
)
def test_wrong_usage_is_one_sentence(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["replay", *words]) == 2

    assert said in capsys.readouterr().err


def test_without_an_exporter_nothing_is_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["replay", "--since", "1h"]) == 1

    assert capsys.readouterr().err == (
        f"tracequill: no exporter runs at {tmp_path / 'data'}. "
        "Start it ('tracequill up' or 'tracequill collector'), or set data_dir.\n"
    )
    assert not (tmp_path / "data" / "collector" / "replay").exists()


def test_a_folder_that_cannot_be_written_is_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "data" / "collector"
    write_status(folder / "exporter.status.json", {"stored_spans": 0})
    (folder / "replay").write_text("in the way")

    assert main(["replay", "--since", "1h"]) == 1

    assert f"{folder / 'replay'} cannot be written: File exists." in capsys.readouterr().err


@pytest.mark.parametrize(
    ("first_sequence", "said"),
    [(0, ""), (7, "The collector's queue reaches back to 2023-11-14 22:13:20 UTC;")],
)
def test_how_far_a_queue_reaches_back_is_told_when_it_has_held_more(
    first_sequence: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = load_settings()
    settings.collector_queue_dir.mkdir(parents=True)
    segment = SegmentWriter.create(Disk(), settings.collector_queue_dir, first_sequence)
    received = Record(RecordKind.OTLP_TRACES, 1_700_000_000 * _SECOND_NS, b"x")
    segment.write([encode(received)], first_sequence)
    segment.close()

    say_what_is_gone(settings, 1_600_000_000 * _SECOND_NS)

    told = capsys.readouterr().err
    assert (told == "") if not said else told.startswith(said)
