"""The page at ``/``: its frame, and the inbox, where a person answers as the customer, moves and closes tickets."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from html import escape
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from vambe_provider.sandbox.catalog import SENDERS, STAGES
from vambe_provider.sandbox.page_parts import (
    definitions,
    hidden,
    name_of,
    nothing,
    stage_options,
    stage_tag,
    static,
    text,
    time,
)
from vambe_provider.sandbox.page_tools import VIEWS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vambe_provider.sandbox.app import Service
    from vambe_provider.sandbox.model import ChatMessage, Contact, Ticket
    from vambe_provider.sandbox.state import SandboxState

_CONVERSATIONS = 100
_MESSAGES = 200
_TICKETS = 20
_SEARCH = "Search a number, a name or an e-mail"
_NUMBER = re.compile(r"[+0-9 ()./-]*[0-9][+0-9 ()./-]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What somebody wants to see.

    :param base_url: the address of the API, for the hint on an empty page.
    :param view: ``inbox``, or a key of :data:`VIEWS`.
    :param contact: the contact whose conversation is open; by default the newest one.
    :param search: part of a number, a name or an e-mail address that the inbox is limited to.
    :param problem: why what was asked for was not done.
    :param typed: the fields of the form that was refused, which its view keeps.
    """

    base_url: str
    view: str = "inbox"
    contact: str | None = None
    search: str = ""
    problem: str = ""
    typed: Mapping[str, str] = field(default_factory=dict)


def render(service: Service, wanted: Wanted) -> str:
    """Return the page."""
    state = service.state
    if wanted.view in VIEWS:
        body, contact = f'<main class="tool">{VIEWS[wanted.view](service, wanted.typed)}</main>', None
    else:
        body, contact = _inbox_view(state, wanted)
    problem = f'<p class="problem" role="alert">{text(wanted.problem)}</p>' if wanted.problem else ""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Vambe sandbox</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><link rel="icon" href="data:,">'
        '<meta name="color-scheme" content="light dark">'
        f"<style>{static('page.css')}</style></head>"
        f'<body data-contact="{escape(contact.id if contact else "")}" data-view="{escape(wanted.view)}">'
        '<p id="gone" role="alert" hidden>The sandbox does not answer. What stands here is <span></span> old; '
        "it is asked again every two seconds.</p>"
        f"<header><h1>Vambe sandbox</h1><p>No message leaves this machine.</p>{_tabs(wanted.view)}"
        f'<div id="counts">{_counts(service)}</div></header>{problem}{body}'
        f"<script>{static('page.js')}</script></body></html>"
    )


def _tabs(view: str) -> str:
    names = {"inbox": "Inbox", "open": "Open a ticket", "faults": "Faults and reset", "requests": "Requests"}
    links = "".join(
        f'<a href="/{"" if key == "inbox" else f"?view={key}"}"{_current(key == view)}>{name}</a>'
        for key, name in names.items()
    )
    return f'<nav class="tabs" aria-label="Views">{links}</nav>'


def _current(yes: bool) -> str:
    return ' aria-current="true"' if yes else ""


def _counts(service: Service) -> str:
    state = service.state
    numbers = {
        "tickets": len(state.tickets),
        "contacts": len(state.contacts),
        "messages": state.message_count,
        "requests": state.request_count,
    }
    shown = "".join(f"<span><b>{number:,}</b> {name}</span>" for name, number in numbers.items())
    faults = service.faults.in_force()
    return shown + (f'<span class="warn">faults in force: <b>{faults}</b></span>' if faults else "")


def _inbox_view(state: SandboxState, wanted: Wanted) -> tuple[str, Contact | None]:
    shown, found = find(state, wanted.search)
    contact = state.contacts.get(wanted.contact or "") or (shown[0] if shown else None)
    if contact is None:
        hint = "" if state.contacts else _hint(state, wanted.base_url)
        middle = f'<section id="conversation">{hint}</section><section></section>'
    else:
        middle = _conversation(state, contact) + _details(state, contact)
    inbox = _inbox(state, shown, contact, wanted.search, found=found)
    return f"<main>{inbox}{middle}</main>", contact


def find(state: SandboxState, search: str) -> tuple[list[Contact], int]:
    """Find contacts by a part of their number, name or e-mail address.

    :param state: the account.
    :param search: the part; without one, all contacts are found.
    :returns: those that are shown, the last changed first, and how many there are.
    """
    part = search.strip().casefold()
    if not part:
        newest = [state.contacts[item] for item in state.activity.newest(_CONVERSATIONS)]
        return newest, len(state.contacts)
    if _NUMBER.fullmatch(part):
        found = [state.contacts[item] for item in state.phones.find("".join(filter(str.isdigit, part)))]
    else:
        by_address = set(state.emails.find(part))
        found = [
            contact
            for contact in state.contacts.values()
            if contact.id in by_address or part in (contact.name or "").casefold()
        ]
    found.sort(key=lambda contact: contact.changed_at, reverse=True)
    return found[:_CONVERSATIONS], len(found)


def _hint(state: SandboxState, base_url: str) -> str:
    senders = ", ".join(f"<code>{escape(sender.id)}</code>" for sender in SENDERS.values())
    return (
        '<div class="empty"><p><b>No ticket yet.</b> Each one that a pipeline opens appears here as a conversation.</p>'
        f"<p>API: <code>{escape(base_url)}</code><br>Key: <code>{escape(state.config.api_key)}</code><br>"
        f"Phone ids: {senders}</p></div>"
    )


def _inbox(state: SandboxState, shown: list[Contact], current: Contact | None, search: str, *, found: int) -> str:
    rows = "".join(_inbox_row(state, contact, current, search) for contact in shown)
    if search and not found:
        rows = nothing(f"Nothing found for “{text(search)}”.")
    total = len(state.contacts)
    which = f"the newest {len(shown):,} of {found:,}" if found > len(shown) else f"{found:,}"
    count = f"{which} of {total:,} contacts" if search else f"{which} contacts"
    return (
        f'<section><form class="search" role="search"><input type="search" name="q" value="{escape(search)}" '
        f'dir="auto" placeholder="{_SEARCH}" aria-label="{_SEARCH}"></form>'
        f'<nav id="inbox" aria-label="Conversations">{rows}</nav><p id="found" role="status">{count}</p></section>'
    )


def _inbox_row(state: SandboxState, contact: Contact, current: Contact | None, search: str) -> str:
    messages = state.messages[contact.id]
    preview = text(messages[-1].body[:120]) if messages else "no message"
    query = urlencode({"contact": contact.id} | ({"q": search} if search else {}))
    return (
        f'<a id="c-{contact.id}" href="/?{escape(query)}"{_current(contact is current)}>'
        f'<span class="row"><b>{name_of(contact)}</b>{time(contact.changed_at)}</span>'
        f'<span class="row"><span class="preview">{preview}</span>{stage_tag(state, contact)}</span></a>'
    )


def _conversation(state: SandboxState, contact: Contact) -> str:
    messages = state.messages[contact.id]
    earlier = len(messages) - _MESSAGES
    note = nothing(f"{earlier:,} earlier messages are not shown.") if earlier > 0 else ""
    bubbles = note + "".join(_bubble(item) for item in messages[-_MESSAGES:])
    return (
        f'<section id="conversation"><div class="who"><h2>{name_of(contact)}</h2><span class="muted">'
        f"+{escape(contact.phone)} · {escape(contact.platform)}</span></div>"
        f'<div id="thread" role="log" aria-label="Messages" tabindex="0">{bubbles or nothing("No message yet.")}</div>'
        f'<form class="reply" method="post" action="/__sandbox__/page/reply">{hidden("contact", contact.id)}'
        '<input name="text" required autocomplete="off" autofocus dir="auto" placeholder="Reply as the customer" '
        'aria-label="Reply as the customer"><button>Reply</button></form></section>'
    )


def _bubble(item: ChatMessage) -> str:
    outbound = item.direction == "OUTBOUND"
    status = f" · {escape(item.status)}" if outbound else ""
    return (
        f'<article class="bubble {"out" if outbound else "in"}"><p dir="auto">{escape(item.body)}</p>'
        f'<footer>{time(item.created_at)}<span class="muted">{status}</span></footer></article>'
    )


def _details(state: SandboxState, contact: Contact) -> str:
    tickets = [state.tickets[item] for item in reversed(contact.ticket_ids)]
    cards = "".join(map(_ticket, tickets[:_TICKETS]))
    if len(tickets) > _TICKETS:
        cards += nothing(f"{len(tickets) - _TICKETS:,} earlier tickets are not shown.")
    about = {"Name": contact.name, "E-mail": contact.email, "Status": contact.chat_status, **contact.metadata}
    active = state.tickets.get(contact.active_ticket_id or "")
    return (
        f'<section><div id="details" tabindex="0" role="region" aria-label="Contact and tickets">'
        f"<h3>Contact</h3>{definitions(about)}{cards or nothing('No ticket.')}</div>"
        f'<div class="actions">{_actions(contact, active)}</div></section>'
    )


def _ticket(ticket: Ticket) -> str:
    kind = "tag" if ticket.status == "open" else "tag closed"
    about = {
        "Stage": STAGES[ticket.stage_id].full_name,
        "Sender": ticket.phone_id,
        "Opened": (time(ticket.created_at),),
        "Amount": None if ticket.amount is None else f"{ticket.amount:,.2f} {ticket.currency or ''}",
        **ticket.metadata,
        **ticket.integration_data,
    }
    return f'<h3>Ticket <span class="{kind}">{escape(ticket.status)}</span></h3>{definitions(about)}'


def _actions(contact: Contact, active: Ticket | None) -> str:
    if active is None:
        return '<span class="muted">The ticket is closed.</span>'
    return (
        f'<form method="post" action="/__sandbox__/page/move">{hidden("contact", contact.id)}'
        f'<select name="stage" aria-label="Stage">{stage_options(active.stage_id)}</select>'
        '<button class="quiet">Move</button></form>'
        f'<form method="post" action="/__sandbox__/page/close">{hidden("contact", contact.id)}'
        '<button class="quiet">Close ticket</button></form>'
    )
