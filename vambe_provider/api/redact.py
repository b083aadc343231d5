"""What an API says may quote what it was sent; this takes the personal part out of it."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

MAX_SAID = 500
# How much of a reply is looked at: enough for any error, little enough to be cheap.
_MAX_READ = 4000

_TITLE = re.compile(r"<title[^>]*>(.*?)</title>", re.IGNORECASE | re.DOTALL)
_TAG = re.compile(r"<(script|style)\b.*?</\1\s*>|<[^>]+>", re.IGNORECASE | re.DOTALL)
_EMAIL = re.compile(r"[^\s\"'<>(),;:]+@[^\s\"'<>(),;:]+")
# Ids and times are the useful part of an error, and would look like phone numbers.
_NUMBER = re.compile(
    r"(?P<keep>\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b|\b\d{4}-\d\d-\d\d(?:[T ][\d:.]+)?)"
    r"|\+?\d(?:[\s().\-/]*\d){7,}",
    re.IGNORECASE,
)
_WINDOW = 10
_HIDDEN = "[…]"
# Fields of a request that name things in Vambe, not people.
_HARMLESS = frozenset({"stage_id", "templateId", "ticket_id", "ai_contact_id", "currency"})


def said(body: bytes, *, sent: Iterable[str] = (), secrets: Iterable[str] = ()) -> str | None:
    """Return what a reply says, in one line of at most 500 characters without anything personal; None for nothing.

    Understands NestJS errors (``message`` as text or list, ``error``), ``errors`` lists, HTML pages (their title) and
    raw text.

    :param body: the reply as it came.
    :param sent: texts that were part of the request and must not come back.
    :param secrets: texts that must not appear at all, as the API key.
    """
    text = " ".join(_message(body.decode("utf-8", "replace")).split())[:_MAX_READ]
    for secret in secrets:
        text = text.replace(secret, _HIDDEN)
    text = _EMAIL.sub(_HIDDEN, text)
    text = _NUMBER.sub(lambda match: match["keep"] or _HIDDEN, text)
    text = _without(text, list(sent))
    return (text if len(text) <= MAX_SAID else f"{text[: MAX_SAID - 1]}…") or None


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


def _message(text: str) -> str:
    try:
        return _from_json(json.loads(text))
    except (ValueError, RecursionError):
        pass
    if "<" not in text:
        return text
    title = _TITLE.search(text[:20000])
    return html.unescape(title[1] if title else _TAG.sub(" ", text[:20000]))


def _from_json(value: object) -> str:
    """Return the sentences of an error body; a body that has none of the usual fields is returned as JSON text."""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return "; ".join(filter(None, (_from_json(item) for item in value)))
    if not isinstance(value, Mapping):
        return "" if value is None else json.dumps(value)
    path = value.get("path")
    where = ".".join(map(str, path)) if isinstance(path, list) else ""
    parts = [
        _from_json(value[name])
        for name in ("message", "errors", "error", "detail")
        if value.get(name) not in (None, True)
    ]
    texts = list(dict.fromkeys(part for part in parts if part))
    if texts:
        return f"{where}: {'; '.join(texts)}" if where else "; ".join(texts)
    nested = value.get("data")
    return _from_json(nested) if isinstance(nested, Mapping) and nested else json.dumps(value, ensure_ascii=False)
