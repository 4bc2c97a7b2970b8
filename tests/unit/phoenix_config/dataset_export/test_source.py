from __future__ import annotations

from pathlib import Path

import pytest

from tracequill.errors import CommandError, UsageError
from tracequill.settings import Settings
from tracequill_phoenix.dataset_export.source import (
    DatasetVersion,
    _choose,
    _database_url,
    _shown,
    connect,
)


def test_phoenixs_forms_of_a_url_are_understood() -> None:
    for form in ("postgresql://u@h/d", "postgres://u@h/d", "postgresql+asyncpg://u@h/d"):
        assert (
            _database_url(Settings.model_validate({"database_url": form})) == "postgresql://u@h/d"
        )


def test_the_embedded_database_is_found_in_the_data_directory(tmp_path: Path) -> None:
    (tmp_path / "postgres.url").write_text("postgresql://postgres@/tracequill?host=/tmp/x\n")

    url = _database_url(Settings.model_validate({"data_dir": tmp_path}))
    assert url == "postgresql://postgres@/tracequill?host=/tmp/x"


async def test_no_database_at_all_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match=r"no database is configured .* 'tracequill up'"):
        async with connect(Settings.model_validate({"data_dir": tmp_path})):
            pass


async def test_a_database_that_is_down_is_one_sentence_without_the_password() -> None:
    settings = Settings.model_validate({"database_url": "postgresql://ann:s3cret@127.0.0.1:1/d"})
    with pytest.raises(CommandError) as caught:
        async with connect(settings):
            pass

    assert "postgresql://ann:***@127.0.0.1:1/d cannot be reached" in str(caught.value)
    assert "s3cret" not in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://u:p@h:5432/d?a=b", "postgresql://u:***@h:5432/d?a=b"),
        ("postgresql://h/d?password=p&user=u", "postgresql://h/d?password=***&user=u"),
        ("postgresql://u@h/d?password=p", "postgresql://u@h/d?password=***"),
        ("postgresql://u@/d?host=/tmp/x", "postgresql://u@/d?host=/tmp/x"),
    ],
)
def test_a_password_is_never_shown(url: str, shown: str) -> None:
    assert _shown(url) == shown


def test_a_version_is_the_last_a_number_or_phoenixs_id() -> None:
    phoenix_id = DatasetVersion(1, "d", 20, 2, 0).version_node_id

    assert _choose([10, 20, 30], None, "d") == 30
    assert _choose([10, 20, 30], "1", "d") == 10
    assert _choose([10, 20, 30], phoenix_id, "d") == 20


@pytest.mark.parametrize("version", ["0", "4", "30", "latest", "RGF0YXNldDoxMA==", "²", ""])
def test_a_version_that_does_not_exist_is_said(version: str) -> None:
    with pytest.raises(UsageError, match="It has versions 1 to 3"):
        _choose([10, 20, 30], version, "d")
