"""Four addresses listen, all on loopback, and no other."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import stat
from pathlib import Path

import pytest

from tests.acceptance.stack import Stack

pytestmark = pytest.mark.acceptance


def process_tree(root: int) -> set[int]:
    """*root* and all that descends from it, and every process that was moved out of its group."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                fields = (entry / "stat").read_text().rsplit(")", 1)[1].split()
            except OSError:
                continue
            parents[int(entry.name)] = int(fields[1])
    tree = {root}
    while more := {pid for pid, parent in parents.items() if parent in tree} - tree:
        tree |= more
    return tree


def listening_addresses(pids: set[int]) -> set[tuple[str, int]]:
    """(address, port) of every TCP socket in state LISTEN and every bound UDP socket of *pids*."""
    inodes = set()
    for pid in pids:
        # Postgres's workers, and files, come and go.
        with contextlib.suppress(OSError):
            for descriptor in os.listdir(f"/proc/{pid}/fd"):
                with contextlib.suppress(FileNotFoundError):
                    target = os.readlink(f"/proc/{pid}/fd/{descriptor}")
                    if target.startswith("socket:["):
                        inodes.add(target[8:-1])
    found = set()
    for name in ("tcp", "tcp6", "udp", "udp6"):
        for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]:
            fields = line.split()
            listens = fields[3] == "0A" if name.startswith("tcp") else fields[2].endswith(":0000")
            if listens and fields[9] in inodes:
                address, port = fields[1].split(":")
                raw = bytes.fromhex(address)
                words = b"".join(raw[i : i + 4][::-1] for i in range(0, len(raw), 4))
                found.add((_plain(ipaddress.ip_address(words)), int(port, 16)))
    return found


def _plain(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> str:
    """gRPC binds 127.0.0.1 as ::ffff:127.0.0.1, which is the same address."""
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address)


def test_nothing_in_the_data_directory_can_be_read_by_others(stack: Stack) -> None:
    modes: dict[Path, int] = {}
    for folder, _, names in os.walk(stack.data_dir):
        for path in (Path(folder, name) for name in names):
            # Postgres's files, and the queue's, come and go.
            with contextlib.suppress(FileNotFoundError):
                modes[path] = path.stat().st_mode

    files = {path: mode for path, mode in modes.items() if stat.S_ISREG(mode)}
    assert len(files) > 100
    assert [path for path, mode in files.items() if mode & 0o077] == []


def test_only_the_four_documented_ports_listen_and_only_on_loopback(stack: Stack) -> None:
    pids = process_tree(stack.pid)
    found = listening_addresses(pids)

    assert len(pids) > 6, "up, receiver, exporter, proxy, recorder, Phoenix and Postgres"
    assert found == {
        ("127.0.0.1", port)
        for port in (stack.phoenix_port, stack.grpc_port, stack.http_port, stack.proxy_port)
    }
    assert all(ipaddress.ip_address(address).is_loopback for address, _ in found)
