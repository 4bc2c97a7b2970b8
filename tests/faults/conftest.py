"""What the fault runs share."""

from __future__ import annotations

from tests.faults.fixtures import cluster

__all__ = ["cluster"]
