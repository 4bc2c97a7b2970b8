"""The tables of the annotation queue, as SQLAlchemy sees them; migration 0002 creates them.

An item is one answer in a queue. Its slots, one for each person it is asked of, are held by
leases. An answer is in force while it is neither undone nor replaced by a later one of the same
person. Nothing here knows Phoenix's tables: spans are named by their OpenTelemetry ids.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Float,
    Integer,
    MetaData,
    Table,
    Text,
    Uuid,
    and_,
)
from sqlalchemy.dialects.postgresql import JSONB

metadata = MetaData(schema="tracequill")

_TIME = DateTime(timezone=True)
# None is SQL's NULL, not JSON's null.
_JSON = JSONB(none_as_null=True)

people = Table(
    "annotation_people",
    metadata,
    Column("person", Text, primary_key=True),
    Column("name", Text),
    Column("user_id", BigInteger),
    Column("seen_at", _TIME),
)
queues = Table(
    "annotation_queues",
    metadata,
    Column("queue_id", BigInteger, primary_key=True),
    Column("name", Text),
    Column("instructions", Text),
    Column("overlap", Integer),
    Column("item_order", Text),
    Column("assigned_only", Boolean),
    Column("advance_on_digit", Boolean),
    Column("lease_seconds", Integer),
    Column("keep_days", Integer),
    Column("project", Text),
    Column("condition", Text),
    Column("created_at", _TIME),
    Column("created_by", Text),
    Column("archived_at", _TIME),
)
labels = Table(
    "annotation_queue_labels",
    metadata,
    Column("queue_id", BigInteger, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("position", Integer),
    Column("kind", Text),
    Column("is_required", Boolean),
    Column("is_multiple", Boolean),
    Column("definition", _JSON),
)
members = Table(
    "annotation_queue_members",
    metadata,
    Column("queue_id", BigInteger, primary_key=True),
    Column("person", Text, primary_key=True),
)
items = Table(
    "annotation_items",
    metadata,
    Column("item_id", BigInteger, primary_key=True),
    Column("queue_id", BigInteger),
    Column("number", Integer),
    Column("rank", Float),
    Column("span_rowid", BigInteger),
    Column("span_id", Text),
    Column("trace_id", Text),
    Column("project", Text),
    Column("session_id", Text),
    Column("asked_at", _TIME),
    Column("added_at", _TIME),
    Column("done_at", _TIME),
)
slots = Table(
    "annotation_slots",
    metadata,
    Column("item_id", BigInteger, primary_key=True),
    Column("slot", Integer, primary_key=True),
    Column("queue_id", BigInteger),
    Column("rank", Float),
    Column("state", Text),
    Column("person", Text),
    Column("leased_until", _TIME),
)
skips = Table(
    "annotation_skips",
    metadata,
    Column("item_id", BigInteger, primary_key=True),
    Column("person", Text, primary_key=True),
    Column("queue_id", BigInteger),
    Column("skipped_at", _TIME),
)
inputs = Table(
    "annotation_inputs",
    metadata,
    Column("item_id", BigInteger, primary_key=True),
    Column("source", _JSON),
    Column("question", Text),
    Column("answer", Text),
    Column("copied_at", _TIME),
)
answers = Table(
    "annotation_answers",
    metadata,
    Column("answer_id", Uuid, primary_key=True),
    Column("queue_id", BigInteger),
    Column("item_id", BigInteger),
    Column("slot", Integer),
    Column("person", Text),
    Column("values", _JSON),
    Column("correction", _JSON),
    Column("shown_at", _TIME),
    Column("first_key_at", _TIME),
    Column("submitted_at", _TIME),
    Column("keys", Integer),
    Column("answered_at", _TIME),
    Column("replaces", Uuid),
    Column("replaced_at", _TIME),
    Column("undone_at", _TIME),
    Column("phoenix_before", _JSON),
)
drafts = Table(
    "annotation_drafts",
    metadata,
    Column("item_id", BigInteger, primary_key=True),
    Column("person", Text, primary_key=True),
    Column("values", _JSON),
    Column("correction", _JSON),
    Column("saved_at", _TIME),
)
flags = Table(
    "annotation_flags",
    metadata,
    Column("flag_id", Uuid, primary_key=True),
    Column("queue_id", BigInteger),
    Column("item_id", BigInteger),
    Column("person", Text),
    Column("question", Text),
    Column("asked_at", _TIME),
    Column("reply", Text),
    Column("replied_by", Text),
    Column("replied_at", _TIME),
    Column("withdrawn_at", _TIME),
)
consensus = Table(
    "annotation_consensus",
    metadata,
    Column("item_id", BigInteger, primary_key=True),
    Column("queue_id", BigInteger),
    Column("values", _JSON),
    Column("correction", _JSON),
    Column("reason", Text),
    Column("decided_by", Text),
    Column("decided_at", _TIME),
)

in_force = and_(answers.c.undone_at.is_(None), answers.c.replaced_at.is_(None))
"""The condition under which an answer counts."""
