"""Cards, IBANs and telephone numbers are found however they are written; other numbers stay."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import re2
import stdnum
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.collector.processor.detection import check
from tracequill_collector.processor.detectors import detectors
from tracequill_collector.processor.numbers import IBAN_MARK, is_card

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


@pytest.mark.parametrize("gap", ["", " ", "-", " - "])
@pytest.mark.parametrize("before", [1, 1995, 1999, 2000, 2001, 2500, 5000])
def test_a_number_in_an_endless_row_of_digits_is_found(gap: str, before: int) -> None:
    """Such rows are looked at in pieces, and a number may lie on the border of two."""
    row = (" ".join("7" * 5 for _ in range(before // 5)) + " 1 ").replace(" ", gap or " ")
    for written in ("4111 1111 1111 1111", "378282246310005"):
        check("card", f"{row}{written} 7 7 7 7", written)


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
