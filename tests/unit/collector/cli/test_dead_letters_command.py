from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tracequill._command import main
from tracequill_collector.pipeline import Record, RecordKind
from tracequill_collector.queue.dead_letters import DeadLetters


def _payload() -> bytes:
    request = ExportTraceServiceRequest()
    request.resource_spans.add().scope_spans.add().spans.add(name="a bad span")
    return gzip.compress(request.SerializeToString())


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TRACEQUILL_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("COLUMNS", "200")


@pytest.fixture
def letters(tmp_path: Path) -> DeadLetters:
    return DeadLetters(tmp_path / "data" / "dead_letters")


def _add(letters: DeadLetters, payload: bytes, reason: str, project: str = "bot") -> str:
    return letters.add(
        Record(RecordKind.OTLP_TRACES, 1_700_000_000_000_000_000, payload, "", "gzip", project),
        reason,
        what="span",
    )


def test_without_letters_the_list_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["dead-letters", "list"]) == 0
    assert capsys.readouterr().out == "There are no dead letters.\n"


def test_the_list_shows_each_letter_with_its_reason(
    letters: DeadLetters, capsys: pytest.CaptureFixture[str]
) -> None:
    letter_id = _add(letters, _payload(), "span_id is all zeros.")

    assert main(["dead-letters", "list"]) == 0

    shown = capsys.readouterr().out
    for word in (letter_id, "2023-11-14 22:13:20", "span", "bot", "span_id is all zeros."):
        assert word in shown


def test_the_list_is_json_for_machines(
    letters: DeadLetters, capsys: pytest.CaptureFixture[str]
) -> None:
    letter_id = _add(letters, _payload(), "bad.")

    assert main(["dead-letters", "list", "--json"]) == 0

    (item,) = json.loads(capsys.readouterr().out)
    assert (item["letter_id"], item["reason"]) == (letter_id, "bad.")


def test_a_letter_is_shown_with_its_payload_as_text(
    letters: DeadLetters, capsys: pytest.CaptureFixture[str]
) -> None:
    letter_id = _add(letters, _payload(), "bad.")

    assert main(["dead-letters", "show", letter_id]) == 0

    shown = capsys.readouterr().out
    assert "a bad span" in shown
    assert "bad." in shown


def test_a_payload_that_is_not_legible_is_given_whole_to_machines(
    letters: DeadLetters, capsys: pytest.CaptureFixture[str]
) -> None:
    letter_id = _add(letters, b"\xff\x00", "not legible.")

    assert main(["dead-letters", "show", letter_id]) == 0
    assert "cannot be shown as text" in capsys.readouterr().out
    assert main(["dead-letters", "show", letter_id, "--json"]) == 0

    content = json.loads(capsys.readouterr().out)
    assert (content["payload"], content["payload_base64"]) == (None, "/wA=")


def test_an_unknown_letter_is_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["dead-letters", "show", "nothing"]) == 2

    said = capsys.readouterr().err
    assert said.startswith("tracequill: there is no dead letter 'nothing' in ")
    assert said.endswith("'tracequill dead-letters list' shows all.\n")


def test_a_sender_cannot_write_on_the_terminal(
    letters: DeadLetters, capsys: pytest.CaptureFixture[str]
) -> None:
    _add(letters, _payload(), "bad.", project="\x1b[31mred[bold]")

    assert main(["dead-letters", "list"]) == 0

    shown = capsys.readouterr().out
    assert "\x1b" not in shown
    assert "red[bold]" in shown
