"""Settings come from flags, environment, file and Phoenix's variables, in that order."""

from __future__ import annotations

from pathlib import Path

import pytest

from tracequill.errors import SettingsError
from tracequill.settings import Settings, load_settings, mask_url


@pytest.fixture(autouse=True)
def empty_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import os

    for variable in list(os.environ):
        if variable.startswith(("TRACEQUILL_", "PHOENIX_")):
            monkeypatch.delenv(variable)
    monkeypatch.chdir(tmp_path)


def test_a_flag_beats_the_environment_beats_the_file_beats_phoenix_beats_the_default(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert load_settings().phoenix_port == 6006
    monkeypatch.setenv("PHOENIX_PORT", "1001")
    assert load_settings().phoenix_port == 1001
    Path("tracequill.yaml").write_text("phoenix_port: 1002\n")
    assert load_settings().phoenix_port == 1002
    monkeypatch.setenv("TRACEQUILL_PHOENIX_PORT", "1003")
    assert load_settings().phoenix_port == 1003
    assert load_settings(phoenix_port=1004).phoenix_port == 1004


def test_groups_in_the_file_are_the_same_keys() -> None:
    Path("tracequill.yaml").write_text(
        "queue: {keep_hours: 2}\nproxy:\n  on_queue_full: refuse\n"
        "routes:\n  vllm: {upstream: 'http://127.0.0.1:8000', vendor: openai}\n"
    )

    settings = load_settings()

    assert settings.queue_keep_hours == 2
    assert settings.proxy_on_queue_full == "refuse"
    assert settings.routes["vllm"].vendor == "openai"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param("queue: {kep_hours: 1}", r"unknown key 'queue.kep_hours'.*queue.keep_hours"),
        pytest.param("phoenix_prt: 1", r"unknown key 'phoenix_prt'.*phoenix_port"),
        pytest.param("a: [", r"line 1.*not valid YAML"),
        pytest.param("- one", r"must hold settings as `name: value`, not a list"),
        pytest.param("phoenix_port: high", r"phoenix_port is 'high': .*valid integer"),
        pytest.param("phoenix_port: 70000", r"phoenix_port is 70000: .*65535"),
    ],
)
def test_a_wrong_file_is_one_sentence_that_names_the_place(content: str, message: str) -> None:
    Path("tracequill.yaml").write_text(content)

    with pytest.raises(SettingsError, match=message):
        load_settings()


def test_an_unknown_variable_is_an_error_with_a_suggestion(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACEQUILL_PHOENIX_PROT", "1")

    with pytest.raises(SettingsError, match=r"TRACEQUILL_PHOENIX_PROT.*TRACEQUILL_PHOENIX_PORT"):
        load_settings()


def test_a_missing_file_that_is_named_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACEQUILL_CONFIG", "nowhere.yaml")

    with pytest.raises(SettingsError, match=r"nowhere\.yaml.*does not exist"):
        load_settings()


# The last one is a name that any name server may answer for.
@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "::", "127.evil.example"])
def test_an_address_beyond_loopback_is_refused_unless_insecure(host: str) -> None:
    with pytest.raises(SettingsError, match=r"--insecure"):
        load_settings(host=host)

    assert load_settings(host=host, insecure=True).host == host


def test_routes_to_sign_come_from_the_file_or_a_variable_and_reach_a_child(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    Path("tracequill.yaml").write_text(
        "proxy: {sign: [bedrock]}\nroutes: {sagemaker: {sign: aws}, openai: {public: false}}\n"
    )
    assert load_settings().proxy_sign == ["bedrock"]
    assert load_settings().routes["sagemaker"].sign == "aws"
    assert load_settings().routes["openai"].upstream is None

    monkeypatch.setenv("TRACEQUILL_PROXY_SIGN", "bedrock, bedrock-agent")
    settings = load_settings()

    assert settings.proxy_sign == ["bedrock", "bedrock-agent"]
    assert settings.to_environment()["TRACEQUILL_PROXY_SIGN"] == "bedrock,bedrock-agent"


def test_with_authentication_on_everything_stays_on_loopback(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PHOENIX_ENABLE_AUTH", "true")

    with pytest.raises(SettingsError, match=r"with authentication on .* loopback only"):
        load_settings(host="0.0.0.0", insecure=True)

    assert load_settings().authentication


@pytest.mark.parametrize(
    ("environment", "url"),
    [
        pytest.param(
            {"PHOENIX_SQL_DATABASE_URL": "postgresql+psycopg://a:b@c:1/d"},
            "postgresql://a:b@c:1/d",
            id="the URL, whatever its driver",
        ),
        pytest.param(
            {
                "PHOENIX_POSTGRES_HOST": "db",
                "PHOENIX_POSTGRES_PORT": "5433",
                "PHOENIX_POSTGRES_USER": "me",
                "PHOENIX_POSTGRES_PASSWORD": "p@ss/word",
                "PHOENIX_POSTGRES_DB": "traces",
            },
            "postgresql://me:p%40ss%2Fword@db:5433/traces",
            id="the parts, quoted",
        ),
        pytest.param(
            {
                "PHOENIX_POSTGRES_HOST": "db:5434",
                "PHOENIX_POSTGRES_USER": "me",
                "PHOENIX_POSTGRES_PASSWORD": "x",
                "PHOENIX_POSTGRES_DB": "traces",
            },
            "postgresql://me:x@db:5434/traces",
            id="the port in the host",
        ),
    ],
)
def test_phoenix_names_of_the_database_apply_to_us(
    environment: dict[str, str], url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable, value in environment.items():
        monkeypatch.setenv(variable, value)

    assert load_settings().database_url == url


@pytest.mark.parametrize("url", ["sqlite:///x.db", "mysql://a/b", "nonsense", "postgresql://host"])
def test_a_database_that_is_not_postgres_is_refused(url: str) -> None:
    with pytest.raises(SettingsError, match=r"postgresql://user:password@host:port/database"):
        load_settings(database_url=url)


def test_a_password_never_shows_in_errors_or_repr() -> None:
    with pytest.raises(SettingsError) as caught:
        load_settings(database_url="mysql://me:geheim@host/db")

    assert "geheim" not in str(caught.value)
    assert "geheim" not in repr(load_settings(database_url="postgresql://me:geheim@host/db"))
    assert mask_url("postgresql://me:geheim@host/db") == "postgresql://me:***@host/db"
    assert mask_url("postgresql:///db?user=me&password=geheim") == (
        "postgresql:///db?user=me&password=***"
    )


def test_upstreams_come_from_variables_with_hyphens_as_underscores(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TRACEQUILL_UPSTREAM_BEDROCK_AGENT", "http://127.0.0.1:9")

    assert load_settings().upstreams == {"bedrock-agent": "http://127.0.0.1:9"}


def test_a_child_process_reads_the_same_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACEQUILL_UPSTREAM_OPENAI", "http://127.0.0.1:9")
    settings = load_settings(phoenix_port=1234, data_dir=Path("/data"), queue_keep_hours=3)
    for variable, value in settings.to_environment().items():
        monkeypatch.setenv(variable, value)

    assert load_settings() == settings


def test_every_setting_has_a_description() -> None:
    assert all(field.description for field in Settings.model_fields.values())


@pytest.mark.parametrize(
    "content",
    [
        "exporters: {a: {endpoint: 'http://h', header: {key: SECRET}}}",
        "exporters: {a: {endpoint: 'ftp://user:SECRET@h'}}",
        "exporters: {a: {endpoint: 'http://h', headers: {key: [SECRET]}}}",
        "routes: {a: {upstream: 'http://h', key: SECRET}}",
    ],
)
def test_what_may_hold_a_key_is_not_told(
    content: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tracequill.yaml").write_text(content)
    monkeypatch.chdir(tmp_path)

    with pytest.raises(SettingsError) as raised:
        load_settings()

    assert "SECRET" not in str(raised.value)
    assert content.partition(":")[0] in str(raised.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            "exporters: {a: {endpont: 'http://h'}}",
            "unknown key 'exporters.a.endpont'. Did you mean 'endpoint'?",
        ),
        (
            "exporters: {a: {protocol: grpc}}",
            "exporters.a.endpoint: Field required. Correct it in tracequill.yaml.",
        ),
        (
            "routes: {azure: 'https://x.openai.azure.com'}",
            "routes.azure: it needs keys below it: upstream, vendor, public, sign, sign_service, "
            "sign_region. Correct it in tracequill.yaml.",
        ),
        (
            "routes: 'https://x.openai.azure.com'",
            "routes: it needs keys below it: names. Correct it in tracequill.yaml.",
        ),
    ],
)
def test_a_wrong_entry_is_named_by_what_was_written(
    content: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tracequill.yaml").write_text(content)
    monkeypatch.chdir(tmp_path)

    with pytest.raises(SettingsError) as raised:
        load_settings()

    assert str(raised.value) == message
