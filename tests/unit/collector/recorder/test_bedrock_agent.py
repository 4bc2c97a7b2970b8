from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.exchange_cases import SPAN_ID, START_UNIX_NS, TRACE_ID, encode_body, own_case
from tracequill_collector.recorder import attributes
from tracequill_collector.recorder.bedrock_agent import model as bedrock_agent_model
from tracequill_collector.recorder.bedrock_agent import trace as bedrock_agent_trace
from tracequill_collector.recorder.bedrock_agent.steps import interpret_items
from tracequill_collector.recorder.bedrock_agent.trace import AgentTrace
from tracequill_collector.recorder.interpret import interpret
from tracequill_collector.recorder.span import RecordedSpan, encode_spans

_STEPS = own_case("bedrock-agent-steps")
_TRACE_ID = "11111111-2222-4333-8444-555555555555"


def _span(case: str, **changes: Any) -> RecordedSpan:
    return interpret(own_case(case).exchange(**changes), "p")


def _all(span: RecordedSpan) -> list[RecordedSpan]:
    return [span, *(below for child in span.children for below in _all(child))]


def _event(kind: str, **data: Any) -> dict[str, Any]:
    return {"event": "trace", "payload": {"trace": {kind: data}}}


def _answer(*events: dict[str, Any]) -> RecordedSpan:
    body = encode_body({"eventstream": list(events)})
    return _span("bedrock-agent-plain", response_body=body)


def test_an_agent_s_steps_are_spans_below_that_of_the_call() -> None:
    root = _span("bedrock-agent-steps")

    assert [(child.name, [step.name for step in child.children]) for child in root.children] == [
        ("preProcessingTrace", ["LLM"]),
        ("orchestrationTrace", ["LLM", "action_group", "LLM"]),
        ("postProcessingTrace", ["LLM"]),
    ]
    assert all(
        child.parent_span_id == parent.span_id for parent in _all(root) for child in parent.children
    )
    assert {span.trace_id for span in _all(root)} == {TRACE_ID}


def test_ids_of_steps_differ_and_follow_from_the_ids_of_the_exchange() -> None:
    ids = [span.span_id for span in _all(_span("bedrock-agent-steps"))]
    again = [span.span_id for span in _all(_span("bedrock-agent-steps"))]
    other = [span.span_id for span in _all(_span("bedrock-agent-steps", span_id="0" * 15 + "1"))]

    assert ids == again
    assert ids[0] == SPAN_ID
    assert len(set(ids) | set(other)) == 2 * len(ids)


def test_a_step_lasts_as_long_as_its_trace_says() -> None:
    root = _span("bedrock-agent-steps")
    orchestration = root.children[1]
    first, tool, _ = orchestration.children

    assert tool.start_unix_ns - first.start_unix_ns == pytest.approx(3 * 10**9, abs=1000)
    assert tool.end_unix_ns - tool.start_unix_ns == pytest.approx(10**9, abs=1000)
    assert orchestration.start_unix_ns == first.start_unix_ns
    assert orchestration.end_unix_ns == orchestration.children[-1].end_unix_ns


def test_a_turn_lasts_as_long_as_its_final_response_says() -> None:
    times = {"startTime": "2026-03-01T10:00:00Z", "endTime": "2026-03-01T10:00:07Z"}
    observation = {"traceId": _TRACE_ID, "finalResponse": {"text": "Havel", "metadata": times}}
    (turn,) = _answer(_event("orchestrationTrace", observation=observation)).children

    assert turn.start_unix_ns == 1_772_359_200_000_000_000
    assert turn.end_unix_ns - turn.start_unix_ns == 7_000_000_000


@pytest.mark.parametrize("time", ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "soon", 7, None])
def test_a_step_without_a_usable_time_lasts_as_long_as_the_call(time: object) -> None:
    called = {"traceId": _TRACE_ID, "metadata": {"startTime": time, "endTime": time}}
    root = _answer(_event("orchestrationTrace", modelInvocationOutput=called))

    assert [(span.start_unix_ns, span.end_unix_ns) for span in _all(root)] == [
        (START_UNIX_NS, START_UNIX_NS + 1_000_000_000)
    ] * 3


def test_session_user_and_tags_stand_on_every_step_and_metadata_on_the_call() -> None:
    root = _span(
        "bedrock-agent-steps", session_id="s", user_id="u", tags=("t",), metadata='{"team": "desk"}'
    )

    for span in _all(root):
        assert span.attributes["session.id"] == "s"
        assert span.attributes["user.id"] == "u"
        assert span.attributes["tag.tags"] == ["t"]
    assert root.attributes["metadata"] == '{"team": "desk"}'
    assert all("team" not in span.attributes.get("metadata", "") for span in _all(root)[1:])


def test_facts_of_the_exchange_stand_on_the_call_alone() -> None:
    root = _span("bedrock-agent-steps")

    assert root.attributes[attributes.VENDOR] == "bedrock-agent"
    for span in _all(root)[1:]:
        assert not [name for name in span.attributes if name.startswith(attributes.PREFIX)]


def test_a_call_that_is_traced_in_the_application_has_no_steps() -> None:
    assert _span("bedrock-agent-steps", traced=True).children == []


def test_files_are_named_without_what_is_in_them() -> None:
    output = _span("bedrock-agent-files").attributes["output.value"]

    assert json.loads(output) == [
        {"files": [{"name": "spree.png", "type": "image/png"}]},
        {"files": [{"name": "spree.csv", "type": "text/csv"}]},
    ]


def test_a_cut_answer_gives_the_steps_that_came() -> None:
    whole = own_case("bedrock-agent-steps").response_body
    root = _span("bedrock-agent-steps", response_body=whole[: len(whole) // 2], end="upstream_cut")

    assert 1 < len(_all(root)) < len(_all(_span("bedrock-agent-steps")))
    assert root.status == "ERROR"
    assert "event stream is cut" in root.attributes[attributes.PROBLEM]


def test_steps_behind_an_answer_that_nobody_asked_for_are_kept() -> None:
    collaborator = {"agentCollaboratorName": "Rivers", "output": {"type": "TEXT", "text": "Havel"}}
    observation = {"traceId": _TRACE_ID, "agentCollaboratorInvocationOutput": collaborator}
    other_id = _TRACE_ID.replace("1", "2")
    root = _answer(
        _event("orchestrationTrace", rationale={"traceId": _TRACE_ID, "text": "So."}),
        _event("guardrailTrace", traceId=f"{_TRACE_ID}-guardrail-pre-0"),
        _event("orchestrationTrace", observation=observation),
        _event("orchestrationTrace", rationale={"traceId": other_id, "text": "On."}),
    )

    assert [child.name for child in root.children] == [
        "orchestrationTrace",
        "preGuardrailTrace",
        "orchestrationTrace",
    ]


def test_turns_lie_no_deeper_in_each_other_than_agents_do() -> None:
    events = [
        _event("orchestrationTrace", rationale={"traceId": f"{number:08}", "text": "So."})
        for number in range(500)
    ]
    root = _answer(*events)

    depth, span = 0, root
    while span.children:
        depth, span = depth + 1, span.children[-1]
    assert depth < 50
    assert len(encode_spans(root)) > 32


def test_a_trace_without_end_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bedrock_agent_trace, "_MAX_EVENTS", 3)
    root = _answer(
        *(
            _event("orchestrationTrace", modelInvocationInput={"traceId": _TRACE_ID, "text": "Go."})
            for _ in range(5)
        ),
        {"said": "In the Havel."},
    )

    assert len(root.children[0].children) == 3
    assert root.attributes["output.value"] == "In the Havel."
    problem = "trace is too long: its last 2 events are left out"
    assert root.attributes[attributes.PROBLEM] == problem


def test_a_problem_of_one_event_is_told_and_the_others_count() -> None:
    broken = {"event": "chunk", "payload": {"bytes": "/w=="}}
    root = _answer(broken, {"event": "trace", "payload": []}, {"said": "In the Havel."})

    assert root.attributes["output.value"] == "In the Havel."
    assert root.attributes[attributes.PROBLEM] == (
        "stream holds a chunk that is not text; stream holds an event that is not a JSON object"
    )


@pytest.mark.parametrize(
    "case",
    [
        "bedrock-agent-retrieve-empty",
        "bedrock-agent-generate-empty",
        "bedrock-converse-empty",
        "bedrock-invoke-claude-empty",
    ],
)
def test_a_success_with_an_empty_body_is_a_success_with_a_problem(case: str) -> None:
    """B10: litellm answered converse with 200 and nothing (40131); where one does, it is told."""
    span = _span(case)

    assert span.status == "OK"
    assert span.attributes[attributes.PROBLEM] == "response body is not a JSON object"


@pytest.mark.parametrize(
    "content",
    [
        "{" * 500_000,
        "{" * 500_000 + "\n}",
        "{" + "a" * 500_000 + "}",
        "{a=" * 100_000 + "}",
        "{:" + " " * 500_000 + '"}',
    ],
    ids=["braces", "braces on a line", "a long name", "many names", "spaces"],
)
def test_a_long_prompt_is_read_in_one_pass(content: str) -> None:
    text = json.dumps({"messages": [{"role": "user", "content": content}]})

    assert bedrock_agent_model.input_messages(text)


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "metadata",
                    "traceId",
                    "text",
                    "content",
                    "startTime",
                    "usage",
                    "rawResponse",
                    "output",
                    "input",
                    "type",
                    "finalResponse",
                    "agentCollaboratorName",
                    "agentCollaboratorInvocationInput",
                    "agentCollaboratorInvocationOutput",
                    "knowledgeBaseLookupOutput",
                    "actionGroupInvocationInput",
                    "codeInterpreterInvocationOutput",
                    "retrievedReferences",
                    "reasoningContent",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)
_parts = st.dictionaries(
    st.sampled_from(
        [
            "modelInvocationInput",
            "modelInvocationOutput",
            "invocationInput",
            "observation",
            "rationale",
            "traceId",
            "inputAssessments",
        ]
    ),
    _json,
    max_size=3,
)
_traces = st.dictionaries(
    st.sampled_from(
        ["orchestrationTrace", "routingClassifierTrace", "guardrailTrace", "failureTrace"]
    ),
    _parts | _json,
    max_size=2,
)


@given(st.lists(_traces, max_size=6))
def test_no_trace_raises(traces: list[dict[str, Any]]) -> None:
    tree = AgentTrace()
    for trace in traces:
        tree.add({"trace": trace})

    interpret_items(tree.root)
