"""How a value from Python or from a database becomes the text that Vambe stores as metadata."""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping
from datetime import timedelta
from decimal import Decimal
from enum import Enum
from numbers import Integral, Real
from typing import Any
from uuid import UUID

# Numbers with more digits than this before or after the point are written with an exponent.
_LONG = 40


def metadata_texts(values: Mapping[Any, Any]) -> dict[str, str]:
    """Return metadata with every value as text; a nested list or object becomes JSON text.

    Keys whose value is null are left out, and so is NaN, which pandas uses for null.

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


def value_text(value: object) -> str | None:
    """Return one value as text, or None when it is null."""
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
    for parse in (json.loads, ast.literal_eval):
        try:
            parsed = parse(value.strip())
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            continue
        if isinstance(parsed, dict):
            return parsed
    return value


def _plain(value: object) -> str | int | float | bool | dict[str, Any] | list[Any] | None:
    """Return a value as plain JSON; what JSON does not know becomes the text that it would be on its own."""
    if isinstance(value, Enum):
        value = value.value
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return checked_text(value)
    if isinstance(value, Mapping):
        return {checked_text(str(key)): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(item) for item in value]
    if isinstance(value, (Decimal, Integral, Real)):
        return _plain_number(value)
    if isinstance(value, (UUID, timedelta)):
        return str(value)
    if hasattr(value, "isoformat"):  # date, time, datetime, and what pendulum and pandas make of them
        text = str(value.isoformat())
        return None if text == "NaT" else text
    if hasattr(value, "item"):  # a numpy scalar
        return _plain(value.item())
    raise ValueError(f"a value of the type {type(value).__name__} cannot be sent; turn it into text")


def _plain_number(value: Decimal | Integral | Real) -> str | int | float | None:
    if isinstance(value, Integral):
        return int(value)
    number = value if isinstance(value, Decimal) else Decimal(float(value))
    if number.is_nan():
        return None
    if number.is_infinite():
        raise ValueError("an infinite number cannot be sent")
    # A Decimal is text also inside of JSON: as a JSON number it would lose digits.
    return _number_text(number) if isinstance(value, Decimal) else float(value)


def _number_text(number: Decimal | float) -> str:
    if isinstance(number, int):
        return str(number)
    exact = number if isinstance(number, Decimal) else Decimal(repr(number))
    return str(number) if abs(exact.adjusted()) > _LONG else format(exact, "f")
