"""A transaction of ours begins with its own settings."""

from __future__ import annotations

from tracequill_collector.exporter.connection import transaction_settings


def test_a_transaction_waits_for_the_disk_and_finds_its_schema() -> None:
    assert "synchronous_commit TO on" in transaction_settings(None)
    assert "search_path" not in transaction_settings(None)
    assert transaction_settings('a"b').endswith('search_path TO "a""b"')
