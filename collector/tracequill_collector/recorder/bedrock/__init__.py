"""Exchanges of Bedrock's runtime: Converse, the models' own formats, guardrails."""
