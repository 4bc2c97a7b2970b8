"""The mock upstream: it stands for OpenAI, Anthropic and Bedrock, to the byte of their protocols.

A request comes in as method, raw path, headers and body; status, headers and chunks go out.
It opens no socket and reads no setting; the proxy calls it, or ``server.py`` puts it on a port.
"""

from tracequill_collector.mock.upstream import MockResponse, MockUpstream

__all__ = ["MockResponse", "MockUpstream"]
