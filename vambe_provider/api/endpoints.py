"""The endpoints of the Vambe API that this package uses, each described once.

Each function here is a method of :class:`~vambe_provider.api.VambeClient`, of
:class:`~vambe_provider.api.AsyncVambeClient` and of :class:`~vambe_provider.hooks.vambe.VambeHook`, where the async one
has an ``a`` in front of its name. The first parameter is filled in by them.

All of them raise a :class:`~vambe_provider.exceptions.VambeError`, which tells by ``sent`` whether the request may have
taken effect:

- ``VambeConfigError`` or ``VambeValidationError`` when an argument is wrong,
- ``VambeAuthError`` when the key is refused, and ``VambeRefusedError`` when the request is,
- ``VambeNotSentError`` when Vambe was not reached,
- ``VambeReadError`` when a read failed, after it was tried a few times,
- ``VambeMaybeSentError`` when nobody can tell what became of a write, which is one request and is never repeated.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Unpack

from vambe_provider.api.calls import Calls, Page, Steps
from vambe_provider.api.requests import (
    CONTACTS,
    ContactFilter,
    Request,
    TicketRef,
    amount_from,
    contact_query,
    messages_path,
    metadata_from,
    open_ticket_path,
    read,
    search_query,
    segment,
    ticket_named,
    window,
    write,
)
from vambe_provider.exceptions import VambeConfigError, VambeValidationError

if TYPE_CHECKING:
    from vambe_provider.api.models import Channel, ChatMessage, Contact, OpenedTicket, OpenTicket, Pipeline, Stage

PAGE_SIZE = 200
MAX_MESSAGE_PAGES = 50


def open_ticket(
    calls: Calls,
    ticket: OpenTicket | Mapping[str, Any],
    *,
    phone_id: str | None = None,
    channel: str | None = None,
    guard: Callable[[], None] | None = None,
) -> Steps[OpenedTicket]:
    """Open one ticket with one POST, which is never repeated; a customer may be messaged.

    A task retry that calls it again opens a second ticket; ``VambeOpenTicketOperator`` does not. Follows
    https://docs.vambe.me/reference/ticket/open-ticket-web-whatsapp and its twin for the channel ``whatsapp``.

    :param ticket: the request, or a dict of its fields. A dict may have ``stage``, which is a name such as
        ``Support / New`` or an id, in place of ``stage_id``; the pipelines are then read once.
    :param phone_id: the sender; default the connection's.
    :param channel: ``web-whatsapp`` or ``whatsapp``; default the connection's.
    :param guard: called when a connection is at hand, right before the first byte leaves. When it raises, nothing is
        sent, and an error of this package comes out as it is. A blocking call runs it in another thread.
    :return: the contact, new or existing; there is no id of the ticket.
    :raises VambeValidationError: when the ticket is not a valid request; names every problem.
    """
    parsed = yield from _ticket(calls, ticket)
    sender = phone_id if phone_id not in (None, "") else calls.settings.phone_id
    path = open_ticket_path(phone_id=sender, channel=channel or calls.settings.channel)
    request = Request("open the ticket", "POST", path, body=parsed.body(), guard=guard)
    return (yield from calls.send(request, lambda reader, reply: reader.opened(reply)))


def _ticket(calls: Calls, ticket: OpenTicket | Mapping[str, Any]) -> Steps[OpenTicket]:
    """Return the ticket that a mapping describes, with the id of its stage."""
    from vambe_provider.api.models import parse_ticket

    if not isinstance(ticket, Mapping) or ticket.get("stage") in (None, ""):
        return parse_ticket(ticket)
    fields = {name: value for name, value in ticket.items() if name != "stage"}
    if fields.get("stage_id") not in (None, ""):
        raise VambeValidationError(["stage, stage_id: only one of them can be given"], where="the ticket")
    # The name stands in for the id, so that every other problem is named before anything is asked.
    parsed = parse_ticket({**fields, "stage_id": str(ticket["stage"])})
    stage = yield from find_stage(calls, parsed.stage_id)
    return parsed.model_copy(update={"stage_id": stage.id})


def close_ticket(calls: Calls, contact_id: str) -> Steps[None]:
    """Close the active ticket of a contact; Vambe names this endpoint without describing it.

    :param contact_id: the ``aiContactId``.
    """
    path = f"/api/public/ticket/close/contact/{segment(contact_id, 'contact_id')}"
    return (yield from calls.send(write("close the ticket", path, {}), lambda reader, reply: reader.done(reply)))


def get_pipelines(calls: Calls) -> Steps[list[Pipeline]]:
    """Read all pipelines with their stages, in their order."""
    request = read("read the pipelines", "/api/public/pipeline")
    calls.pipelines = yield from calls.send(request, lambda reader, reply: reader.pipelines(reply))
    return calls.pipelines


def find_stage(calls: Calls, name_or_id: str) -> Steps[Stage]:
    """Find the stage that a name or an id means; the pipelines are read once, and again when it is not in them.

    :param name_or_id: ``Support / New``, ``New`` when only one pipeline has such a stage, or the id.
    :raises VambeConfigError: when there is none, or more than one; names those that exist.
    """
    from vambe_provider.api import stages

    if calls.pipelines is not None:
        try:
            return stages.find_stage(calls.pipelines, name_or_id)
        except VambeConfigError:
            pass  # it may be new
    return stages.find_stage((yield from get_pipelines(calls)), name_or_id)


def get_channel(calls: Calls, channel: str | None = None) -> Steps[Channel]:
    """Read the sender of a channel type; its ``id`` is the ``phone_id``.

    :param channel: ``web-whatsapp``, ``whatsapp``, ``instagram`` or ``playground``; default the connection's.
    """
    path = f"/api/public/channels/{segment(channel or calls.settings.channel, 'channel')}"
    return (yield from calls.send(read("read the channel", path), lambda reader, reply: reader.channel(reply)))


def get_contact(calls: Calls, contact_id: str) -> Steps[Contact]:
    """Read one contact with its tickets and all that Vambe adds.

    :param contact_id: the ``aiContactId``.
    """
    path = f"/api/public/contact/{segment(contact_id, 'contact_id')}/info"
    return (yield from calls.send(read("read the contact", path), lambda reader, reply: reader.contact(reply)))


def search_contacts(calls: Calls, phone: str | None = None, email: str | None = None) -> Steps[list[Contact]]:
    """Find contacts whose number or e-mail contains a text; Vambe returns 50 at most.

    :param phone: a part of a number.
    :param email: a part of an e-mail; with both, either is enough.
    :raises VambeConfigError: when neither is given.
    """
    request = read("search for contacts", "/api/public/contacts/search", search_query(phone=phone, email=email))
    return (yield from calls.send(request, lambda reader, reply: reader.contacts(reply)))


def list_contacts(
    calls: Calls,
    *,
    page_size: int = PAGE_SIZE,
    max_pages: int | None = None,
    **filters: Unpack[ContactFilter],
) -> Steps[Page[Contact]]:
    """Iterate over the contacts that fit, reading page by page.

    :param days: last message within so many days, 1 to 365; this or one of the next two is needed.
    :param created_after: created after this time.
    :param updated_after: changed after this time.
    :param stage_id: the default stage, which need not be that of the active ticket.
    :param pipeline_id: pipeline of the active ticket.
    :param custom_field_key: with ``custom_field_value``: only contacts, or contacts with a ticket, with this value.
    :param custom_field_value: see ``custom_field_key``.
    :param page_size: contacts in one request, 1 to 1000.
    :param max_pages: pages that are read at most; default all.
    :raises VambeConfigError: without a time, with half of the custom field, or with a value out of range.
    """
    query = contact_query(**filters)
    if max_pages is not None and max_pages < 1:
        raise VambeConfigError("max_pages: not 1 or more")
    return (yield from _page_of_contacts(calls, query, page_size, left=max_pages))


def _page_of_contacts(
    calls: Calls,
    query: tuple[tuple[str, str], ...],
    size: int,
    *,
    left: int | None,
    offset: int = 0,
    last: frozenset[str] = frozenset(),
) -> Steps[Page[Contact]]:
    """Read one page, without the contacts that the page before already held."""
    request = read("list the contacts", CONTACTS, query + window(size, offset, name="page_size"))
    page = yield from calls.send(request, lambda reader, reply: reader.contacts(reply))
    new = [contact for contact in page if contact.id not in last]
    # Older servers ignore the limit and answer with everything, or ignore the offset and answer the same again.
    if len(page) != size or not new or left == 1:
        return Page(new, None)
    ids = frozenset(contact.id for contact in page)
    rest = None if left is None else left - 1
    return Page(new, lambda calls: _page_of_contacts(calls, query, size, left=rest, offset=offset + size, last=ids))


def get_messages(calls: Calls, contact_id: str, *, max_pages: int = MAX_MESSAGE_PAGES) -> Steps[list[ChatMessage]]:
    """Read the messages of a contact, the newest last.

    :param contact_id: the ``aiContactId``.
    :param max_pages: pages that are read at most.
    """
    from vambe_provider.api.conversation import in_order

    path = messages_path(contact_id)
    pages: list[list[ChatMessage]] = []
    seen: set[str | None] = {None}
    for number in range(1, max_pages + 1):
        request = read("read the messages", path, (("page", str(number)),))
        page, more = yield from calls.send(request, lambda reader, reply: reader.messages(reply))
        # A message that arrives in between moves the others to the next page.
        new = [message for message in page if message.id is None or message.id not in seen]
        seen.update(message.id for message in new)
        pages.append(new)
        if not more or not new:
            break
    return in_order(pages)


def update_contact_metadata(calls: Calls, contact_id: str, metadata: Mapping[str, Any]) -> Steps[None]:
    """Set custom fields of a contact.

    :param contact_id: the ``aiContactId``.
    :param metadata: names and values; values are sent as text, null values are left out.
    """
    path = f"/api/public/contact/{segment(contact_id, 'contact_id')}/update-metadata"
    # Wrapped as the OpenAPI document has it; the prose shows a flat object.
    request = write("update the contact", path, {"metadata": metadata_from(metadata)})
    return (yield from calls.send(request, lambda reader, reply: reader.done(reply)))


def update_ticket_metadata(calls: Calls, metadata: Mapping[str, Any], **ticket: Unpack[TicketRef]) -> Steps[None]:
    """Merge values into the metadata of a ticket; other values stay.

    :param metadata: names and values; values are sent as text, null values are left out.
    :param ticket_id: the ticket; exactly one of the three ids is needed.
    :param ai_contact_id: the contact whose active ticket it is.
    :param contact_number: the phone number of that contact.
    :param allow_closed_ticket: take the latest closed ticket when none is active; default false.
    """
    body = {**ticket_named(**ticket), "metadata": metadata_from(metadata)}
    request = write("update the ticket", "/api/public/ticket/metadata", body)
    return (yield from calls.send(request, lambda reader, reply: reader.done(reply)))


def update_ticket_amount(
    calls: Calls, amount: object, *, currency: str | None = None, **ticket: Unpack[TicketRef]
) -> Steps[None]:
    """Set the amount of a ticket, which is named as in :meth:`update_ticket_metadata`.

    :param amount: a number, also as text or ``Decimal``.
    :param currency: such as ``CLP``; needed where the type of the ticket takes its amount from a price.
    """
    body = {**ticket_named(**ticket), **amount_from(amount, currency)}
    request = write("set the ticket's amount", "/api/public/ticket/amount", body)
    return (yield from calls.send(request, lambda reader, reply: reader.done(reply)))
