"""What goes wrong for a person at work: one sentence, a word for programs, and a status."""

from __future__ import annotations

from typing import Any


class QueueError(Exception):
    """A refusal with everything that its answer needs."""

    def __init__(self, status: int, code: str, detail: str, **more: Any) -> None:
        super().__init__(detail)
        self.status, self.code, self.detail, self.more = status, code, detail, more

    def body(self) -> dict[str, Any]:
        """Give the JSON of the answer."""
        return {"detail": self.detail, "code": self.code, **self.more}


def not_allowed(detail: str) -> QueueError:
    """Refuse what a person's role or assignment does not include."""
    return QueueError(403, "not_allowed", detail)


def not_found(detail: str) -> QueueError:
    """Refuse what is not there, or not there for this person."""
    return QueueError(404, "not_found", detail)


def invalid(detail: str, **more: Any) -> QueueError:
    """Refuse a request that cannot be meant as it is."""
    return QueueError(422, "invalid", detail, **more)
