"""Labels: what may be said about an answer, whether something said is valid, and how Phoenix
stores it.

In come a queue's labels and values as the page sends them; out come values as they are kept, and
rows for Phoenix. A tag of a label with several at once becomes a row of its own, since one row of
Phoenix holds one label. Pure: no database, no Phoenix.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from tracequill_phoenix.annotate.clean import clean_text
from tracequill_phoenix.annotate.errors import QueueError, invalid

Kind = Literal["CATEGORICAL", "CONTINUOUS", "FREEFORM"]

CORRECTION = "correction"
TEXT_MAX = 100_000
# Names that mean something else in Phoenix or here.
RESERVED = ("note", CORRECTION)
# Comparing long texts line by line takes time that grows with the square of their length.
_DIFF_LINES_MAX = 5_000


@dataclass(frozen=True, slots=True)
class Choice:
    """One value of a categorical label."""

    label: str
    score: float | None = None


@dataclass(frozen=True, slots=True)
class Label:
    """One thing to say about an answer."""

    name: str
    kind: Kind
    required: bool = True
    multiple: bool = False
    description: str = ""
    values: tuple[Choice, ...] = ()
    lower_bound: float | None = None
    upper_bound: float | None = None
    direction: str = "NONE"
    config_id: str | None = None

    def definition(self) -> dict[str, Any]:
        """Give what the table keeps in one column."""
        return {
            "description": self.description,
            "values": [{"label": value.label, "score": value.score} for value in self.values],
            "lower_bound": self.lower_bound,
            "upper_bound": self.upper_bound,
            "direction": self.direction,
            "config_id": self.config_id,
        }

    def to_json(self) -> dict[str, Any]:
        """Give the label as the API shows it."""
        return {
            "name": self.name,
            "kind": self.kind,
            "required": self.required,
            "multiple": self.multiple,
            **self.definition(),
        }


def label_from(
    name: str, kind: Kind, required: bool, multiple: bool, definition: Mapping[str, Any]
) -> Label:
    """Read a label back from its row."""
    return Label(
        name,
        kind,
        required,
        multiple,
        definition["description"],
        tuple(Choice(value["label"], _float(value["score"])) for value in definition["values"]),
        _float(definition["lower_bound"]),
        _float(definition["upper_bound"]),
        definition["direction"],
        definition["config_id"],
    )


def _float(number: float | None) -> float | None:
    """Postgres writes 1e300 as an integer of 301 digits; it is the same number as a double."""
    return None if number is None else float(number)


def check_label(label: Label) -> None:
    """Raise QueueError for a label that nobody could answer or Phoenix could not store."""
    name = label.name
    if name in RESERVED:
        raise invalid(f"the name {name!r} is kept for Phoenix's own use; choose another.")
    if label.multiple and label.kind != "CATEGORICAL":
        raise invalid(f"several at once can be chosen of a label with choices; {name!r} has none.")
    if label.kind == "CATEGORICAL":
        choices = [value.label for value in label.values]
        if not choices or not all(choices):
            raise invalid(f"the label {name!r} needs at least one choice, and none may be empty.")
        if len(set(choices)) < len(choices):
            raise invalid(f"the label {name!r} has the same choice twice.")
    elif label.values:
        raise invalid(f"the label {name!r} is no label with choices; leave its values out.")
    lower, upper = label.lower_bound, label.upper_bound
    if lower is not None and upper is not None and lower >= upper:
        raise invalid(f"the label {name!r}: the lowest value {lower} is not below {upper}.")


def check_values(
    labels: Sequence[Label], values: Mapping[str, Any], *, complete: bool = True
) -> dict[str, dict[str, Any]]:
    """Give *values* as they are kept, or raise QueueError saying what is wrong or missing.

    With *complete* off, for drafts, required labels may be missing.
    """
    known = {label.name: label for label in labels}
    for name in values:
        if name not in known:
            raise invalid(f"this queue has no label {name!r}.")
    checked: dict[str, dict[str, Any]] = {}
    missing = []
    for label in labels:
        value = values.get(label.name)
        said = _checked(label, value) if value is not None else None
        if said is not None:
            checked[label.name] = said
        elif label.required:
            missing.append(label.name)
    if missing and complete:
        raise QueueError(
            422, "incomplete", f"still to be answered: {', '.join(missing)}.", missing=missing
        )
    return checked


def _checked(label: Label, value: Any) -> dict[str, Any] | None:
    if not isinstance(value, Mapping):
        raise invalid(f"the value of {label.name!r} is not an object.")
    said = _said(label, value)
    if said is None:
        return None
    explanation = _text(label, value.get("explanation"), "the explanation")
    return {**said, "explanation": explanation} if explanation else said


def _said(label: Label, value: Mapping[str, Any]) -> dict[str, Any] | None:
    if label.kind == "CATEGORICAL":
        return _tags(label, value) if label.multiple else _choice(label, value)
    if label.kind == "CONTINUOUS":
        return _score(label, value)
    text = _text(label, value.get("text"), "the text")
    return {"text": text} if text else None


def _choice(label: Label, value: Mapping[str, Any]) -> dict[str, Any] | None:
    chosen = value.get("label")
    if chosen is None:
        return None
    if chosen not in [choice.label for choice in label.values]:
        raise invalid(f"{label.name!r} has no choice {chosen!r}.")
    return {"label": chosen}


def _tags(label: Label, value: Mapping[str, Any]) -> dict[str, Any] | None:
    chosen = value.get("labels")
    if not chosen:
        return None
    choices = [choice.label for choice in label.values]
    if not isinstance(chosen, list):
        raise invalid(f"the labels of {label.name!r} are not a list.")
    for tag in chosen:
        if tag not in choices:
            raise invalid(f"{label.name!r} has no choice {tag!r}.")
    return {"labels": [choice for choice in choices if choice in chosen]}


def _score(label: Label, value: Mapping[str, Any]) -> dict[str, Any] | None:
    score = value.get("score")
    if score is None:
        return None
    if isinstance(score, bool) or not isinstance(score, (int, float)) or not _is_finite(score):
        raise invalid(f"{label.name!r} is a number; {score!r} is none.")
    if label.lower_bound is not None and score < label.lower_bound:
        raise invalid(f"{label.name!r} is at least {label.lower_bound:g}; {score:g} is less.")
    if label.upper_bound is not None and score > label.upper_bound:
        raise invalid(f"{label.name!r} is at most {label.upper_bound:g}; {score:g} is more.")
    return {"score": score}


def _is_finite(number: float) -> bool:
    try:
        return math.isfinite(number)
    except OverflowError:  # a whole number beyond what a double holds
        return False


def _text(label: Label, text: Any, what: str) -> str:
    if text is None:
        return ""
    if not isinstance(text, str):
        raise invalid(f"{what} of {label.name!r} is no text.")
    if len(text) > TEXT_MAX:
        raise invalid(f"{what} of {label.name!r} is longer than {TEXT_MAX:,} characters.")
    return clean_text(text).strip()


@dataclass(frozen=True, slots=True)
class PhoenixRow:
    """One annotation as Phoenix stores it, but for whose it is."""

    name: str
    label: str | None = None
    score: float | None = None
    explanation: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)


def phoenix_rows(
    labels: Sequence[Label], values: Mapping[str, Mapping[str, Any]], metadata: Mapping[str, Any]
) -> list[PhoenixRow]:
    """Give the rows that say in Phoenix what *values*, checked, say here."""
    rows = []
    for label in labels:
        value = values.get(label.name)
        if value is None:
            continue
        explanation = value.get("explanation")
        scores = {choice.label: choice.score for choice in label.values}
        if label.kind == "FREEFORM":  # where Phoenix's own page puts it
            rows.append(PhoenixRow(label.name, explanation=value["text"], metadata=metadata))
        elif label.kind == "CONTINUOUS":
            rows.append(PhoenixRow(label.name, None, float(value["score"]), explanation, metadata))
        elif label.multiple:
            rows.extend(
                PhoenixRow(tag_name(label.name, tag), tag, scores.get(tag), explanation, metadata)
                for tag in value["labels"]
            )
        else:
            said = value["label"]
            rows.append(PhoenixRow(label.name, said, scores.get(said), explanation, metadata))
    return rows


def phoenix_names(labels: Sequence[Label]) -> list[str]:
    """Give every annotation name that answers to *labels* may use in Phoenix."""
    return [*label_names(labels), CORRECTION]


def label_names(labels: Sequence[Label]) -> list[str]:
    """Give the annotation names of *labels*, of tags one each."""
    names: list[str] = []
    for label in labels:
        if label.multiple:
            names.extend(tag_name(label.name, choice.label) for choice in label.values)
        else:
            names.append(label.name)
    return names


def names_said(values: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Give the annotation names of what was said, also of a tag that its label has lost since."""
    names: list[str] = []
    for name, value in values.items():
        if "labels" in value:
            names.extend(tag_name(name, tag) for tag in value["labels"])
        else:
            names.append(name)
    return names


def tag_name(name: str, tag: str) -> str:
    """Give the name of one tag's annotation: one person's rows of one name would be one row."""
    return f"{name}: {tag}"


def diff_of(before: str, after: str) -> str | None:
    """Give the unified diff of two texts; None where they are too long to compare."""
    old, new = before.splitlines(), after.splitlines()
    if len(old) + len(new) > _DIFF_LINES_MAX:
        return None
    return "\n".join(difflib.unified_diff(old, new, "answer", "correction", lineterm=""))


def correction_row(correction: Mapping[str, Any], metadata: Mapping[str, Any]) -> PhoenixRow:
    """Give the annotation that holds a corrected answer."""
    return PhoenixRow(
        CORRECTION,
        explanation=correction["text"],
        metadata={
            **metadata,
            "message": correction.get("message"),
            "diff": correction.get("diff"),
        },
    )
