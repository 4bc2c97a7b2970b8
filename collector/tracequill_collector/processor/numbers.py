"""Numbers that belong to somebody: payment cards, bank accounts, telephones. Text in, text out.

Each is found by its form and told from any other number by its checksum or its country's plan.
People write the digits in groups, with signs between them that may be invisible, beside other
numbers, and in other scripts. Time is in proportion to the text. No input or output.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

from tracequill_collector.processor.marks import marker

# --- what stands between digits --------------------------------------------------------------

# Soft hyphen, joiners, directions, variation selectors, the frame of a keycap, byte order mark.
_INVISIBLE = (
    "\u00ad\u034f\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069"
    "\u20e3\ufe00-\ufe0f\ufeff"
)
_SPACES = " \t\u00a0\u2000-\u200a\u202f\u205f\u3000"
_DASHES = "\\-\u2010-\u2015\u2212\ufe63\uff0d"
_GAP = f"[{_SPACES}{_DASHES}.{_INVISIBLE}]"
_UNSEEN = re.compile(f"[{_INVISIBLE}]+")
# As it stands within JSON, where a tab is a backslash and a t.
_ANY_GAP = rf"[{_SPACES}{_DASHES}.{_INVISIBLE}()/\\t]"

CARD_MARK = rf"\p{{Nd}}(?:{_ANY_GAP}{{0,4}}\p{{Nd}}){{12}}"
# Without the countries, two letters and two digits would be found in every other text. All that
# follows is not asked for: RE2 would have to count from each place at once, which is slow.
_IBAN_COUNTRIES = (
    "A[DELTZ]|B[AEGHIRY]|C[HRYZ]|D[EJKO]|E[EGS]|F[IKOR]|G[BEILRT]|H[NRU]|I[ELQST]|JO|"
    "K[WZ]|L[BCITUVY]|M[CDEKNRTU]|N[ILO]|OM|P[KLST]|QA|R[OSU]|S[ACDEIKMOTV]|T[LNR]|UA|"
    "V[AG]|XK|YE"
)
IBAN_MARK = (
    rf"(?i:{_IBAN_COUNTRIES}){_ANY_GAP}{{0,4}}[0-9]{_ANY_GAP}{{0,4}}[0-9]"
    rf"{_ANY_GAP}{{0,4}}[A-Za-z0-9]"
)
INTERNATIONAL_MARK = rf"[+\x{{ff0b}}]{_ANY_GAP}{{0,4}}\p{{Nd}}(?:{_ANY_GAP}{{0,4}}\p{{Nd}}){{6}}"
NATIONAL_MARK = rf"\p{{Nd}}(?:{_ANY_GAP}{{0,4}}\p{{Nd}}){{5}}"


class _Group(NamedTuple):
    """Digits without anything visible between them."""

    start: int
    end: int
    digits: str


def _groups(text: str, start: int, end: int) -> list[_Group]:
    """Give the groups of the digits of ``text[start:end]``."""
    groups: list[_Group] = []
    for found in _DIGITS.finditer(text, start, end):
        digits = "".join(str(int(sign)) for sign in found[0])
        if groups and not _gap(text, groups[-1].end, found.start()):
            last = groups.pop()
            groups.append(_Group(last.start, found.end(), last.digits + digits))
        else:
            groups.append(_Group(found.start(), found.end(), digits))
    return groups


_DIGITS = re.compile(r"\d+")


def _runs(pattern: re.Pattern[str], text: str) -> Iterator[list[_Group]]:
    """Yield the digits that follow each other in *text*, in pieces that overlap where they must."""
    start = 0
    while (found := pattern.search(text, start)) is not None:
        yield _groups(text, found.start(), found.end())
        is_cut = found.end() - found.start() > _LONGEST_RUN
        start = found.end() - _OVERLAP if is_cut else found.end()


_LONGEST_RUN = 2000
"""In digits: a longer one is looked at in pieces, for the memory that it would take."""
_OVERLAP = 100
"""In signs: the longest number with all that can stand between its digits."""


def _gap(text: str, start: int, end: int) -> str:
    """Give what can be seen of ``text[start:end]``."""
    return _UNSEEN.sub("", text[start:end])


def _is_word(sign: str) -> bool:
    """Say whether *sign* would make a number a part of a longer word. Other scripts need none."""
    return sign.isascii() and sign.isalnum()


def _begins(text: str, start: int) -> bool:
    """Say whether something can begin at *start*: after no letter, digit or decimal point."""
    before = text[start - 1] if start else " "
    if _is_word(before):
        # The end of \n, \r, \t in a text that was meant for a program.
        return before in "nrt" and start > 1 and text[start - 2] == "\\"
    if before == ".":
        return start > 1 and text[start - 2].isalpha()
    return True


def _ends(text: str, end: int) -> bool:
    """Say whether something can end at *end*: before no letter, digit or decimals."""
    after = text[end : end + 2]
    return not after or not (_is_word(after[0]) or (after[0] == "." and after[1:].isdecimal()))


def _add(spans: list[tuple[int, int]], found: Iterable[tuple[int, int]]) -> None:
    """Add what was found, but for what an overlapping piece has found already."""
    spans += [span for span in found if not spans or span[0] >= spans[-1][1]]


def _without(text: str, spans: list[tuple[int, int]], name: str) -> str:
    """Put the marker in the place of *spans*, which are in order."""
    if not spans:
        return text
    parts: list[str] = []
    done = 0
    for start, end in spans:
        parts += text[done:start], marker(name)
        done = end
    return "".join(parts) + text[done:]


# --- payment cards ---------------------------------------------------------------------------

_CARD_RUN = re.compile(rf"\d(?:{_GAP}{{0,4}}\d){{12,{_LONGEST_RUN}}}")
_SHORTEST_CARD, _LONGEST_CARD = 13, 19


def without_cards(text: str) -> str:
    """Take out payment card numbers: a known issuer's range, its length, and the Luhn digit."""
    spans: list[tuple[int, int]] = []
    for groups in _runs(_CARD_RUN, text):
        _add(spans, _cards(text, groups))
    return _without(text, spans, "card")


def is_card(digits: str) -> bool:
    """Say whether *digits* can be a card's number."""
    return _is_issued(digits) and _luhn(digits)


def _cards(text: str, groups: list[_Group]) -> Iterator[tuple[int, int]]:
    """Yield where cards stand among *groups*, which follow each other in *text*."""
    gaps = [_gap(text, group.end, following.start) for group, following in pairwise(groups)]
    first = 0
    while first < len(groups):
        last = _last_of_card(text, groups, gaps, first)
        if last is not None:
            yield groups[first].start, groups[last].end
            first = last
        first += 1


def _last_of_card(text: str, groups: list[_Group], gaps: list[str], first: int) -> int | None:
    """Give the last group of the longest card that begins with the group *first*."""
    if not _begins(text, groups[first].start):
        return None
    # A row of short numbers is a card only where it is nothing else.
    if len(groups[first].digits) < 4 and (first or len(groups) > _LONGEST_CARD):
        return None
    found, digits = None, ""
    for last in range(first, len(groups)):
        digits += groups[last].digits
        if len(digits) > _LONGEST_CARD:
            break
        if (
            len(digits) >= _SHORTEST_CARD
            and _is_written_so(groups, gaps, first, last)
            and _ends(text, groups[last].end)
            and is_card(digits)
        ):
            found = last
    return found


def _is_written_so(groups: list[_Group], gaps: list[str], first: int, last: int) -> bool:
    """Say whether people group a card's digits so; numbers that stand in a row are no card."""
    if first == last:
        return True
    between = set(gaps[first:last])
    is_all = first == 0 and last == len(groups) - 1
    if len(between) > 1:
        return is_all and "." not in between
    sizes = [len(group.digits) for group in groups[first : last + 1]]
    size = sizes[0]
    is_even = all(other == size for other in sizes[:-1]) and sizes[-1] <= size
    if is_even and size < 4:
        return is_all and "." not in between
    return is_even or sizes[:2] == [4, 6] or (sizes[0] == 6 and len(sizes) == 2)


def _is_issued(digits: str) -> bool:
    length, two, three, four = len(digits), int(digits[:2]), int(digits[:3]), int(digits[:4])
    if digits[0] == "4":
        return length in (13, 16, 19)
    if 51 <= two <= 55 or 2221 <= four <= 2720 or four in (8600, 9792, 9860):
        return length == 16
    if two in (34, 37):
        return length == 15
    if 300 <= three <= 305 or four == 3095 or two in (36, 38, 39):
        return 14 <= length <= 19
    if two in (60, 62, 64, 65, 81) or 3528 <= four <= 3589 or 2200 <= four <= 2204:
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

_IBAN_HEAD = re.compile(
    rf"(?:(?<![A-Za-z0-9])|(?<=IBAN)|(?<=\\[nrt]))[A-Za-z]{{2}}{_GAP}{{0,3}}[0-9]{_GAP}{{0,3}}[0-9]"
)
_IBAN = re.compile(rf"[A-Za-z](?:{_GAP}{{0,3}}[A-Za-z0-9]){{14,33}}")
_SHORTEST_IBAN = 15


def without_ibans(text: str) -> str:
    """Take out IBANs: the check digits, and a country's length and form."""
    spans: list[tuple[int, int]] = []
    head = _IBAN_HEAD.search(text)
    while head is not None:
        end = _end_of_iban(text, head.start())
        if end is not None:
            spans.append((head.start(), end))
        head = _IBAN_HEAD.search(text, head.start() + 1 if end is None else end)
    return _without(text, spans, "iban")


def _end_of_iban(text: str, start: int) -> int | None:
    from stdnum import iban

    found = _IBAN.match(text, start)
    if found is None:
        return None
    # Words that follow look like more of the number: the longest part that is valid is one.
    places = [place for place in range(start, found.end()) if _is_word(text[place])]
    signs = "".join(text[place] for place in places).upper()
    head = "".join(str(int(sign, 36)) for sign in signs[:4])
    remainder, end = 0, None
    for count, sign in enumerate(signs[4:], start=5):
        value = int(sign, 36)
        remainder = (remainder * (10 if value < 10 else 100) + value) % 97
        if (
            count >= _SHORTEST_IBAN
            and (remainder * 10 ** len(head) + int(head)) % 97 == 1
            and not text[places[count - 1] + 1 : places[count - 1] + 2].isdecimal()
            and iban.is_valid(signs[:count], check_country=False)
        ):
            end = places[count - 1] + 1
    return end


# --- telephone -------------------------------------------------------------------------------

_PHONE_GAP = f"(?:{_GAP}|[()/])"
_INTERNATIONAL = re.compile(
    rf"[+\uff0b][{_INVISIBLE}]{{0,3}}\(?\d(?:{_PHONE_GAP}{{0,4}}\d){{6,17}}"
)
_NATIONAL = re.compile(rf"\(?\d(?:{_PHONE_GAP}{{0,4}}\d){{5,{_LONGEST_RUN}}}")
_LONGEST_PHONE = 17
_DATE = re.compile(r"(?:19|20)\d\d([-./ ]?)(?:0\d|1[0-2])\1(?:[0-2]\d|3[01])(?!\d)")


def without_phones(text: str, regions: tuple[str, ...]) -> str:
    """Take out telephone numbers: with a leading +, and as *regions* write them.

    *regions* are ISO 3166 codes. Numbers must be valid by their country's numbering plan.
    """
    spans: list[tuple[int, int]] = []
    found = _INTERNATIONAL.search(text)
    while found is not None:
        end = _end_of_international(text, found.start(), found.end())
        if end is not None:
            spans.append((found.start(), end))
        found = _INTERNATIONAL.search(text, found.start() + 1 if end is None else end)
    text = _without(text, spans, "phone")
    if not regions:
        return text
    spans = []
    for groups in _runs(_NATIONAL, text):
        _add(spans, _nationals(text, groups, regions))
    return _without(text, spans, "phone")


def check_regions(regions: tuple[str, ...]) -> None:
    """Raise ValueError for a region that has no telephone numbers."""
    if not regions:
        return
    import phonenumbers

    for region in regions:
        if region not in phonenumbers.SUPPORTED_REGIONS:
            raise ValueError(
                f"{region!r} is no region whose telephone numbers are known; "
                "regions are ISO 3166 codes of two letters, like DE or US"
            )


def _end_of_international(text: str, start: int, end: int) -> int | None:
    before = text[start - 1] if start else " "
    if (before.isascii() and before.isalpha()) or before in "+\uff0b":
        return None
    for group in reversed(_groups(text, start, end)):
        if _ends(text, group.end) and _is_phone(text[start : group.end], None):
            return group.end
    return None


def _nationals(
    text: str, groups: list[_Group], regions: tuple[str, ...]
) -> Iterator[tuple[int, int]]:
    """Yield where telephone numbers stand among *groups*, which follow each other in *text*."""
    first = 0
    while first < len(groups):
        last = _last_of_phone(text, groups, first, regions)
        if last is not None:
            begin = groups[first].start
            yield begin - (text[begin - 1 : begin] == "("), groups[last].end
            first = last
        first += 1


def _last_of_phone(
    text: str, groups: list[_Group], first: int, regions: tuple[str, ...]
) -> int | None:
    start = groups[first].start
    if not _begins(text, start) or text[start - 1 : start] in ("+", "\uff0b"):
        return None
    found, digits = None, ""
    for last in range(first, len(groups)):
        digits += groups[last].digits
        if len(digits) > _LONGEST_PHONE:
            break
        end = groups[last].end
        if _ends(text, end) and not _DATE.match(text, start, end):
            opened = start - (text[start - 1 : start] == "(")
            for region in regions:
                if _is_possible(digits, region) and _is_phone(text[opened:end], region):
                    found = last
    return found


def _is_possible(digits: str, region: str) -> bool:
    """Say by a glance whether *digits* can be dialled within *region*."""
    shortest, longest = _lengths(region)
    return shortest <= len(digits) <= longest or digits.startswith(("00", "011"))


@lru_cache(maxsize=300)
def _lengths(region: str) -> tuple[int, int]:
    from phonenumbers import PhoneMetadata

    plan = PhoneMetadata.metadata_for_region(region)
    assert plan is not None and plan.general_desc is not None
    lengths = plan.general_desc.possible_length
    return min(lengths), max(lengths) + len(plan.national_prefix or "")


@lru_cache(maxsize=4096)
def _is_phone(text: str, region: str | None) -> bool:
    """Say whether all of *text* is a number; within a *region* also written as it is there."""
    import phonenumbers

    if region is None:
        try:
            return phonenumbers.is_valid_number(phonenumbers.parse(text, None))
        except phonenumbers.NumberParseException:
            return False
    # Beyond the plan it knows dates, times, and where a number must begin with 0.
    return any(
        match.start == 0 and match.end == len(text)
        for match in phonenumbers.PhoneNumberMatcher(_UNSEEN.sub("", text), region)
    )
