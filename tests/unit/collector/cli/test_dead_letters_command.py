from __future__ import annotations

import gzip
import io
import json
from pathlib import Path

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tracequill._command import main
from tracequill_collector.otlp import JSON, parse_traces
from tracequill_collector.pipeline import Record, RecordKind
from tracequill_collector.queue.dead_letters import DeadLetters
from tracequill_collector.status import write_status


def _payload() -> bytes:
    request = ExportTraceServiceRequest()
    request.resource_spans.add().scope_spans.add().spans.add(name="a bad span")
    return gzip.compress(request.SerializeToString())


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


def test_a_payload_is_shown_with_the_ids_that_a_trace_is_known_by(
    letters: DeadLetters, capsys: pytest.CaptureFixture[str]
) -> None:
    request = ExportTraceServiceRequest()
    span = (
        request.resource_spans.add()
        .scope_spans.add()
        .spans.add(trace_id=b"\xab" * 16, span_id=b"\xcd" * 8, parent_span_id=b"\xef" * 8, kind=3)
    )
    span.links.add(trace_id=b"\x01" * 16, span_id=b"\x02" * 8)
    letter_id = _add(letters, gzip.compress(request.SerializeToString()), "bad.")

    assert main(["dead-letters", "show", letter_id, "--json"]) == 0

    payload = json.loads(capsys.readouterr().out)["payload"]
    assert payload["resourceSpans"][0]["scopeSpans"][0]["spans"] == [
        {
            "traceId": "ab" * 16,
            "spanId": "cd" * 8,
            "parentSpanId": "ef" * 8,
            "kind": 3,
            "links": [{"traceId": "01" * 16, "spanId": "02" * 8}],
        }
    ]
    assert parse_traces(json.dumps(payload).encode(), JSON) == request


def test_many_spans_of_a_record_are_shown_as_how_many_they_are_and_why(
    letters: DeadLetters, capsys: pytest.CaptureFixture[str]
) -> None:
    places = ",".join(f"{place}" for place in range(0, 2_000, 2))
    details = {
        "spans": 1_000,
        "places": places,
        "reasons": {"bad\x1b.": 990, "worse.": 10},
        "other_reasons": 0,
    }
    letter_id = letters.add(
        Record(RecordKind.OTLP_TRACES, 0, _payload(), "", "gzip"),
        "1000 spans of it, most often: bad.",
        what="spans",
        details=details,
    )

    assert main(["dead-letters", "list"]) == 0
    assert "1000 spans" in capsys.readouterr().out
    assert main(["dead-letters", "show", letter_id]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "990 spans bad\ufffd. 10 spans worse." in shown
    assert "0,2,4," in shown and "… (all: --json)" in shown and places not in shown
    assert main(["dead-letters", "show", letter_id, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["details"] == details


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


@pytest.mark.parametrize("hostile", ["\x1b[2J", "\x9b2J", "\u202e", "\x7f", "\x07", "\r", "\x00"])
def test_nothing_that_a_sender_wrote_is_obeyed_by_the_terminal(
    letters: DeadLetters, capsys: pytest.CaptureFixture[str], hostile: str
) -> None:
    request = ExportTraceServiceRequest()
    span = request.resource_spans.add().scope_spans.add().spans.add(name=f"name{hostile}end")
    span.attributes.add(key=f"key{hostile}").value.string_value = f"Grüße {hostile} 你好"
    letter_id = _add(
        letters,
        gzip.compress(request.SerializeToString()),
        f"bad{hostile}reason",
        project=f"bot{hostile}",
    )

    for words in (["list"], ["list", "--json"], ["show", letter_id], ["show", letter_id, "--json"]):
        assert main(["dead-letters", *words]) == 0
        shown = capsys.readouterr().out
        assert hostile not in shown
        assert all(sign.isprintable() or sign == "\n" for sign in shown)
        if words[0] == "show" and "--json" not in words:
            assert "Grüße" in shown and "你好" in shown


def test_the_payload_that_a_person_sees_is_json(
    letters: DeadLetters, capsys: pytest.CaptureFixture[str]
) -> None:
    request = ExportTraceServiceRequest()
    request.resource_spans.add().scope_spans.add().spans.add(name='\x9b"[bold]\U0001d173\\')
    letter_id = _add(letters, gzip.compress(request.SerializeToString()), "bad.")

    assert main(["dead-letters", "show", letter_id]) == 0

    shown = capsys.readouterr().out
    payload = json.loads(shown[shown.index("{") :])
    assert (
        payload["resourceSpans"][0]["scopeSpans"][0]["spans"][0]["name"]
        == '\x9b"[bold]\U0001d173\\'
    )


def test_discarding_needs_a_confirmation(
    letters: DeadLetters, capsys: pytest.CaptureFixture[str]
) -> None:
    letter_id = _add(letters, _payload(), "bad.")

    assert main(["dead-letters", "discard", letter_id]) == 2
    assert "would be deleted for good. Confirm with --yes." in capsys.readouterr().err
    assert len(letters.list()) == 1

    assert main(["dead-letters", "discard", letter_id, "--yes"]) == 0
    assert capsys.readouterr().out == "1 dead letter discarded.\n"
    assert letters.list() == []


@pytest.mark.parametrize(("answer", "left"), [("y\n", 0), ("n\n", 2), ("", 2)])
def test_at_a_terminal_discarding_asks(
    letters: DeadLetters, monkeypatch: pytest.MonkeyPatch, answer: str, left: int
) -> None:
    _add(letters, _payload(), "bad.")
    _add(letters, _payload(), "bad.", project="other")
    terminal = io.StringIO(answer)
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    monkeypatch.setattr("sys.stdin", terminal)

    code = main(["dead-letters", "discard", "--all"])

    assert (code == 0) == (left == 0)
    assert len(letters.list()) == left


@pytest.mark.parametrize("command", ["replay", "discard"])
@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "give the ids of dead letters, or --all."),
        (["--all", "0" * 20], "give the ids of dead letters, or --all."),
        (["../../etc/passwd"], "there is no dead letter '../../etc/passwd'"),
        (["\x1b[2J"], "there is no dead letter '\\x1b[2J'"),
    ],
)
def test_a_wrong_choice_of_letters_is_one_sentence(
    letters: DeadLetters,
    capsys: pytest.CaptureFixture[str],
    command: str,
    words: list[str],
    said: str,
) -> None:
    _add(letters, _payload(), "bad.")

    assert main(["dead-letters", command, *words]) == 2

    assert said in capsys.readouterr().err
    assert len(letters.list()) == 1


def test_a_letter_of_a_backend_that_is_no_more_stays(
    letters: DeadLetters, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    letter_id = letters.add(
        Record(RecordKind.OTLP_TRACES, 0, _payload(), "", "gzip"),
        "otlp-far: it answered 400.",
        what="span",
        details={"exporter": "otlp-far"},
    )
    status = tmp_path / "data" / "collector" / "exporter.status.json"
    write_status(status, {"onward": {"near": {}}})

    assert main(["dead-letters", "replay", letter_id]) == 1
    assert capsys.readouterr().err.startswith("tracequill: no exporter 'far' runs. Name it under ")
    assert main(["dead-letters", "replay", "--all", "--json"]) == 0

    said = capsys.readouterr()
    assert said.err.startswith("1 dead letter is left out: no exporter 'far' runs.")
    assert json.loads(said.out)["solved_letters"] == 0
    assert len(letters.list()) == 1


def test_replaying_letters_needs_an_exporter(
    letters: DeadLetters, capsys: pytest.CaptureFixture[str]
) -> None:
    letter_id = _add(letters, _payload(), "bad.")

    assert main(["dead-letters", "replay", letter_id]) == 1

    assert capsys.readouterr().err.startswith("tracequill: no exporter runs at ")
