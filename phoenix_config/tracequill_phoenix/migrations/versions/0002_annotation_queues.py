"""Annotation queues: what is asked of whom, who holds what, and what was answered.

Constraints hold what code could forget: an answer is in a queue once, a slot is held by one
person, nobody has two slots of one item, one answer of a person to an item is in force.

No foreign key points into Phoenix's tables: its retention deletes spans, its pages delete users,
and neither may be hindered nor take our copies away.
"""

from __future__ import annotations

from alembic import op

revision = "0002"
down_revision: str | None = "0001"
branch_labels: str | None = None
depends_on: str | None = None

_QUEUES = (
    """
    CREATE TABLE tracequill.annotation_people (
        person text PRIMARY KEY,
        name text NOT NULL,
        user_id bigint,
        seen_at timestamptz NOT NULL DEFAULT now()
    )
    """,
    # Without authentication a name is all there is: Ana and ana are one person.
    """
    CREATE UNIQUE INDEX annotation_people_name ON tracequill.annotation_people (lower(name))
    WHERE user_id IS NULL
    """,
    """
    CREATE TABLE tracequill.annotation_queues (
        queue_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        name text NOT NULL UNIQUE CHECK (name <> ''),
        instructions text NOT NULL DEFAULT '',
        overlap integer NOT NULL DEFAULT 1 CHECK (overlap BETWEEN 1 AND 20),
        item_order text NOT NULL DEFAULT 'newest'
            CHECK (item_order IN ('newest', 'oldest', 'random')),
        assigned_only boolean NOT NULL DEFAULT false,
        advance_on_digit boolean NOT NULL DEFAULT false,
        lease_seconds integer NOT NULL DEFAULT 300 CHECK (lease_seconds BETWEEN 1 AND 86400),
        keep_days integer CHECK (keep_days > 0),
        project text NOT NULL DEFAULT '',
        condition text NOT NULL DEFAULT '',
        created_at timestamptz NOT NULL DEFAULT now(),
        created_by text,
        archived_at timestamptz
    )
    """,
    """
    CREATE TABLE tracequill.annotation_queue_labels (
        queue_id bigint NOT NULL
            REFERENCES tracequill.annotation_queues ON DELETE CASCADE,
        name text NOT NULL CHECK (name <> ''),
        position integer NOT NULL,
        kind text NOT NULL CHECK (kind IN ('CATEGORICAL', 'CONTINUOUS', 'FREEFORM')),
        is_required boolean NOT NULL DEFAULT true,
        is_multiple boolean NOT NULL DEFAULT false CHECK (kind = 'CATEGORICAL' OR NOT is_multiple),
        definition jsonb NOT NULL,
        PRIMARY KEY (queue_id, name)
    )
    """,
    """
    CREATE TABLE tracequill.annotation_queue_members (
        queue_id bigint NOT NULL
            REFERENCES tracequill.annotation_queues ON DELETE CASCADE,
        person text NOT NULL,
        PRIMARY KEY (queue_id, person)
    )
    """,
)

_ITEMS = (
    """
    CREATE TABLE tracequill.annotation_items (
        item_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        queue_id bigint NOT NULL
            REFERENCES tracequill.annotation_queues ON DELETE CASCADE,
        number integer NOT NULL,
        rank double precision NOT NULL,
        span_rowid bigint NOT NULL,
        span_id text NOT NULL,
        trace_id text NOT NULL,
        project text NOT NULL,
        session_id text,
        asked_at timestamptz NOT NULL,
        added_at timestamptz NOT NULL DEFAULT now(),
        done_at timestamptz,
        UNIQUE (queue_id, span_id)
    )
    """,
    """
    CREATE INDEX annotation_items_number ON tracequill.annotation_items (queue_id, number)
    """,
    # One row for each of the N people an item is asked of; a slot is free, held, or used.
    """
    CREATE TABLE tracequill.annotation_slots (
        item_id bigint NOT NULL
            REFERENCES tracequill.annotation_items ON DELETE CASCADE,
        slot integer NOT NULL,
        queue_id bigint NOT NULL,
        rank double precision NOT NULL,
        state text NOT NULL DEFAULT 'open'
            CHECK (state IN ('open', 'leased', 'answered', 'flagged', 'returned')),
        person text,
        leased_until timestamptz,
        PRIMARY KEY (item_id, slot),
        UNIQUE (item_id, person),
        CHECK ((state = 'open') = (person IS NULL)),
        CHECK ((state = 'leased') = (leased_until IS NOT NULL))
    )
    """,
    # What can be given out, in its order; used slots leave this index.
    """
    CREATE INDEX annotation_slots_to_give
    ON tracequill.annotation_slots (queue_id, rank, item_id, slot)
    WHERE state IN ('open', 'leased')
    """,
    """
    CREATE INDEX annotation_slots_held
    ON tracequill.annotation_slots (person, queue_id)
    WHERE state IN ('leased', 'flagged', 'returned')
    """,
    """
    CREATE TABLE tracequill.annotation_skips (
        item_id bigint NOT NULL
            REFERENCES tracequill.annotation_items ON DELETE CASCADE,
        person text NOT NULL,
        queue_id bigint NOT NULL,
        skipped_at timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (item_id, person)
    )
    """,
    """
    CREATE INDEX annotation_skips_person
    ON tracequill.annotation_skips (queue_id, person, skipped_at)
    """,
)

_ANSWERS = (
    # The copy of what was judged: the arguments of conversation_of, and two texts to search.
    """
    CREATE TABLE tracequill.annotation_inputs (
        item_id bigint PRIMARY KEY
            REFERENCES tracequill.annotation_items ON DELETE CASCADE,
        source jsonb NOT NULL,
        question text NOT NULL,
        answer text NOT NULL,
        copied_at timestamptz NOT NULL DEFAULT now()
    )
    """,
    """
    CREATE TABLE tracequill.annotation_answers (
        answer_id uuid PRIMARY KEY,
        queue_id bigint NOT NULL
            REFERENCES tracequill.annotation_queues ON DELETE CASCADE,
        item_id bigint NOT NULL
            REFERENCES tracequill.annotation_items ON DELETE CASCADE,
        slot integer NOT NULL,
        person text NOT NULL,
        "values" jsonb NOT NULL,
        correction jsonb,
        shown_at timestamptz,
        first_key_at timestamptz,
        submitted_at timestamptz,
        keys integer CHECK (keys >= 0),
        answered_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        replaces uuid,
        replaced_at timestamptz,
        undone_at timestamptz,
        phoenix_before jsonb NOT NULL DEFAULT '[]'
    )
    """,
    """
    CREATE UNIQUE INDEX annotation_answers_in_force
    ON tracequill.annotation_answers (item_id, person)
    WHERE undone_at IS NULL AND replaced_at IS NULL
    """,
    """
    CREATE INDEX annotation_answers_person
    ON tracequill.annotation_answers (queue_id, person, answered_at)
    """,
    """
    CREATE INDEX annotation_answers_time
    ON tracequill.annotation_answers (queue_id, answered_at)
    """,
    """
    CREATE TABLE tracequill.annotation_drafts (
        item_id bigint NOT NULL
            REFERENCES tracequill.annotation_items ON DELETE CASCADE,
        person text NOT NULL,
        "values" jsonb NOT NULL,
        correction jsonb,
        saved_at timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (item_id, person)
    )
    """,
    """
    CREATE TABLE tracequill.annotation_flags (
        flag_id uuid PRIMARY KEY,
        queue_id bigint NOT NULL
            REFERENCES tracequill.annotation_queues ON DELETE CASCADE,
        item_id bigint NOT NULL
            REFERENCES tracequill.annotation_items ON DELETE CASCADE,
        person text NOT NULL,
        question text NOT NULL,
        asked_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        reply text,
        replied_by text,
        replied_at timestamptz,
        withdrawn_at timestamptz
    )
    """,
    """
    CREATE INDEX annotation_flags_queue
    ON tracequill.annotation_flags (queue_id, asked_at)
    """,
    """
    CREATE INDEX annotation_flags_item
    ON tracequill.annotation_flags (item_id, person)
    """,
    """
    CREATE TABLE tracequill.annotation_consensus (
        item_id bigint PRIMARY KEY
            REFERENCES tracequill.annotation_items ON DELETE CASCADE,
        queue_id bigint NOT NULL
            REFERENCES tracequill.annotation_queues ON DELETE CASCADE,
        "values" jsonb NOT NULL,
        correction jsonb,
        reason text NOT NULL DEFAULT '',
        decided_by text,
        decided_at timestamptz NOT NULL DEFAULT now()
    )
    """,
    """
    CREATE INDEX annotation_consensus_queue ON tracequill.annotation_consensus (queue_id)
    """,
)


def upgrade() -> None:
    """Create the tables."""
    for statement in (*_QUEUES, *_ITEMS, *_ANSWERS):
        op.execute(statement)


def downgrade() -> None:
    """Drop them, with every answer they hold."""
    op.execute(
        "DROP TABLE tracequill.annotation_consensus, tracequill.annotation_flags, "
        "tracequill.annotation_drafts, tracequill.annotation_answers, "
        "tracequill.annotation_inputs, tracequill.annotation_skips, "
        "tracequill.annotation_slots, tracequill.annotation_items, "
        "tracequill.annotation_queue_members, tracequill.annotation_queue_labels, "
        "tracequill.annotation_queues, tracequill.annotation_people"
    )
