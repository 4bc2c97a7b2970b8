"""What the doctor finds in the data directory; the database and the processes are elsewhere."""

from __future__ import annotations

from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from tests.unit.collector.queue.records import CAP, record
from tracequill.settings import Settings
from tracequill_collector.queue.dead_letters import DeadLetters
from tracequill_collector.queue.reader import QueueReader
from tracequill_collector.queue.writer import QueueWriter
from tracequill_collector.stack.doctor import Finding, examine
from tracequill_collector.status import write_status


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Settings of a stack that does not run; nobody listens on port 1."""
    return Settings.model_validate(
        {
            "data_dir": tmp_path,
            "database_url": "postgresql://someone@127.0.0.1:1/app",
            "phoenix_port": 1,
            "otlp_http_port": 1,
            "proxy_port": 1,
            "exporters": {"far": {"endpoint": "http://127.0.0.1:1"}},
        }
    )


async def found(settings: Settings, check: str) -> list[Finding]:
    """Give what the doctor says of *check*."""
    async with aclosing(examine(settings)) as findings:  # type: ignore[type-var]
        return [finding async for finding in findings if finding.check == check]


def say(settings: Settings, **onward: dict[str, Any]) -> None:
    """Write the exporter's status, as one with a database does."""
    path = settings.data_dir / "collector" / "exporter.status.json"
    write_status(path, {"waiting": "", "stored_spans": 0, "onward": onward})


async def consumers_of(folder: Path, *names: str) -> None:
    """Make a queue with a MiB in it, and consumers that have read nothing of it."""
    writer = await QueueWriter.open(folder, max_bytes=CAP)
    await writer.consume(record(length=1024 * 1024))
    await writer.close()
    for name in names:
        reader = await QueueReader.open(folder, consumer=name)
        await reader.close()


@pytest.mark.parametrize(
    ("facts", "level", "text"),
    [
        ({"backlog_bytes": 0}, "ok", "Works; 0.0 MiB are waiting for it."),
        (
            {"waiting": "it refuses the key.", "backlog_bytes": 5 * 1024**2},
            "warning",
            "Waits: it refuses the key. 5.0 MiB are waiting for it.",
        ),
        ({"lost_records": 7}, "warning", "7 records left the queue without it. Set exporters.far"),
        ({"rejected_spans": 3}, "warning", "Has rejected 3 spans; they are not sent again."),
    ],
)
async def test_further_exporters_are_told_of(
    settings: Settings, facts: dict[str, Any], level: str, text: str
) -> None:
    say(settings, far=facts)

    (finding,) = await found(settings, "exporter far")

    assert finding.level == level
    assert text in finding.text


async def test_an_exporter_that_the_process_does_not_know_needs_a_restart(
    settings: Settings,
) -> None:
    say(settings)

    (finding,) = await found(settings, "exporter far")

    assert finding.level == "warning" and "Restart the collector." in finding.text


async def test_of_a_process_that_does_not_run_nothing_is_said_about_backends(
    settings: Settings,
) -> None:
    assert await found(settings, "exporter far") == []


async def test_an_abandoned_consumer_is_named_with_what_it_holds(settings: Settings) -> None:
    say(settings)
    names = ("postgres", "postgres-live", "otlp-far", "otlp-gone", "mine")
    await consumers_of(settings.collector_queue_dir, *names)
    await consumers_of(settings.proxy_queue_dir, "collector", "postgres")

    findings = await found(settings, "queue consumers")

    assert [finding.level for finding in findings] == ["warning"] * 3
    folders = (settings.collector_queue_dir, settings.collector_queue_dir, settings.proxy_queue_dir)
    for finding, name, queue in zip(
        findings, ("mine", "otlp-gone", "postgres"), folders, strict=True
    ):
        assert f"Nobody reads for {name!r} any more, and 1 MiB are kept for it." in finding.text
        assert str(queue / "consumers" / f"{name}.json") in finding.text


async def test_the_place_of_a_database_that_is_no_longer_set_is_abandoned(
    settings: Settings,
) -> None:
    path = settings.data_dir / "collector" / "exporter.status.json"
    write_status(path, {"waiting": "", "onward": {"far": {}}})
    await consumers_of(settings.collector_queue_dir, "postgres", "otlp-far")

    (finding,) = await found(settings, "queue consumers")

    assert "'postgres'" in finding.text


async def test_dead_letters_are_a_warning_also_without_a_database(settings: Settings) -> None:
    (finding,) = await found(settings, "dead letters")
    assert finding.level == "ok"
    DeadLetters(settings.dead_letters_dir).add(record(), "bad.")

    (finding,) = await found(settings, "dead letters")

    assert finding.level == "warning"
    assert finding.text.startswith("1 record or span could not be interpreted or stored.")
    assert (await found(settings, "database"))[0].level == "failed"


async def test_an_embedded_postgres_that_is_stopped_is_started_by_up(settings: Settings) -> None:
    (settings.data_dir / "postgres.url").write_text("postgresql://someone@127.0.0.1:1/app")
    unset = settings.model_copy(update={"database_url": None})

    for which, advice in ((unset, "tracequill up"), (settings, "TRACEQUILL_DATABASE_URL")):
        (finding,) = await found(which, "database")
        assert advice in finding.text
    (finding,) = await found(unset, "database")
    assert "TRACEQUILL_DATABASE_URL" not in finding.text


async def test_a_full_queue_is_a_warning(settings: Settings) -> None:
    await consumers_of(settings.collector_queue_dir)
    (finding,) = await found(settings, "queues")
    assert finding.level == "ok"

    small = settings.model_copy(update={"queue_max_bytes": 1024 * 600})

    (finding,) = await found(small, "queues")
    assert finding.level == "warning"


async def test_damaged_records_are_a_warning_that_names_their_folder(settings: Settings) -> None:
    assert await found(settings, "damaged records") == []
    await consumers_of(settings.proxy_queue_dir)
    (segment,) = settings.proxy_queue_dir.glob("*.segment")
    content = segment.read_bytes()
    segment.write_bytes(content[:-1] + b"!")
    # A new writer looks at what the last one left.
    await (await QueueWriter.open(settings.proxy_queue_dir, max_bytes=CAP)).close()

    (finding,) = await found(settings, "damaged records")

    assert finding.level == "warning"
    assert f"{len(content) - 40} bytes of accepted records" in finding.text
    assert str(settings.proxy_queue_dir / "quarantine") in finding.text


async def test_records_that_never_reached_the_database_are_a_warning(settings: Settings) -> None:
    path = settings.data_dir / "collector" / "exporter.status.json"
    write_status(path, {"waiting": "", "lost_records": 3, "onward": {}})

    (finding,) = await found(settings, "damaged records")

    assert finding.level == "warning" and finding.text.startswith("3 records were damaged or gone")
