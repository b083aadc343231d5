"""What an API says may quote what it was sent; this takes the personal part out of it."""

from __future__ import annotations

import base64
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import unquote

MAX_SAID = 500
# How much of a text is looked at: enough for any error, little enough to be cheap.
_MAX_READ = 4000

_EMAIL = re.compile(r"[^\s\"'<>(),;:]+@[^\s\"'<>(),;:]+")
# Ids and times are the useful part of an error, and would look like phone numbers.
_NUMBER = re.compile(
    r"(?P<keep>\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b|\b\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?)?)"
    r"|\+?\d(?:[\s().\-/\u2010-\u2015]*\d){7,}",
    re.IGNORECASE,
)
_WINDOW = 10
_HIDDEN = "[…]"
# Fields of a request that name things in Vambe, not people.
_HARMLESS = frozenset({"stage_id", "templateId", "ticket_id", "ai_contact_id", "currency"})


def printable(text: str) -> str:
    """Return a text in one line, in its usual spelling, and without characters that would act on who shows it.

    Control characters, direction marks and halves of surrogate pairs are left out.
    """
    normal = unicodedata.normalize("NFKC", text[:_MAX_READ])
    return " ".join("".join(" " if char.isspace() else char for char in normal if _is_shown(char)).split())


def _is_shown(char: str) -> bool:
    return char.isspace() or not unicodedata.category(char).startswith("C")


def without_people(text: str, *, sent: Iterable[str] = (), secrets: Iterable[str] = ()) -> str | None:
    """Return a text in one line of at most 500 characters without anything personal; None when nothing is left.

    :param text: what the API said.
    :param sent: texts that were part of the request and must not come back.
    :param secrets: texts that must not appear at all, such as the API key.
    """
    text = printable(unquote(text[:_MAX_READ], errors="replace"))
    text = _EMAIL.sub(_HIDDEN, text)
    text = _NUMBER.sub(lambda match: match["keep"] or _HIDDEN, text)
    text = _without(text, [printable(piece) for piece in (*sent, *_forms(secrets))])
    return (text if len(text) <= MAX_SAID else f"{text[: MAX_SAID - 1]}…") or None


def _forms(secrets: Iterable[str]) -> Iterator[str]:
    """Return secrets as they are, and as they look in base64."""
    for secret in secrets:
        yield secret
        yield base64.b64encode(secret.encode()).decode().rstrip("=")


def sent_texts(body: Mapping[str, Any] | None, query: Iterable[tuple[str, str]] = ()) -> list[str]:
    """Return the texts of a request that belong to a person: name, address, message and the values of the metadata."""
    return [*_leaves(body or {}), *(value for _, value in query)]


def _leaves(value: object) -> Iterator[str]:
    if isinstance(value, Mapping):
        for key, item in value.items():
            if key not in _HARMLESS:
                yield from _leaves(item)
            if key == "contact_name" and isinstance(item, str):
                yield from item.split()
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _leaves(item)
    elif isinstance(value, (str, int, float)) and not isinstance(value, bool):
        yield " ".join(str(value).split())


def _without(text: str, pieces: list[str]) -> str:
    """Return a text in which what stands in one of the pieces is hidden: short pieces as words, of long ones also any
    part.
    """
    lower = text.lower()
    hidden = bytearray(len(text))
    if len(lower) != len(text):  # a few letters change their length; then compare as written
        lower = text
    for piece in {piece.lower() for piece in pieces if len(piece) > 2}:
        for match in re.finditer(rf"(?<!\w){re.escape(piece)}(?!\w)", lower):
            hidden[match.start() : match.end()] = b"\1" * (match.end() - match.start())
        if len(piece) < _WINDOW:
            continue
        parts = {piece[start : start + _WINDOW] for start in range(len(piece) - _WINDOW + 1)}
        for start in range(len(lower) - _WINDOW + 1):
            if lower[start : start + _WINDOW] in parts:
                hidden[start : start + _WINDOW] = b"\1" * _WINDOW
    runs = re.split("(\1+)", "".join("\1" if flag else char for char, flag in zip(text, hidden, strict=True)))
    return "".join(_HIDDEN if run.startswith("\1") else run for run in runs)
