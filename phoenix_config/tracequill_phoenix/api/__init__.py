"""Our HTTP API inside the running Phoenix, under ``/tracequill/api``.

Every route here asks for the same user or API key, with the same roles, as Phoenix's own
``/v1``. A module of this folder holds one router; this one joins them.
"""

from __future__ import annotations

from fastapi import APIRouter

from tracequill_phoenix.api import datasets
from tracequill_phoenix.api.access import ACCESS

router = APIRouter(prefix="/tracequill/api", dependencies=ACCESS)
router.include_router(datasets.router)
