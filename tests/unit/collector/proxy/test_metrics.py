"""The proxy's numbers."""

from __future__ import annotations

from tracequill_collector.proxy.metrics import ProxyMetrics


def test_a_number_that_the_disk_does_not_give_is_left_out_and_the_others_stay() -> None:
    """A disk that fails is when people look here."""

    def failing() -> float:
        raise OSError("the disk is gone")

    metrics = ProxyMetrics()
    disk = {"fails": False}
    metrics.watch("tracequill_disk", "Of a disk.", lambda: failing() if disk["fails"] else 1)
    metrics.watch("tracequill_memory", "Of memory.", lambda: 2)
    disk["fails"] = True
    metrics.count_lost("queue_failed")

    text = metrics.text().decode()

    assert "tracequill_disk" not in text
    assert "tracequill_memory 2.0" in text
    assert 'tracequill_proxy_unrecorded_total{reason="queue_failed"} 1.0' in text
