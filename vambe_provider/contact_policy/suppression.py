"""Who must not be contacted: what an entry of a list stops, how people are found in it, and which messages opt out."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from vambe_provider.contact_policy import PURPOSES
from vambe_provider.contact_policy.numbers import number_aliases

OPT_OUT_WORDS: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(
        (
            "STOP",
            "STOPALL",
            "UNSUBSCRIBE",
            "BAJA",
            "DAR DE BAJA",
            "NO MOLESTAR",
            "SALIR",
            "SAIR",
            "PARAR",
            "DESCADASTRAR",
        ),
        PURPOSES,
    ),
    # An ordinary answer where an order or an appointment is talked about.
    "CANCELAR": ("marketing",),
}
"""Messages that opt out when they say nothing else, and the purposes that they stop."""

USUAL_LIST_AGE = timedelta(days=30)
"""A registry's list that is older should be fetched again."""


@dataclass(frozen=True, slots=True)
class Suppressed:
    """One entry of a list about one person.

    :param purpose: the purpose that it stops; None for all.
    :param reason: a short code, such as ``opted_out`` or ``unreachable``.
    :param since: when it was added.
    :param source: where it comes from, such as ``message``, ``import`` or ``query``.
    """

    purpose: str | None = None
    reason: str = "opted_out"
    since: datetime | None = None
    source: str | None = None

    def stops(self, purpose: str) -> bool:
        """Return whether the entry is about a purpose."""
        return self.purpose is None or self.purpose == purpose


def stopping(entries: Iterable[Suppressed], purpose: str) -> Suppressed | None:
    """Return the entry that forbids to contact somebody for a purpose."""
    return next((entry for entry in entries if entry.stops(purpose)), None)


def person_keys(number: str, key_of: Callable[[str], str]) -> tuple[str, ...]:
    """Return the keys under which a list may know a person: that of the number first, then those of its aliases.

    :param number: the number in E.164 form.
    :param key_of: makes a key of a number with a plus sign; a keyed hash, since a plain one of a phone number is
        reversed in minutes.
    """
    aliases = sorted(f"+{alias}" for alias in number_aliases(number))
    return tuple(key_of(alias) for alias in [number, *(alias for alias in aliases if alias != number)])


def opted_out_purposes(message: str, words: Mapping[str, tuple[str, ...]] = OPT_OUT_WORDS) -> tuple[str, ...] | None:
    """Return the purposes that a message opts out of; None when it is another message.

    Only a message that consists of such a word counts: "quiero parar mi pedido" does not. Nothing that somebody writes
    later lifts an opt-out.

    :param message: the text as it came.
    :param words: the words, and what each of them stops.
    """
    return {_folded(word): purposes for word, purposes in words.items()}.get(_folded(message)) if message else None


def old_list_warning(imported: datetime | None, now: datetime) -> str | None:
    """Return a warning about an imported list that is older than registries allow.

    :param imported: when the newest list was imported; None when there is none.
    """
    if imported is None or now - imported <= USUAL_LIST_AGE:
        return None
    return f"The list of opt-outs was imported {(now - imported).days} days ago; registries are valid for 30 days."


def _folded(text: str) -> str:
    """Return a text without case, accents, punctuation and symbols."""
    plain = unicodedata.normalize("NFD", unicodedata.normalize("NFKC", text).casefold())
    letters = (char if char.isalnum() else " " for char in plain if unicodedata.category(char) not in ("Mn", "Cf"))
    return " ".join("".join(letters).split())
