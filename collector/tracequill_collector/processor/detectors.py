"""What can be looked for in a text, by name: cards, IBANs, API keys, e-mail addresses, telephones.

Each detector replaces what it finds by ``[redacted:<name>]`` and leaves all else as it was. Its
mark is an expression of RE2 that finds something in every text in which the detector does, also
when that text is a string within JSON: most texts have no mark at all, and a glance is enough.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from tracequill_collector.processor.credentials import API_KEY_MARK, without_api_keys
from tracequill_collector.processor.emails import EMAIL_MARK, without_emails
from tracequill_collector.processor.numbers import (
    CARD_MARK,
    IBAN_MARK,
    INTERNATIONAL_MARK,
    NATIONAL_MARK,
    check_regions,
    without_cards,
    without_ibans,
    without_phones,
)

API_KEY, EMAIL, IBAN, CARD, PHONE = "api_key", "email", "iban", "card", "phone"

NAMES = (API_KEY, EMAIL, IBAN, CARD, PHONE)
"""In the order in which they are applied."""


@dataclass(frozen=True, slots=True)
class Detector:
    """One of them."""

    name: str
    mark: str
    without: Callable[[str], str]
    """Gives the text without what it finds, an equal one where it finds nothing."""


def detectors(names: set[str], phone_regions: tuple[str, ...]) -> list[Detector]:
    """Make the detectors of *names*; ValueError for a name or a region that is none."""
    if unknown := names.difference(NAMES):
        raise ValueError(
            f"there is no detector {min(unknown)!r}; the detectors are {', '.join(NAMES)}"
        )
    regions = tuple(region.upper() for region in phone_regions)
    check_regions(regions)
    made = (
        Detector(API_KEY, API_KEY_MARK, without_api_keys),
        Detector(EMAIL, EMAIL_MARK, without_emails),
        Detector(IBAN, IBAN_MARK, without_ibans),
        Detector(CARD, CARD_MARK, without_cards),
        Detector(
            PHONE,
            NATIONAL_MARK if regions else INTERNATIONAL_MARK,
            partial(without_phones, regions=regions),
        ),
    )
    return [detector for detector in made if detector.name in names]
