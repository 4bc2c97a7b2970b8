"""A provision file meets the running Phoenix: what is missing is created, what differs is updated.

In comes a checked ``Provision``; out come the changes, made or only planned. Nothing is ever
deleted, and a second run changes nothing. Phoenix's own REST API is used; ours for queues.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from tracequill.errors import UsageError
from tracequill_phoenix.provision_file import ConfigEntry, ProjectEntry, Provision, QueueEntry
from tracequill_phoenix.provision_queues import provision_queues

_UNKNOWN_ID = ""  # of what a dry run would create


class Phoenix(Protocol):
    """The part of ``PhoenixClient`` that is used."""

    def get(self, path: str, **params: Any) -> Any: ...

    def post(self, path: str, body: object) -> Any: ...

    def patch(self, path: str, body: object) -> Any: ...

    def put(self, path: str, body: object = None) -> Any: ...

    def pages(self, path: str, **params: Any) -> Any: ...


@dataclass(frozen=True, slots=True)
class Change:
    """What became, or would become, of one thing in the file."""

    kind: Literal["project", "annotation config", "shown in", "queue"]
    name: str
    result: Literal["created", "updated", "unchanged"]


def provision(phoenix: Phoenix, wanted: Provision, *, dry_run: bool = False) -> list[Change]:
    """Make Phoenix hold what *wanted* says; with *dry_run* only find out.

    Raises UsageError, before anything is changed, for a project or an annotation config that
    exists nowhere, and CommandError for what Phoenix refuses.
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
    _refuse_unknown_labels(wanted, set(configs))
    changes: list[Change] = []
    for entry in wanted.projects:
        changes.append(_project(phoenix, entry, projects, dry_run))
    for config in wanted.annotation_configs:
        changes.append(_config(phoenix, config, configs, dry_run))
        for name in config.projects:
            changes.append(
                _show(phoenix, config.name, name, configs[config.name], projects[name], dry_run)
            )
    there = [queue for queue in wanted.queues if not _is_planned(queue, projects, dry_run)]
    found = dict(zip(there, provision_queues(phoenix, there, dry_run=dry_run), strict=True))
    changes += [Change("queue", queue.name, found.get(queue, "created")) for queue in wanted.queues]
    return changes


def _is_planned(entry: QueueEntry, projects: dict[str, Any], dry_run: bool) -> bool:
    """Whether the queue's project is one that a dry run would create, where nothing is found."""
    return dry_run and projects[entry.project]["id"] == _UNKNOWN_ID


def _refuse_unknown_projects(wanted: Provision, existing: set[str]) -> None:
    known = existing | {project.name for project in wanted.projects}
    uses = [
        (config.line, f"annotation config {config.name!r} is to be shown in", name)
        for config in wanted.annotation_configs
        for name in config.projects
    ]
    uses += [(queue.line, f"queue {queue.name!r} is of", queue.project) for queue in wanted.queues]
    for line, what, name in uses:
        if name not in known:
            raise UsageError(
                f"{wanted.path}, line {line}: {what} the project {name!r}, which does not exist. "
                f"{_hint(name, known, 'projects')}"
            )


def _refuse_unknown_labels(wanted: Provision, existing: set[str]) -> None:
    known = existing | {config.name for config in wanted.annotation_configs}
    for queue in wanted.queues:
        for label in queue.labels:
            if label.name not in known:
                raise UsageError(
                    f"{wanted.path}, line {queue.line}: queue {queue.name!r} asks for "
                    f"{label.name!r}, which is no annotation config. "
                    f"{_hint(label.name, known, 'annotation_configs')}"
                )


def _hint(name: str, known: set[str], key: str) -> str:
    near = difflib.get_close_matches(name, sorted(known), n=1)
    return f"Did you mean {near[0]!r}?" if near else f"Add it to {key}."


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
