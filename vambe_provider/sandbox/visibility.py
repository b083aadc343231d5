"""When reads show what a write did: at once, after some seconds, or after some reads."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vambe_provider.sandbox.model import ChatMessage, Contact, JsonObject, Ticket
    from vambe_provider.sandbox.state import SandboxState


def is_visible(state: SandboxState, contact: Contact, *, at: int, reads: int) -> bool:
    """Tell whether reads show something of a contact already; the read that is being answered has been counted.

    :param state: the account.
    :param contact: whom it belongs to.
    :param at: when it was written.
    :param reads: how often the contact had been read then.
    """
    config = state.config
    if not config.visible_after_seconds and not config.visible_after_reads:
        return True
    late_enough = state.now() - at >= config.visible_after_seconds * 1000
    return late_enough and contact.reads - reads > config.visible_after_reads


def shows_contact(state: SandboxState, contact: Contact) -> bool:
    """Count a read of the contact, and tell whether it shows the contact at all."""
    contact.reads += 1
    return is_visible(state, contact, at=contact.created_at, reads=0)


def shows_latest_change(state: SandboxState, contact: Contact) -> bool:
    """Tell whether ``updated_after`` may already see the contact's latest change."""
    return is_visible(state, contact, at=contact.changed_at, reads=contact.reads_at_change)


def visible_messages(state: SandboxState, contact: Contact) -> list[ChatMessage]:
    """Return the messages that reads show, oldest first."""
    return [
        message
        for message in state.messages[contact.id]
        if is_visible(state, contact, at=message.created_at, reads=message.reads_at_sending)
    ]


def readable_messages(state: SandboxState, contact: Contact) -> list[ChatMessage]:
    """Return the messages of a conversation's own page, which may be behind the contact, oldest first."""
    found, late = visible_messages(state, contact), state.config.messages_after_seconds * 1000
    return [message for message in found if state.now() - message.created_at >= late] if late else found


def visible_ticket(state: SandboxState, contact: Contact, ticket_id: str | None) -> Ticket | None:
    """Return a ticket of a contact if reads show it."""
    ticket = state.tickets.get(ticket_id or "")
    if ticket and is_visible(state, contact, at=ticket.created_at, reads=ticket.reads_at_opening):
        return ticket
    return None


def shown_metadata(state: SandboxState, contact: Contact, ticket: Ticket) -> JsonObject | None:
    """Return the metadata of a ticket that reads show, or None when they show none of it."""
    config = state.config
    if config.metadata_visible != "late":
        return ticket.metadata if config.metadata_visible == "yes" else None
    if ticket.metadata_at and not _late_enough(state, contact, ticket.metadata_at, ticket.reads_at_metadata):
        return ticket.metadata_before
    shown = ticket.metadata_at or _late_enough(state, contact, ticket.created_at, ticket.reads_at_opening)
    return ticket.metadata if shown else None


def _late_enough(state: SandboxState, contact: Contact, at: int, reads: int) -> bool:
    config = state.config
    late = state.now() - at >= config.metadata_after_seconds * 1000
    return late and contact.reads - reads > config.metadata_after_reads
