"""A Phoenix in memory, as far as provisioning sees one, for tests."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any


class FakePhoenix:
    """Keeps projects, annotation configs and which of them are shown where."""

    def __init__(self) -> None:
        self.projects: dict[str, dict[str, Any]] = {}
        self.configs: dict[str, dict[str, Any]] = {}
        self.shown: set[tuple[str, str]] = set()

    def snapshot(self) -> object:
        """All that it holds, to compare."""
        return copy.deepcopy((self.projects, self.configs, self.shown))

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

    def post(self, path: str, body: Any) -> Any:
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
