"""Signatures are AWS's: its published examples, and botocore's own for any request."""

from __future__ import annotations

import datetime
import hashlib
from unittest import mock
from urllib.parse import quote

import botocore.auth
import botocore.credentials
import pytest
from botocore.awsrequest import AWSRequest
from hypothesis import given
from hypothesis import strategies as st

from tracequill_collector.proxy.sigv4 import (
    Credentials,
    Scope,
    canonical_path,
    canonical_query,
    sign,
    unsigned_headers,
    unsigned_path,
)

# The credentials, the moment and the signatures of AWS's Signature Version 4 test suite.
EXAMPLE = Credentials("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")
MOMENT = datetime.datetime(2015, 8, 30, 12, 36, tzinfo=datetime.UTC)
HOST = (b"Host", b"example.amazonaws.com")
EMPTY = hashlib.sha256(b"").hexdigest()


def signature(headers: list[tuple[bytes, bytes]]) -> str:
    return dict(headers)[b"Authorization"].decode().partition("Signature=")[2]


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("GET", "/", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
        ("POST", "/", "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"),
        (
            "GET",
            "/?Param2=value2&Param1=value1",
            "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
        ),
        ("GET", "//example//", "9a624bd73a37c9a373b5312afbebe7a714a789de108f0bdfe846570885f57e84"),
    ],
)
def test_the_published_examples_come_out(method: str, path: str, expected: str) -> None:
    scope = Scope("us-east-1", "service")

    signed = sign(method, path, [HOST], EMPTY, EXAMPLE, scope, MOMENT.timestamp())

    assert signature(signed) == expected


TEXT = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=12)
PIECES = [*"abcXYZ019-_.~:@!$&'()*+,;=", "%2F", "%3A", "%20", "%C3%BC"]
SEGMENT = st.lists(st.sampled_from(PIECES)).map("".join).filter(lambda text: text.strip("."))


@given(
    method=st.sampled_from(["GET", "POST", "PUT", "DELETE"]),
    segments=st.lists(SEGMENT, max_size=5),
    query=st.lists(st.tuples(st.text(max_size=6), st.text(max_size=6)), max_size=4),
    extra=st.dictionaries(
        st.sampled_from(["Content-Type", "X-Amz-Target", "x-amz-meta-a", "X-AMZ-Z"]), TEXT
    ),
    body=st.binary(max_size=64),
    token=st.none() | st.just("FwoGZXIvYXdzEJr//token=="),
    service=st.sampled_from(["bedrock", "sagemaker"]),
)
def test_botocore_signs_any_request_in_the_same_way(
    method: str,
    segments: list[str],
    query: list[tuple[str, str]],
    extra: dict[str, str],
    body: bytes,
    token: str | None,
    service: str,
) -> None:
    path = "/" + "/".join(segments)
    if query:
        path += "?" + "&".join(f"{quote(a, safe='')}={quote(b, safe='')}" for a, b in query)
    credentials = Credentials("AKIDEXAMPLE", "secret", token)
    request = AWSRequest(
        method, f"https://h.amazonaws.com{path}", {"Host": "h.amazonaws.com", **extra}, body
    )
    keys = botocore.credentials.Credentials("AKIDEXAMPLE", "secret", token)
    with mock.patch("botocore.auth.get_current_datetime", lambda: MOMENT):
        botocore.auth.SigV4Auth(keys, service, "eu-west-1").add_auth(request)

    headers = [(b"Host", b"h.amazonaws.com")]
    headers += [(name.encode(), value.encode()) for name, value in extra.items()]
    signed = sign(
        method,
        path,
        headers,
        hashlib.sha256(body).hexdigest(),
        credentials,
        Scope("eu-west-1", service),
        MOMENT.timestamp(),
    )

    ours = {name.decode().lower(): value.decode() for name, value in signed}
    assert ours == {name.lower(): request.headers[name] for name in ours}


def test_a_model_arn_is_one_segment_that_is_encoded_twice() -> None:
    """B8: with a decoded ``%2F`` AWS sees another operation, or another signature (langfuse 15619,
    vercel/ai 17410, envoy 1332; `:` and `%3A` in litellm 13738).
    """
    path = "/model/arn%3Aaws%3Abedrock%3Aus-east-1%3A1%3Aprofile%2Fabc/converse"

    assert canonical_path(path) == path.replace("%", "%25")
    assert canonical_path("/model/anthropic.claude-v2:1/invoke") == (
        "/model/anthropic.claude-v2%3A1/invoke"
    )


@pytest.mark.parametrize(
    ("query", "canonical"),
    [
        ("", ""),
        ("a", "a="),
        ("b=2&a=1&a=0", "a=0&a=1&b=2"),
        ("A=1&a=1", "A=1&a=1"),
        ("a=%7e%2f", "a=~%2F"),
        ("a=b+c:d", "a=b%20c%3Ad"),
        ("a=b=c", "a=b%3Dc"),
        ("a=%ff%2b&%FC", "%FC=&a=%FF%2B"),
    ],
)
def test_a_query_is_decoded_and_encoded_as_aws_does(query: str, canonical: str) -> None:
    assert canonical_query(query) == canonical


def test_only_host_type_and_amz_headers_are_signed() -> None:
    """B4: what is between the proxy and AWS may change every other header; litellm signed
    forwarded ones and failed (14763, 15590, 38093).
    """
    headers = [
        HOST,
        (b"content-TYPE", b"application/json"),
        (b"X-Amz-Target", b" a   b "),
        (b"x-amz-target", b"c"),
        (b"X-Forwarded-For", b"1"),
        (b"traceparent", b"00-a-b-01"),
        (b"X-Amzn-Bedrock-Trace", b"ENABLED"),
        (b"amz-sdk-request", b"attempt=1"),
        (b"User-Agent", b"boto3"),
        (b"Content-Length", b"0"),
    ]
    scope = Scope("us-east-1", "bedrock")

    signed = dict(sign("GET", "/", headers, EMPTY, EXAMPLE, scope, MOMENT.timestamp()))
    crossed = [*headers, (b"X-More", b"1")]
    more = dict(sign("GET", "/", crossed, EMPTY, EXAMPLE, scope, MOMENT.timestamp()))

    assert b"SignedHeaders=content-type;host;x-amz-date;x-amz-target," in signed[b"Authorization"]
    assert signed == more


def test_each_moment_has_a_signature_of_its_own() -> None:
    """B13: a signature holds for some minutes, so none is used twice."""
    scope = Scope("us-east-1", "bedrock")
    moments = [MOMENT.timestamp() + late for late in (0, 1, 86400)]

    made = {signature(sign("GET", "/", [HOST], EMPTY, EXAMPLE, scope, at)) for at in moments}

    assert len(made) == 3


def test_what_the_client_signed_with_is_taken_out() -> None:
    """B5, B6: litellm sent a bearer key beside its signature (27526, 37905), and joined two content
    types into one that AWS had not been promised (13738).
    """
    headers = [
        HOST,
        (b"AUTHORIZATION", b"Bearer key"),
        (b"authorization", b"AWS4-HMAC-SHA256 Credential=x"),
        (b"X-Amz-Date", b"20150830T123600Z"),
        (b"x-amz-security-token", b"t"),
        (b"X-Amz-Content-SHA256", b"h"),
        (b"Content-Type", b"application/json"),
        (b"content-type", b"application/json"),
        (b"X-Amz-Target", b"stays"),
    ]

    assert unsigned_headers(headers) == [
        HOST,
        (b"Content-Type", b"application/json"),
        (b"X-Amz-Target", b"stays"),
    ]


@pytest.mark.parametrize(
    ("path", "left"),
    [
        ("/a%2Fb?x=1&&y=%2F", "/a%2Fb?x=1&&y=%2F"),
        ("/a?", "/a?"),
        ("/a?X-Amz-Signature=s&X-Amz-Date=d", "/a"),
        (
            "/a?b=1&X-Amz-Algorithm=A&X-Amz-Credential=c%2F&x-amz-expires=60&c=2"
            "&X-Amz-SignedHeaders=host&X-Amz-Security-Token=t&X-Amz-Signature=s",
            "/a?b=1&c=2",
        ),
        ("/a?X%2DAmz-Signature=s", "/a"),
    ],
)
def test_a_presigned_url_loses_its_signature_and_nothing_else(path: str, left: str) -> None:
    assert unsigned_path(path) == left


def test_keys_are_not_shown() -> None:
    assert "wJal" not in repr(EXAMPLE) and "wJal" not in f"{EXAMPLE}"
