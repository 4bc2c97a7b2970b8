"""Keys in text: what looks like one is replaced. Error messages of vendors quote keys."""

from __future__ import annotations

from tracequill_collector.exchange import KEY_REMOVED, remove_keys

REPLACEMENT = KEY_REMOVED

__all__ = ["REPLACEMENT", "remove_keys"]
