"""The schema itself, with a word on whose it is; tables come with the revisions that need them."""

from __future__ import annotations

from alembic import op

revision = "0001"
down_revision: str | None = None
branch_labels: str | None = None
depends_on: str | None = None


def upgrade() -> None:
    """Say to whoever looks into the database what this schema is."""
    op.execute("COMMENT ON SCHEMA tracequill IS 'Tables of Tracequill, apart from Phoenix''s own'")


def downgrade() -> None:
    """Take the word back; the schema holds the table of revisions and stays."""
    op.execute("COMMENT ON SCHEMA tracequill IS NULL")
