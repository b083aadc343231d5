"""The endpoints of the API as plain functions from a request to a reply."""

from __future__ import annotations

import email.utils
import math
import time
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from vambe_provider.sandbox import actions, shapes
from vambe_provider.sandbox.catalog import SENDERS, STAGES
from vambe_provider.sandbox.listing import list_contacts, search_contacts, whole_number
from vambe_provider.sandbox.model import Contact, JsonObject, Ticket, new_id, snake_case
from vambe_provider.sandbox.replies import ApiError, BadBodyError, Reply
from vambe_provider.sandbox.validation import (
    check_identifiers,
    check_open_ticket,
    check_text_object,
    phone_digits,
    whatsapp_spelling,
)
from vambe_provider.sandbox.visibility import readable_messages, shows_contact

if TYPE_CHECKING:
    from collections.abc import Callable

    from vambe_provider.sandbox.config import SandboxConfig
    from vambe_provider.sandbox.state import SandboxState

CHANNEL_TYPES = ("whatsapp", "web-whatsapp", "instagram", "playground")


@dataclass(slots=True)
class Call:
    """One request to an endpoint.

    :param state: the account.
    :param path: the decoded parameters of the path.
    :param query: the query parameters.
    :param body: the parsed JSON body, or None.
    :param limiter: the rate limiter of the senders.
    :param message_runs: False when a fault stops the request before its message is sent.
    """

    state: SandboxState
    path: dict[str, str]
    query: dict[str, str]
    body: Any
    limiter: RateLimiter
    message_runs: bool = True

    @property
    def config(self) -> SandboxConfig:
        """The switches."""
        return self.state.config


@dataclass(slots=True)
class RateLimiter:
    """Counts the tickets of each sender in a sliding window."""

    accepted: dict[str, deque[float]] = field(default_factory=dict)

    def check(self, config: SandboxConfig, sender: str, server_time: float) -> None:
        """Count a ticket of a sender.

        :param config: the switches.
        :param sender: the phone id.
        :param server_time: seconds since 1970 by the server's clock.
        :raises ApiError: 429, when the sender has used up its rate.
        """
        rate = config.rate()
        if rate is None:
            return
        count, period = rate
        now, times = time.monotonic(), self.accepted.setdefault(sender, deque())
        while times and times[0] <= now - period:
            times.popleft()
        if len(times) >= count:
            wait = max(1, math.ceil(times[0] + period - now))
            raise ApiError(
                429, "ThrottlerException: Too Many Requests", retry_after(config.retry_after, wait, server_time)
            )
        times.append(now)


def retry_after(form: str, wait: float, server_time: float) -> dict[str, str]:
    """Return the header that says how long to wait.

    :param form: ``seconds``, ``date`` or ``none``.
    :param wait: seconds.
    :param server_time: seconds since 1970 by the server's clock.
    """
    if form == "none":
        return {}
    if form == "seconds":
        return {"Retry-After": f"{wait:g}"}
    return {"Retry-After": email.utils.formatdate(math.ceil(server_time + wait), usegmt=True)}


def open_ticket(call: Call) -> Reply:
    """T1 and T2: open a ticket."""
    state, config = call.state, call.config
    body = check_open_ticket(call.body, config)
    channel, phone_id = call.path["channel"], call.path["id"]
    sender = SENDERS.get(phone_id)
    if sender is None or sender.channel != channel:
        raise ApiError(404, "Phone not found")
    phone = phone_digits(body["to_phone_number"])
    if config.whatsapp_spelling:
        phone = whatsapp_spelling(phone)
    if body["stage_id"] not in STAGES:
        raise ApiError(
            config.bad_stage_status, "Stage not found" if config.bad_stage_status == 404 else "Invalid stage id"
        )
    call.limiter.check(config, phone_id, state.server_time())
    disconnected = phone_id in config.disconnected_phones
    if disconnected and not config.disconnected_creates_ticket:
        raise _disconnected(config)
    opening = actions.Opening(
        phone=phone,
        channel=channel,
        phone_id=phone_id,
        stage_id=body["stage_id"],
        name=body.get("contact_name"),
        email=body.get("email"),
        contact_metadata=body.get("contact_metadata") or {},
        ticket_metadata=body.get("ticket_metadata") or {},
        integration_data=body.get("integration_data") or {},
        message=body.get("message"),
        message_runs=call.message_runs and not disconnected,
    )
    try:
        contact, happened = actions.open_ticket(state, opening)
    except actions.TicketConflictError:
        raise ApiError(409, "The contact already has an active ticket") from None
    except actions.OutsideWindowError:
        raise ApiError(400, "The 24 hour window is closed, use a template") from None
    if not opening.message_runs:
        error = _disconnected(config) if disconnected else ApiError(500, "Internal server error")
        failed = error.reply(config)
        failed.effect = True
        return failed
    return Reply(config.success_status, {"aiContactId": contact.id, "status": "ok"}, effect=happened)


def _disconnected(config: SandboxConfig) -> ApiError:
    return ApiError(config.disconnected_status, "The phone is not connected")


def close_ticket(call: Call) -> Reply:
    """T3: close the active ticket; undocumented, so the reply is a guess."""
    contact = _contact(call)
    if actions.close_ticket(call.state, contact):
        return Reply(call.config.success_status, {"status": "ok"}, effect=True)
    if call.config.close_missing_status == 200:
        return Reply(call.config.success_status, {"status": "ok"})
    raise ApiError(call.config.close_missing_status, "The contact has no active ticket")


def update_ticket_metadata(call: Call) -> Reply:
    """T4: merge metadata into a ticket."""
    identifier = check_identifiers(call.body)
    values = check_text_object(call.body, "metadata")
    ticket = _find_ticket(call, identifier)
    ticket.metadata = ticket.metadata | values
    actions.update_ticket(call.state, ticket)
    return Reply(call.config.success_status, {"status": "ok"}, effect=True)


def update_ticket_amount(call: Call) -> Reply:
    """T5: set the amount of a ticket."""
    identifier = check_identifiers(call.body)
    amount, currency = call.body.get("amount"), call.body.get("currency")
    if not isinstance(amount, (int, float)) or isinstance(amount, bool):
        raise BadBodyError([("amount", "amount must be a number")])
    if not isinstance(currency, str) and (currency is not None or call.config.require_currency):
        raise BadBodyError([("currency", "currency must be a string")])
    ticket = _find_ticket(call, identifier)
    ticket.amount, ticket.currency = amount, currency or ticket.currency
    actions.update_ticket(call.state, ticket)
    return Reply(call.config.success_status, {"status": "ok"}, effect=True)


def _find_ticket(call: Call, identifier: tuple[str, str]) -> Ticket:
    state, (name, value) = call.state, identifier
    closed_too = call.body.get("allow_closed_ticket", False)
    if name == "ticket_id":
        ticket = state.tickets.get(value)
    else:
        contact = state.contacts.get(value) if name == "ai_contact_id" else _contact_by_number(state, value)
        ticket = state.tickets.get(contact.active_ticket_id or "") if contact else None
        if contact and ticket is None and closed_too:
            ticket = state.tickets.get(contact.last_closed_ticket_id or "")
    if ticket is None or (ticket.status == "closed" and not closed_too):
        raise ApiError(404, "Ticket not found")
    return ticket


def _contact_by_number(state: SandboxState, number: str) -> Contact | None:
    digits = phone_digits(number)
    on_channels = [state.by_address.get((digits, channel)) for channel in ("web-whatsapp", "whatsapp")]
    found = [contact for contact in on_channels if contact is not None]
    return max(found, key=lambda contact: contact.changed_at, default=None)


def _contact(call: Call) -> Contact:
    contact = call.state.contacts.get(call.path["id"])
    if contact is None:
        raise ApiError(404, "Contact not found")
    return contact


def _seen_contact(call: Call) -> Contact:
    if call.config.merged_contacts == "followed":
        while call.path["id"] in call.state.merged:
            call.path["id"] = call.state.merged[call.path["id"]]
    contact = _contact(call)
    if not shows_contact(call.state, contact):
        raise ApiError(404, "Contact not found")
    return contact


def get_pipelines(call: Call) -> Reply:
    """P1: all pipelines with their stages."""
    return Reply(200, shapes.wrapped(call.config.list_wrapper, shapes.pipelines()))


def get_contact(call: Call) -> Reply:
    """C1: one contact with its active and its last closed ticket."""
    return Reply(200, shapes.contact_info(call.state, _seen_contact(call)))


def find_contacts(call: Call) -> Reply:
    """C2: contacts by part of the number or e-mail."""
    found = search_contacts(call.state, call.query)
    rows = [shapes.contact_row(call.state, contact) for contact in found]
    return Reply(200, shapes.wrapped(call.config.list_wrapper, rows))


def get_contacts(call: Call) -> Reply:
    """C3: contacts by time, stage, pipeline or custom field."""
    with_stage = "pipeline_id" in call.query
    rows = [
        shapes.listed_contact(call.state, contact, with_stage=with_stage)
        for contact in list_contacts(call.state, call.query)
    ]
    return Reply(200, shapes.wrapped(call.config.list_wrapper, rows))


def update_contact_metadata(call: Call) -> Reply:
    """C4: set custom fields of a contact; keys become snake_case."""
    contact = _contact(call)
    if not isinstance(call.body, dict):
        raise BadBodyError([("", "body must be an object")])
    form, inner = call.config.metadata_body, call.body.get("metadata")
    values: JsonObject = call.body
    if form == "wrapped" or (form == "both" and isinstance(inner, dict)):
        if not isinstance(inner, dict):
            raise BadBodyError([("metadata", "metadata must be an object")])
        values = inner
    new = {snake_case(key): value for key, value in values.items()}
    with call.state.change():
        contact.metadata = contact.metadata | new
        call.state.touch(contact)
    updated = [{"id": new_id(), "key": key, "value": value} for key, value in new.items()]
    return Reply(call.config.success_status, updated, effect=True)


def get_messages(call: Call) -> Reply:
    """M1: one page of a conversation."""
    contact = _seen_contact(call)
    page = whole_number(call.query, "page", default=1, minimum=1)
    messages, size = readable_messages(call.state, contact), call.config.messages_page_size
    first = (page - 1) * size
    if call.config.messages_first_page == "oldest":
        chosen = messages[first : first + size]
    else:
        end = max(0, len(messages) - first)
        chosen = messages[max(0, end - size) : end]
    shown = {"messages": [shapes.message(call.state, item) for item in chosen], "page": page}
    return Reply(200, shown | _more(call.config, first + size < len(messages), len(messages)))


def _more(config: SandboxConfig, more: bool, total: int) -> JsonObject:
    match config.messages_more:
        case "hasMore":
            return {"hasMore": more, "total": total}
        case "text":
            return {"hasMore": str(more).lower()}
        case "has_more":
            return {"has_more": more}
        case "total":
            return {"total": total}
        case _:
            return {}


def get_channel(call: Call) -> Reply:
    """X1: the first channel of a type."""
    kind = call.path["id"]
    if kind not in CHANNEL_TYPES:
        raise ApiError(400, "Invalid channel type")
    sender = next((sender for sender in SENDERS.values() if sender.channel == kind), None)
    if sender is None:
        raise ApiError(404, "Channel not found")
    return Reply(200, shapes.wrapped(call.config.channel_wrapper, shapes.channel(sender)))


ENDPOINTS: dict[str, tuple[str, str, Callable[[Call], Reply]]] = {
    "open_ticket": ("POST", "/api/public/ticket/open/{channel:web-whatsapp|whatsapp}/{id}", open_ticket),
    "close_ticket": ("POST", "/api/public/ticket/close/contact/{id}", close_ticket),
    "update_ticket_metadata": ("POST", "/api/public/ticket/metadata", update_ticket_metadata),
    "update_ticket_amount": ("POST", "/api/public/ticket/amount", update_ticket_amount),
    "get_pipelines": ("GET", "/api/public/pipeline", get_pipelines),
    "get_contact": ("GET", "/api/public/contact/{id}/info", get_contact),
    "search_contacts": ("GET", "/api/public/contacts/search", find_contacts),
    "list_contacts": ("GET", "/api/public/contacts", get_contacts),
    "update_contact_metadata": ("POST", "/api/public/contact/{id}/update-metadata", update_contact_metadata),
    "get_messages": ("GET", "/api/public/contact/v2/{id}/messages", get_messages),
    "get_channel": ("GET", "/api/public/channels/{id}", get_channel),
}
"""Method, path and function of each endpoint; the names are those of the client's methods, and faults go by them."""
