"""Whose number a contact shows, and whether it can be told at all."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal

from vambe_provider.contact_policy.numbers import number_aliases

if TYPE_CHECKING:
    from collections.abc import Callable

Whose = Literal["same", "other", "unclear"]
"""``unclear`` is a contact that can be neither the person nor somebody else for sure."""

_PLAIN = re.compile(r"\+?[0-9\s().-]+")
_MIN, _MAX = 8, 15
_MIN_BARE = 11
"""Digits without a plus sign and fewer than these may lack their country code."""
_ELSEWHERE = frozenset({"instagram", "messenger", "facebook", "webchat", "sms", "email", "playground", "telegram"})


def whose_number(text: str | None, *, is_ours: Callable[[str], bool], spellings: frozenset[str]) -> Whose:
    """Say whether a number that the API shows is the one that is looked for.

    :param text: what stands in the contact: a number in any form, an id of WhatsApp, a masked text, or nothing.
    :param is_ours: says of a whole international number, digits only, whether it is the person's.
    :param spellings: the digits of the number that is looked for, in each of its spellings; empty when not known.
    """
    digits = _international(text or "")
    if digits is None:
        return "unclear"
    if is_ours(digits):
        return "same"
    # The end of our number without its country code, or our number with an extension, is not somebody else's.
    if any(spelling.endswith(digits) or digits.startswith(spelling) for spelling in spellings):
        return "unclear"
    return "other" if any(map(_is_possible, number_aliases(digits))) else "unclear"


def is_elsewhere(platform: str | None) -> bool:
    """Say whether a contact is surely on another channel than WhatsApp, where no ticket of ours can be."""
    return (platform or "").strip().lower() in _ELSEWHERE


def _international(text: str) -> str | None:
    """Return the digits of a number with its country code; None for anything that may be something else."""
    spelled = text.strip()
    if not _PLAIN.fullmatch(spelled):
        return None
    digits = re.sub("[^0-9]", "", spelled)
    whole = spelled.startswith("+")
    if digits.startswith("00"):
        digits, whole = digits[2:], True
    if digits.startswith("0") or not _MIN <= len(digits) <= _MAX:
        return None
    return digits if whole or len(digits) >= _MIN_BARE else None


def _is_possible(digits: str) -> bool:
    import phonenumbers

    try:
        return phonenumbers.is_possible_number(phonenumbers.parse(f"+{digits}"))
    except phonenumbers.NumberParseException:
        return False
