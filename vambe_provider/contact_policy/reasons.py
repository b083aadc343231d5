"""Every reason that a decision or a refused number can have: a short stable code, and what it means to a person."""

from __future__ import annotations

NUMBER_REASONS = {
    "missing": "the number is null",
    "empty": "the number is an empty text",
    "type": "the number is neither a text nor a whole number",
    "boolean": "the number is a boolean",
    "float": "the number is a float, which can lose digits",
    "spreadsheet": "the number was turned into a decimal number on its way",
    "characters": "the text holds characters that no phone number has",
    "several_numbers": "the text holds several numbers",
    "extension": "the number has an extension",
    "not_a_phone": "the text is an id, a link or a document's number, and not a phone number",
    "no_country_code": "the country of the number is not certain",
    "no_such_country": "no country has this country code",
    "no_area_code": "the number has no area code",
    "old_format": "the number is written in an old way that is not certain",
    "landline": "the number is a landline",
    "service_number": "the number is a service number",
    "invalid": "nobody can have this number",
}

DECISION_REASONS = {
    "allowed": "every rule allows it",
    "window_overridden": "no window is open, and a person overrode it with a reason",
    "opted_out": "the person does not want to be contacted",
    "suppression_unavailable": "a list of opt-outs could not be read, so nothing is sent",
    "suppression_list_old": "the imported list of opt-outs is older than the policy allows",
    "expired": "it would be sent when it is no longer worth sending",
    "outside_window": "no window is open in all of the contact's possible time zones",
    "never_open": "no window opens within 31 days",
    "no_window": "no window of the policy is for this country",
    "no_preset": "no preset is for this country and purpose",
    "unknown_zone": "the contact's time zone is not known",
    "unknown_holidays": "the holidays of the contact's country are not known",
    "cap_reached": "as many tickets were sent to the person as the cap allows",
    "min_gap": "the last ticket to the person is too recent",
    "sender_cap_reached": "the sender has sent as many tickets as the cap allows",
    "new_people": "the sender has written to as many new people today as the warm-up allows",
    "counts_unavailable": "the tickets that a cap counts were not counted, so nothing is sent",
    "breaker_open": "deliveries of the sender failed, so it rests",
    "breaker_probe": "the sender tries one ticket to a known person first",
}

REASONS = {**NUMBER_REASONS, **DECISION_REASONS}


def meaning(reason: str) -> str:
    """Return what a reason means; one that a list of opt-outs brought along is its own meaning."""
    return REASONS.get(reason, reason.replace("_", " "))
