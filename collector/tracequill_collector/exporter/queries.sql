-- Every statement of the exporter, in the order in which a batch runs them.
-- They write what stands in Phoenix's schema and know nothing else of Phoenix.
--
-- Locks are taken in this order, and within a statement in the order of its ORDER BY, so that two
-- exporters never wait for each other in a circle: stored traces, projects, sessions, new traces,
-- session ranges, spans, ancestors, costs. Phoenix's own writers take a trace before its session as
-- well. Writing spans anew ends with the sums and ranges of their traces, which are locked from the
-- start; where a range became narrower, its session follows with all traces, out of this order:
-- two that meet there are told so by Postgres, and one of them begins again.

-- lock_tables --
-- Keeps migrations out until the end, or fails at once when one is under way (or wants to begin).
LOCK TABLE projects, project_sessions, traces, spans, span_costs, span_cost_details
IN ROW EXCLUSIVE MODE NOWAIT

-- lock_read_tables --
-- Waiting for a migration of these tables, while others are locked, could make the migration fail.
LOCK TABLE alembic_version, generative_models, token_prices IN ACCESS SHARE MODE NOWAIT

-- schema_state --
-- The schema's revision, and whether the built-in prices are there.
SELECT
    ARRAY(SELECT version_num::text FROM alembic_version) AS revisions,
    EXISTS (
        SELECT FROM generative_models AS m
        JOIN token_prices AS p ON p.model_id = m.id
        WHERE m.is_built_in AND m.deleted_at IS NULL
    ) AS has_prices

-- model_prices --
-- The models that changed since $1 (NULL: all of them), each with its prices as JSON.
SELECT
    m.id,
    m.provider,
    m.name_pattern,
    m.is_built_in,
    m.start_time,
    m.deleted_at IS NOT NULL AS is_deleted,
    coalesce(
        (
            SELECT json_agg(
                json_build_array(p.token_type, p.is_prompt, p.base_rate, p.customization)
                ORDER BY p.id
            )
            FROM token_prices AS p
            WHERE p.model_id = m.id
        ),
        '[]'
    )::text AS prices
FROM generative_models AS m
WHERE $1::timestamptz IS NULL OR m.updated_at >= $1 OR m.deleted_at >= $1

-- database_time --
-- The database's clock, so that what changes from now on is seen by the next model_prices.
SELECT clock_timestamp()

-- ids_used --
-- The sequence that has given out the largest share of its row ids, and that share. Most of
-- Phoenix's ids are int4, those of costs int8. The column is what ends: its sequence may go further.
SELECT
    s.sequencename AS name,
    coalesce(s.last_value, 0)::float8
        / least(s.max_value, CASE a.atttypid WHEN 'int4'::regtype THEN 2147483647 END) AS share
FROM pg_sequences AS s
JOIN pg_namespace AS n ON n.nspname = s.schemaname
JOIN pg_class AS c ON c.relname = s.sequencename AND c.relnamespace = n.oid
JOIN pg_depend AS d
    ON d.objid = c.oid AND d.classid = 'pg_class'::regclass AND d.deptype IN ('a', 'i')
JOIN pg_attribute AS a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
WHERE s.schemaname = current_schema()
ORDER BY share DESC
LIMIT 1

-- lock_traces --
-- The stored ones of these traces, locked: one exporter at a time writes a trace, or the sums up
-- its spans would miss what the other one adds.
SELECT trace_id, id, project_rowid, project_session_rowid, start_time, end_time
FROM traces
WHERE trace_id = ANY($1::text[])
ORDER BY trace_id
FOR NO KEY UPDATE

-- known_spans --
-- The stored ones of these spans, each with its trace.
SELECT s.span_id, t.trace_id
FROM spans AS s
JOIN traces AS t ON t.id = s.trace_rowid
WHERE s.span_id = ANY($1::text[])

-- find_projects --
-- The stored ones of these projects; they cannot be deleted until the end.
SELECT name, id
FROM projects
WHERE name = ANY($1::text[])
ORDER BY name
FOR KEY SHARE

-- insert_projects --
-- New projects, but for those that somebody else has made in the meantime.
INSERT INTO projects (name, gradient_start_color, gradient_end_color)
SELECT name, gradient_start_color, gradient_end_color
FROM unnest($1::text[], $2::text[], $3::text[]) AS new
    (name, gradient_start_color, gradient_end_color)
ORDER BY name
ON CONFLICT DO NOTHING
RETURNING name, id

-- find_sessions --
-- The stored ones of these sessions; they cannot be deleted until the end.
SELECT session_id, id
FROM project_sessions
WHERE session_id = ANY($1::text[])
ORDER BY session_id
FOR KEY SHARE

-- insert_sessions --
-- New sessions, but for those that somebody else has made in the meantime.
INSERT INTO project_sessions (session_id, project_id, start_time, end_time)
SELECT session_id, project_id, start_time, end_time
FROM unnest($1::text[], $2::int[], $3::timestamptz[], $4::timestamptz[]) AS new
    (session_id, project_id, start_time, end_time)
ORDER BY session_id
ON CONFLICT DO NOTHING
RETURNING session_id, id

-- insert_traces --
-- New traces, but for those that somebody else has made in the meantime.
INSERT INTO traces (trace_id, project_rowid, project_session_rowid, start_time, end_time)
SELECT trace_id, project_rowid, project_session_rowid, start_time, end_time
FROM unnest($1::text[], $2::int[], $3::int[], $4::timestamptz[], $5::timestamptz[]) AS new
    (trace_id, project_rowid, project_session_rowid, start_time, end_time)
ORDER BY trace_id
ON CONFLICT DO NOTHING
RETURNING trace_id, id

-- update_traces --
-- Wider ranges, and a session for those that had none; the rows are locked already.
UPDATE traces AS t
SET
    start_time = least(t.start_time, new.start_time),
    end_time = greatest(t.end_time, new.end_time),
    project_session_rowid = coalesce(t.project_session_rowid, new.project_session_rowid)
FROM unnest($1::int[], $2::int[], $3::timestamptz[], $4::timestamptz[]) AS new
    (id, project_session_rowid, start_time, end_time)
WHERE t.id = new.id

-- widen_sessions --
-- Wider ranges of sessions; those that are wide enough are not locked.
WITH new AS (
    SELECT *
    FROM unnest($1::int[], $2::timestamptz[], $3::timestamptz[]) AS new (id, start_time, end_time)
),
locked AS (
    SELECT s.id
    FROM project_sessions AS s
    JOIN new ON new.id = s.id
    WHERE s.start_time > new.start_time OR s.end_time < new.end_time
    ORDER BY s.id
    FOR NO KEY UPDATE OF s
)
UPDATE project_sessions AS s
SET
    start_time = least(s.start_time, new.start_time),
    end_time = greatest(s.end_time, new.end_time)
FROM locked
JOIN new ON new.id = locked.id
WHERE s.id = locked.id

-- counts_below --
-- For new spans ($2) of stored traces ($1): the sums over their stored children.
SELECT
    t.trace_id,
    s.parent_id,
    sum(s.cumulative_error_count)::bigint AS errors,
    sum(s.cumulative_llm_token_count_prompt)::bigint AS prompt_tokens,
    sum(s.cumulative_llm_token_count_completion)::bigint AS completion_tokens
FROM spans AS s
JOIN traces AS t ON t.id = s.trace_rowid
WHERE s.trace_rowid = ANY($1::int[]) AND s.parent_id = ANY($2::text[])
GROUP BY t.trace_id, s.parent_id

-- ancestors --
-- The stored ancestors of new spans, from their parents ($2, each in its trace, $1) upwards. UNION
-- drops what was met before, so it ends where parents form a circle.
WITH RECURSIVE above AS (
    SELECT s.id, s.span_id, s.parent_id, s.trace_rowid
    FROM unnest($1::int[], $2::text[]) AS child (trace_rowid, parent_id)
    JOIN spans AS s ON s.span_id = child.parent_id AND s.trace_rowid = child.trace_rowid
    UNION
    SELECT s.id, s.span_id, s.parent_id, s.trace_rowid
    FROM above AS child
    JOIN spans AS s ON s.span_id = child.parent_id AND s.trace_rowid = child.trace_rowid
)
SELECT above.id, above.span_id, above.parent_id, t.trace_id
FROM above
JOIN traces AS t ON t.id = above.trace_rowid

-- take_span_ids --
-- Ids for $1 new spans, which COPY then appends: nothing can be in their way, for their traces are
-- locked, or new and unseen by others. Should the same span appear under another trace at this very
-- moment, the unique index refuses the batch, and its repetition knows the span.
SELECT array_agg(nextval(ids.sequence))
FROM (SELECT pg_get_serial_sequence('spans', 'id')::regclass AS sequence) AS ids,
    generate_series(1, $1::int)

-- add_to_ancestors --
-- What stored ancestors gain by the new spans below them.
WITH locked AS (
    SELECT s.id
    FROM spans AS s
    WHERE s.id = ANY($1::int[])
    ORDER BY s.id
    FOR NO KEY UPDATE
)
UPDATE spans AS s
SET
    cumulative_error_count = s.cumulative_error_count + gained.errors,
    cumulative_llm_token_count_prompt
        = s.cumulative_llm_token_count_prompt + gained.prompt_tokens,
    cumulative_llm_token_count_completion
        = s.cumulative_llm_token_count_completion + gained.completion_tokens
FROM locked
JOIN unnest($1::int[], $2::int[], $3::int[], $4::int[]) AS gained
    (id, errors, prompt_tokens, completion_tokens)
    ON gained.id = locked.id
WHERE s.id = locked.id

-- take_cost_ids --
-- Ids for the costs of $1 new spans; COPY appends the costs, then their details.
SELECT array_agg(nextval(ids.sequence))
FROM (SELECT pg_get_serial_sequence('span_costs', 'id')::regclass AS sequence) AS ids,
    generate_series(1, $1::int)

-- rewrite_spans --
-- Stored spans anew, but for their place ($1): row id, trace, and what hangs on them.
UPDATE spans AS s
SET
    parent_id = new.parent_id,
    name = new.name,
    span_kind = new.span_kind,
    start_time = new.start_time,
    end_time = new.end_time,
    attributes = new.attributes::jsonb,
    events = new.events::jsonb,
    status_code = new.status_code,
    status_message = new.status_message,
    llm_token_count_prompt = new.llm_token_count_prompt,
    llm_token_count_completion = new.llm_token_count_completion
FROM unnest(
    $1::text[], $2::text[], $3::text[], $4::text[], $5::timestamptz[], $6::timestamptz[],
    $7::text[], $8::text[], $9::text[], $10::text[], $11::int[], $12::int[]
) AS new (
    span_id, parent_id, name, span_kind, start_time, end_time, attributes, events, status_code,
    status_message, llm_token_count_prompt, llm_token_count_completion
)
WHERE s.span_id = new.span_id
RETURNING s.id, s.span_id

-- delete_costs --
-- The costs of spans that were written anew, with their details.
DELETE FROM span_costs WHERE span_rowid = ANY($1::int[])

-- counted_spans --
-- All spans of traces, each with its own counts and its cumulative ones.
SELECT
    id,
    span_id,
    parent_id,
    trace_rowid,
    (status_code = 'ERROR')::int AS errors,
    coalesce(llm_token_count_prompt, 0) AS prompt_tokens,
    coalesce(llm_token_count_completion, 0) AS completion_tokens,
    cumulative_error_count AS all_errors,
    cumulative_llm_token_count_prompt AS all_prompt_tokens,
    cumulative_llm_token_count_completion AS all_completion_tokens
FROM spans
WHERE trace_rowid = ANY($1::int[])

-- set_sums --
-- Cumulative counts as they should be.
UPDATE spans AS s
SET
    cumulative_error_count = sums.errors,
    cumulative_llm_token_count_prompt = sums.prompt_tokens,
    cumulative_llm_token_count_completion = sums.completion_tokens
FROM unnest($1::int[], $2::int[], $3::int[], $4::int[]) AS sums
    (id, errors, prompt_tokens, completion_tokens)
WHERE s.id = sums.id

-- measure_traces --
-- The ranges of traces anew, from their spans; gives the sessions of those that changed.
UPDATE traces AS t
SET start_time = measured.start_time, end_time = measured.end_time
FROM (
    SELECT trace_rowid, min(start_time) AS start_time, max(end_time) AS end_time
    FROM spans
    WHERE trace_rowid = ANY($1::int[])
    GROUP BY trace_rowid
) AS measured
WHERE t.id = measured.trace_rowid
    AND (t.start_time, t.end_time) <> (measured.start_time, measured.end_time)
RETURNING t.project_session_rowid

-- lock_traces_of_sessions --
-- All traces of sessions ($1), locked: whoever writes one of them is waited for, and then seen.
SELECT
FROM traces
WHERE project_session_rowid = ANY($1::int[])
ORDER BY trace_id
FOR NO KEY UPDATE

-- lock_sessions --
-- These sessions, locked so that whoever is about to add a trace is waited for as well.
SELECT
FROM project_sessions
WHERE id = ANY($1::int[])
ORDER BY id
FOR UPDATE

-- measure_sessions --
-- The ranges of sessions ($1) anew, from all their traces.
UPDATE project_sessions AS s
SET start_time = measured.start_time, end_time = measured.end_time
FROM (
    SELECT project_session_rowid, min(start_time) AS start_time, max(end_time) AS end_time
    FROM traces
    WHERE project_session_rowid = ANY($1::int[])
    GROUP BY project_session_rowid
) AS measured
WHERE s.id = measured.project_session_rowid
    AND (s.start_time, s.end_time) <> (measured.start_time, measured.end_time)

-- notify --
-- Tells Phoenix's pages which projects ($1, a JSON list of their row ids) have new spans.
SELECT pg_notify('tracequill_spans', $1)
