"""What can be said about one row of an export: a rule that it breaks, or a thing to know."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """A *code* that programs can count on and a *message* for a person.

    An error keeps the row out of the file; a warning does not.
    """

    code: str
    message: str
    is_error: bool = True
