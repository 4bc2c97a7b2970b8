"""Exchanges in Anthropic's format: messages and their streams, the older completions."""
