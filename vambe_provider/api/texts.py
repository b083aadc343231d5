"""What of Python's and a database's values is null, and how each of the others reads as text: one rule for messages and
metadata.
"""

from __future__ import annotations

import ast
import json
import math
from collections.abc import Collection, Mapping
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from numbers import Integral, Real
from typing import Any
from uuid import UUID

# Numbers with more digits than this before or after the point are written with an exponent.
_LONG = 40


def metadata_texts(values: Mapping[Any, Any]) -> dict[str, str]:
    """Return metadata with every value as text; a nested list or object becomes JSON text.

    Keys whose value is null are left out, see :func:`is_null`.

    :param values: names and values, as a row or an XCom holds them.
    :raises ValueError: when a name or a value cannot be text; the error names the key and never holds the value.
    """
    texts: dict[str, str] = {}
    for key, value in values.items():
        name = "" if key is None else checked_text(str(key).strip())
        if not name:
            raise ValueError("a key is empty")
        try:
            text = value_text(value)
        except ValueError as error:
            raise ValueError(f"{name[:60]}: {error}") from None
        if text is not None:
            texts[name] = text
    return texts


def is_null(value: object) -> bool:
    """Return whether a value stands for nothing: None, NaN and the infinities, and NaT and NA of pandas."""
    if value is None:
        return True
    if isinstance(value, float):
        return not math.isfinite(value)
    if isinstance(value, Decimal):
        return not value.is_finite()
    return type(value).__name__ in ("NaTType", "NAType") or (hasattr(value, "item") and is_null(_item(value)))


def value_text(value: object) -> str | None:
    """Return one value as text for metadata, or None when it is null.

    Numbers are written plainly, without an exponent up to 40 digits; booleans as ``true`` and ``false``; times in ISO
    8601; bytes as the UTF-8 that they are; lists and mappings as JSON.

    :raises ValueError: when the value is of a type that has no text for people.
    """
    plain = _plain(value)
    if plain is None:
        return None
    if isinstance(plain, bool):
        return "true" if plain else "false"
    if isinstance(plain, (dict, list)):
        return json.dumps(plain, ensure_ascii=False)
    if isinstance(plain, (int, float)):
        return _number_text(plain)
    return plain


def readable(value: object) -> str | None:
    """Return one value as it reads inside a message, or None when it is null.

    It is the text of :func:`value_text`, with a space in place of the ``T`` between date and time.

    :raises ValueError: when the value is of a type that has no text for people.
    """
    if isinstance(value, str):
        return checked_text(value)
    if isinstance(value, datetime):
        return None if is_null(value) else value.isoformat(" ")
    return value_text(value)


def formatted(value: object, spec: str) -> str | None:
    """Return one value as a format specification wants it, or None when it is null.

    :param spec: as Python's ``format`` takes it, such as ``,.2f`` or ``%d.%m.%Y``.
    :raises ValueError: when the value's type knows no such format.
    """
    if is_null(value):
        return None
    if isinstance(value, (bytes, bytearray, memoryview)):
        value = _utf8(value)
    if isinstance(value, (str, Decimal, Integral, Real, date, time)) or hasattr(value, "item"):
        return checked_text(format(value, spec))
    raise ValueError(f"a value of the type {type(value).__name__} has no formats")


def checked_text(text: str) -> str:
    """Return the text itself.

    :raises ValueError: when it holds a NUL or half of a surrogate pair, which no JSON API can store.
    """
    if "\x00" in text:
        raise ValueError("holds a NUL character")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("holds a broken character (half of a surrogate pair)") from None
    return text


def mapping_from(value: object) -> object:
    """Return the mapping that a text means as JSON or as a Python literal, which is what a rendered template leaves;
    else the value.
    """
    if not isinstance(value, str) or not value.strip().startswith("{"):
        return value
    parsed = literal(value)
    return parsed if isinstance(parsed, dict) else value


def literal(text: str) -> object:
    """Return what a text means as JSON or as a Python literal; the text itself when it is neither."""
    for parse in (json.loads, ast.literal_eval):
        try:
            return parse(text.strip())
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            continue
    return text


def iso_utc(moment: datetime, timespec: str = "auto") -> str:
    """Return a moment as ISO 8601 in UTC, with a Z at its end.

    :param moment: with a time zone.
    :param timespec: how exact, as in ``datetime.isoformat``.
    """
    return moment.astimezone(UTC).isoformat(timespec=timespec).replace("+00:00", "Z")


def _plain(value: object) -> str | int | float | bool | dict[str, Any] | list[Any] | None:
    """Return a value as plain JSON; what JSON does not know becomes the text that it would be on its own."""
    if isinstance(value, Enum):
        value = value.value
    if is_null(value):
        return None
    if isinstance(value, bool):
        return value
    if isinstance(value, str):
        return checked_text(value)
    if isinstance(value, (bytes, bytearray, memoryview)):
        return _utf8(value)
    if isinstance(value, (Mapping, list, tuple, set, frozenset)):
        return _plain_many(value)
    if isinstance(value, (Decimal, Integral, Real)):
        return _plain_number(value)
    return _plain_other(value)


def _plain_many(value: Mapping[Any, Any] | Collection[Any]) -> dict[str, Any] | list[Any]:
    if isinstance(value, Mapping):
        return {checked_text(str(key)): _plain(item) for key, item in value.items()}
    return [_plain(item) for item in (sorted(value, key=str) if isinstance(value, (set, frozenset)) else value)]


def _plain_other(value: object) -> str | int | float | bool | dict[str, Any] | list[Any] | None:
    if isinstance(value, (UUID, timedelta)):
        return str(value)
    if hasattr(value, "isoformat"):  # date, time, datetime, and what pendulum and pandas make of them
        text = str(value.isoformat())
        return None if text == "NaT" else text
    if hasattr(value, "item"):  # a numpy scalar
        return _plain(_item(value))
    raise ValueError(f"a value of the type {type(value).__name__} cannot be sent; turn it into text")


def _item(value: object) -> object:
    try:
        return value.item()  # type: ignore[attr-defined]
    except (TypeError, ValueError):  # an array of many values, which has no one value
        return object()


def _utf8(value: bytes | bytearray | memoryview) -> str:
    try:
        return checked_text(bytes(value).decode())
    except UnicodeDecodeError:
        raise ValueError("the bytes are not UTF-8; turn them into text in the query") from None


def _plain_number(value: Decimal | Integral | Real) -> str | int | float:
    if isinstance(value, Integral):
        return int(value)
    # A Decimal is text also inside of JSON: as a JSON number it would lose digits.
    return _number_text(value) if isinstance(value, Decimal) else float(value)


def _number_text(number: Decimal | float) -> str:
    if isinstance(number, int):
        return str(number)
    exact = number if isinstance(number, Decimal) else Decimal(repr(number))
    return str(number) if abs(exact.adjusted()) > _LONG else format(exact, "f")
