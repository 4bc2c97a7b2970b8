"""Calls that the proxy signs itself, at an upstream that checks every signature as AWS does."""

from __future__ import annotations

import asyncio
import hashlib
import re
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import orjson
import pytest
from aiohttp.abc import AbstractResolver, ResolveResult
from botocore import UNSIGNED
from botocore.awsrequest import AWSPreparedRequest
from botocore.config import Config
from botocore.exceptions import ClientError

from tests.integration.aws_rig import AwsUpstream, KeyGiver, key_giver
from tests.integration.clients.test_recorded import CONVERSATION, MODEL, frame
from tests.integration.proxy_here import Limits, proxy_with
from tests.integration.proxy_rig import (
    WAIT_SECONDS,
    Message,
    ProxyProcess,
    ask,
    chunk,
    client,
    plain,
    post,
    read_head,
    upstream,
)
from tests.ports import free_ports
from tracequill_collector.proxy.credentials import AwsCredentials

pytestmark = pytest.mark.integration

MEGABYTE = 1024 * 1024
KEYS: dict[str, tuple[str, str | None]] = {"AKIAPROXY": ("secret-of-the-proxy", "token-of-proxy")}
CONVERSE = b"/bedrock/us-east-1/model/m/converse"
SECRETS = (b"secret-of-the-proxy", b"token-of-proxy", b"AKIAPROXY", b"AKIACLIENT")
MESSAGES: list[Any] = [{"role": "user", "content": [{"text": "6 x 7?"}]}]
# What botocore would otherwise find on the machine of the test.
NO_AWS = {
    "AWS_ACCESS_KEY_ID": "",
    "AWS_SECRET_ACCESS_KEY": "",
    "AWS_SESSION_TOKEN": "",
    "AWS_CONFIG_FILE": "/nonexistent",
    "AWS_SHARED_CREDENTIALS_FILE": "/nonexistent",
    "AWS_EC2_METADATA_DISABLED": "true",
}


def signing_proxy(folder: Path, **variables: str) -> ProxyProcess:
    process = ProxyProcess(folder)
    here = f"http://127.0.0.1:{process.upstream_port}"
    process.variables = {
        **NO_AWS,
        "TRACEQUILL_PROXY_SIGN": "bedrock,bedrock-agent,sagemaker",
        "TRACEQUILL_UPSTREAM_BEDROCK": here,
        "TRACEQUILL_UPSTREAM_BEDROCK_AGENT": here,
        "TRACEQUILL_UPSTREAM_SAGEMAKER": here,
        "TRACEQUILL_LOG_LEVEL": "DEBUG",
        **variables,
    }
    return process


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProxyProcess]:
    """A proxy that signs with keys from its environment."""
    process = signing_proxy(
        tmp_path_factory.mktemp("proxy"),
        AWS_ACCESS_KEY_ID="AKIAPROXY",
        AWS_SECRET_ACCESS_KEY="secret-of-the-proxy",
        AWS_SESSION_TOKEN="token-of-proxy",
    )
    (process.folder / "tracequill.yaml").write_text(
        "routes:\n  direct: {upstream: 'https://bedrock-runtime.{region}.amazonaws.com', "
        "vendor: bedrock}\n"
    )
    process.start()
    yield process
    assert process.stop() == 0, process.log
    assert "unexpectedly" not in process.log
    kept = b"".join(path.read_bytes() for path in process.queue_dir.rglob("*") if path.is_file())
    for secret in SECRETS:
        assert secret not in kept
        assert secret.decode() not in process.log


@pytest.fixture
def aws() -> AwsUpstream:
    answer = plain(orjson.dumps(CONVERSATION), b"Content-Type: application/json")
    return AwsUpstream(answer, dict(KEYS))


def boto(
    proxy: ProxyProcess,
    path: str,
    service: str = "bedrock-runtime",
    *,
    endpoint_url: str = "",
    **config: Any,
) -> Any:
    return boto3.client(
        service,  # type: ignore[call-overload]
        region_name="us-east-1",
        endpoint_url=endpoint_url or proxy.url(path),
        aws_access_key_id="AKIACLIENT",
        aws_secret_access_key="secret-of-the-client",
        config=Config(retries={"total_max_attempts": 1}, **config),
    )


async def converse(runtime: Any) -> Any:
    try:
        return await asyncio.to_thread(runtime.converse, modelId=MODEL, messages=MESSAGES)
    finally:
        runtime.close()


async def test_what_boto3_signed_for_the_proxy_is_signed_again_for_aws(
    proxy: ProxyProcess, aws: AwsUpstream
) -> None:
    """B1, B8: botocore signs for the proxy's address, which AWS answers with a 403 (aws-sdk-js-v3
    6618, litellm 9498, 11055); an ARN with a literal slash is another operation (langfuse 15619).
    """
    async with upstream(proxy.upstream_port, aws.converse):
        answer = await converse(boto(proxy, "/bedrock/us-east-1"))
    exchange = await proxy.exchange(
        answer["ResponseMetadata"]["HTTPHeaders"]["x-tracequill-trace-id"]
    )

    assert answer["output"]["message"]["content"][0]["text"] == "42"
    assert (aws.refused, aws.scopes) == ([], [("us-east-1", "bedrock")])
    assert b"application-inference-profile%2Fabc/converse" in aws.requests[0].first_line
    assert aws.requests[0].header(b"host") == f"127.0.0.1:{proxy.upstream_port}".encode()
    assert orjson.loads(exchange.request_body)["messages"] == MESSAGES
    assert (exchange.end, exchange.status) == ("complete", 200)
    assert "AKIA" not in repr(exchange)


async def test_a_client_without_any_key_needs_none(proxy: ProxyProcess, aws: AwsUpstream) -> None:
    async with upstream(proxy.upstream_port, aws.converse):
        await converse(boto(proxy, "/bedrock/eu-west-1", signature_version=UNSIGNED))

    assert (aws.refused, aws.scopes) == ([], [("eu-west-1", "bedrock")])


async def test_a_bearer_key_never_goes_beside_a_signature(
    proxy: ProxyProcess, aws: AwsUpstream
) -> None:
    """B6: AWS answers 400 to two of them (27526)."""

    def add_key(request: AWSPreparedRequest, **_: Any) -> None:
        request.headers["Authorization"] = "Bearer of-the-client"

    runtime = boto(proxy, "/bedrock/us-east-1", signature_version=UNSIGNED)
    runtime.meta.events.register("before-send.bedrock-runtime", add_key)
    async with upstream(proxy.upstream_port, aws.converse):
        await converse(runtime)

    assert aws.refused == []
    assert b"of-the-client" not in aws.requests[0].head


async def test_an_event_stream_crosses_as_it_is(proxy: ProxyProcess, aws: AwsUpstream) -> None:
    """B9: litellm read Amazon's binary events as text and failed (8479), and kept lists of them
    without a limit (27136).
    """
    stream = b"".join(
        frame("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": text}})
        for text in ("4", "2")
    ) + frame("messageStop", {"stopReason": "end_turn"})
    aws.answer = (
        b"HTTP/1.1 200 OK\r\nContent-Type: application/vnd.amazon.eventstream\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n"
        + b"".join(chunk(stream[at : at + 11]) for at in range(0, len(stream), 11))
        + b"0\r\n\r\n"
    )
    runtime = boto(proxy, "/bedrock/us-east-1")

    def text() -> str:
        response = runtime.converse_stream(modelId=MODEL, messages=MESSAGES)
        return "".join(
            event["contentBlockDelta"]["delta"]["text"]
            for event in response["stream"]
            if "contentBlockDelta" in event
        )

    async with upstream(proxy.upstream_port, aws.converse):
        assert await asyncio.to_thread(text) == "42"
    runtime.close()

    assert aws.refused == []


async def test_agents_and_sagemaker_are_signed_by_their_names(
    proxy: ProxyProcess, aws: AwsUpstream
) -> None:
    """B3, B14: other hosts, and ``bedrock`` for both of Bedrock's."""
    agent = boto(proxy, "/bedrock-agent/us-west-2", "bedrock-agent-runtime")
    endpoint = boto(proxy, "/sagemaker/us-west-2", "sagemaker-runtime")
    aws.answer = plain(b'{"retrievalResults": []}', b"Content-Type: application/json")
    async with upstream(proxy.upstream_port, aws.converse):
        found = await asyncio.to_thread(
            agent.retrieve, knowledgeBaseId="KB12345678", retrievalQuery={"text": "?"}
        )
        invoked = await asyncio.to_thread(
            endpoint.invoke_endpoint,
            EndpointName="e",
            Body=b'{"inputs": "?"}',
            ContentType="application/json",
            InferenceComponentName="c",
        )
        body = await asyncio.to_thread(invoked["Body"].read)
    agent.close()
    endpoint.close()

    assert found["retrievalResults"] == []
    assert body == b'{"retrievalResults": []}'
    assert (aws.refused, aws.scopes) == (
        [],
        [("us-west-2", "bedrock"), ("us-west-2", "sagemaker")],
    )


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"GET /bedrock-agent/us-east-1/sessions/a%2Fb?maxResults=5&b=%20&a=1%2B2&a HTTP/1.1\r\n"
        b"Host: localhost\r\n\r\n",
        post(b"/bedrock/us-east-1/model/anthropic.claude-v2:1/invoke", b"{}"),
        post(CONVERSE, b""),
        post(
            CONVERSE + b"?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Signature=0&X-Amz-Date=0&b=1",
            b"{}",
        ),
        post(
            CONVERSE,
            b"\x00\xff" * 10,
            b"Content-Type: application/json",
            b"x-amz-b:  two   words ",
            b"X-Amz-B: again",
            b"X-Amz-Date: 20150830T123600Z",
            b"x-amz-content-sha256: UNSIGNED-PAYLOAD",
            b"x-amz-security-token: of-the-client",
            b"traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            b"X-Forwarded-For: 10.0.0.1",
            b"Authorization: AWS4-HMAC-SHA256 Credential=x",
            b"authorization: Bearer y",
        ),
    ],
    ids=["get-query", "colon", "empty", "presigned", "headers"],
)
async def test_whatever_crosses_is_what_was_signed(
    proxy: ProxyProcess, aws: AwsUpstream, request_bytes: bytes
) -> None:
    """B4 to B8 (B4, B5, B6, B7, B8): litellm signed JSON that it then wrote anew (27526, 28770),
    and headers that a server on the way changed (14763, 15590); `:` and `%3A` were mixed up, and
    two content types joined (13738).
    """
    async with upstream(proxy.upstream_port, aws.converse):
        response = await ask(proxy, request_bytes)

    assert (aws.refused, response.status) == ([], 200)
    sent = request_bytes.partition(b"\r\n\r\n")[2]
    assert aws.requests[0].body == sent
    assert b"of-the-client" not in aws.requests[0].head


async def test_two_content_types_go_nowhere(proxy: ProxyProcess, aws: AwsUpstream) -> None:
    """B5: what a fallback in litellm left behind was joined with its own on AWS's side, and no
    signature held over it (13738).
    """
    request = post(CONVERSE, b"{}", b"Content-Type: text/plain", b"content-type: application/json")
    async with upstream(proxy.upstream_port, aws.converse):
        response = await ask(proxy, request)

    assert (response.status, aws.requests) == (400, [])


@pytest.mark.parametrize("size", [0, 10, 70_000, 5 * MEGABYTE])
@pytest.mark.parametrize("chunked", [False, True])
async def test_a_body_on_its_way_is_awaited_and_sent_whole(
    proxy: ProxyProcess, aws: AwsUpstream, size: int, chunked: bool
) -> None:
    """Its hash is part of the signature; AWS takes no unsigned body here."""
    body = (b"0123456789abcdef" * (size // 16 + 1))[:size]
    pieces = [body[at : at + 65_536] for at in range(0, size, 65_536)]
    head = b"POST " + CONVERSE + b" HTTP/1.1\r\nHost: 127.0.0.1\r\n"
    async with (
        asyncio.timeout(WAIT_SECONDS),
        upstream(proxy.upstream_port, aws.converse),
        client(proxy) as (reader, writer),
    ):
        if chunked:
            writer.write(head + b"Transfer-Encoding: chunked\r\n\r\n")
            writer.writelines(chunk(piece) for piece in pieces)
            writer.write(b"0\r\n\r\n")
        else:
            writer.write(head + b"Content-Length: %d\r\n\r\n" % size)
            writer.writelines(pieces)
        answer = await read_head(reader)
    exchange = await proxy.exchange(Message(answer, b"").trace_id)

    assert answer.startswith(b"HTTP/1.1 200"), aws.refused
    assert hashlib.sha256(aws.requests[0].body).digest() == hashlib.sha256(body).digest()
    assert aws.requests[0].header(b"content-length") == str(size).encode()
    assert exchange.request_body == body
    assert [path.name for path in proxy.queue_dir.parent.iterdir() if path.is_file()] == []


async def test_a_client_that_leaves_before_its_body_is_whole_costs_nothing(
    proxy: ProxyProcess, aws: AwsUpstream
) -> None:
    async with upstream(proxy.upstream_port, aws.converse):
        async with client(proxy) as (_, writer):
            writer.write(
                b"POST " + CONVERSE + b" HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 9\r\n"
                b"traceparent: 00-%b-b7ad6b7169203331-01\r\n\r\n1234" % (b"5" * 32)
            )
            await writer.drain()
        exchange = await proxy.exchange("5" * 32)

    assert (exchange.end, exchange.status) == ("client_disconnected", 0)
    assert aws.requests == []


@pytest.mark.parametrize("header", [b"Origin: https://evil.example", b"X-Amz-Target: x"])
async def test_a_page_on_the_internet_cannot_spend_the_keys(
    proxy: ProxyProcess, aws: AwsUpstream, header: bytes
) -> None:
    """Class: CSRF and DNS rebinding. Pages reached MLflow's server on loopback (2025), and any
    caller litellm's (CVE-2026-59822).
    """
    host = b"127.0.0.1" if header.startswith(b"Origin") else b"evil.example:4319"
    request = post(CONVERSE, b"{}", header).replace(b"Host: 127.0.0.1", b"Host: " + host)
    async with upstream(proxy.upstream_port, aws.converse):
        response = await ask(proxy, request)

    assert response.status == 403
    assert response.header(b"x-amzn-errortype") == b"AccessDeniedException"
    assert b"signed with the proxy's own credentials" in response.body
    assert aws.requests == []


async def test_boto3_shows_why_its_signature_cannot_cross(proxy: ProxyProcess) -> None:
    """B1: AWS's own answer, a signature that does not match, would say nothing of the proxy: so
    people asked litellm (9498, 11055) and AWS's SDK (6618).
    """
    with pytest.raises(ClientError) as caught:
        await converse(boto(proxy, "/direct/us-east-1"))

    assert caught.value.response["Error"]["Code"] == "AccessDeniedException"
    assert re.search(
        r"AccessDeniedException.*Converse operation.*: Tracequill proxy: this call is signed for "
        r"the proxy's address.*AWS_BEARER_TOKEN_BEDROCK.*TRACEQUILL_PROXY_SIGN=direct",
        str(caught.value),
    )


class Here(AbstractResolver):
    """Every name is this machine."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        return [
            ResolveResult(
                hostname=host, host="127.0.0.1", port=port, family=socket.AF_INET, proto=0, flags=0
            )
        ]

    async def close(self) -> None:
        pass


async def test_a_signature_for_aws_crosses_when_the_call_says_so(
    tmp_path: Path, aws: AwsUpstream
) -> None:
    """The client signs for AWS and changes the URL afterwards; the ``Host`` stays AWS's."""
    [port] = free_ports(1)
    host = f"bedrock-runtime.us-east-1.amazonaws.com:{port}"
    aws.keys = {"AKIACLIENT": ("secret-of-the-client", None)}
    limits = Limits(upstreams={"bedrock": f"http://{host}"}, resolver=Here())
    async with proxy_with(tmp_path, limits) as proxy, upstream(port, aws.converse):

        def go_to_the_proxy(request: AWSPreparedRequest, **_: Any) -> None:
            request.headers["Host"] = host
            request.url = request.url.replace(f"http://{host}", proxy.url("/bedrock/us-east-1"))

        runtime = boto(proxy, "", endpoint_url=f"http://{host}")
        runtime.meta.events.register("before-send.bedrock-runtime", go_to_the_proxy)
        await converse(runtime)

    assert (aws.refused, aws.used) == ([], ["AKIACLIENT"])
    assert aws.requests[0].header(b"host") == host.encode()


async def test_keys_are_refreshed_while_calls_go_on(tmp_path: Path, aws: AwsUpstream) -> None:
    """B13: no call but the first waits for who gives the keys."""
    # botocore, and the proxy, refresh what holds for less than 15 minutes.
    with key_giver(life_seconds=901, at_once=1) as giver:
        proxy = signing_proxy(tmp_path, AWS_CONTAINER_CREDENTIALS_FULL_URI=f"{giver.url}/keys")
        aws.keys = KeyGiver.known(9)
        proxy.start()
        try:
            async with upstream(proxy.upstream_port, aws.converse), asyncio.timeout(WAIT_SECONDS):
                assert (await ask(proxy, post(CONVERSE, b"{}"))).status == 200
                # The proxy asks a second time by itself; no call is there to ask for it.
                for _ in range(2):
                    assert await asyncio.to_thread(giver.asked.acquire, timeout=WAIT_SECONDS)
                for _ in range(3):
                    assert (await ask(proxy, post(CONVERSE, b"{}"))).status == 200
                before = list(aws.used)
                giver.may_answer.set()
                while aws.used[-1] == "ASIA1":
                    assert (await ask(proxy, post(CONVERSE, b"{}"))).status == 200
        finally:
            assert proxy.stop() == 0, proxy.log

    assert set(before) == {"ASIA1"}
    assert aws.used[-1] == "ASIA2"
    assert aws.refused == []
    assert "secret-" not in proxy.log and "token-" not in proxy.log


async def test_keys_come_from_a_profile_a_role_or_a_container(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The chain is botocore's: whatever an AWS client finds, the proxy finds."""
    shared = tmp_path / "credentials"
    shared.write_text(
        "[work]\naws_access_key_id = AKIAWORK\naws_secret_access_key = s\n"
        "[role]\nrole_arn = arn:aws:iam::123456789012:role/r\nsource_profile = work\n"
        "region = eu-west-1\n"
    )
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    for name, value in NO_AWS.items():
        if value:
            monkeypatch.setenv(name, value)
        else:
            monkeypatch.delenv(name, raising=False)

    async def found() -> str:
        async with AwsCredentials() as credentials:
            return (await credentials.get()).access_key

    with key_giver() as giver:
        monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(shared))
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", giver.url)
        monkeypatch.setenv("AWS_PROFILE", "work")
        assert await found() == "AKIAWORK"
        monkeypatch.setenv("AWS_PROFILE", "role")
        assert await found() == "ASIA1"
        monkeypatch.delenv("AWS_PROFILE")
        monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{giver.url}/keys")
        assert await found() == "ASIA2"


async def test_without_keys_a_call_is_told_what_to_set(tmp_path: Path) -> None:
    proxy = signing_proxy(tmp_path)
    proxy.start()
    try:
        response = await ask(proxy, post(CONVERSE, b"{}"))
    finally:
        assert proxy.stop() == 0, proxy.log

    assert response.status == 503
    assert response.header(b"x-amzn-errortype") == b"ServiceUnavailableException"
    assert b"no AWS credentials were found; set AWS_PROFILE" in response.body
    assert "no AWS credentials were found" in proxy.log


def test_beyond_loopback_nothing_is_signed(tmp_path: Path) -> None:
    """Class: missing authentication (litellm CVE-2026-59822, Portkey's open log stream). Whoever
    reaches the port could spend the keys: nobody is asked for one yet.
    """
    proxy = signing_proxy(tmp_path, TRACEQUILL_HOST="0.0.0.0", TRACEQUILL_INSECURE="true")
    proxy.spawn()
    assert proxy.process is not None

    assert proxy.process.wait(WAIT_SECONDS) == 1
    assert "host is '0.0.0.0', which other machines can reach" in proxy.log
    assert "bedrock, bedrock-agent, sagemaker are signed" in proxy.log
    assert "Set host to 127.0.0.1" in proxy.log
    assert "Traceback" not in proxy.log
