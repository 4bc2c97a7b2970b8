"""Alembic runs this file: the connection comes from ``upgrade``, the versions from beside it."""

from __future__ import annotations

from alembic import context
from sqlalchemy import text

from tracequill_phoenix.migrations import SCHEMA

connection = context.config.attributes["connection"]
# Before the first revision: the table of revisions lives in the schema, too.
connection.execute(text(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}"))
context.configure(connection=connection, version_table_schema=SCHEMA)
with context.begin_transaction():
    context.run_migrations()
connection.commit()
