"""The identity of a ticket: what makes two attempts the same ticket.

A key is made of values only, never of column names, positions or times of execution, so that renaming a column,
another database driver or a second run gives the same key. Its digest is what the ledger and
``ticket_metadata["airflow_ticket_key"]`` hold.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from json.encoder import encode_basestring
from uuid import UUID

from vambe_provider.exceptions import VambeConfigError, VambeValidationError

METADATA_KEY = "airflow_ticket_key"
"""The field of ``ticket_metadata`` in which the digest travels."""

_sorted_json = json.JSONEncoder(ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode

MAX_NAMESPACE = 200
MAX_TEXT = 250


@dataclass(frozen=True, slots=True)
class TicketKey:
    """The key of one ticket.

    :param namespace: the set in which the key is unique.
    :param digest: 32 hexadecimal characters made from the namespace and the values.
    :param text: what a person reads in a report, as ``order_id=1042``; cut at 250 characters.
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
            fix="Set `namespace` to a short name that never changes, as 'late-orders'.",
        )
    return namespace


def canonical_value(value: object) -> str:
    """Return the one text of a key value, whatever type the database driver gave it.

    ``5``, ``Decimal("5.00")`` and ``5.0`` are the same key; text is kept as it is.

    :raises ValueError: for null, not-a-number and types that have no one text (lists, dicts, objects).
    """
    match value:
        case None:
            raise ValueError("is null")
        case str():
            return value
        case bool():
            return "true" if value else "false"
        case int() | UUID():
            return str(value)
        case float() | Decimal():
            return _canonical_number(Decimal(str(value)))
        case datetime():
            return (value.astimezone(UTC).replace(tzinfo=None) if value.tzinfo else value).isoformat()
        case date():
            return value.isoformat()
        case bytes() | bytearray() | memoryview():
            return bytes(value).hex()
        case _:
            raise ValueError(f"has the type {type(value).__name__}, which is no key")


def _canonical_number(number: Decimal) -> str:
    if not number.is_finite():
        raise ValueError("is not a number")
    text = format(number.normalize(), "f")
    return "0" if text == "-0" else text


def ticket_key(namespace: str, values: Mapping[str, object], *, personal: Iterable[str] = ()) -> TicketKey:
    """Return the key of a row.

    :param namespace: the set in which the key is unique.
    :param values: the key columns in the order of ``key_columns``, with their values.
    :param personal: texts that must not be readable in the ledger (number, e-mail, name); a key value that holds one
        is shown hashed.
    :raises VambeValidationError: when a value is null or cannot be a key; names the column.
    """
    texts: dict[str, str] = {}
    problems = []
    for column, value in values.items():
        try:
            texts[column] = canonical_value(value)
        except ValueError as error:
            problems.append(f"key column {column}: {error}")
    if problems:
        raise VambeValidationError(
            problems, where="a row", fix="Give every row a key, or filter such rows out in the query."
        )
    hidden = tuple(text for text in personal if text)
    shown = ", ".join(f"{column}={_readable(text, hidden)}" for column, text in texts.items())
    return TicketKey(namespace, digest(namespace, *texts.values()), printable(shown)[:MAX_TEXT])


def named_key(namespace: str, name: str) -> TicketKey:
    """Return the key of a single ticket that has a name of its own, as ``dag/task/run/-1``."""
    return TicketKey(namespace, digest(namespace, name), printable(name)[:MAX_TEXT])


def digest(*texts: str) -> str:
    """Return 32 hexadecimal characters that stand for these texts in this order."""
    # Half a character, as broken exports have it, is told apart like any other.
    text = ", ".join(map(encode_basestring, texts))
    return hashlib.sha256(f"[{text}]".encode(errors="surrogatepass")).hexdigest()[:32]


def printable(text: str) -> str:
    """Return a text that every database can hold and every terminal can show."""
    return text if text.isprintable() else "".join(char if char.isprintable() else "\ufffd" for char in text)


def person_hash(phone: str) -> str:
    """Return what the ledger holds in place of a canonical number.

    It keeps the number out of sight, not out of reach: who can try all numbers of a country can find it again.
    """
    return digest("person", phone)


def fingerprint(body: Mapping[str, object], *sender: str | None) -> str:
    """Return what tells whether a ticket's content or its sender changed since it was last tried."""
    return digest(_sorted_json(body), *(part or "" for part in sender))


def _readable(text: str, personal: Sequence[str]) -> str:
    folded, digits = text.casefold(), _digits(text)
    for secret in personal:
        end = _digits(secret)[-8:] if len(digits) >= 8 else ""
        if secret.casefold() in folded or (len(end) == 8 and end in digits):
            return f"#{digest(text)[:12]}"
    return text


def _digits(text: str) -> str:
    return text if text.isdigit() else re.sub(r"\D", "", text)
