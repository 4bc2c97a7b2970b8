"""The examples of a dataset, with the raw attributes of their spans, straight from Postgres.

In comes a dataset's name and a version; out come examples in batches, from one snapshot, through
a server-side cursor: memory does not grow with the dataset. Nothing here knows a training format,
and nothing imports Phoenix: its tables are read as they stand.
"""

from __future__ import annotations

import base64
import binascii
import difflib
import re
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import asyncpg
import orjson

from tracequill.database_url import asyncpg_url, running_database_url
from tracequill.errors import CommandError, UsageError
from tracequill.settings import Settings, mask_url

# How much is held at once. Attributes differ in size by a factor of a thousand, so their stored
# size decides, which is compressed: text shrinks to a fifth at most, images hardly.
_BATCH_STORED_BYTES = 1024 * 1024
_BATCH_ROWS = 200

_EXAMPLES = """
WITH latest AS (
    SELECT DISTINCT ON (r.dataset_example_id)
        r.id, r.dataset_example_id, r.revision_kind
    FROM dataset_example_revisions r
    JOIN dataset_examples e ON e.id = r.dataset_example_id
    WHERE e.dataset_id = $1 AND r.dataset_version_id <= $2
    ORDER BY r.dataset_example_id, r.dataset_version_id DESC
)
SELECT
    e.id AS example_id,
    latest.revision_kind = 'PATCH' AND EXISTS (
        SELECT FROM dataset_example_revisions made, dataset_example_revisions changed
        WHERE made.dataset_example_id = e.id AND made.revision_kind = 'CREATE'
            AND changed.id = latest.id
            AND (made.input <> changed.input OR made.output <> changed.output)
    ) AS is_edited,
    s.id AS span_rowid,
    s.span_id,
    s.span_kind,
    s.status_code,
    pg_column_size(s.attributes) AS stored_bytes
FROM latest
JOIN dataset_examples e ON e.id = latest.dataset_example_id
LEFT JOIN spans s ON s.id = e.span_rowid
WHERE latest.revision_kind <> 'DELETE'
ORDER BY e.id
"""

_ATTRIBUTES = "SELECT id, attributes FROM spans WHERE id = ANY($1::bigint[])"

_COUNT = """
SELECT count(*) FROM (
    SELECT DISTINCT ON (r.dataset_example_id) r.revision_kind
    FROM dataset_example_revisions r
    JOIN dataset_examples e ON e.id = r.dataset_example_id
    WHERE e.dataset_id = $1 AND r.dataset_version_id <= $2
    ORDER BY r.dataset_example_id, r.dataset_version_id DESC
) latest WHERE latest.revision_kind <> 'DELETE'
"""


@dataclass(frozen=True, slots=True)
class DatasetVersion:
    """A dataset at one of its versions; *number* counts them from 1."""

    dataset_id: int
    name: str
    version_id: int
    number: int
    examples: int

    @property
    def dataset_node_id(self) -> str:
        """The id that Phoenix's pages and API show for the dataset."""
        return _node_id("Dataset", self.dataset_id)

    @property
    def version_node_id(self) -> str:
        """The id that Phoenix's pages and API show for the version."""
        return _node_id("DatasetVersion", self.version_id)


@dataclass(slots=True)
class Example:
    """One example: *attributes* are those of its span, None when the span is gone."""

    example_id: int
    span_id: str | None
    span_kind: str
    attributes: dict[str, Any] | None
    is_failed: bool
    """The call ended in an error; what it had answered by then is not an answer."""
    is_edited: bool
    """Somebody changed the example's input or output in Phoenix after it was made."""


@asynccontextmanager
async def connect(settings: Settings) -> AsyncIterator[asyncpg.Connection]:
    """Open the database of *settings*, or the embedded one that runs on their data directory.

    Raises CommandError, with one sentence, when there is none.
    """
    url = asyncpg_url(running_database_url(settings))
    schema = settings.database_schema
    try:
        connection = await asyncpg.connect(url, timeout=10, statement_cache_size=0)
    except (OSError, TimeoutError, ValueError, asyncpg.PostgresError) as error:
        correct = ", or correct TRACEQUILL_DATABASE_URL" if settings.database_url else ""
        raise CommandError(
            f"the database at {mask_url(url)} cannot be reached: {_reason(error)}. "
            f"Start it with 'tracequill up'{correct}."
        ) from error
    try:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            if schema:
                # Local to the transaction: a pooler may hand the session to somebody else.
                await connection.execute(
                    "SELECT set_config('search_path', $1, true)", f'"{schema}"'
                )
            yield connection
    except asyncpg.UndefinedTableError as error:
        raise CommandError(
            f"the database at {mask_url(url)} has no Phoenix tables"
            + (f" in the schema {schema!r}" if schema else "")
            + ". Start Phoenix on it once, or correct TRACEQUILL_DATABASE_URL."
        ) from error
    except (asyncpg.PostgresConnectionError, asyncpg.InterfaceError, ConnectionError) as error:
        raise CommandError(f"the database went away: {_reason(error)}. Try again.") from error
    finally:
        await connection.close(timeout=5)


async def find_dataset(
    connection: asyncpg.Connection, name: str, version: str | None
) -> DatasetVersion:
    """Find the dataset *name* at *version*: a number from 1, Phoenix's id, or None for the last.

    Raises UsageError for a name or version that does not exist, and says which are near.
    """
    dataset_id = await connection.fetchval("SELECT id FROM datasets WHERE name = $1", name)
    if dataset_id is None:
        names = [row["name"] for row in await connection.fetch("SELECT name FROM datasets")]
        near = difflib.get_close_matches(name, names, n=1)
        hint = f"Did you mean {near[0]!r}?" if near else "'tracequill dataset list' shows them all."
        raise UsageError(f"there is no dataset {name!r}. {hint}")
    versions = [
        row["id"]
        for row in await connection.fetch(
            "SELECT id FROM dataset_versions WHERE dataset_id = $1 ORDER BY id", dataset_id
        )
    ]
    if not versions:
        raise CommandError(f"the dataset {name!r} is empty. Add examples to it first.")
    version_id = _choose(versions, version, name)
    examples = await connection.fetchval(_COUNT, dataset_id, version_id)
    return DatasetVersion(
        dataset_id, name, version_id, versions.index(version_id) + 1, int(examples)
    )


async def read_examples(
    connection: asyncpg.Connection, dataset: DatasetVersion
) -> AsyncIterator[list[Example]]:
    """Give the examples of *dataset* in their order, a bounded batch at a time."""
    await connection.set_type_codec(
        "jsonb", schema="pg_catalog", encoder=_encode, decoder=_decode, format="binary"
    )
    cursor = await connection.cursor(_EXAMPLES, dataset.dataset_id, dataset.version_id)
    while rows := await cursor.fetch(_BATCH_ROWS):
        for group in _groups(rows):
            span_rowids = [row["span_rowid"] for row in group if row["span_rowid"] is not None]
            found = await connection.fetch(_ATTRIBUTES, span_rowids)
            attributes = {row["id"]: row["attributes"] for row in found}
            yield [_example(row, attributes.get(row["span_rowid"])) for row in group]


def _groups(rows: Sequence[asyncpg.Record]) -> Iterator[list[asyncpg.Record]]:
    """Cut *rows* where their attributes would be too much together."""
    group: list[asyncpg.Record] = []
    stored_bytes = 0
    for row in rows:
        row_bytes = row["stored_bytes"] or 0
        if group and stored_bytes + row_bytes > _BATCH_STORED_BYTES:
            yield group
            group, stored_bytes = [], 0
        group.append(row)
        stored_bytes += row_bytes
    if group:
        yield group


def _example(row: asyncpg.Record, attributes: dict[str, Any] | None) -> Example:
    return Example(
        example_id=row["example_id"],
        span_id=row["span_id"],
        span_kind=row["span_kind"] or "",
        attributes=attributes,
        is_failed=row["status_code"] == "ERROR",
        is_edited=row["is_edited"],
    )


def _choose(versions: list[int], version: str | None, name: str) -> int:
    if version is None:
        return versions[-1]
    if version.isdecimal() and 1 <= int(version) <= len(versions):
        return versions[int(version) - 1]
    if (rowid := _rowid(version)) in versions:
        return rowid
    known = "version 1" if len(versions) == 1 else f"versions 1 to {len(versions)}"
    raise UsageError(f"the dataset {name!r} has no version {version!r}. It has {known}.")


def _node_id(kind: str, rowid: int) -> str:
    return base64.b64encode(f"{kind}:{rowid}".encode()).decode()


def _rowid(node_id: str) -> int:
    """The row of Phoenix's id for a dataset version; 0 for anything else."""
    try:
        text = base64.b64decode(node_id, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError, ValueError):
        return 0
    match = re.fullmatch(r"DatasetVersion:(\d+)", text)
    return int(match[1]) if match else 0


def _reason(error: BaseException) -> str:
    return (str(error) or type(error).__name__).splitlines()[0].rstrip(".")


def _encode(value: object) -> bytes:
    return b"\x01" + orjson.dumps(value)


def _decode(data: bytes) -> Any:
    # The binary form of jsonb is a version, 1, and the text.
    return orjson.loads(data[1:])
