"""Tools in a Bedrock agent's trace: what they were asked and what they gave enters, attributes
leave.

A tool is an action group, the code interpreter, a knowledge base, or another agent.
No input or output.
"""

from __future__ import annotations

from typing import Any

from openinference.semconv.trace import OpenInferenceSpanKindValues, SpanAttributes

from tracequill_collector.recorder.bedrock_agent.knowledge import documents_attributes
from tracequill_collector.recorder.bedrock_agent.model import TEXT
from tracequill_collector.recorder.body import to_json
from tracequill_collector.recorder.message import (
    INPUT_MESSAGES,
    OUTPUT_MESSAGES,
    Pairs,
    mapping,
    messages_attributes,
    objects,
    text_or_none,
)

_Kinds = OpenInferenceSpanKindValues
_OUTPUTS = (
    "actionGroupInvocationOutput",
    "codeInterpreterInvocationOutput",
    "knowledgeBaseLookupOutput",
    "agentCollaboratorInvocationOutput",
)
# The trace gives a tool's call no id.
_CALL_ID = "default"


def collaborator_name(invocation: dict[str, Any]) -> str:
    """Give the name of the agent that is asked; empty when none is."""
    asked = mapping(invocation.get("agentCollaboratorInvocationInput"))
    return text_or_none(asked.get("agentCollaboratorName")) or ""


def question(invocation: dict[str, Any]) -> str:
    """Give what a tool is asked, as one text; empty when there is nothing."""
    for name, field in (
        ("actionGroupInvocationInput", "text"),
        ("codeInterpreterInvocationInput", "code"),
        ("knowledgeBaseLookupInput", "text"),
    ):
        text = mapping(invocation.get(name)).get(field)
        if text and isinstance(text, str):
            return text
    asked = mapping(mapping(invocation.get("agentCollaboratorInvocationInput")).get("input"))
    return _message(asked, "returnControlResults") if asked.get("type") else ""


def _message(said: dict[str, Any], control: str) -> str:
    """Give what one agent tells another: a text, or results for a call it asked for."""
    match said.get("type", "TEXT"):
        case "TEXT":
            return text_or_none(said.get("text")) or ""
        case "RETURN_CONTROL" if said.get(control):
            return to_json(said[control])
    return ""


def invocation_attributes(invocation: dict[str, Any]) -> tuple[Pairs, dict[str, Any]]:
    """Give what an ``invocationInput`` says, and its metadata."""
    if "actionGroupInvocationInput" in invocation:
        return _action_group_input(mapping(invocation["actionGroupInvocationInput"]))
    if "codeInterpreterInvocationInput" in invocation:
        asked = mapping(invocation["codeInterpreterInvocationInput"])
        return _code_input(asked), {"invocation_type": "code_execution"}
    if "knowledgeBaseLookupInput" in invocation:
        asked = mapping(invocation["knowledgeBaseLookupInput"])
        return _input(asked.get("text"), _Kinds.RETRIEVER), {
            "invocation_type": "knowledge_base_lookup",
            "knowledge_base_id": asked.get("knowledgeBaseId"),
        }
    if "agentCollaboratorInvocationInput" in invocation:
        return _collaborator_input(mapping(invocation["agentCollaboratorInvocationInput"]))
    return iter(()), {}


def _input(text: Any, kind: OpenInferenceSpanKindValues) -> Pairs:
    yield SpanAttributes.INPUT_VALUE, text_or_none(text) or ""
    yield SpanAttributes.INPUT_MIME_TYPE, TEXT
    yield SpanAttributes.OPENINFERENCE_SPAN_KIND, kind.value


def _tool(name: str, arguments: Any, description: str, parameters: Any) -> Pairs:
    call = {"id": _CALL_ID, "name": name, "arguments": arguments}
    message = {"role": "tool", "tool_call_id": _CALL_ID, "tool_calls": [call]}
    yield from messages_attributes(INPUT_MESSAGES, [message])
    yield SpanAttributes.TOOL_NAME, name
    yield SpanAttributes.TOOL_DESCRIPTION, description
    yield SpanAttributes.TOOL_PARAMETERS, to_json(parameters)


def _action_group_input(asked: dict[str, Any]) -> tuple[Pairs, dict[str, Any]]:
    metadata = {
        "invocation_type": "action_group_invocation",
        "action_group_name": asked.get("actionGroupName"),
        "execution_type": asked.get("executionType"),
    }
    optional = (("invocation_id", "invocationId"), ("verb", "verb"), ("api_path", "apiPath"))
    metadata |= {name: asked[field] for name, field in optional if asked.get(field)}

    def attributes() -> Pairs:
        name = text_or_none(asked.get("function")) or ""
        parameters = asked.get("parameters") or []
        yield SpanAttributes.OPENINFERENCE_SPAN_KIND, _Kinds.TOOL.value
        yield from _tool(name, to_json(parameters) if parameters else {}, "", parameters)

    return attributes(), metadata


def _code_input(asked: dict[str, Any]) -> Pairs:
    code = asked.get("code", "")
    yield from _input(code, _Kinds.TOOL)
    yield from _tool(
        "code_interpreter",
        {"code": code, "files": asked.get("files", "")},
        "Executes code and returns results",
        {"code": {"type": "string", "description": "Code to execute"}},
    )


def _collaborator_input(asked: dict[str, Any]) -> tuple[Pairs, dict[str, Any]]:
    said = mapping(asked.get("input"))
    text = _message(said, "returnControlResults")
    metadata = {
        "invocation_type": "agent_collaborator_invocation",
        "agent_collaborator_name": asked.get("agentCollaboratorName"),
        "agent_collaborator_alias_arn": asked.get("agentCollaboratorAliasArn"),
        "input_type": said.get("type", "TEXT"),
    }

    def attributes() -> Pairs:
        yield from _input(text, _Kinds.AGENT)
        messages = [{"role": "assistant", "content": text}]
        yield from messages_attributes(INPUT_MESSAGES, messages)

    return attributes(), metadata


# --- what they gave -----------------------------------------------------------------------


def observed_metadata(observation: dict[str, Any]) -> dict[str, Any]:
    """Give the metadata of the call whose output an ``observation`` tells."""
    for name in _OUTPUTS:
        if output := mapping(observation.get(name)):
            return mapping(output.get("metadata"))
    return {}


def observation_attributes(observation: dict[str, Any]) -> tuple[Pairs, dict[str, Any]]:
    """Give what an ``observation`` says, and the metadata that is not of the call."""
    for name in _OUTPUTS:
        if name not in observation:
            continue
        output = mapping(observation[name])
        match name:
            case "actionGroupInvocationOutput":
                return _output(text_or_none(output.get("text")) or ""), {}
            case "codeInterpreterInvocationOutput":
                return _code_output(output), {}
            case "knowledgeBaseLookupOutput":
                return documents_attributes(objects(output.get("retrievedReferences"))), {}
            case _:
                return _collaborator_output(output)
    return iter(()), {}


def _output(text: str) -> Pairs:
    yield SpanAttributes.OUTPUT_VALUE, text
    yield SpanAttributes.OUTPUT_MIME_TYPE, TEXT


def _code_output(output: dict[str, Any]) -> Pairs:
    text = output.get("executionOutput") or output.get("executionError")
    if not text and output.get("executionTimeout"):
        text = "Execution Timeout Error"
    elif not text and (files := output.get("files")):
        text = to_json(files)
    if text:
        yield from _output(str(text))
    message = {"role": "tool", "content": str(text or "")}
    yield from messages_attributes(OUTPUT_MESSAGES, [message])


def _collaborator_output(output: dict[str, Any]) -> tuple[Pairs, dict[str, Any]]:
    said = mapping(output.get("output"))
    text = _message(said, "returnControlPayload")
    metadata = {
        "agent_collaborator_name": output.get("agentCollaboratorName"),
        "agent_collaborator_alias_arn": output.get("agentCollaboratorAliasArn"),
        "output_type": said.get("type", "TEXT"),
    }

    def attributes() -> Pairs:
        yield from _output(text)
        messages = [{"role": "assistant", "content": text}]
        yield from messages_attributes(OUTPUT_MESSAGES, messages)

    return attributes(), metadata
