"""Each detector under its name, the check of what one takes out, and keys as vendors make them."""

from __future__ import annotations

import base64
import json
import random
import zlib
from typing import Any

import re2

from tracequill_collector.processor.detectors import NAMES, detectors

REGIONS = ("DE", "US", "GB", "CN")
ALL = {one.name: one for one in detectors(set(NAMES), REGIONS)}


def check(name: str, text: str, *secrets: str) -> None:
    """Assert that the detector takes exactly *secrets* out of *text*, and has a mark there."""
    new = text
    for secret in secrets:
        new = new.replace(secret, f"[redacted:{name}]")
    assert ALL[name].without(text) == new
    assert ALL[name].without(new) == new
    if secrets:
        assert re2.search(ALL[name].mark, text)
        # It is also seen where the text stands in JSON, unless by an escape, which is a mark too.
        for written in (json.dumps(text), json.dumps(text, ensure_ascii=False)):
            assert "\\u" in written or re2.search(ALL[name].mark, written), written


_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def signs(count: int, alphabet: str = _ALPHABET) -> str:
    """Give signs that look random and are always the same."""
    return "".join(random.Random(count).choices(alphabet, k=count))


def github(prefix: str) -> str:
    """Give a token with its checksum."""
    body = signs(30)
    number, check = zlib.crc32(body.encode()), ""
    for _ in range(6):
        number, digit = divmod(number, 62)
        check = _ALPHABET[digit] + check
    return f"{prefix}_{body}{check}"


def token_of(header: dict[str, Any], *parts: str) -> str:
    """Give a JSON web token with *header*."""
    head = base64.urlsafe_b64encode(json.dumps(header).encode()).decode().rstrip("=")
    return ".".join((head, *parts))


HEX = "0123456789abcdef"
KEYS = [
    f"sk-{signs(48)}",
    f"sk-proj-{signs(80)}-{signs(40)}_{signs(30)}",
    f"sk-ant-api03-{signs(93)}AA",
    f"sk-or-v1-{signs(64, HEX)}",
    f"sk-lf-{signs(8, HEX)}-1234-5678-9abc-{signs(12, HEX)}",
    f"csk-{signs(48)}",
    "AKIAIOSFODNN7EXAMPLE",
    "ASIAIOSFODNN7EXAMPLE",
    f"bedrock-api-key-{signs(132)}==",
    f"ABSK{signs(120)}=",
    f"AIza{signs(35)}",
    f"ya29.{signs(60)}",
    f"GOCSPX-{signs(28)}",
    github("ghp"),
    github("gho"),
    "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",
    f"github_pat_{signs(22)}_{signs(59)}",
    "xox" + f"b-123456789012-1234567890123-{signs(24)}",
    "xapp" + f"-1-A0123456789-1234567890123-{signs(64, HEX)}",
    f"hf_{signs(34)}",
    f"gsk_{signs(52)}",
    f"xai-{signs(80)}",
    f"pplx-{signs(48)}",
    f"r8_{signs(37)}",
    f"nvapi-{signs(64)}",
    f"tgp_v1_{signs(43)}",
    f"tvly-{signs(32)}",
    f"pcsk_{signs(70)}",
    f"lsv2_pt_{signs(32, HEX)}_{signs(10, HEX)}",
    f"glpat-{signs(20)}",
    "sk_" + f"live_{signs(24)}",
    "rk_" + f"test_{signs(24)}",
    f"whsec_{signs(32)}",
    f"SG.{signs(22)}.{signs(43)}",
    f"npm_{signs(36)}",
    f"pypi-{signs(160)}",
    f"px_{signs(40)}",
    f"hvs.{signs(90)}",
    f"dapi{signs(32, HEX)}",
    f"dckr_pat_{signs(27)}",
    f"dop_v1_{signs(64, HEX)}",
    f"lin_api_{signs(40)}",
    f"sbp_{signs(40, HEX)}",
    f"shpat_{signs(32, HEX)}",
    token_of({"alg": "HS256", "typ": "JWT"}, signs(60), signs(43)),
    token_of({"typ": "JWT", "alg": "RS256", "kid": "x" * 3000}, signs(20000), signs(342)),
    token_of({"alg": "none"}, signs(30), ""),
    token_of({"alg": "dir", "enc": "A256GCM"}, "", signs(16), signs(500), signs(22)),
]
