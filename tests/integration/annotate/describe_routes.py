"""Print what each route of ours asks first; a process of its own, since loading Phoenix warns."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from fastapi.routing import iter_route_contexts

from tracequill_phoenix import api


def asked(dependant: Any) -> Iterator[str]:
    """Give the names of all dependencies, also of dependencies."""
    for dependency in dependant.dependencies:
        yield dependency.call.__name__
        yield from asked(dependency)


if __name__ == "__main__":
    found = [
        {
            "path": route.path,
            "methods": sorted(route.methods or ()),
            "tags": route.tags,
            "asked": sorted(set(asked(route.dependant))),
        }
        for route in iter_route_contexts(api.router.routes)
    ]
    print(json.dumps(found))
