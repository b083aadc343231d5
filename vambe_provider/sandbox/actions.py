"""Everything that can happen in the account: tickets opened, moved and closed, messages written, contacts merged."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from vambe_provider.sandbox.catalog import SENDERS, find_stage
from vambe_provider.sandbox.model import ChatMessage, Contact, JsonObject, Ticket, new_id

if TYPE_CHECKING:
    from vambe_provider.sandbox.state import SandboxState

ASSISTANT_TEXT = "Hello! I am the assistant. How can I help you?"
_DAY = 24 * 3600 * 1000


class TicketConflictError(Exception):
    """The contact has an active ticket, and the sandbox is configured to refuse a second one."""


class OutsideWindowError(Exception):
    """Free text to a customer who has not written for 24 hours, and the sandbox is configured to refuse it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """A valid open-ticket request.

    :param message: the message object, or None.
    :param message_runs: whether the message step is reached; a fault can stop the request before it.
    """

    phone: str
    channel: str
    phone_id: str
    stage_id: str
    name: str | None = None
    email: str | None = None
    contact_metadata: JsonObject = field(default_factory=dict)
    ticket_metadata: JsonObject = field(default_factory=dict)
    integration_data: JsonObject = field(default_factory=dict)
    message: JsonObject | None = None
    message_runs: bool = True


def add_contact(
    state: SandboxState, *, phone: str, platform: str, name: str | None = None, email: str | None = None
) -> Contact:
    """Create a contact.

    :param state: the account.
    :param phone: digits of the number, not yet known on this platform.
    :param platform: the channel.
    :param name: the contact's name.
    :param email: the contact's e-mail address.
    :returns: the contact.
    """
    with state.change():
        now = state.now()
        contact = Contact(new_id(), phone, platform, now, now, name, email)
        state.index_contact(contact)
        state.touch(contact)
        return contact


def open_ticket(state: SandboxState, opening: Opening) -> tuple[Contact, bool]:
    """Find or create the contact, store the metadata, place the ticket, send the message: in the documented order.

    :param state: the account.
    :param opening: the valid request.
    :returns: the contact, and whether anything happened.
    :raises TicketConflictError: when there is an active ticket and ``existing_ticket`` is ``conflict``.
    :raises OutsideWindowError: when ``session_window`` is ``refuse`` and the message is free text to a cold contact.
    """
    with state.change():
        contact = state.by_address.get((opening.phone, opening.channel))
        active = contact is not None and contact.active_ticket_id is not None
        if active and state.config.existing_ticket == "conflict":
            raise TicketConflictError
        if contact and active and state.config.existing_ticket == "ignore":
            return contact, False
        if state.config.session_window == "refuse" and _outside_window(state, opening, contact):
            raise OutsideWindowError
        contact = _upsert_contact(state, opening, contact)
        _place_ticket(state, opening, contact)
        state.touch(contact, bump=state.config.ticket_bumps_updated_at)
        if opening.message_runs:
            _send_first_message(state, opening, contact)
        return contact, True


def _upsert_contact(state: SandboxState, opening: Opening, contact: Contact | None) -> Contact:
    if contact is None:
        now = state.now()
        contact = Contact(new_id(), opening.phone, opening.channel, now, now, opening.name, opening.email)
        state.index_contact(contact)
        state.updated.touch(contact.id, now)
        contact.default_stage_id = opening.stage_id
    else:
        contact.name = opening.name or contact.name
        if opening.email and opening.email != contact.email:
            contact.email = opening.email
            state.emails.put(contact.id, opening.email.casefold())
    contact.metadata.update(opening.contact_metadata)
    return contact


def _place_ticket(state: SandboxState, opening: Opening, contact: Contact) -> None:
    now = state.now()
    active = state.tickets.get(contact.active_ticket_id or "")
    if active and state.config.existing_ticket == "keep":
        return
    if active and state.config.existing_ticket == "move":
        active.metadata_at, active.reads_at_metadata = now, contact.reads
        active.metadata_before = dict(active.metadata)
        active.stage_id, active.updated_at, active.message = opening.stage_id, now, opening.message
        active.metadata.update(opening.ticket_metadata)
        active.integration_data.update(opening.integration_data)
        state.keep("ticket", active)
        return
    if active:
        active.status = "replaced"
        state.keep("ticket", active)
    ticket = Ticket(
        id=new_id(),
        contact_id=contact.id,
        stage_id=opening.stage_id,
        phone_id=opening.phone_id,
        channel=opening.channel,
        created_at=now,
        updated_at=now,
        metadata=opening.ticket_metadata,
        integration_data=opening.integration_data,
        message=opening.message,
        reads_at_opening=contact.reads,
    )
    state.tickets[ticket.id] = ticket
    contact.ticket_ids.append(ticket.id)
    contact.active_ticket_id = ticket.id
    contact.chat_status = "UNATTENDED"
    state.keep("ticket", ticket)


def _outside_window(state: SandboxState, opening: Opening, contact: Contact | None) -> bool:
    """Tell whether Meta's rule forbids the message: free text, and no word of the customer in 24 hours."""
    message = opening.message or {}
    if opening.channel != "whatsapp" or not message.get("content") or message.get("templateId"):
        return False
    last_inbound = contact.last_inbound_at if contact else None
    return last_inbound is None or last_inbound < state.now() - _DAY


def _send_first_message(state: SandboxState, opening: Opening, contact: Contact) -> None:
    message = opening.message or {}
    content, template = message.get("content"), message.get("templateId")
    number = SENDERS[opening.phone_id].phone_number
    if template:
        write(state, contact, f"template:{template}:{content or ''}", direction="OUTBOUND", number=number)
    elif content:
        failed = state.config.session_window == "fail" and _outside_window(state, opening, contact)
        status = "failed" if failed else "sent"
        write(state, contact, content, direction="OUTBOUND", number=number, status=status)
    elif state.config.assistant_writes:
        write(state, contact, ASSISTANT_TEXT, direction="OUTBOUND", number=number)


def write(
    state: SandboxState, contact: Contact, text: str, *, direction: str, number: str = "", status: str = "sent"
) -> ChatMessage:
    """Add a message to a conversation.

    :param state: the account.
    :param contact: the contact.
    :param text: the message body.
    :param direction: ``INBOUND`` for the customer's words, ``OUTBOUND`` for ours.
    :param number: our own number; by default that of the active ticket's sender.
    :param status: the message's status.
    :returns: the message.
    """
    with state.change():
        inbound = direction == "INBOUND"
        active = state.tickets.get(contact.active_ticket_id or "")
        ours = number or (SENDERS[active.phone_id].phone_number if active else "")
        ends = (f"+{contact.phone}", ours) if inbound else (ours, f"+{contact.phone}")
        message = ChatMessage(new_id(), contact.id, text, direction, state.now(), *ends, status, contact.reads)
        state.messages[contact.id].append(message)
        state.message_count += 1
        state.keep("message", message)
        contact.last_message_at = message.created_at
        state.messaged.touch(contact.id, message.created_at)
        if inbound:
            contact.last_inbound_at = message.created_at
            contact.is_chat_read, contact.chat_status = False, "UNATTENDED"
        state.touch(contact, bump=state.config.ticket_bumps_updated_at)
        return message


def close_ticket(state: SandboxState, contact: Contact) -> bool:
    """Close the active ticket.

    :param state: the account.
    :param contact: the contact.
    :returns: whether there was one.
    """
    with state.change():
        ticket = state.tickets.get(contact.active_ticket_id or "")
        if ticket is None:
            return False
        ticket.status = "closed"
        ticket.closed_at = ticket.updated_at = state.now()
        contact.last_closed_ticket_id, contact.active_ticket_id = ticket.id, None
        contact.chat_status = "CLOSED"
        state.keep("ticket", ticket)
        state.touch(contact, bump=state.config.ticket_bumps_updated_at)
        return True


def move_ticket(state: SandboxState, contact: Contact, stage: str) -> bool:
    """Move the active ticket to another stage.

    :param state: the account.
    :param contact: the contact.
    :param stage: a stage id, or a name as ``Support / Solved``.
    :returns: whether there was an active ticket.
    :raises ValueError: when there is no such stage.
    """
    stage_id = find_stage(stage).id
    with state.change():
        ticket = state.tickets.get(contact.active_ticket_id or "")
        if ticket is None:
            return False
        ticket.stage_id, ticket.updated_at = stage_id, state.now()
        state.keep("ticket", ticket)
        state.touch(contact, bump=state.config.ticket_bumps_updated_at)
        return True


def update_ticket(state: SandboxState, ticket: Ticket) -> None:
    """Note that fields of a ticket were set.

    :param state: the account.
    :param ticket: the ticket.
    """
    with state.change():
        ticket.updated_at = state.now()
        state.keep("ticket", ticket)
        if contact := state.contacts.get(ticket.contact_id):
            state.touch(contact, bump=state.config.ticket_bumps_updated_at)


def merge_contacts(state: SandboxState, contact: Contact, into: Contact) -> None:
    """Merge a contact into another one, as a person can in the web app; the first id does not exist afterwards.

    :param state: the account.
    :param contact: the contact that disappears.
    :param into: the contact that gets its tickets and messages.
    """
    with state.change():
        for ticket_id in contact.ticket_ids:
            state.tickets[ticket_id].contact_id = into.id
            state.keep("ticket", state.tickets[ticket_id])
        moved = state.messages.pop(contact.id, [])
        for message in moved:
            message.contact_id = into.id
            state.keep("message", message)
        state.messages[into.id] = sorted(state.messages[into.id] + moved, key=lambda message: message.created_at)
        into.ticket_ids = sorted(into.ticket_ids + contact.ticket_ids, key=lambda id_: state.tickets[id_].created_at)
        into.active_ticket_id = into.active_ticket_id or contact.active_ticket_id
        into.last_closed_ticket_id = into.last_closed_ticket_id or contact.last_closed_ticket_id
        into.metadata = contact.metadata | into.metadata
        state.remove_contact(contact)
        state.merged[contact.id] = into.id
        state.touch(into)


def stamp(state: SandboxState, contacts: list[Contact], updated_at: int) -> None:
    """Set when contacts changed last.

    :param state: the account.
    :param contacts: the contacts.
    :param updated_at: when, in milliseconds since 1970.
    """
    with state.change():
        for contact in contacts:
            state.touch(contact, bump=False)
            contact.updated_at = updated_at
            state.updated.touch(contact.id, updated_at)
