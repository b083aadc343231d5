"""The identity of a ticket: what makes two attempts the same ticket.

A key is made of values only, never of column names, positions or times of execution, so that renaming a column,
another database driver or a second run gives the same key. Its digest is what the ledger and
``ticket_metadata["airflow_ticket_key"]`` hold.

One value gives one key, whichever type and spelling it came in: see :func:`canonical_value`.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from json.encoder import encode_basestring
from typing import Any
from unicodedata import is_normalized, normalize
from uuid import UUID

from vambe_provider.delivery.shown import name_is_readable, shown_hash, shown_name, shown_values
from vambe_provider.delivery.shown import printable as printable  # part of this module's names too
from vambe_provider.exceptions import VambeConfigError, VambeValidationError

METADATA_KEY = "airflow_ticket_key"
"""The field of ``ticket_metadata`` in which the digest travels."""

_sorted_json = json.JSONEncoder(ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode

MAX_NAMESPACE = 200
MAX_TEXT = 250

NULL_TEXTS = frozenset({"None", "nan", "NaN", "NaT", "<NA>", "null", "NULL"})
"""What Python, pandas, JSON and SQL write for nothing: as a key they would make one ticket of many."""

_UUID = re.compile(r"\{?([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\}?", re.IGNORECASE)
_MAX_EXPONENT = 1000


@dataclass(frozen=True, slots=True)
class TicketKey:
    """The key of one ticket.

    :param namespace: the set in which the key is unique.
    :param digest: 32 hexadecimal characters made from the namespace and the values.
    :param text: what a person reads in a report, such as ``order_id=1042``; cut at 250 characters.
    """

    namespace: str
    digest: str
    text: str

    def marker(self, generation: int) -> str:
        """Return what travels to Vambe; a ticket that was opened again on purpose has a marker of its own."""
        return self.digest if generation == 0 else f"{self.digest}.{generation}"


def check_namespace(namespace: str) -> str:
    """Return the namespace when every database compares it alike.

    :raises VambeConfigError: when it is empty, longer than 200 characters, or begins or ends with a space.
    """
    if not namespace or namespace != namespace.strip() or len(namespace) > MAX_NAMESPACE:
        raise VambeConfigError(
            f"namespace: must have 1 to {MAX_NAMESPACE} characters and no space at its ends",
            fix="Set `namespace` to a short name that never changes, such as 'late-orders'.",
        )
    return namespace


def canonical_value(value: object) -> str:
    """Return the one text of a key value, whatever type the database driver gave it.

    - Numbers count by their exact value: ``5``, ``Decimal("5.00")``, ``5.0`` and the text ``5`` are one key. A float
      counts as its shortest decimal text.
    - A time with a zone counts as its moment in UTC; a time without one and a date are taken as they are.
    - Text is in the Unicode form NFC and without blanks at its end; a uuid is in lower case.
    - Bytes are hexadecimal digits.

    :raises ValueError: for null, for a blank text, for the text of a null, for what is not a number, and for types that
        have no one text (lists, dicts, objects). The text of the error does not hold the value.
    """
    kind = type(value)
    if kind is str:
        return _text(value)  # type: ignore[arg-type]
    if kind is int:
        return str(value)
    canonical = _TYPES.get(kind)
    if canonical is None:
        canonical = next((_TYPES[known] for known in _SUPERTYPES if isinstance(value, known)), _other)
    return canonical(value)


def _text(value: str) -> str:
    text = value.rstrip(" ")
    if not text.isascii() and not is_normalized("NFC", text):
        text = normalize("NFC", text)
    if not text or text.isspace():
        raise ValueError("is blank")
    if text in NULL_TEXTS:
        raise ValueError("is the text of a null")
    if 36 <= len(text) <= 38 and (found := _UUID.fullmatch(text)):
        return found[1].lower()
    return text


def _number(number: Decimal) -> str:
    if not number.is_finite():
        raise ValueError("is not a number")
    if not number:
        return "0"
    if abs(number.adjusted()) > _MAX_EXPONENT:
        raise ValueError(f"has more than {_MAX_EXPONENT} digits")
    # Never normalize() or a sum: those round to the 28 digits of the context.
    text = format(number, "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return text


def _time(value: datetime) -> str:
    if value != value:  # pandas' NaT, which is a datetime
        raise ValueError("is null")
    try:
        moment = value.astimezone(UTC) if value.tzinfo is not None and value.utcoffset() is not None else value
    except OverflowError:
        raise ValueError("is a time before the year 1 or after 9999 in UTC") from None
    plain = datetime(  # noqa: DTZ001 - in UTC, or without a zone as it came
        moment.year, moment.month, moment.day, moment.hour, moment.minute, moment.second, moment.microsecond
    )
    nanoseconds = getattr(moment, "nanosecond", 0)
    if nanoseconds:
        return f"{plain.isoformat(timespec='microseconds')}{nanoseconds:03}"
    return plain.isoformat()


def _bytes(value: bytes | bytearray | memoryview) -> str:
    text = bytes(value).hex()
    if not text:
        raise ValueError("is blank")
    return text


def _null(_: object) -> str:
    raise ValueError("is null")


def _other(value: Any) -> str:
    """Return the text of a scalar of numpy, and refuse everything else."""
    kind = getattr(getattr(value, "dtype", None), "kind", None)
    if kind is not None and hasattr(value, "item") and not getattr(value, "ndim", 0):
        return canonical_value(value.astype("datetime64[us]").item() if kind == "M" else value.item())
    if type(value).__name__ == "NAType":
        raise ValueError("is null")
    raise ValueError(f"has the type {type(value).__name__}, which cannot be a key")


_TYPES: dict[type, Callable[[Any], str]] = {
    type(None): _null,
    bool: lambda value: "true" if value else "false",
    int: lambda value: str(int(value)),
    float: lambda value: _number(Decimal(float.__repr__(value))),
    Decimal: _number,
    str: lambda value: _text(str.__str__(value)),
    datetime: _time,
    date: lambda value: f"{value.year:04}-{value.month:02}-{value.day:02}",
    UUID: lambda value: str(value).lower(),
    bytes: _bytes,
    bytearray: _bytes,
    memoryview: _bytes,
}
_SUPERTYPES = (str, bool, int, float, Decimal, datetime, date, UUID, bytes, bytearray)
"""What values of the types that others derive from these are; a datetime is a date, and a bool an int."""


def ticket_key(
    namespace: str, values: Mapping[str, object], *, personal: Iterable[str] = (), secret: str | None = None
) -> TicketKey:
    """Return the key of a row.

    :param namespace: the set in which the key is unique.
    :param values: the key columns in the order of ``key_columns``, with their values.
    :param personal: texts that must not be readable in the ledger (number, e-mail, name); a key value that holds one
        is shown hashed, and so is every value that may be personal, see
        :func:`~vambe_provider.delivery.shown.readable`.
    :param secret: the secret of that hash.
    :raises VambeValidationError: when a value is null or cannot be a key; names the column.
    """
    texts: dict[str, str] = {}
    problems: list[str] = []
    for column, value in values.items():
        try:
            texts[column] = canonical_value(value)
        except ValueError as error:
            problems.append(f"key column {shown_name(column)}: {error}")
    if problems:
        raise VambeValidationError(
            problems, where="a row", fix="Give every row a key, or filter such rows out in the query."
        )
    hidden = [text for text in personal if text] if personal else ()
    shown = printable(shown_values(texts, personal=hidden, secret=secret))
    return TicketKey(namespace, digest(namespace, *texts.values()), shown[:MAX_TEXT])


def key_digests(namespace: str, rows: Iterable[Sequence[object]]) -> list[str | None]:
    """Return the digests of many rows' keys, each the same as that of :func:`ticket_key`; None for an unusable key.

    :param namespace: the set in which the keys are unique.
    :param rows: the values of the key columns of each row, in the order of ``key_columns``.
    """
    sha256, quote, canonical = hashlib.sha256, encode_basestring, canonical_value
    begin = f"[{quote(namespace)}, "
    digests: list[str | None] = []
    for row in rows:
        try:
            text = ", ".join([quote(canonical(value)) for value in row])
        except ValueError:
            digests.append(None)
        else:
            digests.append(sha256(f"{begin}{text}]".encode(errors="surrogatepass")).hexdigest()[:32])
    return digests


def named_key(
    namespace: str, name: str, *, given: bool = False, personal: Iterable[str] = (), secret: str | None = None
) -> TicketKey:
    """Return the key of a single ticket that has a name of its own, such as ``dag/task/run``.

    :param namespace: the set in which the name is unique.
    :param name: the name.
    :param given: the user gave it, so that it may hold anything.
    :param personal: texts that must not be readable; a name that holds one is shown hashed.
    :param secret: the secret of that hash.
    """
    hidden = [text for text in personal if text]
    shown = name if name_is_readable(name, given=given, personal=hidden) else shown_hash(name, secret)
    return TicketKey(namespace, digest(namespace, name), printable(shown)[:MAX_TEXT])


def digest(*texts: str) -> str:
    """Return 32 hexadecimal characters that stand for these texts in this order."""
    # Half a character, as broken exports have it, is told apart like any other.
    text = ", ".join(map(encode_basestring, texts))
    return hashlib.sha256(f"[{text}]".encode(errors="surrogatepass")).hexdigest()[:32]


def message_hash(text: str) -> str:
    """Return what the ledger holds in place of a message's text: the same for spaces around it and for line ends."""
    lines = (line.rstrip() for line in normalize("NFC", text).strip().splitlines())
    return digest("message", "\n".join(lines))


def fingerprint(body: Mapping[str, object], *sender: str | None) -> str:
    """Return what tells whether a ticket's content or its sender changed since it was last tried."""
    return digest(_sorted_json(body), *(part or "" for part in sender))
