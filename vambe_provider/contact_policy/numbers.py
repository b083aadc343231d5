"""One person, one number: what a warehouse holds becomes the number under which WhatsApp knows somebody."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Literal

from vambe_provider.exceptions import PhoneNumberError, VambeConfigError

Repair = Literal["none", "safe"]

DEFAULT_COUNTRIES = (
    "AG AI AR AW BB BL BM BO BQ BR BS BZ CA CL CO CR CU CW DM DO EC ES GD GF GP GT GY HN HT JM KN KY LC MF MQ MS MX NI "
    "PA PE PM PR PT PY SR SV SX TC TT US UY VC VE VG VI"
)
"""The Americas, Spain and Portugal: where digits without a plus sign may start with the country code."""


def mask_number(number: str) -> str:
    """Return a number as logs and errors may show it, such as ``***678``.

    :param number: any spelling.
    """
    digits = re.sub("[^0-9]", "", number)
    return f"***{digits[-3:]}" if len(digits) > 6 else "***"


def canonical_number(
    value: object,
    *,
    default_region: str | None = None,
    repair: Repair = "safe",
    allowed_countries: Iterable[str] | str | None = None,
) -> str:
    """Return the one E.164 form of a number, such as ``+56912345678``.

    Digits without a plus sign are a number of ``default_region``, or start with its country code, or with the code of
    an allowed country. They are refused where they could mean two people: when a region is set and they are one digit
    away from one of its own numbers, or when a number without its country code would be valid in another country.

    :param value: text, or a whole number as a database returns it; a float is refused, since it loses digits and the
        plus sign. Links to a chat and ids of WhatsApp that hold a phone are read too.
    :param default_region: two-letter region of numbers that are written without a country code; None refuses them.
    :param repair: ``safe`` mends what has one reading only: old prefixes of Mexico, Argentina's ``15`` and missing
        ``9``, Brazil's missing ninth digit, a trunk 0 in front of a Chilean mobile, links and ids. ``none`` accepts
        punctuation, ``00`` and the way to write a number inside of its country.
    :param allowed_countries: two-letter regions whose country code may stand without a plus sign, as a list or as one
        text with commas; None means the Americas, Spain and Portugal.
    :return: the number with a plus sign.
    :raises PhoneNumberError: when it cannot be a WhatsApp number; ``reason`` is its code, and the text shows the last
        three digits at most. The same value fails again in the same way.
    :raises VambeConfigError: when a region or ``repair`` does not exist.
    """
    from vambe_provider.contact_policy.reading import read_number

    if repair not in ("none", "safe"):
        raise VambeConfigError("repair: there is no such way to repair numbers", fix="Write it as none or safe.")
    countries = DEFAULT_COUNTRIES if allowed_countries is None else allowed_countries
    return read_number(
        value,
        default_region=default_region,
        safe=repair == "safe",
        countries=countries if isinstance(countries, str) else tuple(countries),
    )


def number_aliases(e164: str) -> frozenset[str]:
    """Return all spellings, digits only, under which WhatsApp or Vambe may know the person with a number.

    :param e164: the number, with or without the plus sign.
    """
    digits = re.sub("[^0-9]", "", e164)
    aliases = {digits}
    if match := re.fullmatch("52(1?)([0-9]{10})", digits):
        aliases |= {f"52{match[2]}", f"521{match[2]}"}
    elif match := re.fullmatch("54(9?)([0-9]{10})", digits):
        aliases |= {f"54{match[2]}", f"549{match[2]}"}
    elif match := re.fullmatch("55([1-9][0-9])(9?)([6-9][0-9]{7})", digits):
        aliases |= {f"55{match[1]}{match[3]}", f"55{match[1]}9{match[3]}"}
    return frozenset(aliases)


__all__ = ["DEFAULT_COUNTRIES", "PhoneNumberError", "Repair", "canonical_number", "mask_number", "number_aliases"]
