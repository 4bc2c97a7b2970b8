"""The other application: no library of ours, only another base URL and four headers.

The proxy records each call, and says in its answer's headers which span that became.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import openai

from tracequill.settings import Settings
from tracequill_phoenix.demo.calls import (
    CHAT_MODEL,
    CLAUDE,
    EMBEDDING_DIMENSIONS,
    EMBEDDING_MODEL,
    INSTRUCTIONS,
    NOVA,
    ORDER_STATUS,
    RESPONSES_MODEL,
    WRONG_MODEL,
    Calls,
    Labelled,
    Refused,
    bedrock_client,
    chat_tool,
    claude_body,
    openai_client,
    run_function,
)
from tracequill_phoenix.demo.conversations import PROXY_SESSIONS, Session, Turn

PROJECT = "demo-proxy"


def run_uninstrumented(settings: Settings, run: str) -> Calls:
    """Hold all conversations; the proxy has recorded them on return."""
    calls = Calls(PROJECT)
    with openai_client(settings) as client:
        for session in PROXY_SESSIONS:
            name = f"{session.name}-{run}"
            calls.sessions.add(name)
            calls.users.add(session.user)
            headers = {
                "x-tracequill-project": PROJECT,
                "x-tracequill-session-id": name,
                "x-tracequill-user-id": session.user,
                "x-tracequill-tags": "demo",
                "x-tracequill-metadata": json.dumps({"run": run}),
            }
            bedrock = bedrock_client(settings)
            # After signing: the proxy takes these headers off again, so they must not be signed.
            bedrock.meta.events.register(
                "before-send.bedrock-runtime",
                lambda request, headers=headers, **_: request.headers.update(headers),
            )
            try:
                Desk(client.with_options(default_headers=headers), bedrock, calls).talk(session)
            finally:
                bedrock.close()
    return calls


class Desk:
    """Answers one customer at a time and knows nothing about tracing."""

    def __init__(self, client: openai.OpenAI, bedrock: Any, calls: Calls) -> None:
        self._openai = client
        self._bedrock = bedrock
        self._calls = calls
        self._said: list[Any] = [{"role": "system", "content": INSTRUCTIONS}]

    def talk(self, session: Session) -> None:
        """Hold one conversation."""
        for turn in session.turns:
            try:
                headers = self._answer(turn)
            except Refused:
                continue
            if turn.verdict:
                self._calls.labelled.append(
                    Labelled(
                        turn.verdict,
                        headers["x-tracequill-trace-id"],
                        headers["x-tracequill-span-id"],
                    )
                )

    def _answer(self, turn: Turn) -> Mapping[str, str]:
        """Answer one question; give the headers that came with the answer."""
        if turn.way.startswith(("converse", "invoke")):
            return self._ask_bedrock(turn)
        if turn.way == "embed":
            create = self._openai.embeddings.with_raw_response.create
            raw: Any = self._calls.make(
                "OpenAI embeddings",
                create,
                model=EMBEDDING_MODEL,
                dimensions=EMBEDDING_DIMENSIONS,
                input=turn.question,
            )
            return _headers(raw)
        if turn.way == "responses":
            raw = self._calls.make(
                "OpenAI responses",
                self._openai.responses.with_raw_response.create,
                model=RESPONSES_MODEL,
                instructions=INSTRUCTIONS,
                input=turn.question,
            )
            return _headers(raw)
        return self._chat(turn)

    def _chat(self, turn: Turn) -> Mapping[str, str]:
        self._said.append({"role": "user", "content": turn.question})
        create = self._openai.chat.completions.with_raw_response.create
        model = WRONG_MODEL if turn.way == "wrong_model" else CHAT_MODEL
        if turn.way == "stream":
            raw: Any = self._calls.make(
                "OpenAI chat, streamed",
                create,
                model=model,
                messages=self._said,
                stream=True,
                stream_options={"include_usage": True},
            )
            chunks = list(raw.parse())
            text = "".join(
                chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices
            )
            self._said.append({"role": "assistant", "content": text})
            return _headers(raw)
        tools = {"tools": [chat_tool(ORDER_STATUS)]} if turn.way == "tools" else {}
        raw = self._calls.make("OpenAI chat", create, model=model, messages=self._said, **tools)
        message = raw.parse().choices[0].message
        self._said.append(message.model_dump(exclude_none=True))
        if message.tool_calls:
            for call in message.tool_calls:
                result = run_function(call.function.name, json.loads(call.function.arguments))
                self._said.append(
                    {"role": "tool", "tool_call_id": call.id, "content": json.dumps(result)}
                )
            raw = self._calls.make("OpenAI chat", create, model=model, messages=self._said, **tools)
            self._said.append(raw.parse().choices[0].message.model_dump(exclude_none=True))
        return _headers(raw)

    def _ask_bedrock(self, turn: Turn) -> Mapping[str, str]:
        converse: dict[str, Any] = {
            "modelId": NOVA,
            "system": [{"text": INSTRUCTIONS}],
            "messages": [{"role": "user", "content": [{"text": turn.question}]}],
        }
        invoke = {"modelId": CLAUDE, "body": claude_body(turn.question)}
        client = self._bedrock
        if turn.way == "converse":
            answer = self._calls.make("Bedrock converse", client.converse, **converse)
        elif turn.way == "converse_stream":
            answer = self._calls.make(
                "Bedrock converse, streamed", client.converse_stream, **converse
            )
            list(answer["stream"])
        elif turn.way == "invoke":
            answer = self._calls.make("Bedrock invoke", client.invoke_model, **invoke)
            answer["body"].read()
        else:
            answer = self._calls.make(
                "Bedrock invoke, streamed", client.invoke_model_with_response_stream, **invoke
            )
            list(answer["body"])
        found: Mapping[str, str] = answer["ResponseMetadata"]["HTTPHeaders"]
        return found


def _headers(raw: Any) -> Mapping[str, str]:
    found: Mapping[str, str] = raw.headers
    return found
