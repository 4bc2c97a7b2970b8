from __future__ import annotations

import pytest

from tracequill_collector.proxy.headers import (
    client_headers,
    recorded_path,
    recorded_request_headers,
    recorded_response_headers,
    upstream_headers,
)

CANARY = b"canary-5f1c"


def test_request_headers_cross_in_order_with_case_and_repetitions() -> None:
    headers = [
        (b"HOST", b"127.0.0.1:4319"),
        (b"X-B", b"1"),
        (b"authorization", b"Bearer k"),
        (b"x-b", b"2"),
        (b"Content-Length", b"3"),
    ]

    assert upstream_headers(headers, "api.openai.com", chunked=False) == [
        (b"HOST", b"api.openai.com"),
        (b"X-B", b"1"),
        (b"authorization", b"Bearer k"),
        (b"x-b", b"2"),
        (b"Content-Length", b"3"),
    ]


@pytest.mark.parametrize(
    "name",
    [
        b"Connection",
        b"Expect",
        b"Keep-Alive",
        b"Proxy-Authorization",
        b"Proxy-Connection",
        b"TE",
        b"Trailer",
        b"Transfer-Encoding",
        b"Upgrade",
        b"X-Tracequill-Session-Id",
        b"x-tracequill-anything",
    ],
)
def test_hop_by_hop_and_our_own_request_headers_stay_here(name: bytes) -> None:
    headers = [(b"Host", b"h"), (name, b"x"), (b"A", b"1")]

    assert upstream_headers(headers, "u", chunked=False) == [(b"Host", b"u"), (b"A", b"1")]


def test_what_connection_names_stays_here_but_never_the_framing() -> None:
    headers = [
        (b"Host", b"h"),
        (b"Connection", b"close, X-Hop,content-length, host"),
        (b"x-hop", b"1"),
        (b"Content-Length", b"2"),
    ]

    assert upstream_headers(headers, "u", chunked=False) == [
        (b"Host", b"u"),
        (b"Content-Length", b"2"),
    ]


def test_there_is_one_host_even_when_the_client_sent_none() -> None:
    assert upstream_headers([(b"A", b"1")], "u", chunked=True) == [
        (b"Host", b"u"),
        (b"A", b"1"),
        (b"Transfer-Encoding", b"chunked"),
    ]


def test_response_headers_cross_and_the_two_ids_are_added() -> None:
    headers = [
        (b"Set-Cookie", b"a=1"),
        (b"Connection", b"keep-alive"),
        (b"Content-Length", b"5"),
        (b"Set-Cookie", b"b=2"),
        (b"X-Tracequill-Trace-Id", b"of another proxy"),
        (b"Content-Encoding", b"gzip"),
    ]

    assert client_headers(headers, trace_id="t" * 32, span_id="s" * 16, chunked=False) == [
        (b"Set-Cookie", b"a=1"),
        (b"Content-Length", b"5"),
        (b"Set-Cookie", b"b=2"),
        (b"Content-Encoding", b"gzip"),
        (b"x-tracequill-trace-id", b"t" * 32),
        (b"x-tracequill-span-id", b"s" * 16),
    ]


def test_a_chunked_response_has_no_length() -> None:
    headers = [(b"Transfer-Encoding", b"chunked"), (b"Content-Length", b"5")]

    names = [name for name, _ in client_headers(headers, trace_id="t", span_id="s", chunked=True)]

    assert names == [b"x-tracequill-trace-id", b"x-tracequill-span-id"]


@pytest.mark.parametrize(
    "name",
    [
        b"Authorization",
        b"api-key",
        b"x-api-key",
        b"x-goog-api-key",
        b"xi-api-key",
        b"X-Amz-Security-Token",
        b"x-amz-content-sha256",
        b"Cookie",
        b"Set-Cookie",
        b"Proxy-Authorization",
        b"x-portkey-virtual-key",
        b"x-amzn-Remapped-Authorization",
        b"x-amzn-oidc-data",
        b"openai-authorization",
        b"x-unheard-of",
    ],
)
def test_a_header_that_may_hold_a_key_is_never_recorded(name: bytes) -> None:
    assert recorded_request_headers([(name, CANARY)]) == ()
    assert recorded_response_headers([(name, CANARY)]) == ()


def test_headers_that_explain_a_call_are_recorded() -> None:
    request = [
        (b"Content-Type", b"application/json"),
        (b"User-Agent", b"OpenAI/Python"),
        (b"OpenAI-Organization", b"org"),
        (b"anthropic-version", b"2023-06-01"),
        (b"traceparent", b"00-a-b-01"),
    ]
    response = [
        (b"x-request-id", b"r"),
        (b"X-RateLimit-Remaining-Tokens", b"9"),
        (b"x-amzn-RequestId", b"q"),
        (b"X-Amzn-Bedrock-Input-Token-Count", b"4"),
        (b"anthropic-ratelimit-tokens-reset", b"now"),
    ]

    assert [name for name, _ in recorded_request_headers(request)] == [
        name.decode() for name, _ in request
    ]
    assert [name for name, _ in recorded_response_headers(response)] == [
        name.decode() for name, _ in response
    ]


def test_header_bytes_of_any_encoding_are_recorded_as_text() -> None:
    headers = [(b"user-agent", b"caf\xe9"), (b"user-agent", "café".encode())]

    assert recorded_request_headers(headers) == (("user-agent", "café"), ("user-agent", "café"))


@pytest.mark.parametrize(
    ("path", "recorded"),
    [
        ("/v1/x", "/v1/x"),
        ("/v1/x?", "/v1/x?"),
        ("/v1/x?api-version=2024-06-01&limit=3", "/v1/x?api-version=2024-06-01&limit=3"),
        ("/v1/x?key=canary&alt=sse", "/v1/x?key=***&alt=sse"),
        ("/v1/x?%6bey=canary", "/v1/x?%6bey=***"),
        ("/v1/x?anything=canary", "/v1/x?anything=***"),
        ("/v1/x?canary", "/v1/x?***"),
        ("/v1/x?beta", "/v1/x?beta"),
    ],
)
def test_values_of_a_query_are_hidden_unless_known_to_be_harmless(path: str, recorded: str) -> None:
    assert recorded_path(path) == recorded


@pytest.mark.parametrize("name", [b"user-agent", b"x-request-id", b"openai-organization"])
def test_a_key_in_the_wrong_header_is_not_recorded(name: bytes) -> None:
    """C27: what is recorded by name may still hold a key by mistake."""
    for key in (b"sk-canary-7d41b0", b"sk-canary-7d41b0" + b"0" * 500):
        headers = [(name, b"first " + key)]

        [(_, asked)] = recorded_request_headers(headers)
        assert asked == "first [key removed]"
        for _, answered in recorded_response_headers(headers):
            assert answered == "first [key removed]"


@pytest.mark.parametrize(
    "path",
    ["/v1/x?sk-canary-7d41b0=1", "/v1/x?model=sk-canary-7d41b0", "/v1/sk-canary-7d41b0/x"],
)
def test_a_key_in_the_wrong_place_of_a_path_is_not_recorded(path: str) -> None:
    """C27: Gemini takes its key in the query; a client that mixes things up puts it anywhere."""
    assert "canary" not in recorded_path(path)
