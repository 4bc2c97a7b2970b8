from __future__ import annotations

import pytest

from tracequill.settings import RouteSettings
from tracequill_collector.errors import StartError
from tracequill_collector.proxy.route import Origin, RouteError, RouteTable
from tracequill_collector.proxy.sigv4 import Scope

ROUTES = RouteTable()


@pytest.mark.parametrize(
    ("raw", "host", "path"),
    [
        ("/openai/v1/chat/completions", "api.openai.com", "/v1/chat/completions"),
        ("/anthropic/v1/messages", "api.anthropic.com", "/v1/messages"),
        ("/groq/openai/v1/models", "api.groq.com", "/openai/v1/models"),
        (
            "/gemini/v1beta/models/g:generateContent?alt=sse",
            "generativelanguage.googleapis.com",
            "/v1beta/models/g:generateContent?alt=sse",
        ),
        (
            "/bedrock/us-east-1/model/a%2Fb%3A1/invoke",
            "bedrock-runtime.us-east-1.amazonaws.com",
            "/model/a%2Fb%3A1/invoke",
        ),
        (
            "/bedrock-agent/us-gov-west-1/agents/A/agentAliases/B/sessions/c/text",
            "bedrock-agent-runtime.us-gov-west-1.amazonaws.com",
            "/agents/A/agentAliases/B/sessions/c/text",
        ),
        (
            "/sagemaker/ap-southeast-2/endpoints/e/invocations",
            "runtime.sagemaker.ap-southeast-2.amazonaws.com",
            "/endpoints/e/invocations",
        ),
        (
            "/gemini/upload/v1beta/files",
            "generativelanguage.googleapis.com",
            "/upload/v1beta/files",
        ),
        ("/openai//v1//x", "api.openai.com", "//v1//x"),
        ("/openai/v1/x?", "api.openai.com", "/v1/x?"),
        ("/openai/v1/x?a=%2F..%2F&b=//&a=2?", "api.openai.com", "/v1/x?a=%2F..%2F&b=//&a=2?"),
        ("/openai", "api.openai.com", "/"),
        ("/openai?x=1", "api.openai.com", "/?x=1"),
    ],
)
def test_a_path_leads_to_its_upstream_and_stays_raw(raw: str, host: str, path: str) -> None:
    target = ROUTES.find(raw)

    assert target.origin is not None
    assert (target.origin.scheme, target.origin.host, target.origin.port) == ("https", host, 443)
    assert target.origin.authority == host
    assert target.path == path


def test_an_upload_at_the_root_goes_to_gemini_unless_a_route_has_its_name() -> None:
    """C29: of a base URL given with a file Google's Python library keeps only the host."""
    raw = "/upload/v1beta/files?upload_id=1&upload_protocol=resumable"
    target = ROUTES.find(raw)
    configured = RouteTable({"upload": RouteSettings(upstream="https://files.example")})

    assert target.origin is not None
    assert (target.route.name, target.origin.host) == (
        "gemini",
        "generativelanguage.googleapis.com",
    )
    assert target.path == raw
    assert configured.find(raw).path == raw.removeprefix("/upload")


@pytest.mark.parametrize(
    ("raw", "vendor"),
    [
        ("/mock/v1/chat/completions", "openai"),
        ("/mock/model/m/converse", "bedrock"),
        ("/mock/v1/messages", "anthropic"),
    ],
)
def test_the_mock_is_built_in_and_its_path_tells_the_vendor(raw: str, vendor: str) -> None:
    target = ROUTES.find(raw)

    assert target.origin is None
    assert target.vendor == vendor


@pytest.mark.parametrize(
    "raw",
    [
        "/openai/../bedrock",
        "/openai/v1/..",
        "/openai/./v1",
        "/../openai/v1",
        "/openai/%2e%2e/admin",
        "/openai/%2E./admin",
        "/openai/a%2f..%2fb",
        "/openai/a%5c..%5cb",
        "/openai/..\\b",
        "/openai/%252e%252e/b",
        "/openai/..;x=1/b",
        "/bedrock/us-east-1/model/../x",
    ],
)
def test_dot_segments_are_refused_in_every_spelling(raw: str) -> None:
    with pytest.raises(RouteError, match="dot segment") as caught:
        ROUTES.find(raw)

    assert caught.value.status == 400


@pytest.mark.parametrize("raw", ["/openai/v1/a..b", "/openai/v1/...", "/openai/v1/x?q=../.."])
def test_dots_that_are_no_segment_cross(raw: str) -> None:
    assert ROUTES.find(raw).path == raw.removeprefix("/openai")


@pytest.mark.parametrize(
    "region",
    ["", "us", "US-EAST-1", "us-east-1.evil.com", "us-east-1%2eevil", "x@us-east-1", "us_east_1"],
)
def test_a_region_is_a_region_and_nothing_else(region: str) -> None:
    with pytest.raises(RouteError, match="needs a region") as caught:
        ROUTES.find(f"/bedrock/{region}/model/m/invoke")

    assert (caught.value.status, caught.value.vendor) == (400, "bedrock")


@pytest.mark.parametrize(
    "raw",
    [
        "http://evil.example/openai/v1/x",
        "*",
        "evil.example:443",
        "",
        "/openai/v1/\u00e9",
        "/openai/v1/x#y",
        "/openai/v1/a b",
        "/openai/v1/a\x7fb",
    ],
)
def test_what_is_no_plain_path_is_refused(raw: str) -> None:
    with pytest.raises(RouteError) as caught:
        ROUTES.find(raw)

    assert caught.value.status == 400


def test_an_unknown_route_names_the_known_ones_and_the_nearest() -> None:
    with pytest.raises(RouteError, match=r"anthropic, bedrock, .*Did you mean 'openai'") as caught:
        ROUTES.find("/opnai/v1/x")

    assert caught.value.status == 404


@pytest.mark.parametrize("raw", ["/%6fpenai/v1/x", "/OpenAI/v1/x", "//openai/v1/x", "/"])
def test_a_route_is_matched_by_its_exact_bytes(raw: str) -> None:
    with pytest.raises(RouteError, match="no route"):
        ROUTES.find(raw)


def test_configured_routes_join_the_table() -> None:
    routes = RouteTable(
        {
            "vllm": RouteSettings(upstream="http://10.0.0.7:8000/api/", vendor="openai"),
            "own-bedrock": RouteSettings(upstream="https://b.{region}.example", vendor="bedrock"),
        }
    )

    vllm = routes.find("/vllm/v1/models")
    regional = routes.find("/own-bedrock/eu-central-1/model/m/invoke")

    assert vllm.origin is not None
    assert (vllm.origin.authority, vllm.path, vllm.vendor) == (
        "10.0.0.7:8000",
        "/api/v1/models",
        "openai",
    )
    assert regional.origin is not None
    assert regional.origin.host == "b.eu-central-1.example"


def test_a_replaced_upstream_holds_for_every_region() -> None:
    routes = RouteTable(upstreams={"bedrock": "http://127.0.0.1:9000"})

    target = routes.find("/bedrock/us-west-2/model/m/invoke")

    assert target.origin is not None
    assert (target.origin.scheme, target.origin.authority) == ("http", "127.0.0.1:9000")
    assert (target.path, target.region, target.vendor) == (
        "/model/m/invoke",
        "us-west-2",
        "bedrock",
    )


def test_a_replaced_upstream_of_no_route_stops_the_start() -> None:
    with pytest.raises(StartError, match=r"TRACEQUILL_UPSTREAM_OPNAI.*Did you mean 'openai'"):
        RouteTable(upstreams={"opnai": "http://127.0.0.1:9000"})


@pytest.mark.parametrize("name", ["Healthz", "healthz", "metrics", "a/b", "", "-x"])
def test_a_route_cannot_take_the_name_of_a_page_or_hold_a_slash(name: str) -> None:
    with pytest.raises(StartError, match="cannot be a route's name"):
        RouteTable({name: RouteSettings(upstream="http://h")})


@pytest.mark.parametrize(
    "url",
    [
        "ftp://h",
        "http://",
        "http://user:s3cret@h",
        "http://h?key=s3cret",
        "http://h:99999",
        "https://{zone}.h",
        "127.0.0.1:1",
    ],
)
def test_an_upstream_that_is_no_base_url_stops_the_start_without_repeating_it(url: str) -> None:
    with pytest.raises(StartError, match="upstream of route 'openai'") as caught:
        RouteTable(upstreams={"openai": url})

    assert "s3cret" not in str(caught.value)


def origin(routes: RouteTable, path: str) -> Origin:
    found = routes.find(path).origin
    assert found is not None
    return found


@pytest.mark.parametrize("name", ["openai", "anthropic", "gemini", "mistral", "together", "groq"])
def test_vendors_on_the_internet_are_reached_at_public_addresses_only(name: str) -> None:
    assert origin(ROUTES, f"/{name}/v1/x").public
    assert not origin(RouteTable(upstreams={name: "http://127.0.0.1:1"}), f"/{name}/v1/x").public


def test_ollama_and_routes_of_ones_own_may_be_anywhere_unless_they_say_so() -> None:
    routes = RouteTable(
        {
            "vllm": RouteSettings(upstream="http://10.0.0.7:8000"),
            "gateway": RouteSettings(upstream="https://gateway.example", public=True),
            "openai": RouteSettings(upstream="https://eu.api.openai.com"),
            "bedrock": RouteSettings(public=False),
        }
    )

    override = RouteTable({"groq": RouteSettings(public=True)}, {"groq": "https://h.example"})

    assert origin(override, "/groq/x").public
    assert not origin(routes, "/ollama/api/chat").public
    assert not origin(routes, "/vllm/v1/models").public
    assert origin(routes, "/gateway/v1/models").public
    assert not origin(routes, "/openai/v1/models").public
    bedrock = origin(routes, "/bedrock/eu-west-1/model/m/converse")
    assert (bedrock.public, bedrock.host) == (False, "bedrock-runtime.eu-west-1.amazonaws.com")


@pytest.mark.parametrize(
    ("path", "scope"),
    [
        ("/bedrock/us-east-1/model/m/converse", Scope("us-east-1", "bedrock")),
        ("/bedrock-agent/eu-west-1/sessions/", Scope("eu-west-1", "bedrock")),
        ("/sagemaker/us-west-2/endpoints/e/invocations", Scope("us-west-2", "sagemaker")),
        ("/endpoint/model/m/converse", Scope("eu-central-1", "bedrock")),
        ("/mantle/us-east-1/v1/responses", Scope("us-east-1", "bedrock-mantle")),
        ("/openai/v1/responses", None),
    ],
)
def test_a_signature_is_for_the_service_by_its_name_for_signing(
    path: str, scope: Scope | None
) -> None:
    """B3: the host is bedrock-runtime, the name in a signature is bedrock (bifrost 480); that of
    runtime.sagemaker is sagemaker (aws-sigv4-proxy 226).
    """
    routes = RouteTable(
        {
            "bedrock": RouteSettings(sign="aws"),
            "endpoint": RouteSettings(
                upstream="https://vpce.example", vendor="bedrock", sign_region="eu-central-1"
            ),
            "mantle": RouteSettings(
                upstream="https://bedrock-mantle.{region}.api.aws",
                vendor="openai",
                sign="aws",
                sign_service="bedrock-mantle",
            ),
        },
        sign=["bedrock-agent", "sagemaker", "endpoint"],
    )

    assert routes.find(path).scope == scope
    assert routes.signed_names == ["bedrock", "bedrock-agent", "endpoint", "mantle", "sagemaker"]


def test_a_signed_route_with_a_replaced_upstream_is_signed_for_its_region() -> None:
    """B2: signed is the host that is really called, be it of a VPC, FIPS or one's own name
    (envoyproxy/ai-gateway 2416, 2429; aws-sigv4-proxy 212 took another).
    """
    routes = RouteTable(upstreams={"bedrock": "https://vpce-1.example:8443"}, sign=["bedrock"])

    target = routes.find("/bedrock/us-west-2/model/m/converse")

    assert target.scope == Scope("us-west-2", "bedrock")
    assert target.origin is not None
    assert target.origin.authority == "vpce-1.example:8443"


@pytest.mark.parametrize(
    ("routes", "sign", "message"),
    [
        ({}, ["bedrok"], r"TRACEQUILL_PROXY_SIGN.*'bedrok'.*Did you mean 'bedrock'"),
        ({}, ["openai"], r"'openai' cannot be signed.*sign_service"),
        ({}, ["mock"], r"'mock' cannot be signed"),
        (
            {"own": RouteSettings(upstream="https://h", vendor="bedrock", sign="aws")},
            [],
            r"no {region}.*routes\.own\.sign_region",
        ),
        ({"own": RouteSettings(vendor="bedrock")}, [], r"'own' names no upstream"),
        ({"mock": RouteSettings(vendor="bedrock")}, [], r"'mock' names no upstream"),
    ],
)
def test_a_route_that_cannot_be_stops_the_start(
    routes: dict[str, RouteSettings], sign: list[str], message: str
) -> None:
    with pytest.raises(StartError, match=message):
        RouteTable(routes, sign=sign)


@pytest.mark.parametrize(
    ("host", "is_aws"),
    [
        ("bedrock-runtime.us-east-1.amazonaws.com", True),
        ("bedrock-runtime.cn-north-1.amazonaws.com.cn", True),
        ("bedrock-mantle.us-east-1.api.aws", True),
        ("VPCE-1.bedrock-runtime.us-east-1.VPCE.amazonaws.com", True),
        ("127.0.0.1", False),
        ("amazonaws.com.evil.example", False),
        ("localhost.localstack.cloud", False),
    ],
)
def test_aws_is_known_by_its_names(host: str, is_aws: bool) -> None:
    routes = RouteTable(upstreams={"bedrock": f"https://{host}"})

    assert origin(routes, "/bedrock/us-east-1/x").is_aws == is_aws
