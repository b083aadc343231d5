"""How a phone number may be written, before anybody asks which country it belongs to."""

from __future__ import annotations

import re
import unicodedata
from decimal import Decimal
from numbers import Integral

from vambe_provider.exceptions import PhoneNumberError

MIN_DIGITS = 8
MAX_DIGITS = 15

_SEPARATORS = re.compile(r"[\s().\-/\u2010-\u2015]+")
_SPREADSHEET = re.compile(r"[0-9]+\.0+|[0-9](\.[0-9]+)?[eE]\+?[0-9]+")
_SPELLED = re.compile(r"\+?[0-9]+")
_ADVICE = "Read the column as text, or cast it to text in the query."


def phone_problem(reason: str, *, fix: str | None = None) -> PhoneNumberError:
    """Return the error for one wrong number; ``reason`` must not hold the number.

    :param reason: what is wrong with it.
    :param fix: the way out.
    """
    return PhoneNumberError([f"to_phone_number: {reason}"], fix=fix)


def spelled_number(value: object) -> str:
    """Return a phone number as digits with an optional ``+`` in front, without spaces, brackets, dots or dashes.

    :param value: text, or a whole number as a database returns it (``int``, or ``Decimal`` without a fraction).
    :raises PhoneNumberError: for a float, a boolean, null, or text that is not a number; the error never holds the
        value.
    """
    if isinstance(value, str):
        return _spelled_text(value)
    if isinstance(value, bool) or value is None:
        raise phone_problem("is missing" if value is None else "is a boolean, not a phone number")
    if isinstance(value, Decimal):
        if not value.is_finite() or value != value.to_integral_value():
            raise phone_problem("is a number with a fraction", fix=_ADVICE)
        value = int(value)
    if not isinstance(value, Integral):
        kind = type(value).__name__
        raise phone_problem(f"is a {kind}, which can lose digits or the leading +", fix=_ADVICE)
    return _spelled_text(str(int(value)))


def _spelled_text(value: str) -> str:
    if not value.isascii():
        # Numbers copied from a phone's address book carry invisible direction marks (Unicode category Cf).
        value = "".join(char for char in unicodedata.normalize("NFKC", value) if unicodedata.category(char) != "Cf")
    text = value.strip()
    if not text:
        raise phone_problem("is empty")
    if _SPREADSHEET.fullmatch(text):
        raise phone_problem(
            "was turned into a decimal number on its way, as pandas does with a column that has nulls",
            fix=_ADVICE,
        )
    text = _SEPARATORS.sub("", text)
    if not _SPELLED.fullmatch(text):
        raise phone_problem("holds characters that no phone number has")
    return text


def international_number(value: object) -> str:
    """Return ``+`` and the digits of a number that is written with its country code, in one of the documented formats.

    :param value: ``"+56912345678"``, ``"56912345678"`` or ``56912345678``; spaces, brackets, dots and dashes are
        dropped.
    :raises PhoneNumberError: when it is not such a number; the error never holds the value.
    """
    digits = spelled_number(value).removeprefix("+")
    if digits.startswith("0"):
        raise phone_problem("starts with 0, which no country code does", fix="Write it with its country code.")
    if not MIN_DIGITS <= len(digits) <= MAX_DIGITS:
        raise phone_problem(
            f"has {len(digits)} digits, where {MIN_DIGITS} to {MAX_DIGITS} with the country code are allowed"
        )
    return f"+{digits}"
