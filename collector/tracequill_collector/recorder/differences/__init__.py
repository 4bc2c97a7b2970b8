"""Where the recorder's span differs from the instrumentor's, and why; nothing else may differ.

The test of equality reads this table. JSON-valued attributes are compared parsed; what Tracequill
adds to every span (``tracequill.*``, session, user, metadata, tags) is no difference.
No input or output, and nothing at run time depends on it.
"""

from __future__ import annotations

from tracequill_collector.recorder.differences.anthropic import ANTHROPIC
from tracequill_collector.recorder.differences.bedrock import BEDROCK
from tracequill_collector.recorder.differences.bedrock_agent import BEDROCK_AGENT
from tracequill_collector.recorder.differences.common import COMMON
from tracequill_collector.recorder.differences.difference import ABSENT, Attribute, Difference
from tracequill_collector.recorder.differences.gemini import GEMINI
from tracequill_collector.recorder.differences.openai import OPENAI

__all__ = ["ABSENT", "DIFFERENCES", "Attribute", "Difference"]

DIFFERENCES: tuple[Difference, ...] = (
    *COMMON,
    *OPENAI,
    *ANTHROPIC,
    *BEDROCK,
    *BEDROCK_AGENT,
    *GEMINI,
)
"""All of them."""
