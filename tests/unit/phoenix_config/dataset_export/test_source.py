from __future__ import annotations

from pathlib import Path

import pytest

from tracequill.errors import CommandError, UsageError
from tracequill.settings import Settings
from tracequill_phoenix.dataset_export.source import (
    DatasetVersion,
    _choose,
    connect,
)


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


def test_a_version_is_the_last_a_number_or_phoenixs_id() -> None:
    phoenix_id = DatasetVersion(1, "d", 20, 2, 0).version_node_id

    assert _choose([10, 20, 30], None, "d") == 30
    assert _choose([10, 20, 30], "1", "d") == 10
    assert _choose([10, 20, 30], phoenix_id, "d") == 20


@pytest.mark.parametrize("version", ["0", "4", "30", "latest", "RGF0YXNldDoxMA==", "²", ""])
def test_a_version_that_does_not_exist_is_said(version: str) -> None:
    with pytest.raises(UsageError, match="It has versions 1 to 3"):
        _choose([10, 20, 30], version, "d")
