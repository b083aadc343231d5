"""What the API's replies look like; where the documentation does not say, the configuration does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vambe_provider.sandbox.catalog import CLIENT_ID, PIPELINES, STAGES, Sender
from vambe_provider.sandbox.model import ChatMessage, Contact, JsonObject, Ticket, iso, snake_case
from vambe_provider.sandbox.visibility import shown_metadata, visible_messages, visible_ticket

if TYPE_CHECKING:
    from vambe_provider.sandbox.state import SandboxState

_TICKET_NAMES = {
    "plain": ("active_ticket", "last_closed_ticket"),
    "v2": ("active_ticket_v2", "last_closed_ticket_v2"),
    "camel": ("activeTicket", "lastClosedTicket"),
}


def contact_row(state: SandboxState, contact: Contact) -> JsonObject:
    """Return the fields of a contact that all reads have in common.

    :param state: the account.
    :param contact: a contact that reads show.
    """
    messages = visible_messages(state, contact) if contact.last_message_at is not None else []
    return {
        "id": contact.id,
        "name": contact.name,
        "phone": _phone(contact.phone, state.config.phone_form),
        "email": contact.email,
        "platform": contact.platform,
        "created_at": iso(contact.created_at),
        "updated_at": iso(contact.updated_at),
        "last_message_at": iso(messages[-1].created_at) if messages else None,
        "chat_status": contact.chat_status,
        "is_chat_read": contact.is_chat_read,
        "blocked": contact.blocked,
        "client_id": CLIENT_ID,
        "ai_customer_id": contact.id,
        "default_stage_id": contact.default_stage_id,
    }


def _phone(digits: str, form: str) -> str | None:
    forms = {
        "e164": f"+{digits}",
        "digits": digits,
        "national": digits[-9:],
        "extension": f"+{digits} ext. 12",
        "jid": f"{digits}@s.whatsapp.net",
        "lid": f"{int(digits) * 7919 % 10**15:015d}@lid",
        "masked": f"+{digits[:2]}******{digits[-3:]}",
    }
    return forms.get(form)


def listed_contact(state: SandboxState, contact: Contact, *, with_stage: bool) -> JsonObject:
    """Return a contact as the list shows it, with the short form of its active ticket.

    :param state: the account.
    :param contact: a contact that reads show.
    :param with_stage: whether the stage object is included, as it is when the list is filtered by pipeline.
    """
    ticket = visible_ticket(state, contact, contact.active_ticket_id)
    short: JsonObject | None = None
    if ticket:
        short = {"id": ticket.id, "current_stage_id": ticket.stage_id}
        if with_stage:
            short["current_stage"] = _stage(ticket.stage_id)
    padding = {"padding": "x" * size} if (size := state.config.contact_padding_bytes) else {}
    return contact_row(state, contact) | {"active_ticket_v2": short} | padding | state.odd_fields.get(contact.id, {})


def contact_info(state: SandboxState, contact: Contact) -> JsonObject:
    """Return everything about one contact: tickets, custom metadata and assigned people included.

    :param state: the account.
    :param contact: a contact that reads show.
    """
    messages = visible_messages(state, contact)
    active_name, closed_name = _TICKET_NAMES[state.config.ticket_names]
    return contact_row(state, contact) | {
        "last_message_content": messages[-1].body if messages else None,
        "metadata": metadata(state, contact.metadata),
        active_name: _ticket(state, contact, visible_ticket(state, contact, contact.active_ticket_id)),
        closed_name: _ticket(state, contact, visible_ticket(state, contact, contact.last_closed_ticket_id)),
        "assigned_team_members": [],
    }


def _ticket(state: SandboxState, contact: Contact, ticket: Ticket | None) -> JsonObject | None:
    if ticket is None:
        return None
    shape: JsonObject = {
        "id": ticket.id,
        "current_stage_id": ticket.stage_id,
        "current_stage": _stage(ticket.stage_id),
        "pipeline_id": STAGES[ticket.stage_id].pipeline_id,
        "status": "closed" if ticket.closed_at else "open",
        "closed_at": iso(ticket.closed_at),
        "amount": ticket.amount,
        "currency": ticket.currency,
    }
    if state.config.ticket_created_at:
        shape["created_at"] = iso(ticket.created_at)
    shown = shown_metadata(state, contact, ticket)
    if shown is not None:
        shape["metadata"] = metadata(state, shown)
    return shape


def _stage(stage_id: str) -> JsonObject:
    stage = STAGES[stage_id]
    return {"id": stage.id, "name": stage.name, "pipeline_id": stage.pipeline_id}


def metadata(state: SandboxState, values: JsonObject) -> Any:
    """Return metadata as reads show them.

    :param state: the account.
    :param values: the metadata as they were sent.
    """
    shown = {snake_case(key): value for key, value in values.items()} if state.config.snake_case_keys else dict(values)
    if state.config.metadata_form == "list":
        return [{"key": key, "value": value} for key, value in shown.items()]
    return shown


def message(state: SandboxState, item: ChatMessage) -> JsonObject:
    """Return a message as the API shows it.

    :param state: the account.
    :param item: the message.
    """
    return {
        "id": item.id,
        "body": item.body,
        "created_at": iso(item.created_at),
        "direction": item.direction,
        "from": item.sender,
        "to": item.recipient,
        "type": "text",
        "status": item.status,
        "media_url": None,
        "client_id": CLIENT_ID,
        "ai_contact_id": item.contact_id,
    }


def channel(sender: Sender) -> JsonObject:
    """Return a channel; the id of an official one is a number.

    :param sender: the connection.
    """
    return {
        "id": int(sender.id) if sender.id.isdigit() else sender.id,
        "phone_number": sender.phone_number,
        "client_id": CLIENT_ID,
        "name": sender.name,
    }


def pipelines() -> list[JsonObject]:
    """Return all pipelines with their stages in order."""
    return [
        {
            "id": pipeline.id,
            "name": pipeline.name,
            "description": pipeline.description,
            "stages": [{"id": stage.id, "name": stage.name, "description": ""} for stage in pipeline.stages],
        }
        for pipeline in PIPELINES
    ]


def wrapped(key: str | None, content: Any) -> Any:
    """Return a reply in an object under a key, or bare without one."""
    return content if key is None else {key: content}


def ticket_record(state: SandboxState, ticket: Ticket) -> JsonObject:
    """Return everything the sandbox knows of a ticket, for tests and the page; no visibility rule applies.

    :param state: the account.
    :param ticket: the ticket.
    """
    stage, contact = STAGES[ticket.stage_id], state.contacts.get(ticket.contact_id)
    return {
        "id": ticket.id,
        "ai_contact_id": ticket.contact_id,
        "phone": contact.phone if contact else None,
        "phone_id": ticket.phone_id,
        "channel": ticket.channel,
        "stage_id": stage.id,
        "stage": stage.full_name,
        "pipeline_id": stage.pipeline_id,
        "status": ticket.status,
        "created_at": iso(ticket.created_at),
        "updated_at": iso(ticket.updated_at),
        "closed_at": iso(ticket.closed_at),
        "contact_name": contact.name if contact else None,
        "email": contact.email if contact else None,
        "contact_metadata": dict(contact.metadata) if contact else {},
        "ticket_metadata": dict(ticket.metadata),
        "integration_data": dict(ticket.integration_data),
        "message": ticket.message,
        "amount": ticket.amount,
        "currency": ticket.currency,
    }


def contact_record(state: SandboxState, contact: Contact) -> JsonObject:
    """Return everything the sandbox knows of a contact, for tests and the page; no visibility rule applies.

    :param state: the account.
    :param contact: the contact.
    """
    messages = state.messages[contact.id]
    return {
        "id": contact.id,
        "phone": contact.phone,
        "platform": contact.platform,
        "name": contact.name,
        "email": contact.email,
        "metadata": dict(contact.metadata),
        "chat_status": contact.chat_status,
        "created_at": iso(contact.created_at),
        "updated_at": iso(contact.updated_at),
        "last_message_at": iso(contact.last_message_at),
        "active_ticket_id": contact.active_ticket_id,
        "last_closed_ticket_id": contact.last_closed_ticket_id,
        "ticket_ids": list(contact.ticket_ids),
        "messages": len(messages),
    }
