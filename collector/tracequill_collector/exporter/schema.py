"""Which of Phoenix's schemas are written to: their state enters, a reason to wait leaves.

Phoenix makes and changes its tables; the exporter writes rows only where it knows every column.
Its revision is checked when a connection opens and inside every transaction that writes, after
the tables are locked against migrations.
"""

from __future__ import annotations

from collections.abc import Collection

from tracequill_collector.errors import RetryableError

KNOWN_REVISIONS = frozenset(
    {
        "4aad9107d196",  # arize-phoenix 20.26.1
    }
)
"""The head of Phoenix's migrations for each release whose tables the exporter knows."""


class SchemaError(RetryableError):
    """Phoenix's tables are not, or not yet, those that the exporter writes."""


def schema_problem(revisions: Collection[str], *, has_prices: bool) -> str:
    """Say in one sentence why nothing may be written; empty when all is well."""
    if not revisions:
        return "Phoenix's tables have no revision yet. Start Phoenix: it makes them."
    unknown = sorted(set(revisions) - KNOWN_REVISIONS)
    if unknown:
        return (
            f"the database has Phoenix's schema revision {', '.join(unknown)}, and this exporter "
            f"knows {', '.join(sorted(KNOWN_REVISIONS))}. "
            "Run the releases of Tracequill and Phoenix that belong together."
        )
    if not has_prices:
        return (
            "Phoenix's built-in prices are not there yet, and costs are never added later. "
            "Start Phoenix: it brings them along."
        )
    return ""
