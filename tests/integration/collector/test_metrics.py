"""What a running receiver and exporter publish: all of it documented, none of it twice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from tests.integration.collector.processes_rig import Processes, processes
from tests.integration.receiver_rig import request_of, span
from tests.ports import free_port

pytestmark = pytest.mark.integration

PAGE = Path(__file__).parents[3] / "docs" / "metrics.md"
# What the issue of every collector is watched by.
_MUST_BE_THERE = {
    "received": "tracequill_receiver_requests_total",
    "kept": "otelcol_receiver_accepted_spans_total",
    "refused": "otelcol_receiver_refused_spans_total",
    "rejected": "tracequill_receiver_rejected_spans_total",
    "exported": "otelcol_exporter_sent_spans_total",
    "failed": "otelcol_exporter_send_failed_spans_total",
    "dead-lettered": "tracequill_dead_letters_total",
    "queue bytes": "tracequill_queue_backlog_bytes",
    "queue age": "tracequill_exporter_backlog_age_seconds",
    "queue size": "otelcol_exporter_queue_size",
    "queue capacity": "otelcol_exporter_queue_capacity",
    "export latency": "tracequill_exporter_seconds",
    "acknowledged to stored": "tracequill_exporter_age_seconds",
    "fsync latency": "tracequill_queue_sync_seconds",
}


@pytest.fixture
def stack(phoenix_database: str, tmp_path: Path) -> Iterator[Processes]:
    """Receiver and exporter, with a database and a backend that nobody runs."""
    (tmp_path / "tracequill.yaml").write_text(
        f"exporters:\n  far:\n    endpoint: http://127.0.0.1:{free_port()}\n"
    )
    with processes(
        tmp_path, "receiver", "exporter", TRACEQUILL_DATABASE_URL=phoenix_database
    ) as stack:
        yield stack


def families_of(stack: Processes) -> list[Metric]:
    """What is published, as Prometheus reads it."""
    return list(text_string_to_metric_families(stack.metrics()))


def samples_of(stack: Processes) -> dict[tuple[str, str], float]:
    """The numbers by name and exporter; of labels besides, the sum."""
    found: Counter[tuple[str, str]] = Counter()
    for family in families_of(stack):
        for sample in family.samples:
            found[sample.name, sample.labels.get("exporter", "")] += sample.value  # type: ignore[assignment]
    return dict(found)


def row_of(family: Metric) -> str:
    """The line of the table for *family*."""
    labels = sorted({label for sample in family.samples for label in sample.labels} - {"le"})
    name = f"{family.name}_total" if family.type == "counter" else family.name
    named = ", ".join(f"`{label}`" for label in labels)
    return f"| `{name}` | {family.type} | {named} | {family.documentation} |"


def test_every_metric_is_documented_and_valid_and_there_is_none_twice(stack: Processes) -> None:
    bad = span(2, span_id=bytes(8))
    assert stack.post(request_of(span(1), bad)).status == 200
    assert stack.post(b"no request").status == 400
    sent = ("otelcol_exporter_sent_spans_total", "postgres")
    failed = ("tracequill_exporter_failed_tries_total", "otlp-far")
    letters = ("tracequill_dead_letters_kept", "")
    stack.wait_for(lambda: samples_of(stack)[sent] == 1 and samples_of(stack)[failed] > 0)

    families = families_of(stack)
    samples = samples_of(stack)

    names = [family.name for family in families]
    assert len(names) == len(set(names))
    # Changes by redaction have no number before the first.
    rows = [row_of(family) for family in families if family.samples]
    table = PAGE.read_text(encoding="utf-8").partition("|---|---|---|---|\n")[2]
    table = table.partition("\n\n")[0]
    documented = [line for line in table.splitlines() if "tracequill_processor_changes" not in line]
    assert sorted(documented) == sorted(rows), "\n".join(sorted(rows))
    published = {sample.name for family in families for sample in family.samples} | set(names)
    assert set(_MUST_BE_THERE.values()) <= published
    assert not [name for name in published if name.endswith("_created")]
    assert samples["otelcol_exporter_send_failed_spans_total", "postgres"] == 1
    assert samples["otelcol_exporter_queue_size", "otlp-far"] > 0
    assert samples["tracequill_exporter_waiting", "otlp-far"] == 1
    assert samples["tracequill_exporter_waiting", "postgres"] == 0
    assert letters in samples
    helped = [family.name for family in families if not family.documentation]
    assert helped == []


def test_the_page_names_what_changes_by_redaction() -> None:
    assert "| `tracequill_processor_changes_total` | counter | `exporter`, `rule` |" in (
        PAGE.read_text(encoding="utf-8")
    )
