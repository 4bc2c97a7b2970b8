"""The annotation queues of a provision file meet the running Phoenix.

What is missing is made with what its selection finds; what differs is changed. Another selection
adds what it finds; nothing is ever taken out, and the same selection adds nothing again, so that a
second run changes nothing: later answers come by ``tracequill queue add``. An archived queue is
left as it is. Our own REST API is used, the one of the pages.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, Protocol

from tracequill_phoenix.provision_file import QueueEntry

_API = "/tracequill/api"

Result = Literal["created", "updated", "unchanged"]


class Phoenix(Protocol):
    """The part of ``PhoenixClient`` that is used."""

    def get(self, path: str, **params: Any) -> Any: ...

    def post(self, path: str, body: object) -> Any: ...

    def patch(self, path: str, body: object) -> Any: ...


def provision_queues(
    phoenix: Phoenix, wanted: Sequence[QueueEntry], *, dry_run: bool
) -> list[Result]:
    """Make Phoenix hold the queues of *wanted*; with *dry_run* only find out.

    Raises UsageError or CommandError for what is refused.
    """
    if not wanted:
        return []
    known = {queue["name"]: queue for queue in phoenix.get(f"{_API}/queues")["data"]}
    archived = {queue["name"] for queue in phoenix.get(f"{_API}/queues", archived=True)["data"]}
    results: list[Result] = []
    for entry in wanted:
        if entry.name in archived:
            results.append("unchanged")
        elif entry.name in known:
            results.append(_change(phoenix, entry, known[entry.name], dry_run))
        else:
            if not dry_run:
                phoenix.post(f"{_API}/queues", _new(entry))
            results.append("created")
    return results


def _new(entry: QueueEntry) -> dict[str, Any]:
    said = {key: value for key, value in _fields(entry).items() if value is not None}
    # The project may hold nothing yet; a later run fills a queue that is empty.
    return said | {
        "name": entry.name,
        "labels": _labels(entry),
        "selection": _selection(entry),
        "allow_empty": True,
    }


def _change(phoenix: Phoenix, entry: QueueEntry, queue: dict[str, Any], dry_run: bool) -> Result:
    path = f"{_API}/queues/{queue['queue_id']}"
    differs = {
        key: value
        for key, value in _fields(entry).items()
        if value is not None and key != "members" and value != queue[key]
    }
    shown = [
        {key: label[key] for key in ("name", "required", "multiple")} for label in queue["labels"]
    ]
    if _labels(entry) != shown:
        differs["labels"] = _labels(entry)
    if entry.members is not None and not _are(entry.members, queue["members"], is_trusted=dry_run):
        differs["members"] = list(entry.members)
    is_changed = bool(differs)
    if differs and not dry_run:
        changed = phoenix.patch(path, differs)["data"]
        # Somebody may be named by an address, which the queue does not show.
        is_changed = differs.keys() != {"members"} or changed["members"] != queue["members"]
    return "updated" if _add(phoenix, entry, queue, path, dry_run) or is_changed else "unchanged"


def _add(
    phoenix: Phoenix, entry: QueueEntry, queue: dict[str, Any], path: str, dry_run: bool
) -> bool:
    """Add what another selection finds, or what one finds that found nothing before."""
    is_same = (queue["project"], queue["where"]) == (entry.project, entry.where)
    if is_same and queue["items"]:
        return False
    selection = _selection(entry)
    if dry_run:
        asked = {**selection, "queue_id": queue["queue_id"], "limit": 0}
        return bool(phoenix.post(f"{_API}/selection/preview", asked)["data"]["count"])
    added = phoenix.post(f"{path}/items", selection)["data"]["added"]
    return bool(added) or not is_same


def _are(wanted: Sequence[str], members: Sequence[dict[str, str]], *, is_trusted: bool) -> bool:
    """Whether *members* are those that are *wanted*, as far as their names say.

    An address says nothing of a name; with *is_trusted* on it is taken for that of somebody there.
    """
    names = {name for member in members for name in (member["person"], member["name"])}
    unknown = [one for one in wanted if one not in names and not (is_trusted and "@" in one)]
    return len(wanted) == len(members) and not unknown


def _fields(entry: QueueEntry) -> dict[str, Any]:
    """What the file says of the queue itself; None leaves what is there."""
    return {
        "instructions": entry.instructions,
        "overlap": entry.overlap,
        "order": entry.order,
        "members": None if entry.members is None else list(entry.members),
        "assigned_only": entry.assigned_only,
    }


def _labels(entry: QueueEntry) -> list[dict[str, Any]]:
    return [
        {"name": label.name, "required": label.required, "multiple": label.multiple}
        for label in entry.labels
    ]


def _selection(entry: QueueEntry) -> dict[str, Any]:
    return {
        "project": entry.project,
        "where": entry.where,
        "which": "every_llm_span" if entry.every_llm_span else "final_answers",
        "sample": entry.sample,
    }
