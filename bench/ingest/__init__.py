"""Ingest side by side: stock Phoenix, Tracequill, and a bare COPY, in one run on one machine."""
