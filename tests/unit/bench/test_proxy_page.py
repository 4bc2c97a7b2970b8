"""docs/performance.md quotes the last run of the proxies, figure by figure."""

from __future__ import annotations

import json

import pytest
from bench.ingest.pages import PAGE, RESULTS
from bench.proxy.gateways import NAMES
from bench.proxy.pages import read_results, with_figures
from bench.proxy.processes import ROOT
from bench.proxy.run import FULL, PACED_PER_SECOND
from bench.proxy.table import render
from bench.proxy.upstreams import CHUNKS, INTERVAL_MS


def test_the_page_holds_the_figures_of_the_results() -> None:
    page = PAGE.read_text(encoding="utf-8")

    assert page == with_figures(page, read_results())


def test_the_tables_beside_the_results_are_made_from_them() -> None:
    tables = (RESULTS / "proxy.md").read_text(encoding="utf-8")

    assert tables == render(read_results())
    assert (RESULTS / "proxy.svg").exists()


def test_the_run_had_every_part_and_every_gateway() -> None:
    found = read_results()

    assert {"throughput", "light", "held", "outage", "recorder", "targets"} <= found.keys()
    for load in found["throughput"].values():
        assert set(NAMES) <= load.keys()
    assert set(found["light"]["gateways"]) == set(NAMES)


def test_the_page_names_the_numbers_of_the_code() -> None:
    page = PAGE.read_text(encoding="utf-8")

    assert f"{CHUNKS} events, one every {INTERVAL_MS:g} ms" in page
    assert f"{PACED_PER_SECOND:g} a second" in page
    assert FULL.connections == (1, 32, 256) and "over 1, 32 and 256 connections" in page


def test_a_page_without_markers_is_refused() -> None:
    with pytest.raises(ValueError, match="needs the lines"):
        with_figures("# Performance\n", read_results())


def test_peers_are_pinned_and_no_file_names_an_index() -> None:
    peers = ROOT / "bench" / "proxy" / "peers"
    requirements = (peers / "litellm.txt").read_text()
    lock = json.loads((peers / "portkey" / "package-lock.json").read_text())

    assert "litellm[proxy]==" in requirements and "--hash=sha256:" in requirements
    assert "index-url" not in requirements and "find-links" not in requirements
    packages = [one for name, one in lock["packages"].items() if name]
    assert all("integrity" in one and "resolved" not in one for one in packages)
