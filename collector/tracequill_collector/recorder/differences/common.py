"""Differences that hold for every vendor. No input or output."""

from __future__ import annotations

from tracequill_collector.recorder.differences.difference import ERROR, Difference, only
from tracequill_collector.recorder.secret import REPLACEMENT

# The names of the spans that stand for a call of a model, of each vendor.
_LLM = "|".join(
    (
        r"ChatCompletion|Completion|Response|CreateEmbeddings|ImagesResponse|Decision",
        r"bedrock\.converse(_stream)?|bedrock\.invoke_model(_with_response_stream)?",
        r"bedrock_agent\..*|bedrock\.(retrieve(_and_generate)?|apply_guardrail)",
        r"(beta\.)?messages\.(create|stream|parse|count_tokens)",
        r"(Async)?(GenerateContent(Stream)?|EmbedContent|InteractionsResource\.create)",
        r"(Async)?Caches\.create",
    )
)

COMMON: tuple[Difference, ...] = (
    Difference(
        "plain-endpoints",
        rf"(?!({_LLM})$).*",
        r"name|openinference\.span\.kind|(input|output|llm)\..*",
        ours="a span of kind CHAIN, named by method and path",
        theirs="a span of kind LLM, named by a Python class",
        reason="Listing models or reading a stored response is no LLM call; tokens that are read "
        "again would be counted twice.",
    ),
    Difference(
        "not-instrumented",
        r"(GET|POST|PUT|PATCH|DELETE) /.*|sagemaker\..*",
        "spans",
        ours="a span",
        theirs="none",
        reason="The call happened, and cost something.",
        tolerates=lambda ours, theirs: theirs == [],
    ),
    Difference(
        "no-stack-trace",
        ".*",
        r"exception\.stacktrace",
        ours="none",
        theirs="the application's stack",
        reason="It never crosses the proxy.",
        tolerates=only("theirs"),
    ),
    Difference(
        "key-in-error",
        ".*",
        ERROR,
        ours="[key removed]",
        theirs="the key, as the vendor quotes it",
        reason="No key is ever written to a span.",
        tolerates=lambda ours, theirs: REPLACEMENT in str(ours),
    ),
)
