"""The SQL of the ledger: a handful of shapes, compiled once and run for many rows.

Rows are found by their key's digest alone or by their whole primary key, never by their state: without statistics a
planner takes one condition for as good as another. What many rows share is sent once; what differs is sent as one
array for each column to PostgreSQL, and as one parameter for each value elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import mysql, postgresql, sqlite

from vambe_provider.delivery.ledger.tables import attempts, ledger, metadata, suppressions, unindexed
from vambe_provider.delivery.rules import Glimpse, Known

Row = dict[str, Any]
Statement = tuple[Any, Any]
"""A statement and its parameters."""

AT_ONCE = 64
"""Rows that one update changes at most, where each value is a parameter."""
KEYS_AT_ONCE = 900
"""Keys that one query names at most, where each is a parameter: old SQLite takes 999."""

_GLIMPSE = ("ticket_key", *Glimpse._fields)
_KNOWN = ("ticket_key", *Known._fields)
ATTEMPT = (
    "ticket_key",
    "namespace",
    "account",
    "number",
    "generation",
    "reason",
    "person",
    "fingerprint",
    "message_hash",
    "started_at",
    "lease_until",
    "ended_at",
    "sent",
    "ai_contact_id",
    "evidence_id",
    "dag_id",
    "run_id",
    "owner",
)
"""The columns of an attempt that deliveries read."""


def glimpses(dialect: str, keys: Sequence[str]) -> Iterator[Statement]:
    """Yield the queries for the key and the fields of :class:`~vambe_provider.delivery.rules.Glimpse`."""
    return _keyed(dialect, ledger.name, _GLIMPSE, keys)


def known(dialect: str, keys: Sequence[str], *, lock: bool) -> Iterator[Statement]:
    """Yield the queries for the key and the fields of :class:`~vambe_provider.delivery.rules.Known`.

    :param keys: in order, so that two who lock the same rows do not wait for each other in a circle.
    """
    return _keyed(dialect, ledger.name, _KNOWN, keys, lock=lock)


def first_seen(dialect: str, keys: Sequence[str]) -> Iterator[Statement]:
    """Yield the queries for the key, the account and the first moment of tickets."""
    return _keyed(dialect, ledger.name, ("ticket_key", "account", "created_at"), keys)


def attempts_of(dialect: str, keys: Sequence[str], dag: str, run: str) -> Iterator[Statement]:
    """Yield the queries for the attempts at these tickets that are undecided or of this Dag run."""
    for statement, values in _keyed(dialect, attempts.name, ATTEMPT, keys, recall=True):
        yield statement, values | {"c_dag_id": dag, "c_run_id": run}


def all_attempts_of(dialect: str, keys: Sequence[str]) -> Iterator[Statement]:
    """Yield the queries for every attempt at these tickets."""
    return _keyed(dialect, attempts.name, ATTEMPT, keys)


def _keyed(dialect: str, table: str, columns: tuple[str, ...], keys: Sequence[str], **how: bool) -> Iterator[Statement]:
    statement = _by_key(dialect, table, columns, **how)
    if dialect == "postgresql":
        yield statement, {"a_ticket_key": list(keys)}
        return
    for begin in range(0, len(keys), KEYS_AT_ONCE):
        yield statement, {"k_ticket_key": list(keys[begin : begin + KEYS_AT_ONCE])}


@cache
def _by_key(dialect: str, name: str, columns: tuple[str, ...], *, lock: bool = False, recall: bool = False) -> Any:
    table = metadata.tables[name]
    query = sa.select(*(table.c[column] for column in columns))
    if recall:
        of_run = sa.and_(table.c.dag_id == sa.bindparam("c_dag_id"), table.c.run_id == sa.bindparam("c_run_id"))
        query = query.where(sa.or_(table.c.closed_at.is_(None), of_run))
    if lock and dialect != "sqlite":  # where the whole transaction has the lock
        query = query.with_for_update()
    if dialect != "postgresql":
        keys = sa.bindparam("k_ticket_key", expanding=True, type_=table.c.ticket_key.type)
        return query.where(table.c.ticket_key.in_(keys)).order_by(table.c.ticket_key)
    # One look into the key's index for each key. With `= ANY` a table without statistics would be read as a whole.
    own = _unnested(table, ("ticket_key",))
    each = query.where(table.c.ticket_key == own.c.ticket_key).offset(0).lateral("each_key")
    return sa.select(*(each.c[column] for column in columns)).select_from(own.join(each, sa.true()))


def begin(dialect: str, rows: Sequence[Row]) -> Statement:
    """Return the insert of attempts that leaves those out whose number is taken, or whose person is in flight."""
    return _insert(dialect, attempts.name, rows, ignore=True)


def add(dialect: str, table: sa.Table, rows: Sequence[Row], *, ignore: bool = False) -> Statement:
    """Return the insert of rows with the same columns.

    :param ignore: leave out those whose key is taken, in place of failing.
    """
    return _insert(dialect, table.name, rows, ignore=ignore)


def owned(dialect: str, keys: Sequence[str], owner: str) -> Iterator[Statement]:
    """Yield the queries for the keys of these tickets at which this owner has begun an attempt."""
    for begin in range(0, len(keys), KEYS_AT_ONCE):
        some = {"k_ticket_key": list(keys[begin : begin + KEYS_AT_ONCE]), "c_owner": owner}
        yield _OWNED, some


_OWNED = sa.select(attempts.c.ticket_key).where(
    attempts.c.ticket_key.in_(sa.bindparam("k_ticket_key", expanding=True)),
    attempts.c.owner == sa.bindparam("c_owner"),
)


def _insert(dialect: str, table: str, rows: Sequence[Row], *, ignore: bool) -> Statement:
    if dialect != "postgresql":
        return _insert_each(dialect, table, ignore=ignore), list(rows)
    own = _arrays(rows)
    values: Row = {f"s_{name}": value for name, value in rows[0].items() if name not in own}
    values |= {f"a_{name}": given for name, given in own.items()}
    return _insert_arrays(table, tuple(rows[0]), tuple(own), ignore=ignore), values


@cache
def _insert_each(dialect: str, name: str, *, ignore: bool) -> Any:
    table = metadata.tables[name]
    if not ignore:
        return sa.insert(table)
    if dialect == "sqlite":
        return sqlite.insert(table).on_conflict_do_nothing()
    return mysql.insert(table).on_duplicate_key_update(ticket_key=table.c.ticket_key)


@cache
def _insert_arrays(name: str, columns: tuple[str, ...], own: tuple[str, ...], *, ignore: bool) -> Any:
    # SQLAlchemy would make one statement of each row when there is an ON CONFLICT, and repeat in each what all share.
    table = metadata.tables[name]
    each = _unnested(table, own)
    values = [each.c[column] if column in own else _shared(table, column) for column in columns]
    insert = postgresql.insert(table).from_select(columns, sa.select(*values).select_from(each))
    return insert.on_conflict_do_nothing().returning(table.c.ticket_key) if ignore else insert


def change(dialect: str, table: sa.Table, rows: Sequence[Row]) -> Iterator[Statement]:
    """Yield the updates of rows that are given by their primary keys, each with its new values.

    :param rows: with the same columns, of one namespace and account.
    """
    size = len(rows) if dialect == "postgresql" else AT_ONCE
    for begin in range(0, len(rows), size):
        yield _change(dialect, table, rows[begin : begin + size])


def _change(dialect: str, table: sa.Table, rows: Sequence[Row]) -> Statement:
    own = _arrays(rows)
    columns, differing = tuple(rows[0]), tuple(own)
    values: Row = {f"s_{name}": value for name, value in rows[0].items() if name not in own}
    if dialect == "postgresql":
        return _change_arrays(table.name, columns, differing), values | {
            f"a_{name}": given for name, given in own.items()
        }
    # Few different lengths, so that each is compiled only once; naming the last row more than once does no harm.
    count = 1 << (len(rows) - 1).bit_length()
    for name, given in own.items():
        values |= {f"o_{name}_{number}": given[min(number, len(rows) - 1)] for number in range(count)}
    return _change_cases(table.name, columns, differing, count), values


@cache
def _change_arrays(name: str, columns: tuple[str, ...], own: tuple[str, ...]) -> Any:
    table = metadata.tables[name]
    keys = [column.name for column in table.primary_key]
    # All parts of the key come out of one subquery that is not taken apart: a constant among them would be looked for
    # in another index when there are no statistics.
    each = _unnested(table, own)
    parts = [each.c[column] if column in own else _shared(table, column).label(column) for column in keys]
    others = [each.c[column] for column in own if column not in keys]
    given = sa.select(*parts, *others).select_from(each).offset(0).subquery("given")
    values = {c: given.c[c] if c in own else _shared(table, c) for c in columns if c not in keys}
    where = [table.c[key] == given.c[key] for key in keys]
    return sa.update(table).where(*where, *_changeable(table)).values(values)


@cache
def _change_cases(name: str, columns: tuple[str, ...], own: tuple[str, ...], count: int) -> Any:
    table = metadata.tables[name]
    keys = [column.name for column in table.primary_key]
    digests = [sa.bindparam(f"o_ticket_key_{n}", type_=table.c.ticket_key.type) for n in range(count)]

    def value(column: str) -> Any:
        if column not in own:
            return _shared(table, column)
        given = [sa.bindparam(f"o_{column}_{n}", type_=table.c[column].type) for n in range(count)]
        return sa.case(*((table.c.ticket_key == key, new) for key, new in zip(digests, given, strict=True)))

    where = [table.c.ticket_key.in_(digests)]
    where += [unindexed(table.c[key]) == value(key) for key in keys if key in ("namespace", "account")]
    where += [table.c[key] == value(key) for key in keys if key == "number"]
    return sa.update(table).where(*where, *_changeable(table)).values({c: value(c) for c in columns if c not in keys})


def _changeable(table: sa.Table) -> list[Any]:
    # An attempt that surely opened its ticket is never changed again.
    return [table.c.sent != "yes"] if table is attempts else []


def suppressed(dialect: str, persons: Sequence[str]) -> Iterator[Statement]:
    """Yield the queries for what the list of opt-outs holds about these persons: person, purpose, source, time."""
    return _of_persons(dialect, _LISTED, suppressions, persons)


def of_persons(dialect: str, persons: Sequence[str]) -> Iterator[Statement]:
    """Yield the queries for person, namespace and start of attempts at these persons that reached them, or may have,
    since ``c_since``, besides those of ``c_owner``.
    """
    return _of_persons(dialect, _STARTS, attempts, persons)


def written_to(dialect: str, persons: Sequence[str]) -> Iterator[Statement]:
    """Yield the queries for those of these persons whom an attempt of ``c_account`` reached, or may have."""
    return _of_persons(dialect, _WRITTEN_TO, attempts, persons)


def _of_persons(dialect: str, query: Any, table: sa.Table, persons: Sequence[str]) -> Iterator[Statement]:
    if dialect == "postgresql":
        yield _person_array(query, table), {"a_person": list(persons)}
        return
    for begin in range(0, len(persons), KEYS_AT_ONCE):
        yield _person_list(query, table), {"k_person": list(persons[begin : begin + KEYS_AT_ONCE])}


BUSY = sa.select(attempts.c.in_flight).where(attempts.c.in_flight.in_(sa.bindparam("k_person", expanding=True)))
"""Which of these persons have a request on its way, or a look that keeps others away."""

FREE = (
    sa.update(attempts)
    .where(
        attempts.c.in_flight.in_(sa.bindparam("k_person", expanding=True)),
        ~sa.exists().where(
            ledger.c.ticket_key == attempts.c.ticket_key,
            ledger.c.namespace == attempts.c.namespace,
            ledger.c.account == attempts.c.account,
            ledger.c.lease_until > sa.bindparam("c_now", type_=ledger.c.lease_until.type),
        ),
    )
    .values(in_flight=None)
)
"""A worker that died keeps its ticket until somebody has looked for it, but not the person."""


def _of(column: Any, name: str) -> Any:
    return column == sa.bindparam(name, type_=column.type)


_RECENT = attempts.c.started_at.desc()

_SINCE = sa.bindparam("c_earliest", type_=attempts.c.started_at.type)


def _siblings(when: Any, order: Any) -> Any:
    return (
        sa.select(*(attempts.c[name] for name in ATTEMPT))
        .where(
            _of(attempts.c.person, "c_person"),
            unindexed(attempts.c.account) == sa.bindparam("c_account"),
            attempts.c.sent != "no",
            when,
            sa.or_(
                attempts.c.ticket_key != sa.bindparam("c_ticket_key"),
                attempts.c.generation != sa.bindparam("c_generation"),
            ),
        )
        .order_by(order)
        .limit(sa.bindparam("c_limit", type_=sa.Integer))
    )


SIBLINGS_SINCE = _siblings(attempts.c.started_at >= _SINCE, attempts.c.started_at)
"""Attempts that were addressed to the same person, at other tickets or generations, and may have come to something;
from a time on, the oldest first.
"""
SIBLINGS_BEFORE = _siblings(attempts.c.started_at < _SINCE, _RECENT)
"""Likewise those before that time, the newest first."""

EARLIER = (
    sa.select(attempts.c.ai_contact_id)
    .where(
        _of(attempts.c.person, "c_person"),
        unindexed(attempts.c.account) == sa.bindparam("c_account"),
        attempts.c.ai_contact_id.is_not(None),
    )
    .order_by(_RECENT)
    .limit(sa.bindparam("c_limit", type_=sa.Integer))
)
"""Contacts that attempts know for a person, the newest first."""


def witnesses(*, among: int, limit: int) -> Any:
    """Return the query for attempts that surely came to a ticket of another person.

    :param among: how many of the account's newest attempts are looked at.
    :param limit: how many are returned at most.
    """
    columns = [attempts.c[name] for name in (*ATTEMPT, "evidence")]
    newest = sa.select(*columns).where(_of(attempts.c.account, "c_account")).order_by(_RECENT).limit(among).subquery()
    return (
        sa.select(*(newest.c[name] for name in ATTEMPT))
        .where(
            newest.c.sent == "yes",
            newest.c.evidence == "reply",
            newest.c.ai_contact_id.is_not(None),
            newest.c.person != sa.bindparam("c_person"),
        )
        .order_by(newest.c.started_at.desc())
        .limit(limit)
    )


def _arrays(rows: Sequence[Row]) -> dict[str, list[Any]]:
    """Return the values of the key, and of the columns in which these rows are not all equal."""
    found = {name: [row[name] for row in rows] for name in rows[0]}
    size = len(rows)
    return {name: all_ for name, all_ in found.items() if name == "ticket_key" or all_.count(all_[0]) != size}


def _shared(table: sa.Table, column: str) -> Any:
    return sa.bindparam(f"s_{column}", type_=table.c[column].type)


def _unnested(table: sa.Table, columns: tuple[str, ...]) -> Any:
    """Return the table that PostgreSQL makes of one array for each column."""
    return sa.func.unnest(*(_array(table, name) for name in columns)).table_valued(*columns).render_derived(name="own")


def _array(table: sa.Table, name: str) -> Any:
    column = table.c[name].type
    kind = postgresql.ARRAY(sa.Text() if isinstance(column, sa.String) else column)
    return sa.cast(sa.bindparam(f"a_{name}", type_=kind), kind)  # an array of nulls alone has no type by itself


_LISTED = sa.select(*(suppressions.c[name] for name in ("person", "purpose", "source", "added_at")))
_STARTS = sa.select(attempts.c.person, attempts.c.namespace, attempts.c.started_at).where(
    attempts.c.started_at >= sa.bindparam("c_since", type_=attempts.c.started_at.type),
    attempts.c.sent != "no",
    attempts.c.owner != sa.bindparam("c_owner", type_=attempts.c.owner.type),
)
_WRITTEN_TO = (
    sa.select(attempts.c.person)
    .where(unindexed(attempts.c.account) == sa.bindparam("c_account"), attempts.c.sent != "no")
    .distinct()
)


@cache
def _person_list(query: Any, table: sa.Table) -> Any:
    return query.where(table.c.person.in_(sa.bindparam("k_person", expanding=True)))


@cache
def _person_array(query: Any, table: sa.Table) -> Any:
    # One look into an index for each person, as for tickets.
    own = _unnested(table, ("person",))
    each = query.where(table.c.person == own.c.person).offset(0).lateral("each_person")
    return sa.select(*each.c).select_from(own.join(each, sa.true()))
