"""Which contacts a task waits for, out of what upstream tasks and templates hand over."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from vambe_provider.api.texts import literal
from vambe_provider.exceptions import VambeConfigError
from vambe_provider.waiting.conditions import moment
from vambe_provider.waiting.tickets import Target

_UNSAFE = re.compile(r"[\x00-\x20\x7f/\\?#%,;|<>\"'{}\[\]]")
_PHONE = re.compile(r"\(?\+?[0-9][0-9 ().\u2010-\u2015-]{6,}")
_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_NO_ID = frozenset({"none", "null", "nan", "nat", "<na>", "n/a", "undefined", "true", "false", "nil"})
_MAX_ID = 200
_WORD = re.compile("[a-z_]{1,30}")
_FIX = "It is the aiContactId that opening a ticket returned; search_contacts() of the hook finds it by phone."


def targets(value: object, *, name: str = "ai_contact_ids") -> list[Target]:
    """Return the contacts that a value means, each once, in their order, with what is known of their tickets.

    :param value: an id, a list of them, the result of ``VambeOpenTicketOperator`` or the report of a batch; a list may
        mix them. Also as text that holds JSON or a Python literal, which is what a rendered template leaves.
    :param name: the argument's name, for errors.
    :return: empty when a list or a report holds no contact.
    :raises VambeConfigError: when something in it is not an id; names the place and the way out.
    """
    found = list(dict.fromkeys(_flat(_parsed(value), name)))
    told = {target.key for target in found if target.to_json()}
    return [target for target in _each_once(found) if target.to_json() or target.key not in told]


def names(value: object) -> list[str]:
    """Return a list of names out of one name, a list, or the text of a list."""
    parsed = _parsed(value)
    items = [parsed] if isinstance(parsed, str) else list(parsed) if isinstance(parsed, Iterable) else []
    texts = (str(item).strip() for item in items if item is not None)
    return list(dict.fromkeys(text for text in texts if text and text.lower() not in _NO_ID))


def check_account(found: Iterable[Target], account: str | None, *, conn_id: str) -> None:
    """Refuse tickets of another account: a contact of the same id there, if there is one, is somebody else.

    :param account: that of the connection; None when it is not known.
    :param conn_id: the connection, for the error.
    :raises VambeConfigError: when one of them was opened with another account.
    """
    if account is not None and any(target.account not in (None, account) for target in found):
        raise VambeConfigError(
            f"ai_contact_ids: a ticket was opened with another account than that of connection {conn_id} ({account})",
            fix="Set vambe_conn_id to the connection of the task that opened it.",
        )


def check_id(value: object, where: str, *, fix: str = _FIX) -> str:
    """Return an id of Vambe; a uuid in capitals, as some databases write it, in small letters.

    :param where: the argument, for the error.
    :raises VambeConfigError: when it cannot be one; the text does not repeat it.
    """
    if not isinstance(value, str) or not value.strip() or value.strip().lower() in _NO_ID:
        empty = value is None or isinstance(value, str)
        kind = "is empty" if empty else f"is of the type {type(value).__name__}, not a text"
        raise VambeConfigError(f"{where}: the id {kind}", fix=fix)
    text = value.strip()
    if _UUID.fullmatch(text):
        return text.lower()
    if _PHONE.fullmatch(text):
        raise VambeConfigError(f"{where}: this is a phone number, not an id", fix=fix)
    if "@" in text:
        raise VambeConfigError(f"{where}: this is an e-mail address, not an id", fix=fix)
    if text in (".", "..") or _UNSAFE.search(text) or len(text) > _MAX_ID:
        raise VambeConfigError(f"{where}: this cannot be an id", fix=fix)
    return text


def _each_once(found: Iterable[Target]) -> list[Target]:
    """Return the targets without those that mean the same ticket of the same contact."""
    return list({(target.key, target.mark, target.ticket_id): target for target in found}.values())


def _parsed(value: object) -> object:
    """Return what a text means that a template made of a list or a dict; any other value as it is."""
    if not isinstance(value, str) or not value.strip().startswith(("[", "{", "(")):
        return value
    return literal(value)


def _flat(value: object, where: str) -> Iterable[Target]:
    if isinstance(value, Mapping):
        yield from _from_result(value, where)
    elif isinstance(value, (str, bytes)) or not isinstance(value, Iterable):
        yield Target(check_id(value, where))
    else:
        for index, item in enumerate(value):
            yield from _flat(item, f"{where}[{index}]")


def _from_result(value: Mapping[Any, Any], where: str) -> Iterable[Target]:
    opened_at = _time(value.get("opened_at"), f"{where}.opened_at")
    opened_until = _time(value.get("opened_until"), f"{where}.opened_until")
    if "ai_contact_id" in value:
        ticket_id = value.get("ticket_id")
        yield Target(
            check_id(value["ai_contact_id"], f"{where}.ai_contact_id", fix=_not_opened(value) or _FIX),
            mark=_mark(value.get("mark"), f"{where}.mark"),
            opened_at=opened_at,
            opened_until=opened_until,
            ticket_id=None if ticket_id is None else check_id(ticket_id, f"{where}.ticket_id"),
            account=value["account"] if isinstance(value.get("account"), str) else None,
        )
    elif "ai_contact_ids" in value:
        for target in _flat(value["ai_contact_ids"], f"{where}.ai_contact_ids"):
            yield target if target.opened_at else replace(target, opened_at=opened_at, opened_until=opened_until)
    else:
        raise VambeConfigError(
            f"{where}: the dict holds neither ai_contact_id nor ai_contact_ids",
            fix="Hand over what an operator of this provider returned, or the ids themselves.",
        )


def _not_opened(value: Mapping[Any, Any]) -> str | None:
    outcome = value.get("outcome")
    if value.get("ai_contact_id") is not None or not isinstance(outcome, str) or not _WORD.fullmatch(outcome):
        return None
    return f"The ticket was not opened ({outcome}), so there is nothing to wait for."


def _mark(value: object, where: str) -> str | None:
    if value is None or isinstance(value, str):
        return (value or "").strip() or None
    raise VambeConfigError(f"{where}: the mark is a {type(value).__name__}, not a text")


def _time(value: object, where: str) -> float | None:
    if value is None:
        return None
    at = moment(value) if isinstance(value, (str, datetime)) else None
    if at is None:
        raise VambeConfigError(f"{where}: this is not an ISO 8601 time", fix="Hand over the result as it was returned.")
    return at
