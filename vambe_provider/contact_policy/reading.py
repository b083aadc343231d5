"""From what a warehouse holds to the number that it means: which country, and whether it is one number at all.

This module loads ``phonenumbers``; :mod:`vambe_provider.contact_policy.numbers` imports it where a number is read.
"""

from __future__ import annotations

import re
from functools import lru_cache

from phonenumbers import (
    COUNTRY_CODE_TO_REGION_CODE,
    SUPPORTED_REGIONS,
    country_code_for_region,
    parse,
    region_code_for_number,
)

from vambe_provider.api.numbers import number_digits, number_text, phone_problem
from vambe_provider.contact_policy.national import PLUS, is_one_slip_away, number_in, split_code
from vambe_provider.contact_policy.numbers import mask_number
from vambe_provider.exceptions import PhoneNumberError, VambeConfigError

# Digits without a plus sign are only taken as international when they are longer than most national numbers: shorter
# ones can be valid in a country that nobody meant.
_MIN_BARE = 11
# With a plus sign, trunk prefixes and carrier codes.
_MAX_DIGITS = 22
_PLUS_OR_REGION = (
    "Write the number with + and its country code, or set default_region or allowed_countries in the connection."
)
# Mobiles of Porto Alegre, written without their country code, are mobiles of Peru.
_BRAZIL_OR_PERU = re.compile("519[0-9]{8}")
_PLAIN = re.compile(r"\+?[0-9]+")
_CONTACT_ID = re.compile(r"(\+?[0-9]+)(?:\.[0-9]{1,3})?(?::[0-9]{1,4})?@(?:s\.whatsapp\.net|c\.us)", re.IGNORECASE)
_OTHER_ID = re.compile(r"[0-9.:_-]+@[a-z.]+|[A-Z]{2}\.[0-9A-Za-z]+")
_LINK = re.compile(r"(?:https?://)?(?:www\.|api\.|web\.|chat\.)?(?:wa\.me|whatsapp\.com)/|whatsapp://", re.IGNORECASE)
_LINK_NUMBER = re.compile(
    r"(?:https?://)?(?:www\.)?wa\.me/(?P<path>\+?[0-9]+)/?(?:[?#].*)?"
    r"|(?:(?:https?://)?(?:api|web)\.whatsapp\.com/send/?|whatsapp://send/?)\?(?:[^#]*&)?phone=(?P<query>[^&#]*)(?:[&#].*)?",
    re.IGNORECASE | re.DOTALL,
)
_PREFIX = re.compile(r"(?:tel|whatsapp):(?!//)", re.IGNORECASE)


def read_number(value: object, *, default_region: str | None, safe: bool, countries: str | tuple[str, ...]) -> str:
    """Return the E.164 form of a number; see :func:`vambe_provider.contact_policy.numbers.canonical_number`."""
    # A region that does not exist is a mistake in the connection, whatever the number is.
    home = None if default_region is None else _country_code(default_region)
    allowed = _allowed(countries)
    text = number_text(value)
    try:
        if not _PLAIN.fullmatch(text) and (inside := _inside(text, safe)) is not None:
            return _explicit(inside, allowed, safe)
        digits = number_digits(_PREFIX.sub("", text, count=1) if safe else text)
        if len(digits) > _MAX_DIGITS:
            raise phone_problem("has more digits than any phone number", fix=PLUS)
        if digits[0] == "+":
            return number_in(*split_code(digits[1:]), repair=safe)
        return _written_at_home(digits, home, allowed, safe)
    except PhoneNumberError as error:
        raise _shown(error, text) from None


@lru_cache(maxsize=64)
def _country_code(region: str, argument: str = "default_region") -> str:
    code = region.strip().upper()
    if code not in SUPPORTED_REGIONS:
        raise VambeConfigError(f"{argument}: there is no such region", fix="Write it as CL, MX or BR.")
    return str(country_code_for_region(code))


@lru_cache(maxsize=64)
def _allowed(countries: str | tuple[str, ...]) -> dict[str, frozenset[str]]:
    """Return the allowed regions by country code."""
    names = re.split("[ ,;]+", countries.strip()) if isinstance(countries, str) else countries
    found: dict[str, set[str]] = {}
    for name in names:
        found.setdefault(_country_code(name, "allowed_countries"), set()).add(name.strip().upper())
    return {code: frozenset(regions) for code, regions in found.items()}


def _inside(text: str, safe: bool) -> str | None:
    """Return the number inside of a link or an id of WhatsApp; None when the text is neither."""
    match = _CONTACT_ID.fullmatch(text)
    found = match[1] if match else None
    if match is None and _LINK.match(text):
        link = _LINK_NUMBER.fullmatch(text)
        if link is None:
            raise phone_problem("is a link that holds no phone number", reason="not_a_phone")
        found = link["path"] or re.sub("^(%2B| )", "+", link["query"], flags=re.IGNORECASE)
        if text.lower().count("phone=") > 1 and link["path"] is None:
            raise phone_problem("is a link with several numbers", reason="several_numbers")
    if found is None:
        if _OTHER_ID.fullmatch(text):
            raise phone_problem("is an id of WhatsApp that holds no phone number", reason="not_a_phone")
        return None
    if not safe:
        raise phone_problem(
            "is a link or an id of WhatsApp", reason="characters", fix='Write the number alone, or use repair="safe".'
        )
    return number_digits(found) if found else ""


def _explicit(number: str, allowed: dict[str, frozenset[str]], safe: bool) -> str:
    """Return the number that a link or an id names, which has its country code and never belongs to the region."""
    if number.startswith("+"):
        return number_in(*split_code(number[1:]), repair=safe)
    return _abroad(number, allowed, safe)


def _written_at_home(digits: str, home: str | None, allowed: dict[str, frozenset[str]], safe: bool) -> str:
    """Return the number that digits without a plus sign mean."""
    exits = ("00", "011") if home == "1" else ("00",)
    for prefix in exits:
        if digits.startswith(prefix):
            return _after_exit_code(digits, prefix, home, allowed, safe)
    if home is None:
        if _BRAZIL_OR_PERU.fullmatch(digits) and {"51", "55"} <= allowed.keys():
            raise phone_problem("is a mobile in Brazil and one in Peru", reason="no_country_code", fix=_PLUS_OR_REGION)
        return _abroad(digits, allowed, safe)
    try:
        return _at_home(digits, home, safe=safe)
    except PhoneNumberError as error:
        if error.reason != "invalid" or len(digits) < _MIN_BARE or digits.startswith(home):
            raise
    if is_one_slip_away(home, digits):
        raise phone_problem(
            f"has no country code, and is one digit away from a number in +{home}", reason="invalid", fix=PLUS
        )
    return _abroad(digits, allowed, safe)


def _at_home(digits: str, home: str, *, safe: bool) -> str:
    """Return a number of the region, written with or without its country code."""
    try:
        if home == "52" and digits.startswith("1"):  # only 52 1 is an old form: 1 alone is the country code of others
            raise phone_problem("is not a valid number in MX (+52)", fix=PLUS)
        return number_in(home, digits, repair=safe)
    except PhoneNumberError as error:
        if error.reason not in ("invalid", "no_area_code", "old_format") or not digits.startswith(home):
            raise
        without = error
    try:
        return number_in(home, digits[len(home) :], repair=safe)
    except PhoneNumberError as error:
        raise (error if without.reason == "invalid" else without) from None


def _after_exit_code(digits: str, prefix: str, home: str | None, allowed: dict[str, frozenset[str]], safe: bool) -> str:
    """Return the number after ``00``, which may be the way to dial abroad, or zeros that a fixed width put there."""
    number = _abroad(digits[len(prefix) :], allowed, safe)
    if home is None:
        return number
    for at_home in (digits.lstrip("0"), digits[1:]):
        try:
            same = _at_home(at_home, home, safe=True) == number
        except PhoneNumberError:
            continue
        if not same:
            raise phone_problem("starts with zeros and has two readings", reason="no_country_code", fix=PLUS)
    return number


def _abroad(digits: str, allowed: dict[str, frozenset[str]], safe: bool) -> str:
    """Return the number of digits that start with a country code, although no plus sign says so."""
    missing = phone_problem("has no country code", reason="no_country_code", fix=_PLUS_OR_REGION)
    if len(digits) < _MIN_BARE or digits.startswith("0"):
        raise missing
    try:
        code, national = split_code(digits)
    except PhoneNumberError:
        raise missing from None
    regions = allowed.get(code)
    if regions is None:
        raise missing
    number = number_in(code, national, repair=safe)
    if not _all_regions(code) <= regions and not _belongs_to(number, regions):
        raise missing
    return number


@lru_cache(maxsize=256)
def _all_regions(code: str) -> frozenset[str]:
    regions = set(COUNTRY_CODE_TO_REGION_CODE[int(code)])
    # Territories in the Pacific share +1 and are not asked for by name.
    return frozenset(regions - {"AS", "GU", "MP"} if code == "1" else regions)


def _belongs_to(number: str, regions: frozenset[str]) -> bool:
    return region_code_for_number(parse(number)) in regions


def _shown(error: PhoneNumberError, text: str) -> PhoneNumberError:
    """Return the error with the end of the number, by which a person finds it again."""
    problem = error.problems[0].removeprefix("to_phone_number: ")
    return PhoneNumberError(
        [f"to_phone_number: {mask_number(text)} {problem}"], where=error.where, fix=error.fix, reason=error.reason
    )
