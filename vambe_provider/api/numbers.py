"""How a phone number may be written, before anybody asks which country it belongs to.

The digits of a text are joined only where no other reading is possible: a separator between two numbers, a footnote
mark or a decimal fraction that became a digit would make the number of a stranger.
"""

from __future__ import annotations

import re
import unicodedata
from decimal import Decimal
from numbers import Integral, Real

from vambe_provider.exceptions import PhoneNumberError

MIN_DIGITS = 8
MAX_DIGITS = 15

_LONGEST = 200
_COMPACT = re.compile(r"\+?[0-9]+")
_USUAL = re.compile(r"[+0-9 ().\-]+")
_GAPS = re.compile(r"[ ().\-]+")
# Brackets hold an area code: six digits at least come after them, which is not so after a footnote.
_BRACKETS = re.compile(r"\([^()]*\)")
_AFTER_BRACKETS = re.compile(r"[^()]*(?:[0-9][^()0-9]*){6}")
_LONE_LAST_DIGIT = re.compile(r".*[0-9]{2}[ .\-]+[0-9]")
_SPREADSHEET = re.compile(
    r"[+\-]?(?:[0-9]{7,}(?:\.[0-9]+|,[0-9]{1,5})|[0-9]+[.,]0+|[0-9](?:[.,][0-9]+)?[eE][+\-]?[0-9]+)"
)
_SEVERAL = re.compile(r"[0-9)][ .\-]*[/;,|&\t\n\r\v\f\x1c-\x1f\x85\u2028\u2029+]+[ .\-(/;,|&+]*[0-9]")
_EXTENSION = re.compile(
    r".*[0-9][ ,;.\-]*(?:x|#|ext(?:en[st]i[oó]n|n)?|anexo|anx|interno|int|ramal)[ .:#=]*[0-9]{1,6}", re.IGNORECASE
)
# What people keep in columns beside the phone, in a spelling that no phone has: Chile's RUT, Brazil's CPF, a date.
_DOCUMENT = re.compile(
    r"[0-9]{1,2}\.[0-9]{3}\.[0-9]{3}-[0-9kK]|[0-9]{3}\.[0-9]{3}\.[0-9]{3}-[0-9]{2}|(?:19|20)[0-9]{2}-[01][0-9]-[0-3][0-9]"
)
_DASHES = ("\u2212", "\ufe63", "\uff0d")
_SAME = str.maketrans({"\uff0b": "+", "\ufe62": "+", "\uff08": "(", "\uff09": ")", "\uff0e": ".", "\uff0f": "/"})
_ADVICE = "Read the column as text, or cast it to text in the query."


def phone_problem(text: str, *, reason: str = "invalid", fix: str | None = None) -> PhoneNumberError:
    """Return the error for one wrong number; ``text`` must not hold the number.

    :param text: what is wrong with it.
    :param reason: the reason code.
    :param fix: the way out.
    """
    return PhoneNumberError([f"to_phone_number: {text}"], fix=fix, reason=reason)


def is_null(value: object) -> bool:
    """Return whether a value is null in Python, as a number, or in pandas, which is not imported to find out."""
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    if isinstance(value, Decimal):
        return value.is_nan()
    return isinstance(value, Real) and bool(value != value)


def number_text(value: object) -> str:
    """Return a phone number as text without space around it, with decimal digits of any script as 0 to 9.

    :param value: text, or a whole number as a database returns it (``int``, or ``Decimal`` without a fraction).
    :raises PhoneNumberError: for null, a boolean, a float and any other type; the error never holds the value.
    """
    if isinstance(value, str):
        text = (value if value.isascii() else _folded(value)).strip()
        if not text:
            raise phone_problem("is empty", reason="empty")
        return text
    if isinstance(value, bool) or type(value).__name__ in ("bool", "bool_"):
        raise phone_problem("is a boolean, not a phone number", reason="boolean")
    if isinstance(value, Integral):
        return _whole_text(int(value))
    if is_null(value):
        raise phone_problem("is missing", reason="missing")
    if isinstance(value, Decimal):
        return _decimal_text(value)
    kind = type(value).__name__
    if isinstance(value, Real):
        raise phone_problem(f"is a {kind}, which can lose digits or the leading +", reason="float", fix=_ADVICE)
    raise phone_problem(f"is a {kind}, not a text or a whole number", reason="type", fix=_ADVICE)


def number_digits(text: str) -> str:
    """Return the digits of one number with an optional ``+`` in front, without spaces, brackets, dots and dashes.

    :param text: what :func:`number_text` returned.
    :raises PhoneNumberError: when it is not exactly one number; the error never holds the text.
    """
    if _COMPACT.fullmatch(text):
        return text
    # Spreadsheets mark a number that is text with an apostrophe; a point or a comma may end a sentence.
    text = text.removeprefix("'").rstrip(" .,;")
    if len(text) > _LONGEST:
        raise phone_problem("is longer than any phone number", reason="characters")
    if not _USUAL.fullmatch(text) or "+" in text.lstrip("(")[1:] or _SPREADSHEET.fullmatch(text):
        raise _misspelled(text)
    if _DOCUMENT.fullmatch(text):
        raise phone_problem("looks like an identity number or a date, not a phone number", reason="not_a_phone")
    if not text[-1].isdigit() or text[0] in ".-" or not _brackets_hold_an_area_code(text):
        raise phone_problem("holds brackets, dots or dashes where no phone number has them", reason="characters")
    if _LONE_LAST_DIGIT.fullmatch(text):
        raise phone_problem(
            "ends in a single digit that stands apart, which may be a footnote or the end of a range",
            reason="characters",
        )
    return _GAPS.sub("", text)


def spelled_number(value: object) -> str:
    """Return a phone number as digits with an optional ``+`` in front.

    :param value: text, or a whole number as a database returns it.
    :raises PhoneNumberError: when it is not exactly one number; the error never holds the value.
    """
    return number_digits(number_text(value))


def international_number(value: object) -> str:
    """Return ``+`` and the digits of a number that is written with its country code, in one of the documented formats.

    :param value: ``"+56912345678"``, ``"56912345678"`` or ``56912345678``; spaces, brackets, dots and dashes are
        dropped.
    :raises PhoneNumberError: when it is not such a number; the error never holds the value.
    """
    digits = spelled_number(value).removeprefix("+")
    if digits.startswith("0"):
        raise phone_problem(
            "starts with 0, which no country code does",
            reason="no_country_code",
            fix="Write it with its country code.",
        )
    if not MIN_DIGITS <= len(digits) <= MAX_DIGITS:
        raise phone_problem(
            f"has {len(digits)} digits, where {MIN_DIGITS} to {MAX_DIGITS} with the country code are allowed"
        )
    return f"+{digits}"


def _decimal_text(value: Decimal) -> str:
    if not value.is_finite() or value != value.to_integral_value():
        raise phone_problem("is a number with a fraction", reason="float", fix=_ADVICE)
    if int(value.as_tuple().exponent) > 0:
        raise phone_problem("is a number that was rounded on its way", reason="spreadsheet", fix=_ADVICE)
    return _whole_text(int(value))


def _whole_text(value: int) -> str:
    if abs(value) >= 10**_LONGEST:  # Python refuses to write thousands of digits
        raise phone_problem("has more digits than any phone number")
    return str(value)


def _folded(text: str) -> str:
    """Return a text with decimal digits, spaces and dashes of any script as those of ASCII.

    Not NFKC, which makes a digit of a footnote mark too.
    """
    return "".join(map(_folded_character, text)).translate(_SAME)


def _folded_character(char: str) -> str:
    if char.isascii():
        return char
    category = unicodedata.category(char)
    if category == "Nd":
        return str(unicodedata.decimal(char))
    if category == "Zs":
        return " "
    if category == "Cf":  # invisible direction marks, as a phone's address book copies them
        return ""
    return "-" if category == "Pd" or char in _DASHES else char


def _brackets_hold_an_area_code(text: str) -> bool:
    if "(" not in text and ")" not in text:
        return True
    head, _, tail = text.rpartition(")")
    left = _BRACKETS.sub("", f"{head})" if head else text)
    return not set(left) & {"(", ")"} and _AFTER_BRACKETS.fullmatch(tail) is not None


def _misspelled(text: str) -> PhoneNumberError:
    if _SPREADSHEET.fullmatch(text):
        return phone_problem(
            "was turned into a decimal number on its way, as pandas does with a column that has nulls",
            reason="spreadsheet",
            fix=_ADVICE,
        )
    if _EXTENSION.fullmatch(text):
        return phone_problem("has an extension, which WhatsApp cannot reach", reason="extension")
    if not any(char.isalpha() for char in text) and _SEVERAL.search(text):
        return phone_problem(
            "holds several numbers, or a range", reason="several_numbers", fix="Choose one number in the query."
        )
    return phone_problem("holds characters that no phone number has", reason="characters")
