"""Brings the database to the schema of this Phoenix and of ours, before the server starts.

Phoenix does its part at every start without a lock, so that two servers starting on an empty
database would trip over each other. Here one waits for the other.
"""

from __future__ import annotations

import logging

from alembic.util import CommandError as AlembicError
from phoenix.config import get_env_disable_migrations, get_env_log_migrations
from phoenix.db import models
from phoenix.db.engines import create_engine
from phoenix.db.facilitator import Facilitator
from phoenix.exceptions import PhoenixMigrationError
from phoenix.server.types import DbSessionFactory
from phoenix.version import __version__ as phoenix_version
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine, async_sessionmaker

from tracequill.errors import CommandError
from tracequill_phoenix.database import start_lock
from tracequill_phoenix.migrations import upgrade

_log = logging.getLogger(__name__)


async def prepare_database(url: str) -> bool:
    """Run Phoenix's migrations, then ours; give False where the operator has switched them off.

    Raises CommandError for a database that another version has migrated past this one.
    """
    if get_env_disable_migrations():
        return False
    async with start_lock(url):
        try:
            engine = create_engine(url, migrate=True, log_migrations=get_env_log_migrations())
        except PhoenixMigrationError as error:
            raise _migration_failed(f"Phoenix {phoenix_version}", error.__cause__) from error
        try:
            await _fill_first_time(engine)
            try:
                async with engine.connect() as connection:
                    await connection.run_sync(upgrade)
            except AlembicError as error:
                raise _migration_failed("Tracequill", error) from error
        finally:
            await engine.dispose()
    return True


async def _fill_first_time(engine: AsyncEngine) -> None:
    """Write Phoenix's roles and prices if none are there; it does so itself, but without a lock."""
    database = DbSessionFactory(
        db=async_sessionmaker(engine, expire_on_commit=False).begin, dialect=engine.dialect.name
    )
    async with database() as session:
        is_new = await session.scalar(select(models.UserRole.id).limit(1)) is None
    if is_new:
        _log.info("writing Phoenix's roles and built-in prices into a new database")
        await Facilitator(db=database)()


def _migration_failed(whose: str, cause: BaseException | None) -> CommandError:
    reason = str(cause).splitlines()[0].rstrip(".") if str(cause or "") else "unknown reason"
    if "Can't locate revision" in reason:
        revision = reason.rpartition(" ")[2]
        return CommandError(
            f"the database has schema revision {revision}, which {whose} does not know: a newer "
            "version has migrated it. Start that version, or name another database."
        )
    return CommandError(
        f"the database could not be brought to the schema of {whose}: {reason}. "
        "Nothing was started; the migration can be tried again."
    )
