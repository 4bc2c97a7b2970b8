"""What to do about an error of the database: an error enters, a remedy leaves.

A span goes to the dead letters only for an error on a list of those that its own data causes; a
state on no list waits, retries and alarms, because a whole queue of dead letters is worse than a
queue that waits.
"""

from __future__ import annotations

import enum
import traceback
from pathlib import Path

import asyncpg


class Remedy(enum.Enum):
    """What to do with a batch that failed."""

    RETRY = "retry the whole batch"
    REPEAT_THEN_BISECT = "retry at once, then bisect"
    BISECT = "find the span that causes it"
    WAIT = "retry, and alarm: nobody has foreseen it"


_RETRY_CLASSES = (
    "08",  # connection
    "53",  # resources: disk full, too many connections, out of memory
    "57",  # operator: cancelled, shut down, starting up
)
_RETRY_STATES = frozenset(
    {
        "40001",  # serialization failure
        "40P01",  # deadlock
        "25006",  # read only: a replica after a failover; a new connection finds the primary
        "55P03",  # lock not available: a migration is under way
    }
)
_REPEAT_STATES = frozenset(
    {
        "23503",  # a row it refers to was deleted in the meantime
        "23505",  # a row with its key was made in the meantime
    }
)
_BISECT_CLASSES = (
    "22",  # data: too large a number, a character that cannot be kept
    "54",  # limits: too long for an index, nested too deep
)
# Of the class of bad data, but no span's fault: the row ids of a table are used up.
NO_IDS_LEFT = "2200H"

# What one state is in the words of an operator; anything else is told by its code alone, because
# Postgres' own messages quote the data.
_MEANINGS = {
    "08003": "the connection was lost",
    "08006": "the connection was lost",
    "2200H": "a table has used up its row ids",
    "22003": "a number is too large for its column",
    "22P02": "a value has the wrong form for its column",
    "22P05": "a character cannot be stored",
    "54000": "a value is too long for an index",
    "54001": "a value is nested too deep",
    "25006": "the server takes no writes, as a replica does",
    "40P01": "two writers waited for each other",
    "53100": "the server's disk is full",
    "53200": "the server is out of memory",
    "53300": "the server has no connection to spare",
    "55P03": "the tables are locked, as by a migration",
    "57P01": "the server closed the connection",
}


def remedy(error: BaseException) -> Remedy:
    """Say what to do about *error*, which a statement or the connection raised."""
    state = sqlstate(error)
    if state is None:
        # Closed underneath us, timed out, refused: all of them before or instead of an answer.
        lost = (OSError, TimeoutError, asyncpg.InterfaceError, asyncpg.InternalClientError)
        return Remedy.RETRY if isinstance(error, lost) else Remedy.WAIT
    if state in _RETRY_STATES or state.startswith(_RETRY_CLASSES):
        return Remedy.RETRY
    if state in _REPEAT_STATES:
        return Remedy.REPEAT_THEN_BISECT
    if state.startswith(_BISECT_CLASSES) and state != NO_IDS_LEFT:
        return Remedy.BISECT
    return Remedy.WAIT


def sqlstate(error: BaseException) -> str | None:
    """Give the SQLSTATE of *error*, None when it has none."""
    state = getattr(error, "sqlstate", None)
    return state if isinstance(state, str) else None


def is_of_the_batch(error: BaseException) -> bool:
    """Say whether *error* leaves the connection as good as it was."""
    state = sqlstate(error)
    return state is not None and state.startswith(("22", "23", "40", "54", "55P03"))


def is_too_long(error: BaseException) -> bool:
    """Say whether a limit of Postgres is in the way, like that of an index."""
    return (sqlstate(error) or "").startswith("54")


def describe(error: BaseException) -> str:
    """Say what *error* is without a word of the data that it quotes."""
    kind = type(error).__name__
    state = sqlstate(error)
    if state is not None:
        meaning = _MEANINGS.get(state)
        return f"{kind}, SQLSTATE {state}" + (f": {meaning}" if meaning else "")
    if isinstance(error, OSError):
        return f"{kind}: {error.strerror}" if error.strerror else kind
    if isinstance(error, asyncpg.InterfaceError):
        return f"{kind}: the connection was lost"
    frames = traceback.extract_tb(error.__traceback__)
    return f"{kind} in {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else kind
