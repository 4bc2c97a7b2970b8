"""Our tables beside Phoenix's: a Postgres schema of our own, with a revision chain of our own.

A new table is a new file in ``versions``; nothing is ever added to Phoenix's chain.
"""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection

SCHEMA = "tracequill"
START_LOCK_KEY = int.from_bytes(b"tracequi", "big")
"""The advisory lock under which one server at a time migrates: the first letters of our name."""


def upgrade(connection: Connection) -> None:
    """Bring our schema to its newest revision, in one transaction; running again changes nothing.

    The caller keeps others from doing the same at the same time.
    """
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
