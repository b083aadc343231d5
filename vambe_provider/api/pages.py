"""One page of a long list, read so that one odd row spoils nothing but itself. For those who page by themselves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Unpack

from pydantic import ValidationError

from vambe_provider.api.models import ChatMessage
from vambe_provider.api.requests import CONTACTS, ContactFilter, contact_query, messages_path, read, window

if TYPE_CHECKING:
    from vambe_provider.api.calls import Calls, Steps
    from vambe_provider.api.replies import Reader, Reply

_YES, _NO = frozenset({"true", "1", "yes"}), frozenset({"false", "0", "no"})


@dataclass(frozen=True, slots=True)
class ContactsPage:
    """One page of the list of contacts.

    :param rows: the contacts as the API shows them.
    :param size: rows of the page, those that are not objects included.
    """

    rows: list[dict[str, Any]] = field(repr=False)
    size: int


@dataclass(frozen=True, slots=True)
class MessagesPage:
    """One page of a conversation.

    :param messages: those that can be read, in the order of the page.
    :param more: whether the API says that there are more pages; None where it does not say.
    :param total: messages of the whole conversation; None where the API does not say.
    """

    messages: list[ChatMessage]
    more: bool | None
    total: int | None


def contacts_page(
    calls: Calls, *, limit: int, offset: int = 0, **filters: Unpack[ContactFilter]
) -> Steps[ContactsPage]:
    """Read one page of the list of contacts, for those who page by themselves.

    :param limit: contacts that are asked for, 1 to 1000.
    :param offset: contacts that are left out at the beginning.
    :param filters: as in :meth:`list_contacts`.
    """
    query = contact_query(**filters) + window(limit, offset)
    return (yield from calls.send(read("list the contacts", CONTACTS, query), _contacts))


def messages_page(calls: Calls, contact_id: str, *, page: int) -> Steps[MessagesPage]:
    """Read one page of the messages of a contact, for those who page by themselves.

    :param contact_id: the ``aiContactId``.
    :param page: counted from 1.
    """
    request = read("read the messages", messages_path(contact_id), (("page", str(page)),))
    return (yield from calls.send(request, _messages))


def _contacts(reader: Reader, reply: Reply) -> ContactsPage:
    items = reader._items(reply)
    return ContactsPage([item for item in items if isinstance(item, dict)], len(items))


def _messages(reader: Reader, reply: Reply) -> MessagesPage:
    payload = reader._payload(reply)
    messages = []
    for item in reader._items(reply, payload):
        try:
            messages.append(ChatMessage.model_validate(item))
        except ValidationError:
            continue
    if not isinstance(payload, Mapping):
        return MessagesPage(messages, more=False, total=None)
    total = payload.get("total")
    return MessagesPage(
        messages,
        more=_yes_or_no(next((payload[name] for name in ("hasMore", "has_more") if name in payload), None)),
        total=int(str(total)) if str(total).isascii() and str(total).isdigit() else None,
    )


def _yes_or_no(value: object) -> bool | None:
    text = str(value).strip().lower()
    return True if text in _YES else False if text in _NO else None
