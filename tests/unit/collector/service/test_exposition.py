from __future__ import annotations

from pathlib import Path

from prometheus_client import CollectorRegistry

from tracequill_collector.service.exposition import GaugeOf, StatusOf
from tracequill_collector.status import write_status


def test_numbers_of_a_status_file_are_published_under_their_names(tmp_path: Path) -> None:
    path = tmp_path / "exporter.status.json"
    registry = CollectorRegistry()
    registry.register(StatusOf("exporter", path))
    write_status(
        path,
        {
            "otelcol_exporter_sent_spans_total": 12,
            "queue age-seconds": 1.5,
            "state": "waiting for the database",
        },
    )

    assert registry.get_sample_value("otelcol_exporter_sent_spans_total") == 12
    assert registry.get_sample_value("tracequill_exporter_queue_age_seconds") == 1.5
    age = registry.get_sample_value("tracequill_exporter_status_age_seconds")
    assert age is not None
    assert age >= 0


def test_a_status_file_that_is_not_there_publishes_nothing(tmp_path: Path) -> None:
    registry = CollectorRegistry()
    registry.register(StatusOf("exporter", tmp_path / "none.json"))

    assert list(registry.collect()) == []


def test_a_gauge_is_asked_when_it_is_read() -> None:
    values = [1.0, 2.0, 3.0]
    registry = CollectorRegistry()
    registry.register(GaugeOf("tracequill_x", "A number.", lambda: values.pop()))

    first = registry.get_sample_value("tracequill_x")

    assert registry.get_sample_value("tracequill_x") != first
