"""From ``tracequill up`` to the first trace on the page, and what each process costs idle.

Run by ``make bench-start``. Prints the tables that stand in README.md; times are of the machine it
runs on. Fails where receiver, exporter, proxy or recorder start too slowly or hold too much memory.
"""

from __future__ import annotations

import json
import re
import secrets
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import orjson
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from tests.acceptance.stack import Stack

IDLE_SECONDS = 10
TAKE_WORK_SECONDS = 3.0
MAX_MEGABYTES = 120


def send_span(stack: Stack) -> str:
    """Send one span; its trace id."""
    request = ExportTraceServiceRequest()
    span = request.resource_spans.add().scope_spans.add().spans.add()
    span.trace_id, span.span_id, span.name = secrets.token_bytes(16), secrets.token_bytes(8), "one"
    span.start_time_unix_nano = time.time_ns()
    span.end_time_unix_nano = span.start_time_unix_nano + 1_000_000
    urllib.request.urlopen(
        urllib.request.Request(
            f"{stack.collector}/v1/traces",
            data=request.SerializeToString(),
            headers={"Content-Type": "application/x-protobuf"},
        ),
        timeout=10,
    ).close()
    return span.trace_id.hex()


def await_visible(stack: Stack, trace_id: str) -> None:
    """Return when Phoenix's own API shows the trace."""
    url = f"{stack.phoenix}/v1/projects/default/spans?limit=10"
    for _ in range(600):
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:
                spans = json.load(answer)["data"]
        except urllib.error.HTTPError:
            spans = []
        if any(span["context"]["trace_id"] == trace_id for span in spans):
            return
        time.sleep(0.05)
    raise SystemExit("the trace never became visible")


def megabytes(pid: int) -> float:
    """Memory of *pid* alone: its private pages and its share of the others (PSS)."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    match = re.search(r"^Pss:\s+(\d+) kB", text, re.M)
    assert match
    return int(match.group(1)) / 1024


def postgres_megabytes(data_dir: Path) -> float:
    """Memory of Postgres and all its backends."""
    root = int((data_dir / "postgres" / "postmaster.pid").read_text().splitlines()[0])
    children = Path(f"/proc/{root}/task/{root}/children").read_text().split()
    return sum(megabytes(pid) for pid in [root, *map(int, children)])


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        data_dir = Path(folder)
        stack = Stack(data_dir)
        try:
            return measure(stack, data_dir)
        finally:
            stack.end()


def measure(stack: Stack, data_dir: Path) -> int:
    began = time.monotonic()
    first_ready = stack.start()
    await_visible(stack, send_span(stack))
    first_visible = time.monotonic() - began
    stack.stop()
    second_ready = stack.start()
    took = {
        match.group(1): float(match.group(2))
        for line in stack.output
        if (match := re.search(r"(\w+) takes work \(([\d.]+) s\)", line))
    }
    time.sleep(IDLE_SECONDS)
    pids = {
        name: pid for name, (pid, _) in orjson.loads((data_dir / "up.json").read_bytes()).items()
    }
    memory = {"up": megabytes(stack.pid)}
    memory |= {name: megabytes(pid) for name, pid in pids.items()}
    memory["Postgres"] = postgres_megabytes(data_dir)
    stack.stop()

    print(f"| first start, until `ready` | {first_ready:.0f} s |")
    print(f"| first start, until the first trace is visible | {first_visible:.0f} s |")
    print(f"| second start, until `ready` | {second_ready:.0f} s |")
    print("\n| Process | takes work after | memory, idle |\n|---|---|---|")
    for name, size in memory.items():
        start = f"{took[name]:.1f} s" if name in took else ""
        print(f"| {name} | {start} | {size:.0f} MB |")
    light = ("receiver", "exporter", "proxy", "recorder")
    wrong = [name for name in light if took[name] > TAKE_WORK_SECONDS]
    wrong += [name for name in light if memory[name] > MAX_MEGABYTES]
    if wrong:
        print(f"over the limit ({TAKE_WORK_SECONDS} s, {MAX_MEGABYTES} MB): {', '.join(wrong)}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
