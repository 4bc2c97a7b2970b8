from __future__ import annotations

from collections.abc import Mapping

import pytest

from tracequill._config import (
    Protocol,
    is_loopback,
    parse_headers,
    resolve_destination,
    resolve_proxy,
)


def test_without_settings_spans_go_to_the_collector_on_this_machine() -> None:
    destination = resolve_destination()

    assert destination.url == "http://127.0.0.1:4318/v1/traces"
    assert destination.protocol == "http/protobuf"
    assert destination.project_name == "default"
    assert destination.headers == ()
    assert destination.is_loopback


@pytest.mark.parametrize(
    ("endpoint", "url"),
    [
        pytest.param("http://c:4318", "http://c:4318/v1/traces", id="a base URL"),
        pytest.param("http://c:4318/", "http://c:4318/v1/traces", id="with a slash"),
        pytest.param("http://c/v1/traces", "http://c/v1/traces", id="with the path already"),
        pytest.param("http://c/v1/traces/", "http://c/v1/traces", id="with the path and a slash"),
        pytest.param("https://c/s/space", "https://c/s/space/v1/traces", id="below a path"),
        pytest.param("c:4318", "http://c:4318/v1/traces", id="without a scheme"),
        pytest.param(" http://c:1 ", "http://c:1/v1/traces", id="with spaces around"),
    ],
)
def test_an_endpoint_is_a_base_url(endpoint: str, url: str) -> None:
    assert resolve_destination(endpoint=endpoint).url == url


@pytest.mark.parametrize(
    ("endpoint", "protocol", "url"),
    [
        pytest.param(None, "grpc", "http://127.0.0.1:4317", id="asked for"),
        pytest.param("http://c", "grpc", "http://c:4317", id="asked for, without a port"),
        pytest.param("https://c:443/v1/traces", "grpc", "https://c:443", id="paths mean nothing"),
        pytest.param("http://c:4317", None, "http://c:4317", id="follows from the port"),
        pytest.param("c:4317", None, "http://c:4317", id="follows from the port alone"),
    ],
)
def test_grpc_is_asked_for_or_follows_from_its_port(
    endpoint: str | None, protocol: Protocol | None, url: str
) -> None:
    destination = resolve_destination(endpoint=endpoint, protocol=protocol)

    assert (destination.protocol, destination.url) == ("grpc", url)


def test_http_can_be_asked_for_on_the_port_of_grpc() -> None:
    destination = resolve_destination(endpoint="http://c:4317", protocol="http/protobuf")

    assert destination.url == "http://c:4317/v1/traces"


def test_the_argument_comes_before_our_variable_before_phoenix_before_opentelemetry(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen = []
    for name, url in [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://otel"),
        ("PHOENIX_COLLECTOR_ENDPOINT", "http://phoenix"),
        ("TRACEQUILL_ENDPOINT", "http://ours"),
    ]:
        monkeypatch.setenv(name, url)
        seen.append(resolve_destination().url)
    seen.append(resolve_destination(endpoint="http://argument").url)

    assert seen == [f"http://{host}/v1/traces" for host in ("otel", "phoenix", "ours", "argument")]


def test_a_project_is_named_by_argument_then_ours_then_phoenix(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen = []
    for name in ("PHOENIX_PROJECT_NAME", "PHOENIX_PROJECT", "TRACEQUILL_PROJECT_NAME"):
        monkeypatch.setenv(name, name.lower())
        seen.append(resolve_destination().project_name)
    seen.append(resolve_destination(project_name="argument").project_name)

    assert seen == [
        "phoenix_project_name",
        "phoenix_project",
        "tracequill_project_name",
        "argument",
    ]


@pytest.mark.parametrize(
    ("environment", "api_key", "headers", "sent"),
    [
        pytest.param({"PHOENIX_API_KEY": "p"}, None, None, "Bearer p", id="phoenix's variable"),
        pytest.param(
            {"PHOENIX_API_KEY": "p", "TRACEQUILL_API_KEY": "t"}, None, None, "Bearer t", id="ours"
        ),
        pytest.param({"TRACEQUILL_API_KEY": "t"}, "a", None, "Bearer a", id="the argument"),
        pytest.param(
            {"TRACEQUILL_API_KEY": "t"}, None, {"Authorization": "x"}, "x", id="a header given"
        ),
        pytest.param({}, "a", {"Authorization": "x"}, "Bearer a", id="the argument over a header"),
        pytest.param({"TRACEQUILL_API_KEY": "t\n"}, None, None, "Bearer t", id="a line break"),
    ],
)
def test_an_api_key_becomes_a_bearer_token(
    monkeypatch: pytest.MonkeyPatch,
    environment: Mapping[str, str],
    api_key: str | None,
    headers: Mapping[str, str] | None,
    sent: str,
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)

    destination = resolve_destination(api_key=api_key, headers=headers)

    assert dict(destination.headers) == {"authorization": sent}


def test_headers_of_another_vendor_do_not_follow_our_endpoint(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-vendor-key=secret")
    monkeypatch.setenv("PHOENIX_CLIENT_HEADERS", "x-phoenix=1")

    assert resolve_destination(endpoint="http://ours").headers == ()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://vendor")
    assert resolve_destination().headers == (("x-vendor-key", "secret"),)
    monkeypatch.setenv("PHOENIX_COLLECTOR_ENDPOINT", "http://phoenix")
    assert resolve_destination().headers == (("x-phoenix", "1"),)


def test_no_key_and_no_password_is_shown() -> None:
    destination = resolve_destination(
        endpoint="https://name:secret@c", api_key="secret", headers={"x-key": "secret"}
    )

    assert destination.shown_url == "https://c/v1/traces"
    assert "secret" not in repr(destination)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param({"endpoint": "ftp://c"}, "endpoint is 'ftp://c'", id="another scheme"),
        pytest.param({"endpoint": "http://"}, "endpoint is 'http://'", id="no host"),
        pytest.param({"endpoint": "http://c:port"}, "endpoint is 'http://c:port'", id="no port"),
        pytest.param({"endpoint": "http://u:secret@c:x"}, "is 'http://c:x'", id="a password"),
        pytest.param({"protocol": "http"}, "Use 'http/protobuf' or 'grpc'", id="protocol"),
        pytest.param({"api_key": "se\ncret"}, "header 'authorization'", id="a key in two lines"),
        pytest.param({"headers": {"x": "sécret"}}, "header 'x'", id="a header beyond ASCII"),
        pytest.param({"headers": {"a b": "secret"}}, "header 'a b'", id="a name with a space"),
    ],
)
def test_a_wrong_setting_is_one_sentence_without_secrets(
    arguments: dict[str, str], message: str
) -> None:
    with pytest.raises(ValueError, match=r"\.$") as raised:
        resolve_destination(**arguments)  # type: ignore[arg-type]

    assert message in str(raised.value)
    assert "secret" not in str(raised.value)
    assert "sécret" not in str(raised.value)


def test_a_wrong_variable_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PHOENIX_COLLECTOR_ENDPOINT", "ftp://c")

    with pytest.raises(ValueError, match="PHOENIX_COLLECTOR_ENDPOINT is 'ftp://c'"):
        resolve_destination()


def test_what_opentelemetry_says_about_the_way_applies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_CERTIFICATE", "/ca.pem")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")

    assert resolve_destination().protocol == "http/protobuf"
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:9")
    destination = resolve_destination()
    assert destination.gzip
    assert destination.certificate_file == "/ca.pem"
    assert destination.protocol == "grpc"


@pytest.mark.parametrize(
    ("proxy_url", "url", "matches"),
    [
        pytest.param(None, "http://127.0.0.1:4319/openai/v1", True, id="the default"),
        pytest.param(None, "http://localhost:4319/mock", True, id="another name of loopback"),
        pytest.param(None, "http://[::1]:4319/mock", True, id="loopback in IPv6"),
        pytest.param(None, "http://127.0.0.1:4318/v1", False, id="another port"),
        pytest.param(None, "https://127.0.0.1:4319/v1", False, id="another scheme"),
        pytest.param(None, "http://127.0.0.1.evil:4319/v1", False, id="a host that begins alike"),
        pytest.param(None, "http://u@127.0.0.1:4319/v1", True, id="with a user"),
        pytest.param("https://gw.example", "https://GW.example:443/a", True, id="default port"),
        pytest.param("http://gw/llm/", "http://gw/llm/openai", True, id="below its path"),
        pytest.param("http://gw/llm", "http://gw/llm", True, id="its path"),
        pytest.param("http://gw/llm", "http://gw/llms/openai", False, id="a path that begins so"),
        pytest.param("http://gw/llm", "http://gw/other", False, id="another path"),
    ],
)
def test_a_call_goes_to_the_proxy_or_not(proxy_url: str | None, url: str, matches: bool) -> None:
    assert resolve_proxy(proxy_url).matches(url) is matches


def test_the_proxy_can_be_named_by_a_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACEQUILL_PROXY_URL", "http://gw:1")

    assert resolve_proxy().matches("http://gw:1/openai")
    assert not resolve_proxy("http://other").matches("http://gw:1/openai")


@pytest.mark.parametrize(
    ("url", "port", "address"),
    [
        (None, "5319", "http://127.0.0.1:5319"),
        (None, "no-port", "http://127.0.0.1:4319"),
        ("http://gw:1", "5319", "http://gw:1"),
    ],
)
def test_the_proxy_of_this_machine_is_found_at_its_port(
    url: str | None, port: str, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TRACEQUILL_PROXY_URL", raising=False)
    monkeypatch.setenv("TRACEQUILL_PROXY_PORT", port)

    assert resolve_proxy(url).matches(f"{address}/openai")


def test_headers_in_a_variable_are_percent_encoded_pairs() -> None:
    assert parse_headers("A=1, b = x%20y ,broken,=3") == {"a": "1", "b": "x y"}


@pytest.mark.parametrize(
    ("host", "loopback"),
    [("localhost", True), ("127.8.0.1", True), ("::1", True), ("10.0.0.1", False), ("c", False)],
)
def test_loopback_is_this_machine_alone(host: str, loopback: bool) -> None:
    assert is_loopback(host) is loopback
