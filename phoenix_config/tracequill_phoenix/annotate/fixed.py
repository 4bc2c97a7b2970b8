"""Statements that are the same each time: their SQL is built once, when a module is loaded.

Building one anew from Phoenix's models costs the server more than all of what Postgres does with
it. Columns come back as the driver gives them, which knows no types of Phoenix.
"""

from __future__ import annotations

import json
from typing import Any

import orjson
from sqlalchemy import ClauseElement, TextClause, bindparam, text
from sqlalchemy.dialects.postgresql.base import PGDialect
from sqlalchemy.sql.compiler import SQLCompiler

_DIALECT = PGDialect(paramstyle="named")  # type: ignore[no-untyped-call]


def named(table: Any) -> str:
    """Give the name of a model's table as SQL has it, with Phoenix's schema where it has one."""
    return _DIALECT.identifier_preparer.format_table(table.__table__)


def fixed(statement: ClauseElement) -> TextClause:
    """Give *statement* as text; its parameters are those that have no value yet."""
    compiled = statement.compile(dialect=_DIALECT)
    assert isinstance(compiled, SQLCompiler)
    bound = [
        bindparam(name, type_=parameter.type)
        if parameter.required
        else bindparam(name, parameter.value, type_=parameter.type)
        for parameter, name in compiled.bind_names.items()
    ]
    return text(str(compiled)).bindparams(*bound)


def storable(value: Any) -> Any:
    """Give JSON of the database without numbers that neither we nor a browser can hold."""
    try:
        return orjson.loads(orjson.dumps(value))
    except TypeError:  # a whole number beyond 64 bits
        return orjson.loads(orjson.dumps(json.loads(json.dumps(value), parse_int=_whole)))


def _whole(digits: str) -> int | float:
    number = int(digits)
    return number if -(2**63) <= number < 2**64 else float(digits)
