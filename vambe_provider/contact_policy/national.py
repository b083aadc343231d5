"""From a country code and what follows it to the one number that both mean, country by country.

``phonenumbers`` knows which numbers are valid; the rules here say which other spellings mean the same number. A rule
with ``repair`` is used only where every complete reading gives the same number.

This module loads ``phonenumbers``; import it where a number is read, and not before.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from phonenumbers import (
    COUNTRY_CODE_TO_REGION_CODE,
    NumberParseException,
    PhoneMetadata,
    PhoneNumber,
    PhoneNumberFormat,
    PhoneNumberType,
    format_number,
    number_type,
    parse,
    region_code_for_country_code,
)

from vambe_provider.api.numbers import phone_problem

if TYPE_CHECKING:
    from vambe_provider.exceptions import PhoneNumberError

PLUS = "Write the number with + and its country code."

_OLD = {
    "56": "which in Chile could be an old mobile or an old landline; mobiles have 9 digits and start with 9",
    "52": "which in Mexico is the way to dial before 2020: only the 10 digits remain",
    "55": "which in Brazil lacks the ninth digit of mobiles",
    "57": "which in Colombia is a landline before 2021",
}
_AREA = {"54": "Argentina", "55": "Brazil"}
# The library cannot tell landlines from mobiles in Chile, and lags behind new ranges of mobiles; the rule is simple.
_CHILEAN = re.compile("9[0-9]{8}")
# What phonenumbers calls a number that only talks.
_LANDLINES = (PhoneNumberType.FIXED_LINE, PhoneNumberType.VOIP)
_MOBILES = (PhoneNumberType.MOBILE, PhoneNumberType.FIXED_LINE_OR_MOBILE)
_SERVICES = ("toll_free", "premium_rate", "shared_cost", "personal_number", "voip", "pager", "uan", "voicemail")


def split_code(digits: str) -> tuple[str, str]:
    """Return the country code with which some digits start, and the rest.

    :raises PhoneNumberError: when no country has such a code.
    """
    if digits[:2] in _RULES:
        return digits[:2], digits[2:]
    for length in (1, 2, 3):
        code = digits[:length]
        if code.isdecimal() and int(code) in COUNTRY_CODE_TO_REGION_CODE and code[0] != "0":
            return code, digits[length:]
    raise phone_problem("starts with a country code that does not exist", reason="no_such_country", fix=PLUS)


def number_in(code: str, national: str, *, repair: bool) -> str:
    """Return the E.164 form of a number in the country with a code.

    :param code: the country code, without a plus sign.
    :param national: the digits after it, or those that are dialled inside of the country.
    :param repair: whether old and doubled prefixes are mended.
    :raises PhoneNumberError: when it cannot be the number of a mobile there.
    """
    if not 3 <= len(national) <= 17:
        raise _invalid(code)
    rule = _RULES.get(code)
    return rule(national, repair) if rule is not None else _checked(code, national)


def is_one_slip_away(code: str, digits: str) -> bool:
    """Return whether digits are a number of a country with something added: one digit anywhere, or the end of a range
    behind it. Then they are not believed to be the number of another country.
    """
    known = _patterns(code)
    starts = [digits[:length] for length in known.lengths if length < len(digits)]
    if any(known.mobiles.fullmatch(start) for start in starts):
        return True
    shorter = {digits[:place] + digits[place + 1 :] for place in range(len(digits))}
    return any(
        _is_number_in(code, text) or (text.startswith(code) and _is_number_in(code, text[len(code) :]))
        for text in shorter
    )


def _is_number_in(code: str, national: str) -> bool:
    """Return whether digits are a complete number of a country in today's form, of a mobile or of any other kind."""
    known = _patterns(code)
    national = national.lstrip("0")
    return len(national) in known.lengths and any(
        pattern.fullmatch(national) for pattern in (known.mobiles, known.landlines, known.services)
    )


class _Patterns(NamedTuple):
    """What the numbers of a country look like without its code."""

    lengths: frozenset[int]
    mobiles: re.Pattern[str]
    landlines: re.Pattern[str]
    services: re.Pattern[str]


@lru_cache(maxsize=256)
def _patterns(code: str) -> _Patterns:
    """Return the patterns of all regions that share a country code.

    The library's own look goes through ten patterns one by one for each number.
    """
    named = [PhoneMetadata.metadata_for_region(region) for region in COUNTRY_CODE_TO_REGION_CODE[int(code)]]
    regions = [metadata for metadata in named if metadata is not None]

    def joined(*kinds: str) -> re.Pattern[str]:
        described = [getattr(metadata, kind) for metadata in regions for kind in kinds]
        parts = [getattr(described_kind, "national_number_pattern", None) for described_kind in described]
        return re.compile("|".join(part for part in parts if part) or "(?!)")

    lengths = {length for metadata in regions for length in getattr(metadata.general_desc, "possible_length", ())}
    mobiles = _CHILEAN if code == "56" else joined("mobile")
    return _Patterns(frozenset(lengths), mobiles, joined("fixed_line"), joined(*_SERVICES))


def _is_mobile(code: str, national: str) -> bool:
    known = _patterns(code)
    return known.mobiles.fullmatch(national) is not None and known.services.fullmatch(national) is None


def _parsed(code: str, national: str) -> PhoneNumber | None:
    """Return what the library reads, which knows the trunk prefixes and carrier codes of all countries."""
    try:
        number = parse(f"+{code}{national}")
    except NumberParseException:
        return None
    return number if number.country_code == int(code) else None


def _checked(code: str, national: str) -> str:
    """Return the E.164 form of a number that the library calls a mobile."""
    if _is_mobile(code, national):
        return f"+{code}{national}"  # the usual case, which needs no parsing
    number = _parsed(code, national)
    kind = PhoneNumberType.UNKNOWN if number is None else number_type(number)
    if number is None or kind == PhoneNumberType.UNKNOWN:
        raise _invalid(code)
    if kind in _LANDLINES:
        raise _landline()
    if kind not in _MOBILES:
        raise _service()
    return str(format_number(number, PhoneNumberFormat.E164))


def _chile(national: str, repair: bool) -> str:
    if _CHILEAN.fullmatch(national):
        return f"+56{national}"
    if re.fullmatch("0+9[0-9]{8}", national):  # the old way to dial a mobile, or a trunk 0: the same number
        if not repair:
            raise _old_format("56", "starts with 0")
        return f"+56{national.lstrip('0')}"
    if re.fullmatch("[1-8][0-9]{7}", national):
        raise _old_format("56", "has 8 digits")
    if re.fullmatch("(600|800|809)[0-9]{6,8}", national):
        raise _service()
    if re.fullmatch("[2-8][0-9]{8}", national):
        raise _landline()
    raise phone_problem(
        "is not a Chilean mobile number, which has 9 digits and starts with 9",
        fix="The old forms with 8 digits are not guessed: correct the number.",
    )


def _mexico(national: str, repair: bool) -> str:
    # 1, 044, 045 and 01 were dialled before mobiles until 2020; WhatsApp still has ids with the 1.
    if match := re.fullmatch("(?:1|01|044|045)([0-9]{10})", national):
        if not repair:
            raise _old_format("52", "starts with 1, 01, 044 or 045")
        national = match[1]
    if len(national) != 10:
        raise _invalid("52")
    return _checked("52", national)


def _argentina(national: str, repair: bool) -> str:
    """Return the number with the 9 of mobiles in front, and without the 15 that is dialled inside of the country."""
    if re.fullmatch("9[1-8][0-9]{9}", national):
        return _checked("54", national)
    if national.startswith("9") and len(national) > 11:
        if not repair:
            raise _invalid("54")
        national = national[1:]
    local = national.lstrip("0")
    if re.fullmatch("(15)?[2-9][0-9]{5,7}", local):
        raise _no_area_code("54")
    if len(local) == 12:  # the 15 stands after the area code, whose length only the library knows
        return _checked("54", local)
    if len(local) != 10:
        raise _invalid("54")
    if _patterns("54").landlines.fullmatch(local) and not repair:
        raise phone_problem(
            "is a landline, or a mobile without the 9 after the country code",
            reason="landline",
            fix='Write a mobile as +54 9 and the area code, or use repair="safe".',
        )
    # A landline that gets a 9 is the number of nobody, and not of a stranger.
    return _checked("54", f"9{local}" if repair and _is_mobile("54", f"9{local}") else local)


def _brazil(national: str, repair: bool) -> str:
    if re.fullmatch("[1-9][0-9]9[0-9]{8}", national):
        return _checked("55", national)
    if match := re.fullmatch("0?([1-9][0-9])([6-9][0-9]{7})", national):
        # Numbers of a radio service start with 70, 77, 78 or 79 and never got the ninth digit: two readings.
        if not repair or re.match("7[0789]", match[2]):
            raise _old_format("55", "has 8 digits after the area code")
        return _checked("55", f"{match[1]}9{match[2]}")
    if re.fullmatch("[1-9][0-9]{7,8}", national):  # no area code, or a service number, which needs none
        raise _service() if _is_number_in("55", national) else _no_area_code("55")
    number = _parsed("55", national)
    if number is not None and str(number.national_number) != national:  # without its trunk 0 and carrier code
        return _brazil(str(number.national_number), repair)
    return _checked("55", national)


def _colombia(national: str, repair: bool) -> str:
    if re.fullmatch("[1-8][0-9]{7}", national):
        raise _old_format("57", "has 8 digits")
    if re.fullmatch("60[1-8][0-9]{7}", national):  # the library does not know all of them
        raise _landline()
    return _checked("57", national)


def _invalid(code: str) -> PhoneNumberError:
    return phone_problem(f"is not a valid number in {region_code_for_country_code(int(code))} (+{code})", fix=PLUS)


def _landline() -> PhoneNumberError:
    return phone_problem("is a landline", reason="landline", fix="Use a mobile number.")


def _service() -> PhoneNumberError:
    return phone_problem("is a service number", reason="service_number", fix="Use a mobile number.")


def _old_format(code: str, how: str) -> PhoneNumberError:
    return phone_problem(f"{how}, {_OLD[code]}", reason="old_format", fix="Write it as it is dialled today.")


def _no_area_code(code: str) -> PhoneNumberError:
    return phone_problem(f"has no area code, which numbers in {_AREA[code]} need", reason="no_area_code", fix=PLUS)


_RULES: dict[str, Callable[[str, bool], str]] = {
    "52": _mexico,
    "54": _argentina,
    "55": _brazil,
    "56": _chile,
    "57": _colombia,
}
