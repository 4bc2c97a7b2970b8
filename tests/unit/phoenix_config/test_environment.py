"""What Phoenix is told through its environment."""

from __future__ import annotations

from pathlib import Path

import pytest

from tracequill.errors import CommandError
from tracequill.settings import Settings
from tracequill_phoenix.environment import phoenix_environment

DATABASE = "postgresql://user@/db?host=/run/postgres"


def settings(**fields: object) -> Settings:
    return Settings.model_validate({"database_url": DATABASE, **fields})


def test_addresses_and_database_come_from_our_settings() -> None:
    variables = phoenix_environment(
        settings(phoenix_port=7006, otlp_grpc_port=7317, database_schema="phoenix"),
        {"PHOENIX_PORT": "1", "PHOENIX_HOST": "0.0.0.0"},
    )

    assert variables["PHOENIX_HOST"] == "127.0.0.1"
    assert variables["PHOENIX_PORT"] == "7006"
    assert variables["PHOENIX_GRPC_PORT"] == "7317"
    assert variables["PHOENIX_SQL_DATABASE_URL"] == DATABASE
    assert variables["PHOENIX_SQL_DATABASE_SCHEMA"] == "phoenix"


def test_no_schema_is_named_where_none_is_set() -> None:
    assert "PHOENIX_SQL_DATABASE_SCHEMA" not in phoenix_environment(settings(), {})


def test_what_phones_home_or_opens_doors_is_off() -> None:
    variables = phoenix_environment(settings(), {"PHOENIX_TELEMETRY_ENABLED": " "})

    assert variables["PHOENIX_DISABLE_AGENT_ASSISTANT"] == "true"
    assert variables["PHOENIX_ENABLE_MCP_SERVER"] == "false"
    assert variables["PHOENIX_OAUTH2_DYNAMIC_CLIENT_REGISTRATION"] == "disabled"
    assert variables["PHOENIX_ALLOW_EXTERNAL_RESOURCES"] == "false"
    assert variables["PHOENIX_TELEMETRY_ENABLED"] == "false"


def test_what_the_operator_has_set_stays() -> None:
    theirs = {"PHOENIX_ENABLE_MCP_SERVER": "true", "PHOENIX_WORKING_DIR": "/srv/phoenix"}

    assert not theirs.keys() & phoenix_environment(settings(), theirs).keys()


def test_phoenix_keeps_its_files_under_our_data_directory(tmp_path: Path) -> None:
    variables = phoenix_environment(settings(data_dir=tmp_path), {})

    assert variables["PHOENIX_WORKING_DIR"] == str(tmp_path / "phoenix")


def test_its_logs_follow_our_settings() -> None:
    plain = phoenix_environment(settings(), {})
    loud = phoenix_environment(settings(log_format="json", log_level="DEBUG"), {})

    assert (plain["PHOENIX_LOGGING_MODE"], plain["PHOENIX_LOGGING_LEVEL"]) == ("default", "INFO")
    assert (loud["PHOENIX_LOGGING_MODE"], loud["PHOENIX_LOGGING_LEVEL"]) == ("structured", "DEBUG")
    assert (plain["PHOENIX_LOG_MIGRATIONS"], loud["PHOENIX_LOG_MIGRATIONS"]) == ("false", "true")


def test_without_a_database_it_says_how_to_get_one() -> None:
    with pytest.raises(CommandError, match=r"TRACEQUILL_DATABASE_URL.*tracequill up"):
        phoenix_environment(Settings.model_validate({}), {})
