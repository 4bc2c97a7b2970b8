"""The policy that settings describe, and how a wrong one is said."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tests.unit.collector.processor.planted import SECRETS, pair, request_of, span_with
from tracequill.errors import SettingsError
from tracequill.settings import Settings, load_settings
from tracequill_collector.cli import collector, up
from tracequill_collector.service.policies import policy_of
from tracequill_collector.stack.doctor import examine

PAGE = Path(__file__).parents[4] / "docs" / "redaction.md"


def settings_of(**values: Any) -> Settings:
    """Give settings with *values*."""
    return Settings.model_validate(values)


def stored(settings: Settings, **attributes: str) -> dict[str, str]:
    """Give what the policy of *settings* leaves of a span with *attributes*."""
    policy = policy_of(settings)
    assert policy is not None
    request = request_of(span_with(*(pair(key, value) for key, value in attributes.items())))
    assert policy.apply(request).failed == {}
    (span,) = request.resource_spans[0].scope_spans[0].spans
    return {one.key: one.value.string_value for one in span.attributes}


def test_without_rules_and_limits_there_is_no_policy() -> None:
    assert policy_of(settings_of()) is None
    assert policy_of(settings_of(redaction_phone_regions=["DE"])) is None


@pytest.mark.parametrize(
    ("values", "text", "left"),
    [
        ({"redaction_detectors": ["card"]}, SECRETS["card"], "[redacted:card]"),
        ({"redaction_keys": ["text"]}, "x", "[redacted:key]"),
        ({"redaction_patterns": {"t": "T-[0-9]+"}}, "a T-1", "a [redacted:t]"),
        (
            {"redaction_detectors": ["phone"], "redaction_phone_regions": ["de"]},
            "030 901820",
            "[redacted:phone]",
        ),
    ],
)
def test_each_kind_of_rule_makes_a_policy(values: dict[str, Any], text: str, left: str) -> None:
    assert stored(settings_of(**values), text=text)["text"] == left


@pytest.mark.parametrize(
    "values",
    [
        {"limits_attribute_max_bytes": 200},
        {"limits_attributes_max": 1},
        {"limits_span_max_bytes": 4096},
    ],
)
def test_each_limit_makes_a_policy(values: dict[str, Any]) -> None:
    left = stored(settings_of(**values), text="x" * 10_000, other="y")

    assert "tracequill.limited" in left
    assert policy_of(settings_of(limits_events_max=1)) is not None


WRONG: list[tuple[dict[str, Any], str]] = [
    (
        {"redaction_detectors": ["cards"]},
        "redaction: there is no detector 'cards'; the detectors are api_key, email, iban, card, "
        "phone. Correct it in the settings.",
    ),
    (
        {"redaction_patterns": {"bad": "("}},
        "redaction: the pattern 'bad' is no regular expression of RE2 (missing ): (); look-around "
        "and back-references are not among them. Correct it in the settings.",
    ),
    (
        {"redaction_patterns": {"card": "x"}},
        "redaction: a pattern cannot have the name 'card', which a rule of its own has. Correct it "
        "in the settings.",
    ),
    (
        {"redaction_phone_regions": ["Germany"]},
        "redaction: 'GERMANY' is no region whose telephone numbers are known; regions are ISO 3166 "
        "codes of two letters, like DE or US. Correct it in the settings.",
    ),
    ({"redaction_keys": [" "]}, "redaction: a key is empty. Correct it in the settings."),
    (
        {"limits_attribute_max_bytes": 10},
        "limits: attribute_max_bytes is 10, but at least 128, or 0. Correct it in the settings.",
    ),
]


@pytest.mark.parametrize(("values", "said"), WRONG)
async def test_a_rule_that_cannot_work_is_one_sentence_also_from_the_doctor(
    values: dict[str, Any], said: str, tmp_path: Path
) -> None:
    settings = settings_of(data_dir=tmp_path, **values)

    with pytest.raises(SettingsError, match=re.escape(said)) as caught:
        policy_of(settings)
    assert caught.value.exit_code == 2
    findings = [finding async for finding in examine(settings) if finding.check == "redaction"]
    assert [(finding.level, finding.text) for finding in findings] == [("failed", said)]


async def test_the_doctor_says_what_is_taken_out(tmp_path: Path) -> None:
    settings = settings_of(
        data_dir=tmp_path,
        redaction_detectors=["card"],
        redaction_keys=["password"],
        redaction_patterns={"t": "T-[0-9]+"},
        limits_events_max=3,
    )

    (finding,) = [finding async for finding in examine(settings) if finding.check == "redaction"]

    assert finding.level == "ok"
    assert finding.text == "Taken out: card, t, the key password. Limits: events_max 3."


@pytest.mark.parametrize("app", [collector.app, up.app], ids=["collector", "up"])
def test_a_wrong_rule_is_said_before_anything_starts(
    app: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tracequill.yaml").write_text("redaction:\n  detectors: [cards]\n")

    result = CliRunner().invoke(app, [])

    assert isinstance(result.exception, SettingsError)
    assert not (tmp_path / ".tracequill").exists()


# --- the page -------------------------------------------------------------------------------


def page_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Load the settings that docs/redaction.md shows."""
    (example,) = re.findall(r"```yaml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    (tmp_path / "tracequill.yaml").write_text(example)
    monkeypatch.chdir(tmp_path)
    return load_settings()


def test_the_example_of_the_page_is_what_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = page_settings(tmp_path, monkeypatch)

    left = stored(
        settings,
        text=" ".join([*SECRETS.values(), "030 901820", "CN-12345678"]),
        password="x",
        json='{"user": {"email": 1}, "refresh_token": [2]}',
    )

    assert settings.limits_span_max_bytes == 16 * 1024 * 1024
    for rule in (*SECRETS, "customer-number"):
        assert f"[redacted:{rule}]" in left["text"]
    assert not any(digit in left["text"] for digit in "0123456789")
    assert left["password"] == "[redacted:key]"
    assert left["json"] == (
        '{"user": {"email": "[redacted:key]"}, "refresh_token": "[redacted:key]"}'
    )


def test_the_page_names_every_setting() -> None:
    page = PAGE.read_text(encoding="utf-8")

    for name in Settings.model_fields:
        for group in ("redaction", "limits"):
            if name.startswith(f"{group}_"):
                assert f"`{group}.{name.removeprefix(f'{group}_')}`" in page


def test_the_keys_of_the_page_do_what_it_says() -> None:
    page = PAGE.read_text(encoding="utf-8")
    section = page.partition("### `redaction.keys`")[2].partition("###")[0]
    rows = re.findall(r"^\| `([^`|]+)` \| (`.+) \| (`.+) \|$", section, re.MULTILINE)
    assert len(rows) == 4
    for rule, taken, kept in rows:
        settings = settings_of(redaction_keys=[rule])
        for key in re.findall(r"`([a-z._0-9]+)`", taken):
            assert stored(settings, **{key: "x"})[key] == "[redacted:key]", (rule, key)
        for text in re.findall(r"`(\{.+?\})`", taken):
            text = text.replace("…", '"x"')
            assert '"[redacted:key]"' in stored(settings, a=text)["a"], (rule, text)
        for key in re.findall(r"`([a-z._0-9]+)`", kept):
            assert stored(settings, **{key: "x"})[key] == "x", (rule, key)
