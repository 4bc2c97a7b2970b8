"""Our HTTP API inside the running Phoenix, under ``/tracequill/api``.

Every route here asks for the same user or API key as Phoenix's own ``/v1``. A module of this
folder holds one router; this one joins them.
"""

from __future__ import annotations

from functools import cache
from importlib.metadata import version
from typing import Any

from fastapi import APIRouter
from fastapi.openapi.utils import get_openapi

from tracequill_phoenix.api import annotation, datasets, lookback, queues, results, work
from tracequill_phoenix.api.access import ACCESS
from tracequill_phoenix.api.description import described

router = APIRouter(prefix="/tracequill/api")
router.include_router(datasets.router, dependencies=ACCESS)
for _router in (queues.router, work.router, lookback.router, results.router):
    router.include_router(_router, dependencies=annotation.ACCESS)


@router.get("/openapi.json", include_in_schema=False, dependencies=ACCESS)
def openapi() -> dict[str, Any]:
    """Describe this API for clients; Phoenix's own description names its own routes only."""
    return _description()


@cache
def _description() -> dict[str, Any]:
    return described(
        get_openapi(
            title="Tracequill API in Phoenix", version=version("tracequill"), routes=router.routes
        )
    )
