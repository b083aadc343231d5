"""Carrying out what a person decided: who may, whether it still fits, and where it is recorded."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from starlette.exceptions import HTTPException

from vambe_provider.delivery.ledger.decisions import Choice
from vambe_provider.exceptions import VambeConfigError, VambeError
from vambe_provider.ui import queries
from vambe_provider.ui.access import record
from vambe_provider.ui.decisions import WORDS, allowed, carry_out
from vambe_provider.ui.render import seen
from vambe_provider.ui.words import state_label
from vambe_provider.waiting.ids import check_id

if TYPE_CHECKING:
    from collections.abc import Iterable

    from vambe_provider.delivery.ledger.entry import Entry, Step
    from vambe_provider.ui.access import Visitor
    from vambe_provider.ui.asked import DecisionBody, Meant
    from vambe_provider.ui.ledgers import Ledger
    from vambe_provider.ui.scope import Shown

NO_TICKET = "There is no such ticket in the part of this ledger that you may see."
MAY_NOT = "You may not change tickets of this Dag: it takes the right to clear its tasks."


def decide(shown: Shown, who: Visitor, body: DecisionBody) -> str:
    """Carry out what a person decided, and return what to say about it.

    The audit log has it first: nothing is changed that it does not know of.

    :raises HTTPException: when one of the tickets is not there, may not be changed by this person, or is not any
        more as the person saw it. Nothing is changed then.
    """
    ledger, contact = shown.ledger(body.ledger), _contact(body)
    tickets = [_decidable(who, ledger, body, meant) for meant in body.tickets]
    groups: dict[tuple[str, str], list[Entry]] = {}
    for ticket in tickets:
        groups.setdefault((ticket.namespace, ticket.account), []).append(ticket)
    done = 0
    for group in groups.values():
        for ticket in group:
            record(who, ticket, body.decision.value)
        try:
            ledger.write(
                partial(
                    carry_out,
                    conn_id=ledger.conn_id,
                    choice=body.decision,
                    tickets=group,
                    decided_by=who.name,
                    ai_contact_id=contact,
                )
            )
        except VambeError as error:
            before = f"{done} of {len(tickets)} tickets were changed before this. " if done else ""
            raise HTTPException(409, f"{before}{error}") from None
        done += len(group)
    what = tickets[0].key_text if done == 1 else f"{done} tickets"
    return f"{what}: {WORDS[body.decision].done}."


def may_change(who: Visitor, ticket: Entry, steps: Iterable[Step]) -> bool:
    """Say whether somebody may clear the tasks of every Dag that had a part in the ticket."""
    dags = {queries.dag_of_entry(ticket)} | {one.dag_id for one in steps}
    return who.changeable(dags) == dags


def _decidable(who: Visitor, ledger: Ledger, body: DecisionBody, meant: Meant) -> Entry:
    found = ledger.read(lambda connection: queries.read_ticket(connection, meant.key, meant.account))
    if found is None or not who.readable({queries.dag_of_entry(found[0])}):
        raise HTTPException(404, NO_TICKET)
    ticket, steps, now = found
    if not may_change(who, ticket, steps):
        raise HTTPException(403, MAY_NOT)
    if seen(ticket) != meant.seen:
        raise HTTPException(409, f"{ticket.key_text} has changed since the page was loaded. Load it again.")
    if body.decision not in allowed(ticket, now, steps):
        raise HTTPException(409, f"{ticket.key_text} is {state_label(ticket.state)}: that cannot be decided now.")
    return ticket


def _contact(body: DecisionBody) -> str | None:
    if not body.contact or body.decision != Choice.SENT or len(body.tickets) > 1:
        return None
    try:
        return check_id(body.contact, "contact")
    except VambeConfigError as error:
        raise HTTPException(422, error.message) from None
