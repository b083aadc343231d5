"""One person, one number: what a warehouse holds becomes the number under which WhatsApp knows somebody."""

from __future__ import annotations

import re
from collections.abc import Callable

from vambe_provider.api.numbers import phone_problem, spelled_number
from vambe_provider.exceptions import PhoneNumberError, VambeConfigError

_PLUS = "Write the number with + and its country code."
_PLUS_OR_REGION = "Write the number with + and its country code, or set default_region in the connection."
# Digits without a plus sign are only taken as international when they are longer than most national numbers: shorter
# ones can be valid in a country that nobody meant.
_MIN_BARE = 11


def mask_number(number: str) -> str:
    """Return a number as logs and errors may show it, as ``***678``.

    :param number: any spelling.
    """
    digits = re.sub("[^0-9]", "", number)
    return f"***{digits[-3:]}" if len(digits) > 6 else "***"


def canonical_number(value: object, *, default_region: str | None = None) -> str:
    """Return the one E.164 form of a number, as ``+56912345678``.

    Repairs what is safe to repair: spaces and brackets, ``00`` for the plus sign, trunk prefixes, Mexico's ``1`` after
    52 and its 044, 045 and 01, Argentina's ``15`` and missing ``9``, and the missing ninth digit of Brazilian mobiles.
    Digits without a plus sign are taken as a number of the region, or as international when they are long enough.

    :param value: text, or a whole number as a database returns it; a float is refused, since it loses digits and the
        plus sign.
    :param default_region: two-letter region of numbers that are written without a country code; None refuses them.
    :raises PhoneNumberError: when it cannot be a WhatsApp number; the text shows the last three digits at most.
    :raises VambeConfigError: when the region does not exist.
    """
    text = spelled_number(value)
    if text.startswith("00"):
        text = f"+{text[2:]}"
    if text.startswith("+"):
        return _international(text[1:])
    if default_region is not None:
        try:
            return _international(_with_country(text, _region(default_region)))
        except PhoneNumberError:
            if len(text) < _MIN_BARE:
                raise
    return _bare(text)


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


def _region(region: str) -> str:
    import phonenumbers

    code = region.strip().upper()
    if code not in phonenumbers.SUPPORTED_REGIONS:
        raise VambeConfigError("default_region: there is no such region", fix="Write it as CL, MX or BR.")
    return code


def _bare(digits: str) -> str:
    """Return the E.164 form of digits that may start with a country code although no plus sign says so."""
    if len(digits) < _MIN_BARE or digits.startswith("0"):
        raise phone_problem(f"{mask_number(digits)} has no country code", fix=_PLUS_OR_REGION)
    return _international(digits, fix=_PLUS_OR_REGION)


def _with_country(text: str, region: str) -> str:
    """Return the digits with the region's country code in front, whether it was there or not."""
    import phonenumbers

    try:
        parsed = phonenumbers.parse(text, region)
    except phonenumbers.NumberParseException:
        raise phone_problem(f"{mask_number(text)} is no number of {region}", fix=_PLUS) from None
    return phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164).removeprefix("+")


def _international(digits: str, *, fix: str = _PLUS) -> str:
    """Return the E.164 form of digits that start with a country code."""
    import phonenumbers

    code = digits[:2]
    if code == "56":
        return _chilean(digits)
    if code in _REPAIRS:
        digits = f"{code}{_REPAIRS[code](digits[2:])}"
    try:
        parsed = phonenumbers.parse(f"+{digits}")
    except phonenumbers.NumberParseException:
        raise phone_problem(f"{mask_number(digits)} starts with no country code", fix=fix) from None
    kind = phonenumbers.number_type(parsed)
    if kind == phonenumbers.PhoneNumberType.UNKNOWN:
        region = phonenumbers.region_code_for_country_code(parsed.country_code or 0)
        raise phone_problem(
            f"{mask_number(digits)} is not a valid number in {region} (+{parsed.country_code})", fix=fix
        )
    if kind not in (phonenumbers.PhoneNumberType.MOBILE, phonenumbers.PhoneNumberType.FIXED_LINE_OR_MOBILE):
        raise phone_problem(f"{mask_number(digits)} is a landline or a service number", fix="Use a mobile number.")
    return phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164)


def _chilean(digits: str) -> str:
    # The library cannot tell landlines from mobiles here and lags behind new ranges of mobiles; the rule is simple.
    if not re.fullmatch("569[0-9]{8}", digits):
        raise phone_problem(
            f"{mask_number(digits)} is not a Chilean mobile number, which has 9 digits and starts with 9",
            fix="The old forms with 8 digits or with 09 are not guessed: correct the number.",
        )
    return f"+{digits}"


def _mexico(national: str) -> str:
    # 1, 044, 045 and 01 were dialled before mobiles until 2020; WhatsApp still has ids with the 1.
    match = re.fullmatch("(?:1|01|044|045)?([0-9]{10})", national)
    return match[1] if match else national


def _argentina(national: str) -> str:
    """Return an Argentine number as a mobile: with the 9 in front, and without the 15 that is dialled inside of the
    country.
    """
    import phonenumbers

    national = national.lstrip("0").removeprefix("9").lstrip("0")
    if len(national) == 12:  # the 15 stands after the area code, whose length only the library knows
        parsed = phonenumbers.parse(f"+54{national}")
        national = str(parsed.national_number).removeprefix("9")
    return f"9{national}"


def _brazil(national: str) -> str:
    # Mobiles got a ninth digit, a 9 in front; landlines start with 2 to 5.
    match = re.fullmatch("0?([1-9][0-9])([6-9][0-9]{7})", national)
    return f"{match[1]}9{match[2]}" if match else national


_REPAIRS: dict[str, Callable[[str], str]] = {"52": _mexico, "54": _argentina, "55": _brazil}

__all__ = ["PhoneNumberError", "canonical_number", "mask_number", "number_aliases"]
