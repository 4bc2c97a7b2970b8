"""The policy that the settings describe: settings enter, a Policy leaves."""

from __future__ import annotations

from tracequill.errors import SettingsError
from tracequill.settings import Settings
from tracequill_collector.processor.limits import Limits
from tracequill_collector.processor.policy import Policy
from tracequill_collector.processor.redact import Redaction


def policy_of(settings: Settings) -> Policy | None:
    """Give the policy, None where nothing is to be changed. Raises SettingsError."""
    try:
        redaction = _redaction(settings)
    except ValueError as error:
        raise SettingsError(f"redaction: {error}. Correct it in the settings.") from None
    try:
        limits = Limits(
            attribute_max_bytes=settings.limits_attribute_max_bytes,
            attributes_max=settings.limits_attributes_max,
            events_max=settings.limits_events_max,
            span_max_bytes=settings.limits_span_max_bytes,
        )
    except ValueError as error:
        raise SettingsError(f"limits: {error}. Correct it in the settings.") from None
    if redaction is None and limits == Limits():
        return None
    return Policy(redaction, None if limits == Limits() else limits)


def _redaction(settings: Settings) -> Redaction | None:
    # Made also when nothing is looked for: a region that is none is an error all the same.
    redaction = Redaction(
        keys=settings.redaction_keys,
        patterns=settings.redaction_patterns,
        detectors=settings.redaction_detectors,
        phone_regions=settings.redaction_phone_regions,
    )
    return redaction if redaction.is_any else None
