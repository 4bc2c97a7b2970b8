from __future__ import annotations

import pytest

from tracequill.settings import RouteSettings
from tracequill_collector.proxy.callers import reason_to_refuse
from tracequill_collector.proxy.route import RouteTable

ROUTES = RouteTable(
    {"localstack": RouteSettings(upstream="http://127.0.0.1:4566", vendor="bedrock")}
)
SIGNED = RouteTable(sign=["bedrock"])
AWS = b"bedrock-runtime.us-east-1.amazonaws.com"
CONVERSE = "/bedrock/us-east-1/model/m/converse"
AUTHORIZATION = (
    b"AWS4-HMAC-SHA256 Credential=AKID/20261121/us-east-1/bedrock/aws4_request, "
    b"SignedHeaders=host;x-amz-date, Signature=00"
)


@pytest.mark.parametrize("name", [b"Authorization", b"AUTHORIZATION"])
@pytest.mark.parametrize("scheme", [AUTHORIZATION, b"AWS4-ECDSA-P256-SHA256 Credential=x"])
def test_a_signature_for_the_proxys_address_is_refused_with_both_ways_out(
    name: bytes, scheme: bytes
) -> None:
    """B1: AWS would answer 403 and say nothing of the proxy."""
    reason = reason_to_refuse(ROUTES.find(CONVERSE), [(b"Host", b"127.0.0.1:4319"), (name, scheme)])

    assert reason is not None
    assert "AWS_BEARER_TOKEN_BEDROCK" in reason
    assert "TRACEQUILL_PROXY_SIGN=bedrock" in reason
    assert "sign: aws" in reason


def test_a_presigned_query_is_a_signature_too() -> None:
    path = f"{CONVERSE}?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-%53ignature=00"

    assert reason_to_refuse(ROUTES.find(path), [(b"Host", b"localhost:4319")])


def test_sagemaker_has_no_bearer_key() -> None:
    target = ROUTES.find("/sagemaker/us-east-1/endpoints/e/invocations")
    headers = [(b"Host", b"127.0.0.1:4319"), (b"Authorization", AUTHORIZATION)]

    reason = reason_to_refuse(target, headers) or ""

    assert "BEARER" not in reason
    assert "TRACEQUILL_PROXY_SIGN=sagemaker" in reason


@pytest.mark.parametrize("host", [AWS, AWS.upper()])
def test_a_signature_for_the_upstreams_own_host_crosses(host: bytes) -> None:
    """A client that signs for AWS and only then goes to the proxy sends the host it signed for."""
    headers = [(b"Host", host), (b"Authorization", AUTHORIZATION)]

    assert reason_to_refuse(ROUTES.find(CONVERSE), headers) is None


@pytest.mark.parametrize(
    ("path", "authorization"),
    [
        (CONVERSE, b"Bearer bedrock-key"),
        (CONVERSE, b""),
        ("/openai/v1/responses", AUTHORIZATION),
        # A mock, or LocalStack: it does not look at signatures.
        ("/localstack/model/m/converse", AUTHORIZATION),
        ("/mock/model/m/converse", AUTHORIZATION),
    ],
)
def test_every_other_call_crosses(path: str, authorization: bytes) -> None:
    headers = [(b"Host", b"127.0.0.1:4319"), (b"Authorization", authorization)]

    assert reason_to_refuse(ROUTES.find(path), headers) is None


@pytest.mark.parametrize(
    "headers",
    [
        [(b"Host", b"127.0.0.1:4319")],
        [(b"Host", b"LOCALHOST")],
        [(b"Host", b"[::1]:4319")],
        [(b"Host", b"proxy.localhost:4319")],
        [(b"Host", b"host.docker.internal:4319")],
        [(b"Host", b"host.lima.internal")],
        [(b"Host", b"localhost:4319"), (b"Origin", b"http://localhost:3000")],
        [
            (b"Host", b"127.0.0.1:4319"),
            (b"Origin", b"http://localhost:3000"),
            (b"Sec-Fetch-Site", b"cross-site"),
        ],
        [(b"Host", b"127.0.0.1:4319"), (b"Sec-Fetch-Site", b"none")],
        [(b"Host", b"127.0.0.1:4319"), (b"Sec-Fetch-Site", b"same-site")],
        [(b"Host", b"127.0.0.1:4319"), (b"Authorization", AUTHORIZATION)],
        [],
    ],
)
def test_programs_on_this_machine_may_have_calls_signed(headers: list[tuple[bytes, bytes]]) -> None:
    assert reason_to_refuse(SIGNED.find(CONVERSE), headers) is None


@pytest.mark.parametrize(
    "headers",
    [
        [(b"Host", b"evil.example:4319")],
        [(b"Host", b"127.0.0.1.evil.example")],
        [(b"Host", b"127.0.0.1@evil.example")],
        [(b"Host", b"10.0.0.1:4319")],
        [(b"Host", b"internal.evil.example")],
        [(b"Host", b"localhost.")],
        [(b"Host", b"[")],
        [(b"Host", b"")],
        [(b"Host", b"127.0.0.1:4319"), (b"Origin", b"https://evil.example")],
        [(b"Host", b"127.0.0.1:4319"), (b"ORIGIN", b"null")],
        [(b"Host", b"127.0.0.1:4319"), (b"Origin", b"http://localhost.evil.example")],
        [(b"Host", b"127.0.0.1:4319"), (b"Origin", b"https://wiki.evil.internal")],
        # An image: a page loads it without saying its own name.
        [(b"Host", b"127.0.0.1:4319"), (b"Sec-Fetch-Site", b"cross-site")],
        [(b"Host", b"127.0.0.1:4319"), (b"sec-fetch-site", b" Cross-Site")],
    ],
)
def test_a_page_of_another_machine_may_not(headers: list[tuple[bytes, bytes]]) -> None:
    """Class: CSRF and DNS rebinding (MLflow 2025). A page on the internet can post to this machine,
    and with a name that comes to mean it read the answer.
    """
    reason = reason_to_refuse(SIGNED.find(CONVERSE), headers)

    assert reason is not None
    assert "evil" not in reason
