"""Which answers a queue is made of: the form as it comes in, and the filter that it means.

Out comes an expression in Phoenix's filter language, the one that is shown beneath the form and
may be edited there. Pure: nothing here knows how the expression is evaluated.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
)

from tracequill_phoenix.annotate.clean import clean_text, clean_time


def _repaired(value: object) -> object:
    return clean_text(value) if isinstance(value, str) else value


_Repaired = BeforeValidator(_repaired)  # half of a surrogate pair passes no other check
Text = Annotated[str, _Repaired]
Name = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200), _Repaired
]
LongText = Annotated[str, StringConstraints(max_length=20_000), _Repaired]
Time = Annotated[datetime, AfterValidator(clean_time)]
Order = Literal["newest", "oldest", "random"]
# The places where an OpenInference span holds text; messages are compared as JSON.
_TEXTS = ("input.value", "output.value", "llm.input_messages", "llm.output_messages")


class Selection(BaseModel):
    """The form."""

    model_config = ConfigDict(extra="forbid")

    project: Name
    since: Time | None = None
    until: Time | None = None
    model: Text | None = None
    user: Text | None = None
    text: Text | None = None
    not_labelled: bool = False
    where: Annotated[
        LongText | None,
        Field(description="Phoenix's span filter; given, it stands for all the fields above."),
    ] = None
    which: Literal["final_answers", "every_llm_span"] = "final_answers"
    sample: Annotated[
        int | None, Field(ge=1, le=10_000_000, description="A random choice of so many.")
    ] = None


def expression(selection: Selection, annotation_names: Sequence[str]) -> str:
    """Give the filter that *selection* means: its own if it has one, else that of its fields.

    *annotation_names* are those that "not yet labelled" asks for.
    """
    if selection.where is not None:
        return selection.where.strip()
    parts = []
    if selection.since is not None:
        parts.append(f"start_time >= {_time(selection.since)}")
    if selection.until is not None:
        parts.append(f"start_time < {_time(selection.until)}")
    if selection.model:
        parts.append(f"llm.model_name == {selection.model!r}")
    if selection.user:
        parts.append(f"user.id == {selection.user!r}")
    if selection.text:
        forms = dict.fromkeys((selection.text, _in_json(selection.text)))
        found = " or ".join(f"{form!r} in {place}" for place in _TEXTS for form in forms)
        parts.append(f"({found})")
    if selection.not_labelled:
        parts.extend(f"not annotations[{name!r}]" for name in annotation_names)
    return " and ".join(parts)


def _in_json(text: str) -> str:
    """Give *text* as it stands within JSON: messages are stored so, and often the values are."""
    return json.dumps(text, ensure_ascii=False)[1:-1]


def _time(time: datetime) -> str:
    return repr(time.isoformat())
