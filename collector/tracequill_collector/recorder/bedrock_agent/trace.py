"""The trace of a Bedrock agent: its events enter one by one, the tree of its steps leaves.

A Stage is one turn of an agent: preparing, orchestrating, a guardrail, a collaborator. A Step is
one call in it, of a model or of a tool. Which event belongs where is decided as the instrumentor
decides it, from the event's kind and trace id alone. What the events say is not known here.
No input or output.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tracequill_collector.recorder.message import mapping

ROOT = ""
COLLABORATOR = "agent-collaborator"
FAILURE = "failureTrace"
GUARDRAIL = "guardrailTrace"
ORCHESTRATION = "orchestrationTrace"
POST_PROCESSING = "postProcessingTrace"
PRE_PROCESSING = "preProcessingTrace"
ROUTING = "routingClassifierTrace"

_KINDS = (ORCHESTRATION, PRE_PROCESSING, POST_PROCESSING, GUARDRAIL, FAILURE, ROUTING)
_CONTENTS = (
    "modelInvocationInput",
    "modelInvocationOutput",
    "invocationInput",
    "observation",
    "rationale",
)
# Agents call each other a few levels deep; each level repeats the question of the one below.
_MAX_DEPTH = 32
# Each is a span or two; agents end after some tens of steps.
_MAX_EVENTS = 10_000


@dataclass(frozen=True, slots=True)
class Part:
    """One event of the trace: its kind, its content, and when it was sent, as text."""

    kind: str
    data: dict[str, Any]
    time: str = ""

    def content(self, name: str) -> dict[str, Any]:
        """Give one of the objects in it; empty when it has none of that name."""
        return mapping(self.data.get(name))

    @property
    def collaborator_input(self) -> dict[str, Any] | None:
        """What another agent is asked, where this event calls one."""
        if self.kind not in (ORCHESTRATION, ROUTING):
            return None
        asked = self.content("invocationInput").get("agentCollaboratorInvocationInput")
        return asked if isinstance(asked, dict) else None

    @property
    def ends_collaborator(self) -> bool:
        """Whether another agent's answer is in it."""
        answer = self.content("observation").get("agentCollaboratorInvocationOutput")
        return self.kind in (ORCHESTRATION, ROUTING) and isinstance(answer, dict)

    @property
    def begins_step(self) -> bool:
        """Whether a model or a tool is called here."""
        first = next((name for name in _CONTENTS if name in self.data), "")
        return self.kind != GUARDRAIL and first in ("modelInvocationInput", "invocationInput")

    @property
    def trace_id(self) -> str:
        """The id that the events of one turn share, with a number or a name behind it."""
        for holder in (*map(self.content, _CONTENTS), self.data):
            if isinstance(trace_id := holder.get("traceId"), str):
                return trace_id
        return ""


@dataclass(slots=True)
class Step:
    """One call of a model or a tool: the events that tell it."""

    parts: list[Part]


@dataclass(slots=True)
class Stage:
    """One turn, with the steps and the turns in it."""

    kind: str
    id: str
    parent: Stage | None = None
    items: list[Stage | Step] = field(default_factory=list)
    parts: list[Part] = field(default_factory=list)
    """What is said of the turn as a whole."""
    depth: int = 0
    _step: Step | None = None

    def begin_step(self, part: Part) -> None:
        """Add a step that *part* begins."""
        self._step = Step([part])
        self.items.append(self._step)

    def add(self, part: Part) -> None:
        """Add *part* to the step it belongs to."""
        if part.begins_step:
            self.begin_step(part)
            return
        self.parts.append(part)
        if self._step is None:
            self.begin_step(part)
        else:
            self._step.parts.append(part)


class AgentTrace:
    """The tree that the events of one answer tell, as far as they came."""

    def __init__(self) -> None:
        self.root = Stage(ROOT, ROOT)
        self._open = [self.root]
        self._stages: dict[str, Stage] = {}
        self._nameless = 0
        self._events = 0
        self.left_out = 0
        """How many events came after more than a tree can hold."""

    def add(self, event: dict[str, Any]) -> None:
        """Add the payload of one ``trace`` event; a kind that is not known is left out."""
        trace = mapping(event.get("trace"))
        kind = next((kind for kind in _KINDS if kind in trace), "")
        if not kind:
            return
        self._events += 1
        if self._events > _MAX_EVENTS:
            self.left_out += 1
            return
        time = event.get("eventTime")
        part = Part(kind, mapping(trace[kind]), time if isinstance(time, str) else "")
        stage_id = self._stage_id(part)
        # A collaborator's turn has the id of the turn that called it.
        collaborator_id = f"{stage_id}-agent"
        current = self._open[-1]
        if stage_id not in self._stages:
            if current.kind not in (ROOT, COLLABORATOR, kind):
                self._open.pop()
            self._begin(stage_id, part)
        elif current.id == stage_id or (
            current.id == collaborator_id and self._is_collaboration(part)
        ):
            if part.collaborator_input is not None:
                self._begin(collaborator_id, part)
            else:
                current.add(part)
        elif current.parent is not None and current.parent.id == stage_id:
            self._open.pop()
            self._open[-1].add(part)
        elif part.ends_collaborator:
            while len(self._open) > 1 and self._open[-1].id != collaborator_id:
                self._open.pop()
            self._open[-1].parts.append(part)
        else:
            self._stages[stage_id].add(part)

    def _stage_id(self, part: Part) -> str:
        trace_id = part.trace_id
        if not trace_id:
            self._nameless += 1
            return f"{part.kind}_{self._nameless}"
        # A UUID; behind it stands a step's number, or which of the two guardrails it is.
        words = trace_id.split("-")[: 7 if "guardrail" in trace_id else 5]
        return f"{part.kind}_{'-'.join(words)}"

    @staticmethod
    def _is_collaboration(part: Part) -> bool:
        return part.ends_collaborator or part.collaborator_input is not None

    def _begin(self, stage_id: str, part: Part) -> None:
        parent = self._open[-1]
        if parent.depth == _MAX_DEPTH:
            self._stages[stage_id] = parent
            parent.add(part)
            return
        kind = part.kind if part.collaborator_input is None else COLLABORATOR
        stage = Stage(kind, stage_id, parent, parts=[part], depth=parent.depth + 1)
        if kind not in (COLLABORATOR, FAILURE):
            stage.begin_step(part)
        parent.items.append(stage)
        self._open.append(stage)
        self._stages[stage_id] = stage
