"""A Phoenix in memory, as far as provisioning sees one, for tests."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any


class FakePhoenix:
    """Keeps projects, annotation configs and which of them are shown where, and queues.

    *found* is how many answers a selection of each project finds.
    """

    def __init__(self) -> None:
        self.projects: dict[str, dict[str, Any]] = {}
        self.configs: dict[str, dict[str, Any]] = {}
        self.shown: set[tuple[str, str]] = set()
        self.queues: dict[str, dict[str, Any]] = {}
        self.found: dict[str, int] = {}

    def snapshot(self) -> object:
        """All that it holds, to compare."""
        return copy.deepcopy((self.projects, self.configs, self.shown, self.queues))

    def pages(self, path: str, **params: Any) -> Iterator[dict[str, Any]]:
        match path.strip("/").split("/"):
            case ["v1", "projects"]:
                yield from copy.deepcopy(list(self.projects.values()))
            case ["v1", "annotation_configs"]:
                yield from copy.deepcopy(list(self.configs.values()))
            case ["v1", "projects", project, "annotation_configs"]:
                for name, config in sorted(self.shown):
                    if self.projects[name]["id"] == project:
                        yield copy.deepcopy(self.configs[config])
            case _:
                raise KeyError(path)

    def get(self, path: str, **params: Any) -> Any:
        assert path == "/tracequill/api/queues", path
        is_archived = params.get("archived", False)
        found = [queue for queue in self.queues.values() if queue["archived"] == is_archived]
        return {"data": copy.deepcopy(found)}

    def patch(self, path: str, body: Any) -> Any:
        queue = self._queue(path)
        queue.update(body)
        if "members" in body:
            queue["members"] = _people(body["members"])
        return {"data": copy.deepcopy(queue)}

    def _queue(self, path: str) -> dict[str, Any]:
        number = int(path.split("/")[4])
        return next(queue for queue in self.queues.values() if queue["queue_id"] == number)

    def _post_queue(self, path: str, body: Any) -> dict[str, Any]:
        selection = body.get("selection", body)
        found = min(self.found.get(selection["project"], 0), selection["sample"] or 10**6)
        if path.endswith("/preview"):
            return {"count": found}
        if path.endswith("/items"):
            queue = self._queue(path)
        else:
            queue = {"order": "newest", "overlap": 1, "instructions": "", "assigned_only": False}
            queue |= {key: value for key, value in body.items() if key != "selection"}
            queue |= {"queue_id": len(self.queues), "items": 0, "archived": False}
            queue["members"] = _people(body.get("members", ()))
            self.queues[body["name"]] = queue
        queue["items"] += found
        queue |= {"project": selection["project"], "where": selection["where"]}
        return {**copy.deepcopy(queue), "added": found}

    def post(self, path: str, body: Any) -> Any:
        if path.startswith("/tracequill/api/"):
            return {"data": self._post_queue(path, body)}
        kept = self.projects if path == "/v1/projects" else self.configs
        if body["name"] in kept:
            raise ValueError(f"{path}: {body['name']!r} is taken")
        kept[body["name"]] = {**body, "id": f"{path[4:]}-{len(kept)}"}
        return {"data": copy.deepcopy(kept[body["name"]])}

    def put(self, path: str, body: Any = None) -> Any:
        match path.strip("/").split("/"):
            case ["v1", ("projects" | "annotation_configs") as kind, identity]:
                kept = self.projects if kind == "projects" else self.configs
                [name] = [key for key, value in kept.items() if value["id"] == identity]
                kept[name].update(body)
                return {"data": copy.deepcopy(kept[name])}
            case ["v1", "projects", project, "annotation_configs", config]:
                [project_name] = [k for k, v in self.projects.items() if v["id"] == project]
                [config_name] = [k for k, v in self.configs.items() if v["id"] == config]
                self.shown.add((project_name, config_name))
                return {"data": {}}
            case _:
                raise KeyError(path)


def _people(names: Any) -> list[dict[str, str]]:
    """Give people; an address is that of somebody whose name is what stands before the @."""
    return [
        {"person": f"px-app:{one.partition('@')[0]}", "name": one.partition("@")[0]}
        for one in names
    ]
