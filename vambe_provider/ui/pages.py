"""What each page shows: from who asks and what is asked to the values of a template."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from starlette.exceptions import HTTPException

from vambe_provider.operators.arguments import persons, shown_ledgers
from vambe_provider.ui import queries
from vambe_provider.ui.asked import ROWS, place_of
from vambe_provider.ui.changes import MAY_NOT, NO_TICKET, may_change
from vambe_provider.ui.decisions import allowed
from vambe_provider.ui.export import lines
from vambe_provider.ui.people import find_persons
from vambe_provider.ui.words import STATES

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    import sqlalchemy as sa

    from vambe_provider.delivery.ledger.entry import Entry, Step
    from vambe_provider.ui.access import Visitor
    from vambe_provider.ui.accounts import Accounts
    from vambe_provider.ui.asked import Asked, PersonBody
    from vambe_provider.ui.scope import Scope, Shown

EXPORT_ROWS = 1000
"""Tickets that the export reads in one transaction."""
DAY = 86400
"""Seconds."""


@dataclass(frozen=True)
class Page:
    """A template and its values."""

    template: str
    values: dict[str, Any]


def overview(shown: Shown, who: Visitor, asked: Asked) -> Page:
    """Return the counts, the attempts of the last days and the use of each sender."""
    if not shown_ledgers():
        return _off("overview")
    scope = shown.scope(who, asked.ledger)
    rows: dict[str, Counter[str]] = {}
    for count in sorted(scope.counts):
        rows.setdefault(count.namespace, Counter())[count.state] += count.tickets
    totals = Counter[str]()
    for states in rows.values():
        totals.update(states)
    accounts = shown.accounts.read()
    days, senders = scope.ledger.read(lambda connection: _activity(connection, scope, accounts))
    values = {
        "rows": rows,
        "totals": {state: totals[state] for state in _in_order(totals)},
        "nothing": _nothing(scope),
        "days": days,
        "most": max(sum(day[1:]) for day in days),
        "senders": senders,
    }
    return Page("overview.html", _base("overview", "Overview", scope.ledger.conn_id) | values)


def tickets(shown: Shown, who: Visitor, asked: Asked) -> Page:
    """Return a page of the list."""
    if not shown_ledgers():
        return _off("tickets")
    wanted, after = asked.filter(), asked.place()
    scope = shown.scope(who, asked.ledger)

    def read(connection: sa.engine.Connection) -> tuple[list[Entry], dict[str, int], datetime]:
        page = queries.read_page(connection, wanted, scope.dags, after=after, limit=ROWS + 1)
        return page, queries.read_states(connection, wanted, scope.dags), queries.clock(connection)

    found, states, now = scope.ledger.read(read)
    entries = found[:ROWS]
    changeable = who.changeable({queries.dag_of_entry(entry) for entry in entries})
    choices = [allowed(entry, now) if queries.dag_of_entry(entry) in changeable else () for entry in entries]
    values = {
        "wanted": wanted,
        "namespaces": sorted({count.namespace for count in scope.counts}),
        "dags": sorted(scope.dags),
        "states": {state: states[state] for state in _in_order(states)},
        "tickets": entries,
        "choices": choices if any(choices) else [],
        "may_change": any(choices),
        "after": asked.after,
        "more": place_of(entries[-1]) if len(found) > ROWS else "",
        "nothing": _nothing(scope) if not scope.counts else "No ticket that you may see is like this.",
    }
    return Page("tickets.html", _base("tickets", "Tickets", scope.ledger.conn_id) | values)


def ticket(shown: Shown, who: Visitor, asked: Asked) -> Page:
    """Return one ticket with what was tried, what is believed, and what may be decided."""
    if not shown_ledgers():
        return _off("tickets")
    scope = shown.scope(who, asked.ledger)

    def read(connection: sa.engine.Connection) -> tuple[Entry, list[Step], datetime, list[Entry]] | None:
        found = queries.read_ticket(connection, asked.key, asked.account)
        return None if found is None else (*found, queries.read_neighbours(connection, found[0], scope.dags))

    found = scope.ledger.read(read)
    if found is None or not who.readable({queries.dag_of_entry(found[0])}):
        raise HTTPException(404, NO_TICKET)
    entry, steps, now, neighbours = found
    readable = who.readable({step.dag_id for step in steps})
    visible = [step for step in steps if step.dag_id in readable]
    may, possible = may_change(who, entry, steps), allowed(entry, now, steps)
    values = {
        "ticket": entry,
        "steps": visible,
        "hidden": len(steps) - len(visible),
        "neighbours": neighbours,
        "allowed": possible if may else (),
        "not_allowed": MAY_NOT if possible and not may else "",
        "conversation": shown.accounts.read().conversation(entry.account, entry.ai_contact_id),
    }
    return Page("ticket.html", _base("ticket", entry.key_text, scope.ledger.conn_id) | values)


def person(shown: Shown, who: Visitor, body: PersonBody) -> Page:
    """Return the tickets of a person.

    :raises HTTPException: when the number cannot be read.
    """
    scope = shown.scope(who, body.ledger)
    source = persons()
    wanted = find_persons(source, body.phone)
    scope.ledger.check_secret(source)
    found = scope.ledger.read(lambda connection: queries.read_person(connection, wanted, scope.dags))
    values = {"ledger": scope.ledger.conn_id, "tickets": found, "limit": queries.MAX_PERSON}
    return Page("person.html", values)


def export(shown: Shown, who: Visitor, asked: Asked) -> Iterator[str]:
    """Yield all tickets of the list as CSV, in pieces; the first has the header and the first tickets."""
    wanted = asked.filter()
    scope = shown.scope(who, asked.ledger)

    def pages() -> Iterator[list[Entry]]:
        after = asked.place()
        while True:
            page = scope.ledger.read(
                lambda connection, after=after: queries.read_page(  # type: ignore[misc]
                    connection, wanted, scope.dags, after=after, limit=EXPORT_ROWS
                )
            )
            yield page
            if len(page) < EXPORT_ROWS:
                return
            after = queries.Place(page[-1].created_at, page[-1].ticket_key, page[-1].account)

    return lines(pages())


def _base(page: str, title: str, ledger: str) -> dict[str, Any]:
    return {"page": page, "title": title, "ledgers": shown_ledgers(), "ledger": ledger}


def _off(page: str) -> Page:
    text = (
        "This page shows no ledger yet. Name the connections of your ledgers, separated by commas, in the "
        "configuration of Airflow's API server, and restart it:"
    )
    values = {"text": text, "status": 200, "example": "[vambe]\nledger_conn_ids = warehouse"}
    return Page("message.html", _base(page, "Not switched on", "") | values)


def _nothing(scope: Scope) -> str:
    if scope.is_empty:
        return "This ledger is empty: no task has recorded a ticket in it yet."
    return "This ledger holds no ticket of a Dag that you may see."


def _in_order(states: Counter[str] | dict[str, int]) -> list[str]:
    return [state for state in (*STATES, *sorted(set(states) - set(STATES))) if states.get(state)]


def _activity(
    connection: sa.engine.Connection, scope: Scope, accounts: Accounts
) -> tuple[list[queries.Day], list[dict[str, Any]]]:
    days = queries.read_days(connection, scope.accounts, scope.dags)
    used = queries.read_senders(connection, scope.accounts, scope.dags, seconds=DAY)
    rates = {key: accounts.rate(*key) for key in used}
    windows = {
        seconds: queries.read_senders(connection, scope.accounts, scope.dags, seconds=seconds)
        for seconds in {rate.seconds for rate, _ in rates.values() if rate}
    }
    senders = []
    for (account, sender), number in sorted(used.items()):
        rate, known = rates[account, sender]
        senders.append(
            {
                "sender": sender,
                "account": account,
                "day": number,
                "rate": str(rate) if rate else "",
                "why": "no limit" if known else "not known here",
                "limit": rate.count if rate else 0,
                "used": windows[rate.seconds].get((account, sender), 0) if rate else 0,
            }
        )
    return days, senders
