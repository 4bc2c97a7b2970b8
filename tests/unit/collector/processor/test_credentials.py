"""Keys of every vendor, tokens and passwords are found; what only looks like one stays."""

from __future__ import annotations

import base64

import pytest

from tests.unit.collector.processor.detection import KEYS, check, signs
from tracequill_collector.processor.credentials import is_aws_secret


@pytest.mark.parametrize("key", KEYS, ids=lambda key: str(key)[:12])
def test_a_key_of_each_vendor_is_found(key: str) -> None:
    for around in ("my key is {} ok", "KEY={}", '"{}"', "key:{},", r"\n{}\n", "密钥{}。", "{}"):
        check("api_key", around.format(key), key)


@pytest.mark.parametrize("key", KEYS[:20], ids=lambda key: str(key)[:12])
def test_the_end_of_a_longer_word_is_no_key(key: str) -> None:
    if not key.startswith(("sk-", "px_")):
        check("api_key", f"x{key}")


@pytest.mark.parametrize(
    "text",
    [
        "ghp_zQWBuTSOoRi4A9spHcVY5ncnsDkxkJ0mLq18",
        "sk-toggleable__label-arrow-of-estimators",
        "task-force-of-many-people-in-a-room",
        "sk-1234",
        "AKIAIOSFODNN7EXAMPL",
        "eyJzdWIiOiIxMjM0NTY3ODkwIn0.eyJzdWIiOiIxMjM0NTY3ODkwIn0.abcdefghijkl",
        "basic internationalization of applications",
        "a bearer responsibilities-and-duties list",
        "Basic aW50ZXJuYXRpb25hbGl6YXRpb24=",
        "http://localhost:8080/path",
        "https://example.com/a:b@c",
        "aws secret things are " + "x" * 39,
        "-----BEGIN PUBLIC KEY-----\nMIIB\n-----END PUBLIC KEY-----",
        "px_margin_left_and_right_of_box",
    ],
)
def test_what_only_looks_like_a_key_stays(text: str) -> None:
    check("api_key", text)


def test_what_stands_in_an_authorization_header_is_found() -> None:
    basic = base64.b64encode(b"jane:hunter2 is long").decode()

    check("api_key", "Authorization: Bearer abc.123-def_456~xyz", "abc.123-def_456~xyz")
    check("api_key", f"authorization: basic {basic}", basic)
    check("api_key", "curl 'bearer%20abcdef1234567890'", "abcdef1234567890")


@pytest.mark.parametrize(
    "text",
    [
        "aws_secret_access_key = {}",
        "AWS_SECRET_ACCESS_KEY={}",
        'export AWS_SECRET_ACCESS_KEY="{}"',
        "aws secret key: {}",
        '{{\\"SecretAccessKey\\": \\"{}\\"}}',
        "secret access key is {} ok",
    ],
)
def test_an_aws_secret_is_found_by_what_stands_before_it(text: str) -> None:
    secret = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"

    check("api_key", text.format(secret), secret)
    check("api_key", text.format(secret + "x"))
    check("api_key", secret)


def test_an_aws_secret_is_told_by_the_name_of_its_value() -> None:
    secret = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"

    assert is_aws_secret("aws.secret_access_key", secret)
    assert is_aws_secret("Credentials.SecretAccessKey", secret)
    assert not is_aws_secret("git.commit", secret)
    assert not is_aws_secret("aws_secret_access_key", secret[1:])


@pytest.mark.parametrize("kind", ["", "RSA ", "EC ", "OPENSSH ", "ENCRYPTED ", "PGP "])
def test_a_private_key_is_found_whole(kind: str) -> None:
    block = " BLOCK" if kind == "PGP " else ""
    key = (
        f"-----BEGIN {kind}PRIVATE KEY{block}-----\nProc-Type: 4,ENCRYPTED\n"
        f"DEK-Info: AES-128-CBC,AB\n\n{signs(64)}\n{signs(64)}=\n"
        f"-----END {kind}PRIVATE KEY{block}-----"
    )

    check("api_key", f"here:\n{key}\nthanks", key)
    check("api_key", key.replace("\n", "\\n"), key.replace("\n", "\\n"))


def test_a_private_key_that_was_cut_off_is_found_to_the_end() -> None:
    key = f"-----BEGIN PRIVATE KEY-----\n{signs(64)}\n{signs(30)}"

    check("api_key", f"here: {key}", key)


def test_the_password_of_a_url_is_found() -> None:
    check("api_key", "postgres://app:hunter2@db.example:5432/x", "hunter2")
    check("api_key", "redis://:p%40ss@cache", "p%40ss")
    check("api_key", r"https:\/\/jane:hunter2@example.com\/", "hunter2")
