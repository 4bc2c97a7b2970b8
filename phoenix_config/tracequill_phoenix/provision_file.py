"""What a provision file says: YAML in, a checked ``Provision`` out, or one sentence with the line.

The file is walked as YAML's own tree, so that every complaint names file, line and key. Nothing
here knows Phoenix's API.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import yaml

from tracequill.errors import UsageError

TYPES = ("categorical", "continuous", "freeform")
ORDERS = ("newest", "oldest", "random")
DIRECTIONS = ("maximize", "minimize", "none")


@dataclass(frozen=True, slots=True)
class ProjectEntry:
    """One entry of ``projects``; *description* None leaves what is there."""

    name: str
    description: str | None
    line: int


@dataclass(frozen=True, slots=True)
class ConfigEntry:
    """One entry of ``annotation_configs``, and the projects it is shown in."""

    name: str
    type: str
    description: str | None
    optimization_direction: str
    values: tuple[tuple[str, float | None], ...]
    lower_bound: float | None
    upper_bound: float | None
    threshold: float | None
    projects: tuple[str, ...]
    line: int


@dataclass(frozen=True, slots=True)
class QueueLabel:
    """One annotation config that a queue asks for."""

    name: str
    required: bool
    multiple: bool


@dataclass(frozen=True, slots=True)
class QueueEntry:
    """One entry of ``queues``; what is None leaves what is there."""

    name: str
    project: str
    where: str
    labels: tuple[QueueLabel, ...]
    overlap: int | None
    order: str | None
    sample: int | None
    every_llm_span: bool
    members: tuple[str, ...] | None
    assigned_only: bool | None
    instructions: str | None
    line: int


@dataclass(frozen=True, slots=True)
class Provision:
    """A provision file, checked."""

    path: str
    projects: tuple[ProjectEntry, ...]
    annotation_configs: tuple[ConfigEntry, ...]
    queues: tuple[QueueEntry, ...] = ()


def read_provision(path: Path) -> Provision:
    """Read the file at *path*.

    Raises UsageError for a file that is missing or not YAML, an unknown key, a wrong type or
    value, and a name that stands there twice.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}. Give another file.") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not UTF-8 text. Save it as UTF-8.") from error
    return parse_provision(text, str(path))


def parse_provision(text: str, path: str) -> Provision:
    """Read *text*; *path* is what complaints call it."""
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path}, line {mark.line + 1}" if mark else path
        problem = getattr(error, "problem", None) or "it cannot be read"
        raise UsageError(f"{where}: this is not valid YAML: {problem}. Correct it.") from error
    if root is None:
        raise UsageError(f"{path} is empty. List projects, annotation_configs and queues in it.")
    top = _Mapping(root, path, "", ("projects", "annotation_configs", "queues"))
    projects = tuple(_project(item) for item in top.mappings("projects", ("name", "description")))
    configs = tuple(_config(item) for item in top.mappings("annotation_configs", _CONFIG_KEYS))
    _refuse_twins(path, "project", projects)
    queues = tuple(_queue(item) for item in top.mappings("queues", _QUEUE_KEYS))
    _refuse_twins(path, "annotation config", configs)
    _refuse_twins(path, "queue", queues)
    return Provision(path, projects, configs, queues)


_CONFIG_KEYS = (
    "name",
    "type",
    "description",
    "optimization_direction",
    "values",
    "lower_bound",
    "upper_bound",
    "threshold",
    "projects",
)
_QUEUE_KEYS = (
    "name",
    "project",
    "where",
    "labels",
    "overlap",
    "order",
    "sample",
    "every_llm_span",
    "members",
    "assigned_only",
    "instructions",
)
_OVERLAP_MAX = 20
_ONLY_OF = {
    "values": ("categorical",),
    "lower_bound": ("continuous", "freeform"),
    "upper_bound": ("continuous", "freeform"),
    "threshold": ("freeform",),
}


def _project(entry: _Mapping) -> ProjectEntry:
    return ProjectEntry(entry.name("name"), entry.optional_text("description"), entry.line)


def _config(entry: _Mapping) -> ConfigEntry:
    name = entry.name("name")
    if name == "note":
        raise entry.wrong("name", "is 'note', which Phoenix keeps for notes. Choose another")
    kind = entry.choice("type", TYPES, None)
    for key, kinds in _ONLY_OF.items():
        if kind not in kinds and entry.has(key):
            raise entry.wrong(key, f"is only for the type {' and '.join(kinds)}, not {kind}")
    values = tuple(_value(item) for item in entry.mappings("values", ("label", "score")))
    if kind == "categorical":
        if not values:
            raise entry.wrong("values", "must list at least one label, since type is categorical")
        labels = [label for label, _ in values]
        for label in labels:
            if labels.count(label) > 1:
                raise entry.wrong("values", f"lists the label {label!r} twice. Remove one")
    lower, upper = entry.number("lower_bound"), entry.number("upper_bound")
    if lower is not None and upper is not None and lower >= upper:
        raise entry.wrong("upper_bound", f"is {upper:g}, which must be above lower_bound {lower:g}")
    return ConfigEntry(
        name=name,
        type=kind,
        description=entry.optional_text("description"),
        optimization_direction=entry.choice("optimization_direction", DIRECTIONS, "none"),
        values=values,
        lower_bound=lower,
        upper_bound=upper,
        threshold=entry.number("threshold"),
        projects=entry.texts("projects"),
        line=entry.line,
    )


def _value(entry: _Mapping) -> tuple[str, float | None]:
    return entry.name("label"), entry.number("score")


def _queue(entry: _Mapping) -> QueueEntry:
    labels = tuple(
        QueueLabel(item, required=True, multiple=False)
        if isinstance(item, str)
        else QueueLabel(
            item.name("name"), item.flag("required", True), item.flag("multiple", False)
        )
        for item in entry.texts_or_mappings("labels", ("name", "required", "multiple"))
    )
    if not labels:
        raise entry.wrong("labels", "must list at least one annotation config")
    names = [label.name for label in labels]
    for name in names:
        if names.count(name) > 1:
            raise entry.wrong("labels", f"lists {name!r} twice. Remove one")
    return QueueEntry(
        name=entry.name("name"),
        project=entry.name("project"),
        where=(entry.optional_text("where") or "").strip(),
        labels=labels,
        overlap=entry.whole("overlap", _OVERLAP_MAX),
        order=entry.choice("order", ORDERS, None) if entry.has("order") else None,
        sample=entry.whole("sample", None),
        every_llm_span=entry.flag("every_llm_span", False),
        members=entry.texts("members") if entry.has("members") else None,
        assigned_only=entry.flag("assigned_only", False) if entry.has("assigned_only") else None,
        instructions=entry.optional_text("instructions"),
        line=entry.line,
    )


def _refuse_twins(
    path: str, what: str, entries: Iterable[ProjectEntry | ConfigEntry | QueueEntry]
) -> None:
    seen: dict[str, int] = {}
    for entry in entries:
        if entry.name in seen:
            raise UsageError(
                f"{path}, line {entry.line}: {what} {entry.name!r} stands there twice, first in "
                f"line {seen[entry.name]}. Remove one."
            )
        seen[entry.name] = entry.line


class _Mapping:
    """A YAML mapping with known keys; complains with file, line and key."""

    def __init__(self, node: yaml.Node, path: str, where: str, keys: tuple[str, ...]) -> None:
        self._path, self._where = path, where
        self.line = node.start_mark.line + 1
        if not isinstance(node, yaml.MappingNode):
            what = where or "the file"
            raise self._error(node, f"{what} must be `key: value` lines with {', '.join(keys)}")
        self._nodes: dict[str, yaml.Node] = {}
        for key_node, value in node.value:
            key = str(key_node.value)
            if key not in keys:
                near = difflib.get_close_matches(key, keys, n=1)
                hint = f"Did you mean {near[0]!r}?" if near else f"Keys are {', '.join(keys)}."
                raise self._error(key_node, f"unknown key {self._key(key)!r}. {hint}")
            if key in self._nodes:
                raise self._error(key_node, f"{self._key(key)} stands there twice. Remove one")
            if value.tag != "tag:yaml.org,2002:null":
                self._nodes[key] = value

    def has(self, key: str) -> bool:
        return key in self._nodes

    def wrong(self, key: str, problem: str) -> UsageError:
        """The complaint about *key*, to be raised."""
        node = self._nodes.get(key)
        line = node.start_mark.line + 1 if node else self.line
        return UsageError(f"{self._path}, line {line}: {self._key(key)} {problem}.")

    def optional_text(self, key: str) -> str | None:
        node = self._nodes.get(key)
        return None if node is None else self._text(node, key)

    def name(self, key: str) -> str:
        text = self.optional_text(key)
        if text is None or not text.strip():
            raise self.wrong(key, "is missing. Give it a text")
        return text.strip()

    def choice(self, key: str, choices: tuple[str, ...], default: str | None) -> str:
        text = self.optional_text(key)
        if text is None and default is not None:
            return default
        if text is None or text.lower() not in choices:
            said = "is missing" if text is None else f"is {text!r}"
            near = difflib.get_close_matches((text or "").lower(), choices, n=1)
            hint = f"Did you mean {near[0]!r}?" if near else f"It must be {_either(choices)}."
            raise UsageError(f"{self.wrong(key, said)} {hint}")
        return text.lower()

    def number(self, key: str) -> float | None:
        node = self._nodes.get(key)
        if node is None:
            return None
        value = yaml.SafeLoader("").construct_object(node) if _is_number(node) else None
        if not isinstance(value, int | float) or value != value or abs(value) == float("inf"):
            shown = getattr(node, "value", "")
            shown = repr(shown) if isinstance(shown, str) else "not a number"
            raise self.wrong(key, f"is {shown}; it must be a number")
        return float(value)

    def whole(self, key: str, highest: int | None) -> int | None:
        """Give a whole number from 1 to *highest*."""
        number = self.number(key)
        if number is None:
            return None
        if number < 1 or number != int(number) or (highest is not None and number > highest):
            most = f" to {highest}" if highest else " on"
            raise self.wrong(key, f"is {number:g}; it must be a whole number from 1{most}")
        return int(number)

    def flag(self, key: str, default: bool) -> bool:
        node = self._nodes.get(key)
        if node is None:
            return default
        if node.tag != "tag:yaml.org,2002:bool":
            shown = repr(node.value) if isinstance(node, yaml.ScalarNode) else "neither"
            raise self.wrong(key, f"is {shown}; it must be true or false")
        return bool(yaml.SafeLoader("").construct_object(node))

    def texts_or_mappings(self, key: str, keys: tuple[str, ...]) -> list[str | _Mapping]:
        return [
            self._text(node, key)
            if isinstance(node, yaml.ScalarNode)
            else _Mapping(node, self._path, f"{self._key(key)}[{number}]", keys)
            for number, node in enumerate(self._sequence(key))
        ]

    def texts(self, key: str) -> tuple[str, ...]:
        found: list[str] = []
        for node in self._sequence(key):
            text = self._text(node, key)
            if text not in found:
                found.append(text)
        return tuple(found)

    def mappings(self, key: str, keys: tuple[str, ...]) -> list[_Mapping]:
        return [
            _Mapping(node, self._path, f"{self._key(key)}[{number}]", keys)
            for number, node in enumerate(self._sequence(key))
        ]

    def _sequence(self, key: str) -> list[yaml.Node]:
        node = self._nodes.get(key)
        if node is None:
            return []
        if not isinstance(node, yaml.SequenceNode):
            raise self.wrong(key, "must be a list: one `- …` line an entry")
        entries: list[yaml.Node] = node.value
        return entries

    def _text(self, node: yaml.Node, key: str) -> str:
        if node.tag == "tag:yaml.org,2002:str":
            return str(node.value)
        if isinstance(node, yaml.ScalarNode):
            shown = node.value
            raise self._error(
                node,
                f"{self._key(key)} is {shown}, which YAML does not read as text. "
                f'Put it in quotes: "{shown}"',
            )
        raise self._error(node, f"{self._key(key)} must be a text")

    def _key(self, key: str) -> str:
        return f"{self._where}.{key}" if self._where else key

    def _error(self, node: yaml.Node, problem: str) -> UsageError:
        end = "" if problem.endswith(("?", ".")) else "."
        return UsageError(f"{self._path}, line {node.start_mark.line + 1}: {problem}{end}")


def _is_number(node: yaml.Node) -> bool:
    return node.tag in ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")


def _either(words: tuple[str, ...]) -> str:
    return f"{', '.join(words[:-1])} or {words[-1]}"
