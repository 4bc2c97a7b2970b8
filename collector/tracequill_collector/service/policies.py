"""The policy that the settings describe: settings enter, a Policy leaves."""

from __future__ import annotations

from tracequill.settings import Settings, SettingsError
from tracequill_collector.processor.limits import Limits
from tracequill_collector.processor.policy import Policy
from tracequill_collector.processor.redact import Redaction


def policy_of(settings: Settings) -> Policy | None:
    """Give the policy, None where nothing is to be changed. Raises SettingsError."""
    redaction = None
    if settings.redaction_detectors or settings.redaction_keys or settings.redaction_patterns:
        try:
            redaction = Redaction(
                keys=settings.redaction_keys,
                patterns=settings.redaction_patterns,
                detectors=settings.redaction_detectors,
                phone_regions=settings.redaction_phone_regions,
            )
        except ValueError as error:
            raise SettingsError(f"redaction: {error}. Correct it in the settings.") from None
    limits = Limits(
        attribute_max_bytes=settings.limits_attribute_max_bytes,
        attributes_max=settings.limits_attributes_max,
        events_max=settings.limits_events_max,
        span_max_bytes=settings.limits_span_max_bytes,
    )
    if redaction is None and limits == Limits():
        return None
    return Policy(redaction, None if limits == Limits() else limits)
