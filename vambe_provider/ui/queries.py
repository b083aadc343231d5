"""What the page reads of a ledger. Every query is limited to the Dags that its visitor may read.

Hashes of persons, contents and messages stay inside: nothing here returns them.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, fields
from datetime import date, datetime, timedelta
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.expression import FunctionElement

from vambe_provider.delivery.ledger.entry import Entry, Step
from vambe_provider.delivery.ledger.tables import attempts, ledger, utc_now
from vambe_provider.delivery.model import Reason, Sent

MAX_PERSON = 200
"""Tickets of one person that are shown."""
DAYS = 30
"""Days that the chart shows."""

_NOT_SENDING = (Reason.SEED.value, Reason.DECISION.value)
"""The reasons of attempts that were never meant to send anything."""


class dag_of(FunctionElement[str]):  # noqa: N801 - named as SQLAlchemy names its functions
    """The Dag's id, which is the part of ``dag_run`` before the first slash: an id has none."""

    type = sa.String()
    inherit_cache = True


@compiles(dag_of)
def _sqlite(element: Any, compiler: Any, **more: Any) -> str:
    column = compiler.process(element.clauses, **more)
    return f"substr({column}, 1, instr({column}, '/') - 1)"


@compiles(dag_of, "postgresql")
def _postgresql(element: Any, compiler: Any, **more: Any) -> str:
    return f"split_part({compiler.process(element.clauses, **more)}, '/', 1)"


@compiles(dag_of, "mysql")
@compiles(dag_of, "mariadb")
def _mysql(element: Any, compiler: Any, **more: Any) -> str:
    return f"substring_index({compiler.process(element.clauses, **more)}, '/', 1)"


class Count(NamedTuple):
    """How many tickets of a Dag are in a state."""

    namespace: str
    account: str
    dag: str
    state: str
    tickets: int


class Day(NamedTuple):
    """How many attempts of a day were surely, maybe and surely not sent."""

    day: date
    yes: int
    maybe: int
    no: int


class Place(NamedTuple):
    """Where a page of the list ends; the next one begins after it."""

    created_at: datetime
    ticket_key: str
    account: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """Which tickets are meant; what is empty does not matter.

    :param dag: the Dag that changed it last.
    :param run: with ``dag``: the Dag run that made an attempt at it or changed it last.
    :param search: part of the key's text, the whole digest of the key, or the whole id of the contact.
    :param since: first day, by the day on which the ticket was recorded.
    :param until: last day.
    """

    namespace: str = ""
    state: str = ""
    dag: str = ""
    run: str = ""
    search: str = ""
    since: date | None = None
    until: date | None = None


_ENTRY = tuple(ledger.c[field.name] for field in fields(Entry))
_STEP = tuple(attempts.c[field.name] for field in fields(Step))
_PLACE = (ledger.c.created_at, ledger.c.ticket_key, ledger.c.account)


def read_summary(connection: sa.engine.Connection) -> list[Count]:
    """Return the counts of the whole ledger, which say how many there are of what a visitor may not read either."""
    dag = dag_of(ledger.c.dag_run).label("dag")
    columns = (ledger.c.namespace, ledger.c.account, dag, ledger.c.state)
    query = sa.select(*columns, sa.func.count()).group_by(*columns)
    return [Count(*row) for row in connection.execute(query)]


def read_page(
    connection: sa.engine.Connection, wanted: Filter, dags: Collection[str], *, after: Place | None, limit: int
) -> list[Entry]:
    """Return tickets, those that were recorded last first."""
    query = sa.select(*_ENTRY).where(*_conditions(wanted, dags))
    if after is not None:
        values = [sa.literal(value, column.type) for value, column in zip(after, _PLACE, strict=True)]
        query = query.where(sa.tuple_(*_PLACE) < sa.tuple_(*values))
    query = query.order_by(*(column.desc() for column in _PLACE)).limit(limit)
    return [Entry(*row) for row in connection.execute(query)]


def read_states(connection: sa.engine.Connection, wanted: Filter, dags: Collection[str]) -> dict[str, int]:
    """Return how many of the wanted tickets are in each state, whatever state is wanted."""
    query = sa.select(ledger.c.state, sa.func.count()).where(*_conditions(wanted, dags, state=False))
    return dict(tuple(row) for row in connection.execute(query.group_by(ledger.c.state)))


def read_ticket(connection: sa.engine.Connection, key: str, account: str) -> tuple[Entry, list[Step], datetime] | None:
    """Return a ticket, all its attempts with the newest first, and the database's time; None when there is none."""
    meant = (ledger.c.ticket_key == key, ledger.c.account == account)
    row = connection.execute(sa.select(*_ENTRY).where(*meant)).first()
    if row is None:
        return None
    ticket = Entry(*row)
    made = (
        sa.select(*_STEP)
        .where(attempts.c.ticket_key == key, attempts.c.namespace == ticket.namespace, attempts.c.account == account)
        .order_by(attempts.c.number.desc())
    )
    return ticket, [Step(*one) for one in connection.execute(made)], clock(connection)


def read_person(connection: sa.engine.Connection, persons: Collection[str], dags: Collection[str]) -> list[Entry]:
    """Return the newest tickets of a person, found by what stands for the person in the ledger."""
    wanted = sorted(persons)
    tried = sa.select(attempts.c.ticket_key).where(attempts.c.person.in_(wanted)).distinct().limit(MAX_PERSON)
    recorded = sa.select(ledger.c.ticket_key).where(ledger.c.person.in_(wanted)).limit(MAX_PERSON)
    keys = {key for query in (tried, recorded) for key in connection.execute(query).scalars()}
    query = (
        sa.select(*_ENTRY)
        .where(ledger.c.ticket_key.in_(sorted(keys)), *_readable(dags))
        .order_by(*(column.desc() for column in _PLACE))
        .limit(MAX_PERSON)
    )
    return [Entry(*row) for row in connection.execute(query)] if keys else []


def read_neighbours(connection: sa.engine.Connection, ticket: Entry, dags: Collection[str]) -> list[Entry]:
    """Return the newest other tickets to the person of a ticket."""
    same = (attempts.c.ticket_key == ticket.ticket_key, attempts.c.account == ticket.account)
    query = sa.select(attempts.c.person).where(*same, attempts.c.person.is_not(None)).distinct()
    persons = set(connection.execute(query).scalars())
    found = read_person(connection, persons, dags) if persons else []
    return [other for other in found if (other.ticket_key, other.account) != (ticket.ticket_key, ticket.account)]


def read_days(connection: sa.engine.Connection, accounts: Collection[str], dags: Collection[str]) -> list[Day]:
    """Return the attempts of each of the last days, the oldest first; a day without any is there too."""
    first = clock(connection).date() - timedelta(days=DAYS - 1)
    day = sa.func.date(attempts.c.started_at).label("day")
    query = (
        sa.select(day, attempts.c.sent, sa.func.count())
        .where(*_sending(accounts, dags), attempts.c.started_at >= datetime.combine(first, datetime.min.time()))
        .group_by(day, attempts.c.sent)
    )
    found: dict[tuple[str, str], int] = {(str(on), sent): number for on, sent, number in connection.execute(query)}
    days = [first + timedelta(days=number) for number in range(DAYS)]
    return [
        Day(on, *(found.get((on.isoformat(), sent.value), 0) for sent in (Sent.YES, Sent.MAYBE, Sent.NO)))
        for on in days
    ]


def read_senders(
    connection: sa.engine.Connection, accounts: Collection[str], dags: Collection[str], *, seconds: int
) -> dict[tuple[str, str], int]:
    """Return how many attempts each sender made in the last seconds that were surely or maybe sent, by account and
    sender.
    """
    columns = (attempts.c.account, attempts.c.sender)
    query = (
        sa.select(*columns, sa.func.count())
        .where(
            *_sending(accounts, dags),
            attempts.c.started_at >= clock(connection) - timedelta(seconds=seconds),
            attempts.c.sent != Sent.NO.value,
            attempts.c.sender != "",
        )
        .group_by(*columns)
    )
    return {(account, sender): number for account, sender, number in connection.execute(query)}


def clock(connection: sa.engine.Connection) -> datetime:
    """Return the database's time."""
    now: datetime = connection.execute(sa.select(utc_now())).scalar_one()
    return now


def dag_of_entry(ticket: Entry) -> str:
    """Return the Dag that changed a ticket last; empty for one that no task recorded."""
    return ticket.dag_run.partition("/")[0]


def _conditions(wanted: Filter, dags: Collection[str], *, state: bool = True) -> list[Any]:
    found: list[Any] = list(_readable(dags))
    if wanted.namespace:
        found.append(ledger.c.namespace == wanted.namespace)
    if wanted.state and state:
        found.append(ledger.c.state == wanted.state)
    if wanted.run:
        found.append(_of_run(wanted))
    elif wanted.dag:
        found.append(dag_of(ledger.c.dag_run) == wanted.dag)
    if wanted.search:
        found.append(_found_by(wanted.search))
    if wanted.since is not None:
        found.append(ledger.c.created_at >= datetime.combine(wanted.since, datetime.min.time()))
    if wanted.until is not None:
        found.append(ledger.c.created_at < datetime.combine(wanted.until + timedelta(days=1), datetime.min.time()))
    return found


def _found_by(search: str) -> Any:
    return sa.or_(
        ledger.c.ticket_key == search.partition(".")[0],
        ledger.c.ai_contact_id == search,
        sa.func.lower(ledger.c.key_text).contains(search.lower(), autoescape=True),
    )


def _of_run(wanted: Filter) -> Any:
    """Return the condition for tickets that a run touched: by an attempt, or without one because they were refused."""
    same = (attempts.c[name] == ledger.c[name] for name in ("ticket_key", "namespace", "account"))
    tried = sa.exists().where(*same, attempts.c.dag_id == wanted.dag, attempts.c.run_id == wanted.run)
    return sa.or_(ledger.c.dag_run == f"{wanted.dag}/{wanted.run}", tried)


def _readable(dags: Collection[str]) -> Sequence[Any]:
    return (dag_of(ledger.c.dag_run).in_(sorted(dags)),)


def _sending(accounts: Collection[str], dags: Collection[str]) -> Sequence[Any]:
    # The accounts first, because there is an index from them to the time.
    return (
        attempts.c.account.in_(sorted(accounts)),
        attempts.c.dag_id.in_(sorted(dags)),
        attempts.c.reason.not_in(_NOT_SENDING),
    )
