"""The forked Phoenix: an overlay on arize-phoenix, built at its seams, with no source copied."""
