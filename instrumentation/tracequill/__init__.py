"""Trace LLM applications with OpenTelemetry."""
