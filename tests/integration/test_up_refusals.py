"""What `tracequill up` cannot start with is one sentence: what, the value, what to do."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.databases import database_url
from tests.ports import free_ports

pytestmark = pytest.mark.integration


def up(data_dir: Path, *options: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run ``tracequill up`` on free ports; it must end by itself."""
    names = ("PHOENIX_PORT", "OTLP_GRPC_PORT", "OTLP_HTTP_PORT", "PROXY_PORT")
    ports = {
        f"TRACEQUILL_{name}": str(port) for name, port in zip(names, free_ports(4), strict=True)
    }
    return subprocess.run(
        [sys.executable, "-m", "tracequill", "up", *options],
        env={**os.environ, **ports, "TRACEQUILL_DATA_DIR": str(data_dir), **variables},
        cwd=data_dir.parent,
        capture_output=True,
        text=True,
        timeout=120,
    )


def assert_one_sentence(result: subprocess.CompletedProcess[str], code: int, pattern: str) -> None:
    assert result.returncode == code, result.stdout + result.stderr
    assert "Traceback" not in result.stdout + result.stderr
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1, result.stderr
    assert re.search(pattern, lines[0]), lines[0]


def test_a_port_that_is_taken_is_named_with_the_setting_to_change(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

        result = up(tmp_path / "data", "--proxy-port", str(port))

    assert_one_sentence(result, 1, rf"port {port} for proxy .* TRACEQUILL_PROXY_PORT")


def test_two_servers_on_one_port_are_refused(tmp_path: Path) -> None:
    result = up(tmp_path / "data", "--proxy-port", "7001", "--phoenix-port", "7001")

    assert_one_sentence(result, 1, r"port 7001 is set for Phoenix and for proxy")


@pytest.mark.parametrize(
    ("url", "code", "pattern"),
    [
        pytest.param(
            "postgresql://u:geheim@127.0.0.1:1/db",
            1,
            r"no Postgres answers at postgresql://u:\*\*\*@127\.0\.0\.1:1/db.*TRACEQUILL_DATABASE",
            id="nobody there",
        ),
        pytest.param("mysql://u:geheim@h/db", 2, r"needs Postgres", id="another database"),
        pytest.param("postgresql://u@h", 2, r"names no database", id="no database named"),
    ],
)
def test_a_wrong_database_url_is_named_without_its_password(
    url: str, code: int, pattern: str, tmp_path: Path
) -> None:
    result = up(tmp_path / "data", "--database-url", url)

    assert_one_sentence(result, code, pattern)
    assert "geheim" not in result.stdout + result.stderr


def test_a_database_that_does_not_exist_is_named(tmp_path: Path, postgres_url: str) -> None:
    url = database_url(postgres_url, "nowhere")

    result = up(tmp_path / "data", "--database-url", url)

    assert_one_sentence(result, 1, r"/nowhere\?.* names a database that does not exist")


def test_a_cluster_of_another_major_version_is_refused(tmp_path: Path) -> None:
    cluster = tmp_path / "data" / "postgres"
    cluster.mkdir(parents=True)
    (cluster / "PG_VERSION").write_text("16\n")

    result = up(tmp_path / "data")

    assert_one_sentence(result, 1, r"made by PostgreSQL 16.*pg_dump")


def test_a_data_directory_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")

    result = up(tmp_path / "data")

    assert_one_sentence(result, 1, r"the data directory .*/data cannot be used: File exists")


def test_malformed_yaml_is_named_with_file_and_line(tmp_path: Path) -> None:
    (tmp_path / "tracequill.yaml").write_text("queue:\n  keep_hours: [\n")

    result = up(tmp_path / "data")

    assert_one_sentence(result, 2, r"tracequill\.yaml, line \d+ is not valid YAML")


def test_an_address_beyond_loopback_needs_insecure(tmp_path: Path) -> None:
    result = up(tmp_path / "data", "--host", "0.0.0.0")

    assert_one_sentence(result, 2, r"'0\.0\.0\.0', which other machines can reach.*--insecure")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "small"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", folder], check=True)
    yield folder
    subprocess.run(["umount", folder], check=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a small disk")
def test_a_full_disk_is_said_and_leaves_no_half_cluster(small_disk: Path) -> None:
    result = up(small_disk / "data")

    assert_one_sentence(result, 1, r"initdb failed .*space")
    assert not (small_disk / "data" / "postgres.new").exists()
