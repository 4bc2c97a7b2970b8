"""The doctor says whether there are credentials where the proxy is to sign with its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from tracequill.settings import RouteSettings, Settings
from tracequill_collector.stack.doctor import Finding, _signing


@pytest.fixture(autouse=True)
def no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


async def found(folder: Path, **values: object) -> list[Finding]:
    settings = Settings.model_validate({"data_dir": folder, **values})
    return [finding async for finding in _signing(settings)]


async def test_nothing_is_said_where_nothing_is_signed(tmp_path: Path) -> None:
    assert await found(tmp_path) == []


async def test_missing_keys_are_a_failure_that_says_what_to_set(tmp_path: Path) -> None:
    [finding] = await found(tmp_path, proxy_sign=["bedrock"])

    assert (finding.check, finding.level) == ("signing", "failed")
    assert finding.text.startswith("For calls on bedrock no AWS credentials were found; set AWS_PR")


async def test_keys_are_named_by_their_source_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIACANARY")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "canary")

    [finding] = await found(tmp_path, routes={"sagemaker": RouteSettings(sign="aws")})

    assert (finding.level, finding.text) == (
        "ok",
        "The proxy signs calls on sagemaker: keys from env.",
    )


async def test_a_profile_that_does_not_exist_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_PROFILE", "work")

    [finding] = await found(tmp_path, proxy_sign=["bedrock"])

    assert finding.level == "failed"
    assert "The config profile (work) could not be found" in finding.text


async def test_a_route_that_cannot_be_is_told_here_too(tmp_path: Path) -> None:
    [finding] = await found(tmp_path, proxy_sign=["openai"])

    assert (finding.check, finding.level) == ("routes", "failed")
    assert "'openai' cannot be signed" in finding.text
