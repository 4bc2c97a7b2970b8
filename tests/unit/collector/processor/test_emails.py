"""Addresses are found in any script; what stands around them stays."""

from __future__ import annotations

import pytest

from tests.unit.collector.processor.detection import ALL, check


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
