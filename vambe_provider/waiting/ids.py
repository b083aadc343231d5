"""Which contacts a task waits for, out of what upstream tasks and templates hand over."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterable, Mapping

from vambe_provider.exceptions import VambeConfigError

_UNSAFE = re.compile(r"[\x00-\x20\x7f/\\?#%]")
_PHONE = re.compile(r"\+[0-9][0-9 -]{6,}|[0-9]{8,15}")
_MAX_ID = 200
_FIX = "It is the aiContactId that opening a ticket returned; search_contacts() of the hook finds it by phone."


def contact_ids(value: object, *, name: str = "ai_contact_ids") -> list[str]:
    """Return the contacts that a value means, each once, in their order.

    :param value: an id, a list of them, the result of ``VambeOpenTicketOperator`` or the report of a batch; a list may
        mix them. Also as text that holds JSON or a Python literal, which is what a rendered template leaves.
    :param name: the argument's name, for errors.
    :return: empty when a list or a report holds no contact.
    :raises VambeConfigError: when something in it is no id; names the place and the way out.
    """
    found = [_checked(item, where) for item, where in _flat(_parsed(value), name)]
    return list(dict.fromkeys(found))


def names(value: object) -> list[str]:
    """Return a list of names out of one name, a list, or the text of a list."""
    parsed = _parsed(value)
    items = [parsed] if isinstance(parsed, str) else list(parsed) if isinstance(parsed, Iterable) else []
    return list(dict.fromkeys(text for item in items if (text := str(item).strip())))


def _parsed(value: object) -> object:
    """Return what a text means that a template made of a list or a dict; any other value as it is."""
    if not isinstance(value, str) or not value.strip().startswith(("[", "{", "(")):
        return value
    for parse in (json.loads, ast.literal_eval):
        try:
            return parse(value.strip())
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            continue
    return value


def _flat(value: object, where: str) -> Iterable[tuple[object, str]]:
    if isinstance(value, Mapping):
        yield from _from_result(value, where)
    elif isinstance(value, (str, bytes)) or not isinstance(value, Iterable):
        yield value, where
    else:
        for index, item in enumerate(value):
            yield from _flat(item, f"{where}[{index}]")


def _from_result(value: Mapping[object, object], where: str) -> Iterable[tuple[object, str]]:
    if "ai_contact_ids" in value:
        yield from _flat(value["ai_contact_ids"], f"{where}.ai_contact_ids")
    elif "ai_contact_id" in value:
        yield value["ai_contact_id"], f"{where}.ai_contact_id"
    else:
        raise VambeConfigError(
            f"{where}: the dict holds neither ai_contact_id nor ai_contact_ids",
            fix="Hand over what an operator of this provider returned, or the ids themselves.",
        )


def _checked(value: object, where: str) -> str:
    if not isinstance(value, str) or not value.strip() or value.strip() == "None":
        kind = "is empty" if value is None or isinstance(value, str) else f"is a {type(value).__name__}, not a text"
        raise VambeConfigError(f"{where}: the contact id {kind}", fix=_FIX)
    text = value.strip()
    if _PHONE.fullmatch(text):
        raise VambeConfigError(f"{where}: this is a phone number, not a contact id", fix=_FIX)
    if text in (".", "..") or _UNSAFE.search(text) or len(text) > _MAX_ID:
        raise VambeConfigError(f"{where}: this cannot be a contact id", fix=_FIX)
    return text
