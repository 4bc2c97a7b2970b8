"""Give the empty database TEMPLATE_URL Phoenix's schema, roles and built-in prices."""

from __future__ import annotations

import asyncio
import os

from phoenix.db.engines import create_engine
from phoenix.db.facilitator import Facilitator
from phoenix.server.app import _db
from phoenix.server.types import DbSessionFactory


async def main() -> None:
    engine = create_engine(os.environ["TEMPLATE_URL"], migrate=True, log_migrations=False)
    facilitator = Facilitator(db=DbSessionFactory(db=_db(engine), dialect=engine.dialect.name))
    await facilitator()
    await engine.dispose()


asyncio.run(main())
