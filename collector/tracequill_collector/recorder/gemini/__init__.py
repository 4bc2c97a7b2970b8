"""Exchanges in Gemini's format: content, embeddings, caches, interactions."""
