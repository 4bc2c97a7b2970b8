"""The instrumented application: a support desk that searches its help pages before it answers.

It shows what an application writes: ``register()`` once, ``session`` and ``user`` around a
conversation, and spans of its own for what is not a call to a model.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import openai
from openinference.instrumentation import (
    Document,
    OITracer,
    get_retriever_attributes,
)
from opentelemetry.trace import StatusCode

import tracequill
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
    STOCK,
    WRONG_MODEL,
    Calls,
    Labelled,
    Refused,
    bedrock_client,
    chat_tool,
    claude_body,
    converse_tool,
    openai_client,
    proxy_url,
    run_function,
)
from tracequill_phoenix.demo.conversations import PAGES, SUPPORT_SESSIONS, Session, Turn

PROJECT = "demo-support"
_FLUSH_SECONDS = 10.0
_PAGES_FOUND = 2
_Kind = Literal["chain", "retriever", "tool"]


def run_support(settings: Settings, run: str) -> Calls:
    """Hold all conversations of the support desk; every span is delivered on return."""
    calls = Calls(PROJECT)
    provider = tracequill.register(
        project_name=PROJECT,
        endpoint=settings.collector_base_url,
        proxy_url=proxy_url(settings),
        verbose=False,
    )
    try:
        tracer = provider.get_tracer(__name__)
        with openai_client(settings) as client:
            bedrock = bedrock_client(settings)
            try:
                desk = SupportDesk(tracer, client, bedrock, calls)
                desk.read_pages()
                for session in SUPPORT_SESSIONS:
                    desk.talk(session, run)
            finally:
                bedrock.close()
    finally:
        tracequill.unregister(_FLUSH_SECONDS)
    return calls


class SupportDesk:
    """Answers customers, with help pages, functions, and models of two vendors."""

    def __init__(self, tracer: OITracer, client: openai.OpenAI, bedrock: Any, calls: Calls) -> None:
        self._tracer = tracer
        self._openai = client
        self._bedrock = bedrock
        self._calls = calls
        self._vectors: list[list[float]] = []

    def read_pages(self) -> None:
        """Embed the help pages, so that they can be searched."""
        with self._span("read help pages", "chain", f"{len(PAGES)} pages") as span:
            self._vectors = self._embed([text for _, text in PAGES])
            span.set_output(f"{len(self._vectors)} vectors")

    def talk(self, session: Session, run: str) -> None:
        """Hold one conversation."""
        name = f"{session.name}-{run}"
        self._calls.sessions.add(name)
        self._calls.users.add(session.user)
        said: list[dict[str, Any]] = []
        with (
            tracequill.session(name),
            tracequill.user(session.user),
            tracequill.tags(["demo", *session.tags]),
            tracequill.metadata({"run": run, "shop": "Fennel & Finch"}),
        ):
            for turn in session.turns:
                self._answer(turn, said)

    def _answer(self, turn: Turn, said: list[dict[str, Any]]) -> None:
        try:
            with self._span("answer", "chain", turn.question) as span:
                pages = self._search(turn.question)
                answer = self._ask(turn, pages, said)
                span.set_output(answer)
                trace_id = format(span.get_span_context().trace_id, "032x")
        except Refused:
            return  # the customer asks again; the spans say what went wrong
        said.append({"role": "user", "content": turn.question})
        said.append({"role": "assistant", "content": answer})
        if turn.verdict:
            self._calls.labelled.append(Labelled(turn.verdict, trace_id))

    def _search(self, question: str) -> str:
        """The retriever: the help pages that are nearest to the question."""
        with self._span("search help pages", "retriever", question) as span:
            [wanted] = self._embed([question])
            scored = [
                (sum(a * b for a, b in zip(wanted, vector, strict=True)), title, text)
                for (title, text), vector in zip(PAGES, self._vectors, strict=True)
            ]
            found = sorted(scored, reverse=True)[:_PAGES_FOUND]
            documents = [
                Document(id=title, content=text, score=score) for score, title, text in found
            ]
            span.set_attributes(get_retriever_attributes(documents=documents))
        return "\n\n".join(text for _, _, text in found)

    def _embed(self, texts: list[str]) -> list[list[float]]:
        answer = self._calls.make(
            "OpenAI embeddings",
            self._openai.embeddings.create,
            model=EMBEDDING_MODEL,
            dimensions=EMBEDDING_DIMENSIONS,
            input=texts,
        )
        return [item.embedding for item in answer.data]

    def _ask(self, turn: Turn, pages: str, said: list[dict[str, Any]]) -> str:
        system = f"{INSTRUCTIONS}\n\nHelp pages:\n{pages}"
        if turn.way.startswith("converse"):
            return self._converse(turn, system)
        if turn.way == "invoke":
            answer = self._calls.make(
                "Bedrock invoke",
                self._bedrock.invoke_model,
                modelId=CLAUDE,
                body=claude_body(turn.question),
            )
            return str(json.loads(answer["body"].read())["content"][0]["text"])
        if turn.way == "invoke_stream":
            return self._invoke_stream(turn)
        if turn.way == "responses":
            response = self._calls.make(
                "OpenAI responses",
                self._openai.responses.create,
                model=RESPONSES_MODEL,
                instructions=system,
                input=turn.question,
            )
            return str(response.output_text)
        return self._chat(turn, [{"role": "system", "content": system}, *said])

    def _chat(self, turn: Turn, said: list[dict[str, Any]]) -> str:
        messages: list[Any] = [*said, {"role": "user", "content": turn.question}]
        create = self._openai.chat.completions.create
        if turn.way == "stream":
            stream = self._calls.make(
                "OpenAI chat, streamed",
                create,
                model=CHAT_MODEL,
                messages=messages,
                stream=True,
                stream_options={"include_usage": True},
            )
            chunks: list[Any] = list(stream)
            return "".join(
                chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices
            )
        model = WRONG_MODEL if turn.way == "wrong_model" else CHAT_MODEL
        tools = {"tools": [chat_tool(ORDER_STATUS)]} if turn.way == "tools" else {}
        answer: Any = self._calls.make(
            "OpenAI chat", create, model=model, messages=messages, **tools
        )
        message = answer.choices[0].message
        if not message.tool_calls:
            return str(message.content)
        messages.append(message.model_dump(exclude_none=True))
        for call in message.tool_calls:
            result = self._run(call.function.name, json.loads(call.function.arguments))
            messages.append(
                {"role": "tool", "tool_call_id": call.id, "content": json.dumps(result)}
            )
        final: Any = self._calls.make(
            "OpenAI chat", create, model=model, messages=messages, **tools
        )
        return str(final.choices[0].message.content)

    def _converse(self, turn: Turn, system: str) -> str:
        messages: list[Any] = [{"role": "user", "content": [{"text": turn.question}]}]
        asked: dict[str, Any] = {"modelId": NOVA, "system": [{"text": system}]}
        if turn.way == "converse_stream":
            answer = self._calls.make(
                "Bedrock converse, streamed",
                self._bedrock.converse_stream,
                messages=messages,
                **asked,
            )
            deltas = [
                event["contentBlockDelta"]["delta"]["text"]
                for event in answer["stream"]
                if "contentBlockDelta" in event
            ]
            return "".join(deltas)
        if turn.way == "converse_tools":
            asked["toolConfig"] = {"tools": [converse_tool(STOCK)]}
        converse = self._bedrock.converse
        answer = self._calls.make("Bedrock converse", converse, messages=messages, **asked)
        message = answer["output"]["message"]
        uses = [block["toolUse"] for block in message["content"] if "toolUse" in block]
        if not uses:
            return str(message["content"][0]["text"])
        results = [
            {
                "toolResult": {
                    "toolUseId": use["toolUseId"],
                    "content": [{"json": self._run(use["name"], use["input"])}],
                }
            }
            for use in uses
        ]
        messages += [message, {"role": "user", "content": results}]
        final = self._calls.make("Bedrock converse", converse, messages=messages, **asked)
        return str(final["output"]["message"]["content"][0]["text"])

    def _invoke_stream(self, turn: Turn) -> str:
        answer = self._calls.make(
            "Bedrock invoke, streamed",
            self._bedrock.invoke_model_with_response_stream,
            modelId=CLAUDE,
            body=claude_body(turn.question),
        )
        events = [json.loads(event["chunk"]["bytes"]) for event in answer["body"]]
        return "".join(event["delta"].get("text", "") for event in events if "delta" in event)

    def _run(self, name: str, arguments: dict[str, Any]) -> dict[str, Any]:
        with self._span(name, "tool", arguments) as span:
            span.set_tool(name=name, parameters=arguments)
            result = run_function(name, arguments)
            span.set_output(result)
        return result

    @contextmanager
    def _span(self, name: str, kind: _Kind, value: Any) -> Iterator[Any]:
        """A span of our own, with its input; it is an error when the block raises."""
        with self._tracer.start_as_current_span(name, openinference_span_kind=kind) as span:
            span.set_input(value)
            yield span
            span.set_status(StatusCode.OK)
