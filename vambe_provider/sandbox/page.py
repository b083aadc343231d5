"""The page at ``/``: an inbox of the account, where a person answers as the customer, moves tickets and closes them."""

from __future__ import annotations

from functools import cache
from html import escape
from importlib.resources import files
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from vambe_provider.sandbox.catalog import PIPELINES, SENDERS, STAGES
from vambe_provider.sandbox.model import iso

if TYPE_CHECKING:
    from vambe_provider.sandbox.catalog import Pipeline
    from vambe_provider.sandbox.model import ChatMessage, Contact, Ticket
    from vambe_provider.sandbox.state import SandboxState

_CONVERSATIONS = 100
_MESSAGES = 200


def render(state: SandboxState, *, base_url: str, faults: int, chosen: str | None, search: str) -> str:
    """Return the page.

    :param state: the account.
    :param base_url: the address of the API, for the hint on an empty page.
    :param faults: how many faults are in force.
    :param chosen: the contact whose conversation is open; by default the newest one.
    :param search: part of a number that the inbox is limited to.
    """
    contacts = _newest(state, search)
    contact = state.contacts.get(chosen or "") or (contacts[0] if contacts else None)
    if contact is None:
        hint = _nothing("No contact has this number.") if search else _hint(state, base_url)
        middle = f"<section>{hint}</section><section></section>"
    else:
        middle = _conversation(state, contact) + _details(state, contact)
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Vambe sandbox</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><link rel="icon" href="data:,">'
        f'<style>{_static("page.css")}</style></head><body data-contact="{escape(contact.id if contact else "")}">'
        "<header><h1>Vambe sandbox</h1><p>No message leaves this machine.</p>"
        f'<div id="counts">{_counts(state, faults)}</div></header>'
        f"<main>{_inbox(state, contacts, contact, search)}{middle}</main>"
        f"<script>{_static('page.js')}</script></body></html>"
    )


@cache
def _static(name: str) -> str:
    return files("vambe_provider.sandbox").joinpath("static", name).read_text(encoding="utf-8")


def _newest(state: SandboxState, search: str) -> list[Contact]:
    digits = "".join(filter(str.isdigit, search))
    if not digits:
        return [state.contacts[item] for item in state.activity.newest(_CONVERSATIONS)]
    found = [state.contacts[item] for item in state.phones.find(digits)]
    return sorted(found, key=lambda contact: contact.changed_at, reverse=True)[:_CONVERSATIONS]


def _counts(state: SandboxState, faults: int) -> str:
    numbers = {
        "tickets": len(state.tickets),
        "contacts": len(state.contacts),
        "messages": state.message_count,
        "requests": state.request_count,
    }
    shown = "".join(f"<span><b>{number:,}</b> {name}</span>" for name, number in numbers.items())
    return shown + (f'<span class="warn">faults in force: <b>{faults}</b></span>' if faults else "")


def _hint(state: SandboxState, base_url: str) -> str:
    senders = ", ".join(f"<code>{escape(sender.id)}</code>" for sender in SENDERS.values())
    return (
        '<div class="empty"><p><b>No ticket yet.</b> Each one that a pipeline opens appears here as a conversation.</p>'
        f"<p>API: <code>{escape(base_url)}</code><br>Key: <code>{escape(state.config.api_key)}</code><br>"
        f"Phone ids: {senders}</p></div>"
    )


def _inbox(state: SandboxState, contacts: list[Contact], current: Contact | None, search: str) -> str:
    rows = "".join(_inbox_row(state, contact, current, search) for contact in contacts)
    return (
        f'<section><form class="search"><input name="q" value="{escape(search)}" placeholder="Search a number" '
        f'aria-label="Search a number"></form><nav id="inbox">{rows}</nav></section>'
    )


def _inbox_row(state: SandboxState, contact: Contact, current: Contact | None, search: str) -> str:
    messages = state.messages[contact.id]
    mark = ' aria-current="true"' if contact is current else ""
    preview = escape(messages[-1].body[:120]) if messages else "no message"
    query = f"/?contact={quote(contact.id)}" + (f"&amp;q={quote(search)}" if search else "")
    return (
        f'<a href="{query}"{mark}><span class="row"><b>{_name(contact)}</b>{_time(contact.changed_at)}</span>'
        f'<span class="row"><span class="preview">{preview}</span>{_stage_tag(state, contact)}</span></a>'
    )


def _name(contact: Contact) -> str:
    return escape(contact.name or f"+{contact.phone}")


def _time(milliseconds: int) -> str:
    text = iso(milliseconds) or ""
    return f'<time datetime="{text}" title="{text}">{text[11:19]}</time>'


def _stage_tag(state: SandboxState, contact: Contact) -> str:
    ticket = state.tickets.get(contact.active_ticket_id or "")
    if ticket is None:
        return '<span class="tag closed">closed</span>' if contact.last_closed_ticket_id else ""
    return f'<span class="tag">{escape(STAGES[ticket.stage_id].name)}</span>'


def _conversation(state: SandboxState, contact: Contact) -> str:
    bubbles = "".join(_bubble(item) for item in state.messages[contact.id][-_MESSAGES:])
    return (
        f'<section><div class="who"><h2>{_name(contact)}</h2><span class="muted">+{escape(contact.phone)} '
        f'· {escape(contact.platform)}</span></div><div id="thread">{bubbles or _nothing("No message yet.")}</div>'
        f'<form class="reply" method="post" action="/__sandbox__/page/reply">{_hidden(contact)}'
        '<input name="text" required autocomplete="off" autofocus placeholder="Reply as the customer" '
        'aria-label="Reply as the customer"><button>Reply</button></form></section>'
    )


def _nothing(text: str) -> str:
    return f'<p class="empty">{text}</p>'


def _hidden(contact: Contact) -> str:
    return f'<input type="hidden" name="contact" value="{escape(contact.id)}">'


def _bubble(item: ChatMessage) -> str:
    outbound = item.direction == "OUTBOUND"
    status = f" · {escape(item.status)}" if outbound else ""
    return (
        f'<article class="bubble {"out" if outbound else "in"}"><p>{escape(item.body)}</p>'
        f'<footer>{_time(item.created_at)}<span class="muted">{status}</span></footer></article>'
    )


def _details(state: SandboxState, contact: Contact) -> str:
    tickets = [state.tickets[item] for item in reversed(contact.ticket_ids)]
    cards = "".join(_ticket(ticket) for ticket in tickets[:20])
    about = {"Name": contact.name, "E-mail": contact.email, "Status": contact.chat_status, **contact.metadata}
    active = state.tickets.get(contact.active_ticket_id or "")
    return (
        f'<section><div id="details"><h3>Contact</h3>{_list(about)}{cards or _nothing("No ticket.")}</div>'
        f'<div class="actions">{_actions(contact, active)}</div></section>'
    )


def _ticket(ticket: Ticket) -> str:
    kind = "tag" if ticket.status == "open" else "tag closed"
    about = {
        "Stage": STAGES[ticket.stage_id].full_name,
        "Sender": ticket.phone_id,
        "Opened": (iso(ticket.created_at) or "")[:19].replace("T", " "),
        "Amount": None if ticket.amount is None else f"{ticket.amount:,.2f} {ticket.currency or ''}",
        **ticket.metadata,
        **ticket.integration_data,
    }
    return f'<h3>Ticket <span class="{kind}">{escape(ticket.status)}</span></h3>{_list(about)}'


def _list(values: dict[str, Any]) -> str:
    rows = "".join(
        f"<dt>{escape(str(key))}</dt><dd>{escape(str(value))}</dd>"
        for key, value in values.items()
        if value is not None
    )
    return f"<dl>{rows}</dl>"


def _actions(contact: Contact, active: Ticket | None) -> str:
    if active is None:
        return '<span class="muted">The ticket is closed.</span>'
    groups = "".join(_stage_options(pipeline, active.stage_id) for pipeline in PIPELINES)
    return (
        f'<form method="post" action="/__sandbox__/page/move">{_hidden(contact)}'
        f'<select name="stage" aria-label="Stage">{groups}</select><button class="quiet">Move</button></form>'
        f'<form method="post" action="/__sandbox__/page/close">{_hidden(contact)}'
        '<button class="quiet">Close ticket</button></form>'
    )


def _stage_options(pipeline: Pipeline, current: str) -> str:
    options = "".join(
        f'<option value="{stage.id}"{" selected" if stage.id == current else ""}>{escape(stage.name)}</option>'
        for stage in pipeline.stages
    )
    return f'<optgroup label="{escape(pipeline.name)}">{options}</optgroup>'
