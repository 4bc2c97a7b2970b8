"""Keys, tokens and passwords of the forms that vendors give them. Text in, text out.

A form that has a checksum or a structure is checked, so that what only looks like a key stays.
Every expression either begins with a rare word and takes all that follows, or is short: time is in
proportion to the text. No input or output.
"""

from __future__ import annotations

import base64
import binascii
import re
import zlib

from tracequill_collector.processor.marks import marker

# Within JSON a slash may be written as \/, so what may hold one is looked at for a few signs only.
API_KEY_MARK = (
    r"sk-[A-Za-z0-9_-]{20}|A(?:KIA|SIA|BIA|CCA)[A-Z2-7]{16}|bedrock-api-key-|ABSK[A-Za-z0-9]|"
    r"AIza[A-Za-z0-9_-]{35}|gh[pousr]_[A-Za-z0-9]{36}|github_pat_|xox[abeoprs]-|xapp-|"
    r"hf_[A-Za-z0-9]{30}|gsk_[A-Za-z0-9]{40}|glpat-|[rs]k_(?:live|test)_|whsec_|"
    r"SG\.[A-Za-z0-9_-]{16}|npm_[A-Za-z0-9]{36}|pypi-|px_[A-Za-z0-9_-]{20}|eyJ[A-Za-z0-9_-]{8}|"
    r"xai-[A-Za-z0-9]{60}|pplx-[A-Za-z0-9]{40}|r8_[A-Za-z0-9]{37}|nvapi-|lsv2_|ya29\.|GOCSPX-|"
    r"hvs\.|dapi[0-9a-f]{32}|dckr_pat_|dop_v1_|tvly-|pcsk_|tgp_v1_|lin_api_|sbp_[0-9a-f]{40}|"
    r"shp[acps][tas]_|PRIVATE KEY|:(?:\\*/){2}[^\s/@]*@|(?i:(?:bearer|basic)(?: |%20)|"
    r"aws.{0,20}secret|secret[_ -]?access[_ -]?key)"
)

# Where a key can begin: after no letter or digit, unless these end a written-out \n.
_BEGIN = r"(?:(?<![A-Za-z0-9])|(?<=\\[nrt]))"
_KEYS = re.compile(
    _BEGIN
    + r"""(?:
        (?P<random>(?:c?sk-|px_)[A-Za-z0-9_-]{20,})  # OpenAI, Anthropic, OpenRouter, ...
      | (?:AKIA|ASIA|ABIA|ACCA)[A-Z2-7]{16}(?![A-Za-z0-9])   # AWS access key id
      | bedrock-api-key-[A-Za-z0-9+/=_-]{20,}
      | ABSK[A-Za-z0-9+/=]{60,}                     # Bedrock, long-lived
      | AIza[A-Za-z0-9_-]{35}                       # Google
      | ya29\.[A-Za-z0-9._-]{20,}
      | GOCSPX-[A-Za-z0-9_-]{20,}
      | (?P<github>gh[pousr]_[A-Za-z0-9]{36}(?![A-Za-z0-9]))  # with a checksum
      | github_pat_[A-Za-z0-9_]{60,}
      | xox[abeoprs]-[A-Za-z0-9-]{10,}              # Slack
      | xapp-[A-Za-z0-9-]{20,}
      | hf_[A-Za-z0-9]{30,}
      | gsk_[A-Za-z0-9]{40,}                        # Groq
      | xai-[A-Za-z0-9]{60,}
      | pplx-[A-Za-z0-9]{40,}
      | r8_[A-Za-z0-9]{37,}                         # Replicate
      | nvapi-[A-Za-z0-9_-]{40,}
      | tgp_v1_[A-Za-z0-9_-]{40,}                   # Together
      | tvly-[A-Za-z0-9-]{20,}
      | pcsk_[A-Za-z0-9_]{40,}                      # Pinecone
      | lsv2_[a-z]{2}_[A-Za-z0-9_]{32,}             # LangSmith
      | glpat-[A-Za-z0-9_-]{20,}
      | [rs]k_(?:live|test)_[A-Za-z0-9]{16,}        # Stripe
      | whsec_[A-Za-z0-9+/=]{24,}
      | SG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}
      | npm_[A-Za-z0-9]{36,}
      | pypi-[A-Za-z0-9_-]{50,}
      | hvs\.[A-Za-z0-9_-]{24,}                     # HashiCorp Vault
      | dapi[0-9a-f]{32}(?![A-Za-z0-9])             # Databricks
      | dckr_pat_[A-Za-z0-9_-]{20,}
      | dop_v1_[0-9a-f]{64}
      | lin_api_[A-Za-z0-9]{32,}
      | sbp_[0-9a-f]{40}
      | shp(?:at|ca|pa|ss)_[0-9a-fA-F]{32}
    )""",
    re.VERBOSE,
)
# After no sign of its own kind: each run of such signs is looked at once.
_JWT = re.compile(
    r"(?:(?<![A-Za-z0-9_-])|(?<=\\[nrt]))"
    r"eyJ[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*){2,4}"
)
_TOKEN = re.compile(r"(?i)(?<![A-Za-z0-9])(bearer|basic)( +|%20)([A-Za-z0-9._~+/=-]{16,})")
_PEM = re.compile(
    r"-----BEGIN (?:[A-Z0-9]{1,12} ){0,3}PRIVATE KEY(?: BLOCK)?-----"
    r"(?:[^-]++|-(?!----))*+"
    r"(?:-----END (?:[A-Z0-9]{1,12} ){0,3}PRIVATE KEY(?: BLOCK)?-----)?"
)
# AWS' secret is forty signs without a mark of its own: it is told by what stands before it.
_AWS_NAME = re.compile(r"(?i)aws.{0,20}?secret|secret[_ -]?access[_ -]?key")
_AWS_VALUE = re.compile(r"[A-Za-z0-9/+]{40}")
_AWS_SECRET = re.compile(
    r"(?i)((?:aws.{0,20}?secret|secret[_ -]?access[_ -]?key).{0,20}?[=:\s\"'\\]{1,5})"
    r"([A-Za-z0-9/+=]{40})(?![A-Za-z0-9/+=])"
)
_URL_PASSWORD = re.compile(r"(:(?:\\*/){2}[^\s/:@\"']{0,200}:)([^\s/@\"']{1,500})(?=@)")
_BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def without_api_keys(text: str) -> str:
    """Take out keys, tokens, private keys, and passwords in URLs."""
    text = _PEM.sub(marker("api_key"), text)
    text = _KEYS.sub(_key, text)
    text = _JWT.sub(lambda found: marker("api_key") if _is_jwt(found[0]) else found[0], text)
    text = _TOKEN.sub(_token, text)
    text = _URL_PASSWORD.sub(lambda found: found[1] + marker("api_key"), text)
    return _AWS_SECRET.sub(lambda found: found[1] + marker("api_key"), text)


def is_aws_secret(name: str, value: str) -> bool:
    """Say whether *value* is what *name* says: an AWS secret access key."""
    return bool(len(value) == 40 and _AWS_VALUE.fullmatch(value) and _AWS_NAME.search(name))


def _key(found: re.Match[str]) -> str:
    key = found[0]
    if found["github"] and not _has_github_checksum(key):
        return key
    # sk-toggleable__label-arrow is a class of a web page; keys are random.
    if found["random"] and sum(sign.isdigit() for sign in key) < 3:
        return key
    return marker("api_key")


def _token(found: re.Match[str]) -> str:
    token = found[3]
    if found[1].lower() == "basic":
        is_one = b":" in _decoded(token.replace("-", "+").replace("_", "/"))
    else:
        is_one = any(sign.isdigit() for sign in token)
    return found[1] + found[2] + marker("api_key") if is_one else found[0]


def _has_github_checksum(token: str) -> bool:
    """The last six signs are the CRC32 of the thirty before them, in base 62."""
    body, check = token[4:-6], token[-6:]
    number = zlib.crc32(body.encode())
    signs = ""
    for _ in range(6):
        number, digit = divmod(number, 62)
        signs = _BASE62[digit] + signs
    # Whether capitals come first has changed: both orders are known.
    return check in (signs, signs.swapcase())


def _is_jwt(token: str) -> bool:
    """Say whether *token* begins with the header of a signed or an encrypted token."""
    head = token.partition(".")[0].replace("-", "+").replace("_", "/")
    return b'"alg"' in _decoded(head) or b'"enc"' in _decoded(head)


def _decoded(text: str) -> bytes:
    text = text.rstrip("=")
    if len(text) % 4 == 1:
        return b""
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4))
    except (binascii.Error, ValueError):
        return b""
