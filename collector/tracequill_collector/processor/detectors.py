"""What looks like a secret in a text, and is one by its checksum or its form. Text in, text out.

Each detector replaces what it finds by ``[redacted:<name>]`` and leaves all else as it was. Each
takes time in proportion to the text, whatever the text is. No input or output; knows nothing of
spans.
"""

from __future__ import annotations

import base64
import binascii
import re
import zlib
from collections.abc import Callable

Detector = Callable[[str], str]
"""Gives the text without what it finds: the same object where it finds nothing."""


def marker(name: str) -> str:
    """Give what stands where something was taken out by the rule *name*."""
    return f"[redacted:{name}]"


# What people and forms put between the digits of a number; the last ones cannot be seen.
_GAP = "[ \\-.\u00a0\u2007\u2009\u202f\u2011\u200b\u200c\u200d\u2060\ufeff]"

# --- payment cards ---------------------------------------------------------------------------

# Thirteen to nineteen digits in groups, not in the middle of a longer word or number.
_CARD = re.compile(rf"(?<![\w.])\d(?:{_GAP}?\d){{12,18}}(?!\w)(?!\.\d)")


def without_cards(text: str) -> str:
    """Take out payment card numbers: a known issuer's range, its length, and the Luhn digit."""
    return _CARD.sub(lambda found: _card(found.group()), text)


def is_card(digits: str) -> bool:
    """Say whether *digits* can be a card's number."""
    return _is_issued(digits) and _luhn(digits)


def _card(found: str) -> str:
    digits = "".join(str(int(sign)) for sign in found if sign.isdecimal())
    return marker("card") if is_card(digits) else found


def _is_issued(digits: str) -> bool:
    length, two, three, four = len(digits), int(digits[:2]), int(digits[:3]), int(digits[:4])
    if digits[0] == "4":
        return length in (13, 16, 19)
    if 51 <= two <= 55 or 2221 <= four <= 2720:
        return length == 16
    if two in (34, 37):
        return length == 15
    if 300 <= three <= 305 or two in (36, 38, 39):
        return 14 <= length <= 19
    if two in (60, 62, 64, 65, 81) or 3528 <= four <= 3589:
        return 16 <= length <= 19
    return (two == 50 or 56 <= two <= 69) and 13 <= length <= 19


def _luhn(digits: str) -> bool:
    total = 0
    for place, sign in enumerate(reversed(digits)):
        number = int(sign)
        if place % 2:
            number = number * 2 - 9 if number > 4 else number * 2
        total += number
    return total % 10 == 0


# --- bank accounts ---------------------------------------------------------------------------

_IBAN = re.compile(rf"(?<!\w)[A-Za-z]{{2}}{_GAP}?\d(?:{_GAP}?\d)(?:{_GAP}?[A-Za-z0-9]){{11,30}}")
_SHORTEST_IBAN = 15


def without_ibans(text: str) -> str:
    """Take out IBANs: a country's length and form, and the check digits."""
    return _IBAN.sub(lambda found: _iban(found.group()), text)


def _iban(found: str) -> str:
    from stdnum import iban

    # Words that follow look like more of the number: the longest part that is valid is one.
    places = [place for place, sign in enumerate(found) if sign.isalnum()]
    for count in range(len(places), _SHORTEST_IBAN - 1, -1):
        end = places[count - 1] + 1
        if end < len(found) and found[end].isalnum():
            continue
        if iban.is_valid("".join(found[place] for place in places[:count])):
            return marker("iban") + found[end:]
    return found


# --- keys ------------------------------------------------------------------------------------

_KEYS = re.compile(
    r"""(?<![A-Za-z0-9])(?:
        sk-[A-Za-z0-9_-]{20,400}                    # OpenAI, Anthropic, OpenRouter, ...
      | (?:AKIA|ASIA|ABIA|ACCA)[A-Z2-7]{16}         # AWS access key id
      | bedrock-api-key-[A-Za-z0-9+/=_-]{20,2000}
      | ABSK[A-Za-z0-9+/=]{60,400}                  # Bedrock, long-lived
      | AIza[A-Za-z0-9_-]{35}                       # Google
      | gh[pousr]_[A-Za-z0-9]{36}                   # GitHub, with a checksum
      | github_pat_[A-Za-z0-9_]{60,120}
      | xox[abeoprs]-[A-Za-z0-9-]{10,250}           # Slack
      | hf_[A-Za-z0-9]{30,50}
      | gsk_[A-Za-z0-9]{40,80}                      # Groq
      | glpat-[A-Za-z0-9_-]{20,60}
      | [rsp]k_(?:live|test)_[A-Za-z0-9]{16,250}    # Stripe
      | SG\.[A-Za-z0-9_-]{16,40}\.[A-Za-z0-9_-]{16,80}
      | npm_[A-Za-z0-9]{36}
      | pypi-[A-Za-z0-9_-]{50,300}
      | px_[A-Za-z0-9_-]{20,200}
      | eyJ[A-Za-z0-9_-]{8,4000}\.[A-Za-z0-9_-]{8,8000}\.[A-Za-z0-9_-]{8,2000}   # JWT
    )(?![A-Za-z0-9])""",
    re.VERBOSE,
)
_BEARER = re.compile(r"(?i)\b(bearer|basic)( +)([A-Za-z0-9._~+/=-]{16,8000})")
_PEM = re.compile(
    r"-----BEGIN (?:[A-Z]{2,10} ){0,3}PRIVATE KEY-----"
    r"[^-]{0,20000}-----END (?:[A-Z]{2,10} ){0,3}PRIVATE KEY-----"
)
# AWS' secret is forty signs without a mark of its own: it is told by what stands before it.
_AWS_SECRET = re.compile(
    r"(?i)(aws.{0,20}?secret.{0,20}?[=:\s\"']{1,5})([A-Za-z0-9/+=]{40})(?![A-Za-z0-9/+=])"
)
_KEY_MARKS = re.compile(
    r"(?i)sk-|A[KSBC][IC]A|bedrock-api|ABSK|AIza|gh[pousr]_|github_pat|xox|hf_|gsk_|glpat|"
    r"k_live|k_test|SG\.|npm_|pypi-|px_|eyJ|bearer|basic|PRIVATE KEY|aws"
)
_BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def without_api_keys(text: str) -> str:
    """Take out keys, tokens and private keys of the forms that vendors give them."""
    if not _KEY_MARKS.search(text):
        return text
    text = _PEM.sub(marker("api_key"), text)
    text = _KEYS.sub(lambda found: _key(found.group()), text)
    text = _BEARER.sub(lambda found: found[1] + found[2] + marker("api_key"), text)
    return _AWS_SECRET.sub(lambda found: found[1] + marker("api_key"), text)


def _key(found: str) -> str:
    if found.startswith("gh") and found[3] == "_" and not _has_github_checksum(found):
        return found
    if found.startswith("eyJ") and not _is_jwt(found):
        return found
    return marker("api_key")


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
    head = token.partition(".")[0]
    try:
        return b'"alg"' in base64.urlsafe_b64decode(head + "=" * (-len(head) % 4))
    except (binascii.Error, ValueError):
        return False


# --- e-mail ----------------------------------------------------------------------------------

_EMAIL = re.compile(
    r"(?<![\w.+-])[\w.!#$%&'*+/=?^`{|}~-]{1,64}@"
    r"(?:[^\W_](?:[\w-]{0,61}[^\W_])?\.){1,8}[^\W\d_]{2,24}(?![\w-])"
)


def without_emails(text: str) -> str:
    """Take out e-mail addresses."""
    return _EMAIL.sub(marker("email"), text) if "@" in text else text


# --- telephone -------------------------------------------------------------------------------

_INTERNATIONAL = re.compile(
    rf"(?<![\w+])(?:\+|\uff0b){_GAP}?\(?\d(?:[()/]|{_GAP}){{0,3}}\d"
    rf"(?:(?:[()/]|{_GAP}){{0,3}}\d){{5,13}}(?!\w)"
)
_NATIONAL = re.compile(rf"(?<![\w.+])\(?\d(?:(?:[()/]|{_GAP}){{0,3}}\d){{5,13}}(?![\w])(?!\.\d)")


def phones(regions: tuple[str, ...]) -> Detector:
    """Give the detector of telephone numbers: with a leading +, and as *regions* write them.

    *regions* are ISO 3166 codes. Numbers must be possible by their country's numbering plan.
    """

    def without_phones(text: str) -> str:
        text = _INTERNATIONAL.sub(lambda found: _phone(found.group(), ()), text)
        if regions:
            text = _NATIONAL.sub(lambda found: _phone(found.group(), regions), text)
        return text

    return without_phones


def _phone(found: str, regions: tuple[str, ...]) -> str:
    import phonenumbers

    for region in regions or (None,):
        try:
            number = phonenumbers.parse(found, region)
        except phonenumbers.NumberParseException:
            continue
        if phonenumbers.is_valid_number(number):
            return marker("phone")
    return found


DETECTORS: dict[str, Detector] = {
    "api_key": without_api_keys,
    "email": without_emails,
    "iban": without_ibans,
    "card": without_cards,
}
"""By name, in the order in which they are applied; ``phone`` is made by ``phones``."""
