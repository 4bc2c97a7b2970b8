"""Where settings come from: the file, the environment and Phoenix's own variables.

Names and values leave, as they stand there; what they mean is not known here. An unknown name is a
SettingsError that suggests the nearest known one.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Collection
from pathlib import Path
from typing import Any
from urllib.parse import quote

import yaml

from tracequill.errors import SettingsError

ENV_PREFIX = "TRACEQUILL_"
UPSTREAM_PREFIX = "TRACEQUILL_UPSTREAM_"
# Settings of several levels, which have no variable.
FILE_ONLY = frozenset({"exporters", "redaction_patterns", "routes"})
# Variables with our prefix that are not settings of the servers.
_OTHER_VARIABLES = frozenset(
    {
        "TRACEQUILL_API_KEY",
        "TRACEQUILL_CONFIG",
        "TRACEQUILL_CORPUS",
        "TRACEQUILL_ENDPOINT",
        "TRACEQUILL_PARENT_PID",
        "TRACEQUILL_PROJECT_NAME",
        "TRACEQUILL_PROXY_URL",
        "TRACEQUILL_TEST_POSTGRES_URL",
    }
)


def from_file(fields: Collection[str]) -> dict[str, Any]:
    """Read ``tracequill.yaml``, or the file that ``TRACEQUILL_CONFIG`` names."""
    named = os.environ.get("TRACEQUILL_CONFIG")
    path = Path(named or "tracequill.yaml")
    if not path.exists():
        if named:
            raise SettingsError(
                f"TRACEQUILL_CONFIG names {named!r}, which does not exist. "
                "Create it or unset the variable."
            )
        return {}
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or "not UTF-8 text"
        raise SettingsError(f"{path}{where} is not valid YAML: {problem}. Correct it.") from None
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {error.strerror}.") from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise SettingsError(
            f"{path} must hold settings as `name: value`, not a {type(content).__name__}."
        )
    return _flatten(content, path, fields)


def _flatten(
    content: dict[Any, Any], path: Path, fields: Collection[str], prefix: str = ""
) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in content.items():
        name = f"{prefix}{key}"
        if name in fields:
            flat[name] = value
        elif isinstance(value, dict) and any(field.startswith(f"{name}_") for field in fields):
            flat.update(_flatten(value, path, fields, f"{name}_"))
        else:
            raise SettingsError(f"{path}: unknown key {dotted(name)!r}.{suggestion(name, fields)}")
    return flat


def dotted(name: str) -> str:
    """Give the key as ``tracequill.yaml`` has it: ``queue_keep_hours`` is ``queue.keep_hours``."""
    for group in ("queue", "redaction", "limits", "proxy", "mock", "annotation"):
        if name.startswith(f"{group}_"):
            return f"{group}.{name[len(group) + 1 :]}"
    return name


def suggestion(name: str, known: Collection[str]) -> str:
    """Give `` Did you mean …?`` for the nearest known word, else a pointer to the list."""
    near = difflib.get_close_matches(name, known, n=1)
    return f" Did you mean {dotted(near[0])!r}?" if near else " See docs/settings.md for all keys."


def from_environment(fields: Collection[str]) -> dict[str, Any]:
    """Read the variables with our prefix."""
    values: dict[str, Any] = {}
    upstreams: dict[str, str] = {}
    for variable, value in os.environ.items():
        if variable.startswith(UPSTREAM_PREFIX):
            upstreams[variable[len(UPSTREAM_PREFIX) :].lower().replace("_", "-")] = value
        elif variable.startswith(ENV_PREFIX) and variable not in _OTHER_VARIABLES:
            name = variable[len(ENV_PREFIX) :].lower()
            if name not in fields or name == "upstreams" or name in FILE_ONLY:
                known = [ENV_PREFIX + field.upper() for field in fields if field not in FILE_ONLY]
                raise SettingsError(f"unknown variable {variable}.{suggestion(variable, known)}")
            if value:
                values[name] = value
    if upstreams:
        values["upstreams"] = upstreams
    return values


def from_phoenix() -> dict[str, Any]:
    """Phoenix's own variables, which apply where ours are silent."""
    read = {
        "host": "PHOENIX_HOST",
        "phoenix_port": "PHOENIX_PORT",
        "otlp_grpc_port": "PHOENIX_GRPC_PORT",
        "database_schema": "PHOENIX_SQL_DATABASE_SCHEMA",
    }
    values: dict[str, Any] = {
        name: os.environ[variable].strip()
        for name, variable in read.items()
        if os.environ.get(variable, "").strip()
    }
    if url := _phoenix_database_url():
        values["database_url"] = url
    return values


def _phoenix_database_url() -> str | None:
    """Read Phoenix's database variables as Phoenix does: the URL, else the parts."""
    if url := os.environ.get("PHOENIX_SQL_DATABASE_URL", "").strip():
        return url
    host = os.environ.get("PHOENIX_POSTGRES_HOST", "").strip()
    if not host:
        return None
    user = os.environ.get("PHOENIX_POSTGRES_USER", "").strip()
    password = os.environ.get("PHOENIX_POSTGRES_PASSWORD", "").strip()
    if not user or not password:
        missing = "PHOENIX_POSTGRES_PASSWORD" if user else "PHOENIX_POSTGRES_USER"
        raise SettingsError(f"PHOENIX_POSTGRES_HOST is {host!r}, but {missing} is not set.")
    port = os.environ.get("PHOENIX_POSTGRES_PORT", "").strip()
    if not port and (match := re.fullmatch(r"(.+):(\d+)", host)):
        host, port = match.groups()
    database = os.environ.get("PHOENIX_POSTGRES_DB", "").strip()
    return (
        f"postgresql://{quote(user, safe='')}:{quote(password, safe='')}@{host}"
        + (f":{port}" if port else "")
        + (f"/{database}" if database else "")
    )
