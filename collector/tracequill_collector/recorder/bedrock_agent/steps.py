"""The steps of a Bedrock agent's trace: the tree of its events enters, an Interpretation of each
turn and each call leaves.

A turn says what its calls say: the first question in it, the last answer, its own times.
No input or output.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from openinference.semconv.trace import OpenInferenceSpanKindValues, SpanAttributes

from tracequill_collector.recorder.bedrock.guardrail import is_blocked
from tracequill_collector.recorder.bedrock_agent import model as agent_model
from tracequill_collector.recorder.bedrock_agent import tools as agent_tools
from tracequill_collector.recorder.bedrock_agent.model import TEXT
from tracequill_collector.recorder.bedrock_agent.trace import (
    COLLABORATOR,
    FAILURE,
    GUARDRAIL,
    ORCHESTRATION,
    POST_PROCESSING,
    PRE_PROCESSING,
    ROUTING,
    Part,
    Stage,
    Step,
)
from tracequill_collector.recorder.body import to_json
from tracequill_collector.recorder.call import Interpretation
from tracequill_collector.recorder.message import Pairs, mapping, objects, text_or_none

_KIND = SpanAttributes.OPENINFERENCE_SPAN_KIND
_Kinds = OpenInferenceSpanKindValues
_MAX_UNIX_SECONDS = 2**63 / 10**9


@dataclass(slots=True)
class _Description:
    """What the events of a turn or a call say, in the making."""

    name: str
    kind: _Kinds
    request: dict[str, Any] = field(default_factory=dict)
    output: dict[str, Any] = field(default_factory=dict)
    metadata: dict[str, Any] = field(default_factory=dict)
    asked: dict[str, Any] = field(default_factory=dict)
    """Metadata of the request, which stands behind that of the events."""
    answered: dict[str, Any] = field(default_factory=dict)
    is_blocked: bool = False

    def interpretation(self) -> Interpretation:
        result = Interpretation(self.name or "LLM")
        result.add([(_KIND, self.kind.value)])
        result.add(self.request.items())
        result.add(self.output.items())
        metadata = self.metadata | self.asked | self.answered
        result.add([(SpanAttributes.METADATA, to_json(metadata) if metadata else None)])
        result.status = "ERROR" if self.is_blocked else "OK"
        return result


def interpret_stage(stage: Stage) -> Interpretation:
    """Interpret one turn and everything in it."""
    result = _describe_stage(stage).interpretation()
    result.children = interpret_items(stage)
    finals = [mapping(part.content("observation").get("finalResponse")) for part in stage.parts]
    times = list(_call_times(mapping(final.get("metadata")) for final in finals))
    times += _times(stage.parts)
    for child in result.children:
        times += [unix_ns for unix_ns in (child.start_unix_ns, child.end_unix_ns) if unix_ns]
    _set_times(result, times)
    return result


def interpret_items(stage: Stage) -> list[Interpretation]:
    """Interpret the calls and the turns in *stage*, in order."""
    return [
        interpret_stage(item) if isinstance(item, Stage) else _interpret_step(item)
        for item in stage.items
    ]


def _interpret_step(step: Step) -> Interpretation:
    result = _describe_step(step).interpretation()
    _set_times(result, _times(step.parts))
    return result


# --- times --------------------------------------------------------------------------------


def _set_times(result: Interpretation, times: list[int]) -> None:
    if times:
        result.start_unix_ns, result.end_unix_ns = min(times), max(times)


def _times(parts: list[Part]) -> list[int]:
    """Give when the calls in *parts* began and ended, or else when that was told."""
    # A final response is not asked: it tells how long its turn took, which no call of it did.
    told = (
        metadata
        for part in parts
        for metadata in (
            mapping(part.data.get("metadata")),
            mapping(part.content("modelInvocationOutput").get("metadata")),
            agent_tools.observed_metadata(part.content("observation")),
        )
    )
    events = (int(_unix_seconds(part.time) * 1_000_000_000) for part in parts)
    return list(_call_times(told)) or [unix_ns for unix_ns in events if unix_ns]


def _call_times(told: Iterable[dict[str, Any]]) -> Iterator[int]:
    for metadata in told:
        for name in ("startTime", "endTime"):
            if seconds := _unix_seconds(metadata.get(name)):
                yield int(seconds * 1_000_000_000)


def _unix_seconds(value: Any) -> float:
    """Give a time of the trace, or 0 when it is none."""
    if not isinstance(value, str):
        return 0
    try:
        time = datetime.fromisoformat(value)
        seconds = (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return 0
    return seconds if 0 < seconds < _MAX_UNIX_SECONDS else 0


def _call_metadata(metadata: Any) -> dict[str, Any]:
    """Give what is kept of the metadata of a call; times in nanoseconds, as floating-point."""
    metadata = mapping(metadata)
    kept = {
        name: metadata[name]
        for name in ("clientRequestId", "operationTotalTimeMs", "totalTimeMs")
        if metadata.get(name)
    }
    for name in ("startTime", "endTime"):
        if seconds := _unix_seconds(metadata.get(name)):
            kept[name] = seconds * 1_000_000_000
    return kept


# --- calls --------------------------------------------------------------------------------


def _describe_step(step: Step) -> _Description:
    described = _Description("LLM", _Kinds.LLM)
    for part in step.parts:
        if part.kind == GUARDRAIL:
            _add_guardrail(described, part)
            continue
        if part.kind == FAILURE:
            described.output.update(_failure_attributes(part.data))
            described.metadata.update(_call_metadata(part.data.get("metadata")))
            continue
        if "modelInvocationInput" in part.data:
            described.name, described.kind = "LLM", _Kinds.LLM
            asked = part.content("modelInvocationInput")
            described.request.update(_present(agent_model.input_attributes(asked)))
        if "modelInvocationOutput" in part.data:
            said = part.content("modelInvocationOutput")
            described.output.update(_present(agent_model.output_attributes(said)))
            described.metadata.update(_call_metadata(said.get("metadata")))
        if "invocationInput" in part.data:
            _add_invocation(described, part.content("invocationInput"))
        if "observation" in part.data:
            _add_observation(described, part.content("observation"))
        if "rationale" in part.data:
            described.output.update(_text_output(part.content("rationale").get("text")))
    return described


def _present(pairs: Pairs) -> dict[str, Any]:
    return {name: value for name, value in pairs if value is not None}


def _text_output(text: Any) -> dict[str, Any]:
    if not text or not isinstance(text, str):
        return {}
    return {SpanAttributes.OUTPUT_VALUE: text, SpanAttributes.OUTPUT_MIME_TYPE: TEXT}


def _text_input(text: str) -> dict[str, Any]:
    return {SpanAttributes.INPUT_VALUE: text, SpanAttributes.INPUT_MIME_TYPE: TEXT}


def _add_invocation(described: _Description, invocation: dict[str, Any]) -> None:
    described.name = (text_or_none(invocation.get("invocationType")) or "").lower()
    described.kind = _Kinds.TOOL
    if name := agent_tools.collaborator_name(invocation):
        described.name, described.kind = f"{described.name}[{name}]", _Kinds.AGENT
    attributes, metadata = agent_tools.invocation_attributes(invocation)
    described.request.update(_present(attributes))
    described.asked = metadata or described.asked


def _add_observation(described: _Description, observation: dict[str, Any]) -> None:
    attributes, metadata = agent_tools.observation_attributes(observation)
    described.output.update(_present(attributes))
    call = _call_metadata(agent_tools.observed_metadata(observation))
    described.metadata.update(call)
    described.answered = {**call, **metadata} if metadata else described.answered


def _add_guardrail(described: _Description, part: Part) -> None:
    described.name, described.kind = "Guardrails", _Kinds.GUARDRAIL
    lists = described.metadata
    lists.setdefault("intervening_guardrails", [])
    lists.setdefault("non_intervening_guardrails", [])
    judged = _call_metadata(part.data.get("metadata"))
    judged.pop("operationTotalTimeMs", None)
    names = ("action", "inputAssessments", "outputAssessments")
    judged |= {name: part.data[name] for name in names if part.data.get(name) is not None}
    if part.data.get("action") == "INTERVENED":
        lists["intervening_guardrails"].append(judged)
        assessments = [
            *objects(part.data.get("inputAssessments")),
            *objects(part.data.get("outputAssessments")),
        ]
        described.is_blocked = described.is_blocked or is_blocked(assessments)
    else:
        lists["non_intervening_guardrails"].append(judged)


def _failure_attributes(failure: dict[str, Any]) -> dict[str, Any]:
    text = f"Failure Code: {code}\n" if (code := failure.get("failureCode")) else ""
    if reason := failure.get("failureReason"):
        text += f"Failure Reason: {reason}"
    return _text_output(text)


# --- turns --------------------------------------------------------------------------------


def _describe_stage(stage: Stage) -> _Description:
    kind = _Kinds.AGENT if stage.kind == COLLABORATOR else _Kinds.CHAIN
    described = _Description(stage.kind, kind)
    if stage.kind == GUARDRAIL:
        # The id ends in pre or post.
        described.name = stage.id.rpartition("-")[2] + "GuardrailTrace"
    for part in stage.parts:
        if stage.kind == COLLABORATOR and (
            name := agent_tools.collaborator_name(part.content("invocationInput"))
        ):
            invocation_type = text_or_none(part.content("invocationInput").get("invocationType"))
            described.name = f"{(invocation_type or '').lower()}[{name}]"
        for metadata in (
            part.data.get("metadata"),
            part.content("modelInvocationOutput").get("metadata"),
            mapping(part.content("observation").get("finalResponse")).get("metadata"),
        ):
            described.metadata.update(_call_metadata(metadata))
    _add_question(described, stage)
    _add_answer(described, stage)
    if stage.kind == FAILURE:
        for part in stage.parts:
            described.output.update(_failure_attributes(part.data))
    return described


def _add_question(described: _Description, stage: Stage) -> None:
    """Give a turn the question that it, or the first call in it, was asked."""
    for part in stage.parts:
        invocation = part.content("invocationInput")
        if stage.kind == COLLABORATOR and invocation:
            attributes, metadata = agent_tools.invocation_attributes(invocation)
            described.request.update(_present(attributes))
            described.asked = metadata
            return
        if part.kind == ORCHESTRATION and (text := agent_tools.question(invocation)):
            described.request.update(_text_input(text))
            return
    for item in stage.items:
        for part in item.parts:
            if text := _first_question(part):
                described.request.update(_text_input(text))
                return
        if isinstance(item, Stage):
            _add_question(described, item)
            return


def _first_question(part: Part) -> str:
    """Give what a model or a tool is asked by *part*; empty when it asks none."""
    asked = text_or_none(part.content("modelInvocationInput").get("text"))
    for message in agent_model.input_messages(asked) if asked else ():
        content = message.get("content")
        if message.get("role") == "user" and content:
            return str(content)
    if part.kind == ORCHESTRATION:
        return agent_tools.question(part.content("invocationInput"))
    return ""


def _add_answer(described: _Description, stage: Stage) -> None:
    """Give a turn the answer that it, or the last call in it, gave."""
    for part in reversed(stage.parts):
        observation = part.content("observation")
        if stage.kind == COLLABORATOR and observation:
            attributes, metadata = agent_tools.observation_attributes(observation)
            described.request.update(_present(attributes))
            if metadata:
                call = _call_metadata(agent_tools.observed_metadata(observation))
                described.asked = {**call, **metadata}
            return
        if "finalResponse" in observation:
            described.request.update(
                _text_output(mapping(observation["finalResponse"]).get("text"))
            )
            return
    for item in reversed(stage.items):
        for part in reversed(item.parts):
            if (text := _last_word(part)) is not None:
                described.request.update(_text_output(text))
                return
        if isinstance(item, Stage):
            _add_answer(described, item)
            return


def _last_word(part: Part) -> str | None:
    """Give the answer that *part* gives for the turn it is in; None when it gives none."""
    said = part.content("modelInvocationOutput")
    parsed = mapping(said.get("parsedResponse"))
    match part.kind:
        case kind if kind == PRE_PROCESSING:
            return text_or_none(parsed.get("rationale")) or None
        case kind if kind == POST_PROCESSING:
            return text_or_none(parsed.get("text")) or None
        case kind if kind == ROUTING:
            return agent_model.output_text(said) or None
        case kind if kind == ORCHESTRATION and "finalResponse" in part.content("observation"):
            final = mapping(part.content("observation")["finalResponse"])
            return text_or_none(final.get("text")) or ""
    return None
