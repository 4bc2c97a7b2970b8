"""An entry of ``exporters:`` that cannot work is refused at the start, without its secrets."""

from __future__ import annotations

from typing import Any

import pytest

from tracequill.settings import ExporterSettings, Settings
from tracequill_collector.errors import StartError
from tracequill_collector.exporter.otlp import GrpcClient, HttpClient
from tracequill_collector.service.onward_client import client_of


def settings_of(**fields: Any) -> ExporterSettings:
    """An entry with these fields, and what it needs."""
    return ExporterSettings(**{"endpoint": "http://a:1", **fields})


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"headers": {"Authorization": "${env:NOT_SET}"}}, "needs the variable NOT_SET"),
        ({"headers": {"Content-Type": "text/plain"}}, "cannot send a header 'Content-Type'"),
        ({"headers": {"not a name": "x"}}, "cannot send a header 'not a name'"),
        ({"headers": {"key-bin": "x"}}, "cannot send a header 'key-bin'"),
        ({"headers": {"X-Key": "s3crët"}}, "has a value that no header can carry"),
        ({"headers": {"X-Key": "s3cr\r\nX-More: 1"}}, "has a value that no header can carry"),
        ({"protocol": "grpc", "endpoint": "http://a/b"}, "a host and a port, nothing more"),
        ({"protocol": "grpc", "endpoint": "http://me:s3cr@a"}, "a host and a port, nothing more"),
        ({"endpoint": "http://a:99999"}, "is wrong"),
        ({"endpoint": "http://localhost:4318/v1/traces"}, "spans would go round for ever"),
        ({"endpoint": "http://127.0.0.1:4317", "protocol": "grpc"}, "would go round for ever"),
        ({"endpoint": "http://localhost", "protocol": "grpc"}, "would go round for ever"),
    ],
)
async def test_an_entry_that_cannot_work_is_refused(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(StartError) as refused:
        client_of("x", settings_of(**fields), Settings.model_validate({}))

    assert said in str(refused.value) and "'x'" in str(refused.value)
    assert "s3cr" not in str(refused.value)


@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
async def test_an_entry_makes_the_client_of_its_protocol(
    protocol: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEY", "s3cret\n")

    client = client_of(
        "x",
        settings_of(protocol=protocol, headers={"A": "${env:KEY}-${env:KEY}"}),
        Settings.model_validate({}),
    )

    assert isinstance(client, GrpcClient if protocol == "grpc" else HttpClient)
    await client.close()
