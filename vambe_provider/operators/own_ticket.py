"""The ticket that an earlier task opened, and no other one of its contact: found, closed, or named precisely."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from vambe_provider.exceptions import (
    VambeAuthError,
    VambeConfigError,
    VambeDeliveryError,
    VambeMaybeSentError,
    VambeRefusedError,
)

if TYPE_CHECKING:
    from vambe_provider.api.requests import TicketRef
    from vambe_provider.compat import StateStore
    from vambe_provider.hooks.vambe import VambeHook
    from vambe_provider.waiting.own import Own
    from vambe_provider.waiting.tickets import Target

LATE = (1.0, 3.0)
"""Seconds after which a ticket that is not shown is looked for again: it may have been opened a moment ago."""
_MEMORY = "vambe_close_ticket"


def close_own(hook: VambeHook, target: Target, *, store: StateStore | None) -> tuple[bool, str | None]:
    """Return whether the ticket was closed by this call, and which one it is.

    :param store: remembers for a later try which ticket is meant.
    """
    meant = store.get(_MEMORY) if store is not None else None
    contact_id, own = look(hook, target)
    ticket_id = own.ticket.id if own.ticket else None
    if own.state == "over" or (meant and ticket_id and meant != ticket_id):
        return False, ticket_id
    if store is not None and ticket_id:
        store.set(_MEMORY, ticket_id)
    try:
        hook.close_ticket(contact_id)
    except VambeAuthError:
        raise
    except (VambeRefusedError, VambeMaybeSentError) as error:
        # It may have been closed by somebody else, or by this request.
        _, now = look(hook, target)
        if now.state == "over":
            return isinstance(error, VambeMaybeSentError), ticket_id
        if now.state == "hidden" and error.status == 404:
            return False, None
        raise
    return True, ticket_id


def look(hook: VambeHook, target: Target) -> tuple[str, Own]:
    """Return the contact that has the ticket, and what is shown of the ticket.

    :raises VambeRefusedError: when there is no such contact, or it was merged into one that does not have the ticket.
    :raises VambeDeliveryError: when the ticket is not shown yet.
    """
    from vambe_provider.waiting.ids import check_account

    check_account([target], getattr(hook.settings, "account", None), conn_id=hook.vambe_conn_id)
    for pause in (*LATE, None):
        contact_id, own = _look_once(hook, target)
        if own.state != "not_yet":
            return contact_id, own
        if pause is not None:
            time.sleep(pause)
    raise VambeDeliveryError(
        f"Vambe does not show the ticket of this run yet, nor any newer one of contact {target.contact_id}",
        fix="A task retry looks again.",
    )


def _look_once(hook: VambeHook, target: Target) -> tuple[str, Own]:
    from vambe_provider.api.contact_info import read_contact, same_id
    from vambe_provider.waiting.look import missing
    from vambe_provider.waiting.own import own_ticket

    try:
        info = read_contact(hook.get_contact(target.contact_id).model_dump())
    except VambeRefusedError as error:
        raise (missing(target.contact_id) if error.status == 404 else error) from None
    own = own_ticket(info, target, now=time.time() + (hook.get_conn().server_clock_offset or 0.0))
    if info.id is None or same_id(info.id, target.contact_id):
        return target.contact_id, own
    ticket = own.ticket
    if ticket is None or not (target.mark in ticket.marks or same_id(ticket.id, target.ticket_id)):
        raise missing(target.contact_id, merged_into=info.id)
    return info.id, own


def precisely(hook: VambeHook, target: Target, ticket: TicketRef) -> TicketRef:
    """Return the ticket of the target by its own id, where it is shown; the contact's active one may be another."""
    contact_id, own = look(hook, target)
    found = own.ticket
    if found is None and own.state == "over":
        raise VambeConfigError(
            f"Contact {contact_id} does not show the ticket of this run any more",
            fix="Hand over the contact's id alone to write to whatever ticket is active.",
        )
    if found is None or found.id is None:
        return {**ticket, "ai_contact_id": contact_id}
    return {**ticket, "ai_contact_id": None, "ticket_id": found.id}
