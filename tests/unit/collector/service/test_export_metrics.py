"""The exporter's numbers, and the file in which it leaves them."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from tracequill_collector.pipeline import QueuedRecord, Record, RecordKind
from tracequill_collector.service.export_metrics import (
    ExportMetrics,
    ExportRegistry,
    LettersKept,
)


def values(path: Path) -> dict[tuple[str, str], float]:
    """Read the file: numbers by name and exporter."""
    return {
        (sample.name, sample.labels.get("exporter", "")): sample.value
        for family in text_string_to_metric_families(path.read_text())
        for sample in family.samples
        if "le" not in sample.labels and "what" not in sample.labels
    }


def test_each_exporter_counts_for_itself(tmp_path: Path) -> None:
    path = tmp_path / "collector" / "metrics"
    registry = ExportRegistry(path)
    near, far = ExportMetrics(registry, "postgres"), ExportMetrics(registry, "otlp-far")
    near.sent(5)
    near.seen_before(3, replaced=2)
    near.stored(0.5)
    near.raw_genai(4)
    far.failed()
    far.rejected(7)

    registry.write()

    found = values(path)
    assert found["otelcol_exporter_sent_spans_total", "postgres"] == 5
    assert found["otelcol_exporter_sent_spans_total", "otlp-far"] == 0
    assert found["otelcol_exporter_send_failed_spans_total", "otlp-far"] == 7
    assert found["tracequill_exporter_seen_before_spans_total", "postgres"] == 3
    assert found["tracequill_exporter_replaced_spans_total", "postgres"] == 2
    assert found["tracequill_exporter_seconds_sum", "postgres"] == 0.5
    assert found["tracequill_exporter_failed_tries_total", "otlp-far"] == 1
    assert found["tracequill_processor_raw_genai_spans_total", "postgres"] == 4


def test_dead_letters_are_counted_by_what_they_are_from_the_start(tmp_path: Path) -> None:
    registry = ExportRegistry(tmp_path / "metrics")
    metrics = ExportMetrics(registry, "postgres")
    metrics.buried(1)
    registry.write()

    text = (tmp_path / "metrics").read_text()
    assert 'tracequill_dead_letters_total{exporter="postgres",what="span"} 1.0' in text
    assert 'tracequill_dead_letters_total{exporter="postgres",what="record"} 0.0' in text
    assert 'otelcol_exporter_send_failed_spans_total{exporter="postgres"} 1.0' in text


def test_the_age_of_a_record_is_that_when_it_was_done(tmp_path: Path) -> None:
    registry = ExportRegistry(tmp_path / "metrics")
    metrics = ExportMetrics(registry, "postgres")
    now = time.time_ns()
    moments = (now - 90 * 10**9, now + 3600 * 10**9)
    metrics.done(
        [QueuedRecord(0, Record(RecordKind.OTLP_TRACES, moment, b"")) for moment in moments]
    )
    registry.write()

    found = values(tmp_path / "metrics")
    assert found["tracequill_exporter_records_total", "postgres"] == 2
    assert 90 <= found["tracequill_exporter_age_seconds_sum", "postgres"] < 120


def test_what_the_policy_changed_is_counted_by_rule(tmp_path: Path) -> None:
    registry = ExportRegistry(tmp_path / "metrics")
    ExportMetrics(registry, "postgres").changed(Counter({"email": 2, "card": 1}))
    registry.write()

    text = (tmp_path / "metrics").read_text()
    assert 'tracequill_processor_changes_total{exporter="postgres",rule="email"} 2.0' in text


def test_gauges_are_asked_when_the_file_is_written(tmp_path: Path) -> None:
    registry = ExportRegistry(tmp_path / "metrics")
    numbers = [1.0, 2.0]
    registry.gauge("tracequill_x", "A number.", lambda: numbers.pop(), exporter="postgres")
    registry.gauge("tracequill_x", "A number.", lambda: 9.0, exporter="otlp-far")
    registry.write()
    registry.write()

    found = values(tmp_path / "metrics")
    assert found["tracequill_x", "postgres"] == 1
    assert found["tracequill_x", "otlp-far"] == 9


def test_letters_are_counted_where_there_are_some(tmp_path: Path) -> None:
    assert LettersKept(tmp_path / "none")() == 0
    for name in ("a.json", "a.payload", "b.json", ".c.json.new"):
        (tmp_path / name).touch()

    assert LettersKept(tmp_path)() == 2
