"""What of a key or a name may be read in logs and in the ledger, and what stands in for the rest."""

from __future__ import annotations

import hmac
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from hashlib import sha256
from unicodedata import combining, normalize

_FEW_DIGITS = 6
_MANY_DIGITS = 20
_CODE = (
    rf"(?=.{{1,40}}\Z)(?:(?=.*[0-9])|(?=[A-Z]{{1,2}}\Z))(?!(?:[^0-9]*[0-9]){{{_FEW_DIGITS + 1}}})"
    r"(?:[A-Z]{1,6}(?![A-Za-z])|[A-Za-z]{1,2}(?![A-Za-z])|[0-9_.:/-])+"
)
_UUID = "[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_TIME = r"[0-9]{4}-[0-9]{2}-[0-9]{2}(?:T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]+)?)?"
_SHORT = re.compile(f"{_CODE}|{_UUID}|{_TIME}|true|false")
_UUID_OR_TIME = re.compile(f"{_UUID}|{_TIME}")
# As run ids have it: with a zone behind.
_IN_A_NAME = re.compile(rf"{_UUID}|{_TIME.replace('T', 't')}(?:[+-][0-9]{{2}}:[0-9]{{2}})?")
_LETTERS = re.compile(r"[^\W\d_]+")
_DIGIT = re.compile("[0-9]")
_OF_A_THING = re.compile(rf"(?=.*[0-9])(?!(?:[^0-9]*[0-9]){{{_MANY_DIGITS + 1}}})[A-Za-z0-9_.:/-]{{1,40}}")
_THING = (
    "order|invoice|ticket|shipment|delivery|booking|reservation|payment|quote|item|product|sku|event|row|"
    "pedido|orden|factura|boleta|envio|reserva|pago|cotizacion"
)
_NAMES_A_THING = re.compile(
    rf"(?:.*_)?(?:{_THING})(?:_?(?:id|no|nr|num|number|numero|code|key|ref|reference))?|id_(?:{_THING})", re.IGNORECASE
)


def readable(text: str, column: str = "", personal: Sequence[str] = ()) -> bool:
    """Return whether a key value may be read in logs and in the ledger: only what is surely not personal.

    These are uuids, dates, truth values, and short codes such as ``1042`` or ``CL/A-17``: digits, letters in capitals
    or at most two together, and ``_.:/-``. A code has 1 to 6 digits, because longer numbers may be those of a phone or
    of a person. In a column that is named after a thing, such as ``order_id``, it may have any letters and 20 digits.

    :param text: the value, from :func:`~vambe_provider.delivery.key.canonical_value`.
    :param column: the column's name.
    :param personal: texts that must not be readable, wherever they stand.
    """
    if personal and _holds_one(text, personal):
        return False
    if _SHORT.fullmatch(text):
        return True
    return _names_a_thing(column) and _OF_A_THING.fullmatch(text) is not None


def name_is_readable(name: str, *, given: bool, personal: Sequence[str] = ()) -> bool:
    """Return whether the name of a single ticket may be read.

    :param given: the user gave it: then one with a blank, an ``@`` or more than 6 digits outside of times and uuids may
        not.
    :param personal: texts that must not be readable, wherever they stand.
    """
    if personal and _holds_one(name, personal):
        return False
    if not given:
        return True
    return not re.search(r"[\s@]", name) and len(_digits(_IN_A_NAME.sub("", name.lower()))) <= _FEW_DIGITS


def shown_values(texts: Mapping[str, str], *, personal: Sequence[str] = (), secret: str | None = None) -> str:
    """Return the values of a key as a person reads them, such as ``order_id=1042, phone=#5d41402abc4b``.

    :param texts: the columns with their values.
    :param personal: texts that must not be readable, wherever they stand.
    :param secret: keys the hash of what must not be read.
    """
    if len(texts) == 1:
        ((column, text),) = texts.items()
        return f"{column}={text if readable(text, column, personal) else shown_hash(text, secret)}"
    clear = {column: readable(text, column, personal) for column, text in texts.items()}
    # A number that is spread over several columns is a number too.
    parts = [column for column in texts if clear[column] and _is_part(texts[column], column)]
    if sum(len(_DIGIT.findall(texts[column])) for column in parts) > _FEW_DIGITS + 1:
        clear |= dict.fromkeys(parts, False)
    return ", ".join(
        f"{column}={text if clear[column] else shown_hash(text, secret)}" for column, text in texts.items()
    )


def shown_hash(text: str, secret: str | None = None) -> str:
    """Return what stands in for a text that must not be read, such as ``#1f0c…``; the same for the same text.

    :param secret: keys the hash. Without one, who can try all numbers of a country can find a number again.
    """
    encoded = text.encode(errors="surrogatepass")
    hashed = hmac.digest(secret.encode(), encoded, "sha256") if secret else sha256(b"shown " + encoded).digest()
    return f"#{hashed[:6].hex()}"


def printable(text: str) -> str:
    """Return a text that every database can hold and every terminal can show."""
    return text if text.isprintable() else "".join(char if char.isprintable() else "\ufffd" for char in text)


def shown_name(name: str) -> str:
    """Return the name of a column for a text; one that is not plain in quotes, with escapes for what cannot be seen."""
    if name.isidentifier():
        return name
    escaped = "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in name)
    return f"'{escaped}'"


@lru_cache(maxsize=1000)
def _names_a_thing(column: str) -> bool:
    return _NAMES_A_THING.fullmatch(column) is not None


def _is_part(text: str, column: str) -> bool:
    return not (_names_a_thing(column) or _UUID_OR_TIME.fullmatch(text))


def _holds_one(text: str, personal: Sequence[str]) -> bool:
    folded, digits = _folded(text), _digits(text)
    for secret in personal:
        end = _digits(secret)[-8:] if len(digits) >= 8 else ""
        if len(end) == 8 and end in digits:
            return True
        hidden = _folded(secret)
        if hidden in folded or any(len(word) > 2 and word in folded for word in _LETTERS.findall(hidden)):
            return True
    return False


def _folded(text: str) -> str:
    """Return a text without its accents and capitals."""
    if text.isascii():
        return text.lower()
    return "".join(char for char in normalize("NFKD", text.casefold()) if not combining(char))


def _digits(text: str) -> str:
    return text if text.isdigit() else re.sub(r"\D", "", text)
