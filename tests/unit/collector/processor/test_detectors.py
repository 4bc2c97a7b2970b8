"""Each detector finds what it is for and leaves what only looks like it, in linear time."""

from __future__ import annotations

import base64
import json
import random
import re
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import re2
import stdnum
from hypothesis import given, settings
from hypothesis import strategies as st

from tracequill_collector.processor.credentials import is_aws_secret
from tracequill_collector.processor.detectors import NAMES, Detector, detectors
from tracequill_collector.processor.numbers import IBAN_MARK, is_card

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


# --- cards ----------------------------------------------------------------------------------


def with_luhn(start: str, length: int) -> str:
    """Give *start*, filled to *length* with a right last digit."""
    body = start.ljust(length - 1, "7")
    return next(
        number for digit in "0123456789" if luhn(number := body + digit) and len(number) == length
    )


def luhn(number: str) -> bool:
    """Say by the book whether the last digit is right."""
    digits = [int(sign) for sign in reversed(number)]
    doubled = [sum(divmod(digit * 2, 10)) for digit in digits[1::2]]
    return (sum(digits[::2]) + sum(doubled)) % 10 == 0


@pytest.mark.parametrize(
    ("start", "length"),
    [
        ("4", 13),
        ("4", 16),
        ("4", 19),
        ("51", 16),
        ("55", 16),
        ("2221", 16),
        ("2720", 16),
        ("34", 15),
        ("37", 15),
        ("300", 14),
        ("305", 16),
        ("3095", 14),
        ("36", 14),
        ("38", 19),
        ("6011", 16),
        ("644", 16),
        ("65", 19),
        ("62", 16),
        ("62", 19),
        ("81", 17),
        ("3528", 16),
        ("3589", 19),
        ("2200", 16),
        ("9792", 16),
        ("5018", 13),
        ("6304", 19),
    ],
)
def test_a_card_of_each_issuer_is_found_and_stays_with_a_wrong_last_digit(
    start: str, length: int
) -> None:
    number = with_luhn(start, length)
    wrong = number[:-1] + str((int(number[-1]) + 1) % 10)

    check("card", f"card {number}, thanks", number)
    check("card", f"card {wrong}, thanks")


@pytest.mark.parametrize(
    ("start", "length"),
    [("4", 15), ("4", 17), ("51", 15), ("34", 16), ("2219", 16), ("1", 16), ("7", 16), ("90", 16)],
)
def test_a_number_that_nobody_issues_stays(start: str, length: int) -> None:
    check("card", with_luhn(start, length))


@pytest.mark.parametrize(
    "written",
    [
        "4111 1111 1111 1111",
        "4111-1111-1111-1111",
        "4111.1111.1111.1111",
        "4111 - 1111 - 1111 - 1111",
        "4111\u00a01111\u202f1111\u20091111",
        "4111\u20131111\u20131111\u20131111",
        "4111\t1111\t1111\t1111",
        "41111111 11111111",
        "41 11 11 11 11 11 11 11",
        "4 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1",
        "4111\u200b1111\u200b1111\u200b1111",
        "4\u200d1\u200d1\u200d1\u00ad1111\ufeff11111111",
        "4111\u200b 1111\u200b 1111 1111",
        "٤١١١١١١١١١١١١١١١",
        "４１１１１１１１１１１１１１１１",
        "𝟒𝟏𝟏𝟏𝟏𝟏𝟏𝟏𝟏𝟏𝟏𝟏𝟏𝟏𝟏𝟏",
        "4\ufe0f\u20e31\ufe0f\u20e3" + "1" * 14,
        "4000 0566 5566 5556",
        "3782 822463 10005",
        "3056 930902 5904",
    ],
)
def test_a_card_is_found_however_it_is_written(written: str) -> None:
    check("card", f"pay with {written} please", written)


@pytest.mark.parametrize(
    "around",
    [
        "{} 12/27 123",
        "{} 123",
        "{}, 12/27",
        "1 {}",
        "1. {}",
        "no.{}",
        "card:{}.",
        "card_{}_",
        "卡号{}是",
        '"{}"',
        "({})",
        "({}).",
        "number is {}.\nNext",
        r"repr \n{}\n",
        "x={};",
        "{} {}",
        "{}\n{}",
        "{} 2024",
    ],
)
def test_a_card_is_found_whatever_stands_around_it(around: str) -> None:
    for written in ("4111 1111 1111 1111", "378282246310005"):
        check("card", around.format(written, written), written)


@pytest.mark.parametrize(
    "text",
    [
        "0.4111111111111111",
        "probability .4111111111111111",
        "-1.4111111111111111e-5",
        "4111111111111111.5",
        "id a4111111111111111",
        "id 4111111111111111f",
        "44111111111111111",
        "411111111111111144444444",
        "4,111,111,111,111,111",
        "0.4532 0.1122 0.3344 0.9988 0.4111 0.1111",
        "1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5",
        "2024-01-15 10:22:33.123456",
        "1770000000000000000",
        "4.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1",
        "",
        "4",
    ],
)
def test_numbers_that_are_no_card_stay(text: str) -> None:
    check("card", text)


@given(st.integers(0, 10**19 - 1))
def test_a_card_has_a_right_last_digit(number: int) -> None:
    digits = str(number)
    if len(digits) >= 13:
        assert not is_card(digits) or luhn(digits)


# --- IBANs ----------------------------------------------------------------------------------

# The examples of the registry.
IBANS = [
    "AL47212110090000000235698741",
    "AT611904300234573201",
    "BE68539007547034",
    "BR1800360305000010009795493C1",
    "CH9300762011623852957",
    "DE89370400440532013000",
    "ES9121000418450200051332",
    "FR1420041010050500013M02606",
    "GB29NWBK60161331926819",
    "IT60X0542811101000000123456",
    "KW81CBKU0000000000001234560101",
    "MT84MALT011000012345MTLCAST001S",
    "NL91ABNA0417164300",
    "NO9386011117947",
    "PL61109010140000071219812874",
    "SC18SSCB11010000000000001497USD",
    "TR330006100519786457841326",
]


def in_fours(number: str, gap: str = " ") -> str:
    """Write *number* as forms do."""
    return gap.join(number[at : at + 4] for at in range(0, len(number), 4))


@pytest.mark.parametrize("number", IBANS)
def test_an_iban_is_found_in_every_way_of_writing(number: str) -> None:
    for written in (
        number,
        in_fours(number),
        in_fours(number, "-"),
        in_fours(number, "\u00a0"),
        number.lower(),
        number[:4] + "\u200b" + number[4:],
    ):
        check("iban", f"to {written}", written)
        check("iban", f"to {written}, by tomorrow", written)
        check("iban", f"to {written} by tomorrow at 12 o'clock", written)
        check("iban", f"IBAN{written}", written)
        check("iban", f"转账到{written}谢谢", written)


@pytest.mark.parametrize("number", IBANS)
def test_an_iban_with_a_wrong_digit_stays(number: str) -> None:
    wrong = number[:2] + str((int(number[2]) + 1) % 10) + number[3:]

    check("iban", f"to {wrong}")


def test_what_looks_like_an_iban_hides_no_iban_behind_it() -> None:
    text = "Ref AT12 DE89 3704 0044 0532 0130 00 DE99 GB29NWBK60161331926819EUR"

    check("iban", text, "DE89 3704 0044 0532 0130 00", "GB29NWBK60161331926819")


@pytest.mark.parametrize(
    "text",
    [
        "at 12 o'clock we met 15 people in 20 rooms",
        "ZZ89370400440532013000",
        "DE8937040044053201300",
        "DE893704004405320130001",
        "xDE89370400440532013000",
        "de89",
    ],
)
def test_what_is_no_iban_stays(text: str) -> None:
    check("iban", text)


def test_the_mark_knows_every_country_with_ibans() -> None:
    lines = (Path(stdnum.__file__).parent / "iban.dat").read_text().splitlines()
    countries = [line[:2] for line in lines if re.match(r"[A-Z]{2} ", line)]

    assert len(countries) > 80
    for country in countries:
        assert re2.fullmatch(IBAN_MARK, f"{country}123")


# --- keys -----------------------------------------------------------------------------------

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


# --- e-mail ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "address",
    [
        "jane@example.com",
        "jane.doe+tag@mail.example.co.uk",
        "j@x.io",
        "O'Brien@example.com",
        "josé@exämple.de",
        "jose\u0301@example.com",
        "иван@почта.рф",
        "用户@例子.公司",
        "user@xn--e1afmkfd.xn--p1ai",
        "jane@123.com",
        "JANE@EXAMPLE.COM",
        "jane\uff20example.com",
        "jane%40example.com",
        "x_y-z%w@sub-domain.example.museum",
        "j\u200bane@example.com",
        "a" * 200 + "@example.com",
    ],
)
@pytest.mark.parametrize(
    "around", ["{}", "write to {}, please", "<{}>", "mailto:{}", '"{}"', "({})"]
)
def test_an_address_is_found_in_any_script(address: str, around: str) -> None:
    check("email", around.format(address), address)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("?email=jane@example.com&x=1", "jane@example.com"),
        ("メールはjane@example.comですが、よろしくお願いします", "jane@example.com"),
        ("jane@example.com.", "jane@example.com"),
        ("jane@example.com/path", "jane@example.com"),
        ("**jane@example.com**", "jane@example.com"),
        ("'jane@example.com'", "jane@example.com"),
        ("jane@example.com_2", "jane@example.com"),
    ],
)
def test_what_stands_around_an_address_stays(text: str, address: str) -> None:
    check("email", text, address)


def test_two_addresses_in_a_row_are_both_found() -> None:
    check("email", "a@b.com;c@d.org", "a@b.com", "c@d.org")
    assert "b.com" not in ALL["email"].without("a@b.com@c.com")


@pytest.mark.parametrize(
    "text",
    ["@jane", "jane@", "jane @ example.com", "a@b", "icon@2x.png", "react@18.2.0", "@a.b.com"],
)
def test_what_is_no_address_stays(text: str) -> None:
    check("email", text)


# --- telephone ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "number",
    [
        "+49 30 901820",
        "+4930901820",
        "+1 202-555-0123",
        "+1 (202) 555-0123",
        "+44 (0)20 7946 0018",
        "+49 (0) 30/901820",
        "\uff0b49 30 901820",
        "+٤٩ ٣٠ ٩٠١٨٢٠",
        "+86 138 0013 8000",
        "+49\u200b30\u200b901820",
    ],
)
@pytest.mark.parametrize(
    "around", ["{}", "call {} now", "tel:{}", "电话{}谢谢", "{}, 14:00", "{}."]
)
def test_an_international_number_is_found_in_every_region(number: str, around: str) -> None:
    international = {one.name: one for one in detectors({"phone"}, ())}["phone"]

    check("phone", around.format(number), number)
    assert international.without(around.format(number)) == around.format("[redacted:phone]")
    assert re2.search(international.mark, number)


@pytest.mark.parametrize(
    "number",
    [
        "030 901820",
        "030/901820",
        "(030) 901820",
        "0171 1234567",
        "202-555-0123",
        "(202) 555-0123",
        "2025550123",
        "1 202 555 0123",
        "020 7946 0018",
        "0049 30 901820",
        "138 0013 8000",
    ],
)
def test_a_number_is_found_as_its_region_writes_it(number: str) -> None:
    international = {one.name: one for one in detectors({"phone"}, ())}["phone"]

    check("phone", f"call {number} now", number)
    assert international.without(f"call {number} now") == f"call {number} now"


@pytest.mark.parametrize(
    "text",
    [
        "+49 1",
        "+999 12345678",
        "2024-01-15 10:22:33",
        "20240115",
        "order 123456",
        "192.168.100.200",
        "3.14159265358979",
        "x2025550123",
        "a+4930901820",
    ],
)
def test_other_numbers_are_no_telephone(text: str) -> None:
    check("phone", text)


def test_a_sum_is_no_telephone() -> None:
    (international,) = detectors({"phone"}, ())

    assert international.without("1 + 4930901820 = x+4930901820") == "1 + 4930901820 = x+4930901820"


def test_a_region_may_be_in_small_letters_and_an_unknown_one_is_an_error() -> None:
    (german,) = detectors({"phone"}, ("de",))

    assert german.without("030 901820") == "[redacted:phone]"
    with pytest.raises(ValueError, match=r"'GERMANY' is no region .* like DE or US"):
        detectors({"phone"}, ("Germany",))


def test_an_unknown_detector_is_an_error_that_names_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"no detector 'cards'.*api_key, email, iban, card, phone"):
        detectors({"cards"}, ())


# --- all of them ----------------------------------------------------------------------------

SECRETS = st.sampled_from(
    [
        "4111111111111111",
        "4111 1111 1111 1111",
        "DE89 3704 0044 0532 0130 00",
        "jane@example.com",
        "+49 30 901820",
        "030 901820",
        KEYS[0],
        KEYS[-4],
    ]
)
FRAGMENTS = st.one_of(
    st.text(max_size=8),
    st.text("0123456789 -.+/@\u200b\\n\"'", max_size=30),
    SECRETS,
    st.sampled_from(["-----BEGIN PRIVATE KEY-----", "Bearer ", "aws_secret=", "[redacted:card]"]),
)


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=60)
@given(text=st.lists(FRAGMENTS, max_size=6).map("".join))
def test_a_detector_never_raises_is_idempotent_and_has_a_mark(name: str, text: str) -> None:
    detector = ALL[name]
    new = detector.without(text)
    after = detector.without(new)

    # What is taken out may uncover one thing more.
    assert detector.without(after) == after
    if new != text:
        clean = text.encode("utf-8", "replace").decode()
        assert re2.search(detector.mark, clean)
        written = json.dumps(text)
        assert "\\u" in written or re2.search(detector.mark, written)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "piece",
    [
        "4",
        "4 ",
        "4111 ",
        "4 - ",
        "DE89 ",
        "de8",
        "a",
        "a.",
        "@",
        "a@",
        "a@b",
        "@a.",
        "+1",
        "+1 ",
        "+",
        "(",
        "sk-",
        "-eyJ",
        "eyJ.",
        "ghp_",
        "SG.aaaaaaaaaaaaaaaaaaaa",
        "aws",
        "aws secret ",
        "://:",
        "-----BEGIN PRIVATE KEY-----",
        "-",
        "Bearer ",
        "\u200b",
        "é",
        "0171 ",
        "2024-01-",
        "123456,",
    ],
)
def test_the_work_grows_in_proportion_to_the_text(name: str, piece: str) -> None:
    # What would take time in the square of the length would never end here.
    text = piece * (30_000 // len(piece))

    ALL[name].without(text)


def test_every_detector_has_a_name_and_comes_in_its_order() -> None:
    made: Callable[[set[str]], list[Detector]] = lambda names: detectors(names, ())  # noqa: E731

    assert [one.name for one in made(set(NAMES))] == list(NAMES)
    assert [one.name for one in made({"card", "email"})] == ["email", "card"]


@pytest.mark.parametrize("gap", ["", " ", "-", " - "])
@pytest.mark.parametrize("before", [1, 1995, 1999, 2000, 2001, 2500, 5000])
def test_a_number_in_an_endless_row_of_digits_is_found(gap: str, before: int) -> None:
    """Such rows are looked at in pieces, and a number may lie on the border of two."""
    row = (" ".join("7" * 5 for _ in range(before // 5)) + " 1 ").replace(" ", gap or " ")
    for written in ("4111 1111 1111 1111", "378282246310005"):
        check("card", f"{row}{written} 7 7 7 7", written)
