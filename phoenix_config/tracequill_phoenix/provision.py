"""A provision file meets the running Phoenix: what is missing is created, what differs is updated.

In comes a checked ``Provision``; out come the changes, made or only planned. Nothing is ever
deleted, and a second run changes nothing. Only Phoenix's own REST API is used.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from tracequill.errors import UsageError
from tracequill_phoenix.provision_file import ConfigEntry, ProjectEntry, Provision

_UNKNOWN_ID = ""  # of what a dry run would create


class Phoenix(Protocol):
    """The part of ``PhoenixClient`` that is used."""

    def post(self, path: str, body: object) -> Any: ...

    def put(self, path: str, body: object = None) -> Any: ...

    def pages(self, path: str, **params: Any) -> Any: ...


@dataclass(frozen=True, slots=True)
class Change:
    """What became, or would become, of one thing in the file."""

    kind: Literal["project", "annotation config", "shown in"]
    name: str
    result: Literal["created", "updated", "unchanged"]


def provision(phoenix: Phoenix, wanted: Provision, *, dry_run: bool = False) -> list[Change]:
    """Make Phoenix hold what *wanted* says; with *dry_run* only find out.

    Raises UsageError, before anything is changed, for a project that exists nowhere, and
    CommandError for what Phoenix refuses.
    """
    projects = {
        project["name"]: project
        for project in phoenix.pages(
            "/v1/projects",
            include_experiment_projects=True,
            include_dataset_evaluator_projects=True,
        )
    }
    configs = {config["name"]: config for config in phoenix.pages("/v1/annotation_configs")}
    _refuse_unknown_projects(wanted, set(projects))
    changes: list[Change] = []
    for entry in wanted.projects:
        changes.append(_project(phoenix, entry, projects, dry_run))
    for config in wanted.annotation_configs:
        changes.append(_config(phoenix, config, configs, dry_run))
        for name in config.projects:
            changes.append(
                _show(phoenix, config.name, name, configs[config.name], projects[name], dry_run)
            )
    return changes


def _refuse_unknown_projects(wanted: Provision, existing: set[str]) -> None:
    known = existing | {project.name for project in wanted.projects}
    for config in wanted.annotation_configs:
        for name in config.projects:
            if name not in known:
                near = difflib.get_close_matches(name, sorted(known), n=1)
                hint = f"Did you mean {near[0]!r}?" if near else "Add it to projects."
                raise UsageError(
                    f"{wanted.path}, line {config.line}: annotation config {config.name!r} is to "
                    f"be shown in the project {name!r}, which does not exist. {hint}"
                )


def _project(
    phoenix: Phoenix, entry: ProjectEntry, projects: dict[str, Any], dry_run: bool
) -> Change:
    existing = projects.get(entry.name)
    if existing is None:
        projects[entry.name] = {"id": _UNKNOWN_ID}
        if not dry_run:
            body = {"name": entry.name, "description": entry.description}
            projects[entry.name] = phoenix.post("/v1/projects", body)["data"]
        return Change("project", entry.name, "created")
    if entry.description is None or entry.description == (existing["description"] or ""):
        return Change("project", entry.name, "unchanged")
    if not dry_run:
        phoenix.put(f"/v1/projects/{existing['id']}", {"description": entry.description})
    return Change("project", entry.name, "updated")


def _config(phoenix: Phoenix, entry: ConfigEntry, configs: dict[str, Any], dry_run: bool) -> Change:
    body = _body(entry)
    existing = configs.get(entry.name)
    if existing is None:
        configs[entry.name] = {"id": _UNKNOWN_ID}
        if not dry_run:
            configs[entry.name] = phoenix.post("/v1/annotation_configs", body)["data"]
        return Change("annotation config", entry.name, "created")
    if entry.description is None:
        body["description"] = existing.get("description")
    if all(existing.get(key) == value for key, value in body.items()):
        return Change("annotation config", entry.name, "unchanged")
    if not dry_run:
        path = f"/v1/annotation_configs/{existing['id']}"
        configs[entry.name] = phoenix.put(path, body)["data"]
    return Change("annotation config", entry.name, "updated")


def _show(
    phoenix: Phoenix,
    config_name: str,
    project_name: str,
    config: dict[str, Any],
    project: dict[str, Any],
    dry_run: bool,
) -> Change:
    what = f"{config_name} in {project_name}"
    shown: list[str] = []
    if config["id"] and project["id"]:
        path = f"/v1/projects/{project['id']}/annotation_configs"
        shown = [other["name"] for other in phoenix.pages(path)]
    if config_name in shown:
        return Change("shown in", what, "unchanged")
    if not dry_run:
        phoenix.put(f"/v1/projects/{project['id']}/annotation_configs/{config['id']}")
    return Change("shown in", what, "created")


def _body(entry: ConfigEntry) -> dict[str, Any]:
    """The config as Phoenix's REST API takes and gives it."""
    body: dict[str, Any] = {
        "name": entry.name,
        "type": entry.type.upper(),
        "description": entry.description,
        "optimization_direction": entry.optimization_direction.upper(),
    }
    if entry.type == "categorical":
        body["values"] = [{"label": label, "score": score} for label, score in entry.values]
    else:
        body["lower_bound"] = entry.lower_bound
        body["upper_bound"] = entry.upper_bound
    if entry.type == "freeform":
        body["threshold"] = entry.threshold
    return body
