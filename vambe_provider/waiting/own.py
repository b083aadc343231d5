"""Which ticket an operator may close or change: the one that it was given, and nobody else's. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from vambe_provider.api.contact_info import same_id
from vambe_provider.waiting.conditions import Wait
from vambe_provider.waiting.tickets import find

if TYPE_CHECKING:
    from vambe_provider.api.contact_info import ContactInfo, Ticket
    from vambe_provider.waiting.tickets import Target


@dataclass(frozen=True, slots=True)
class Own:
    """What is shown of the ticket that was given.

    :param state: ``active``; ``over`` (closed, or another one has become active); ``not_yet`` (reads may be behind); or
        ``hidden`` (the API shows no tickets).
    :param ticket: the ticket, when it is shown.
    """

    state: Literal["active", "over", "not_yet", "hidden"]
    ticket: Ticket | None = None


def own_ticket(info: ContactInfo, target: Target, *, now: float) -> Own:
    """Return what is shown of a ticket; of a bare contact it is the active one, whoever opened it.

    :param target: the contact, and what the opening recorded.
    :param now: when it was read, in seconds since 1970 by the API's clock.
    """
    shown = [ticket for ticket in info.tickets if ticket.is_open]
    active = next((ticket for ticket in shown if ticket.is_active), shown[0] if shown else None)
    if not target.to_json():
        if active is not None:
            return Own("active", active)
        return Own("over" if info.shows_tickets else "hidden")
    wait = Wait("closed")
    settled = now >= wait.settles_at(target)
    choice = find(info, target, wait.bounds(target), settled=settled)
    if choice is None:
        return Own("hidden" if not info.shows_tickets else "over" if settled else "not_yet")
    ticket = choice.ticket
    is_active = ticket.is_open and (ticket.is_active or active is None or same_id(active.id, ticket.id))
    return Own("active" if is_active else "over", ticket)
