"""Exchanges in OpenAI's format, whoever serves it."""
