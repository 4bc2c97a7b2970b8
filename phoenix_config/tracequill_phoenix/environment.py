"""Our settings become the environment that Phoenix reads. Knows names, does nothing."""

from __future__ import annotations

from collections.abc import Mapping

from tracequill.errors import CommandError
from tracequill.settings import Settings

# Off unless the operator has set the variable to something else.
OFF_BY_DEFAULT = {
    "PHOENIX_ALLOW_EXTERNAL_RESOURCES": "false",
    "PHOENIX_DISABLE_AGENT_ASSISTANT": "true",
    "PHOENIX_ENABLE_MCP_SERVER": "false",
    "PHOENIX_OAUTH2_DYNAMIC_CLIENT_REGISTRATION": "disabled",
    "PHOENIX_TELEMETRY_ENABLED": "false",
}


def phoenix_environment(settings: Settings, environment: Mapping[str, str]) -> dict[str, str]:
    """Give the variables to set before Phoenix is imported; the rest of *environment* stays.

    Addresses and the database come from *settings*, where Phoenix's own variables have been
    read already. All others are set only where the operator has not.
    """
    if settings.database_url is None:
        raise CommandError(
            "Phoenix needs a Postgres, and none is configured. Set TRACEQUILL_DATABASE_URL to "
            "postgresql://user:password@host:port/database, or run 'tracequill up', which "
            "brings one along."
        )
    variables = {
        "PHOENIX_GRPC_PORT": str(settings.otlp_grpc_port),  # our collector's: Phoenix has none
        "PHOENIX_HOST": settings.host,
        "PHOENIX_PORT": str(settings.phoenix_port),
        "PHOENIX_SQL_DATABASE_URL": settings.database_url,
    }
    if settings.database_schema:
        variables["PHOENIX_SQL_DATABASE_SCHEMA"] = settings.database_schema
    defaults = {
        **OFF_BY_DEFAULT,
        "PHOENIX_LOGGING_LEVEL": settings.log_level,
        "PHOENIX_LOGGING_MODE": "structured" if settings.log_format == "json" else "default",
        # Its migrations print every statement; failures are said in any case.
        "PHOENIX_LOG_MIGRATIONS": "true" if settings.log_level == "DEBUG" else "false",
        "PHOENIX_WORKING_DIR": str(settings.data_dir.absolute() / "phoenix"),
    }
    for name, value in defaults.items():
        if not environment.get(name, "").strip():
            variables[name] = value
    return variables
