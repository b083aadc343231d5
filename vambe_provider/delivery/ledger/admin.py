"""What a person asks of the ledger and changes in it, behind ``python -m vambe_provider ledger``.

Hashes of numbers, messages and contents stay inside: nothing here returns them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import sqlalchemy as sa

from vambe_provider.delivery.ledger import statements
from vambe_provider.delivery.ledger.entry import (
    Count,
    Entry,
    Selection,
    check_prunable,
    check_resolvable,
    check_retriable,
    resolved,
)
from vambe_provider.delivery.ledger.schema import TABLE, create_table, ensure_table, ledger, utc_now
from vambe_provider.delivery.ledger.sql import retrying, tune
from vambe_provider.delivery.model import State
from vambe_provider.exceptions import VambeConfigError, VambeLedgerError

PAGE = 2000
"""Rows that are read or deleted in one transaction, so that no delivery waits long for this."""

_DIGEST = re.compile(r"(?P<digest>[0-9a-f]{32})(\.\d+)?")


_ENTRY = tuple(ledger.c[field.name] for field in fields(Entry))


def create(engine: sa.engine.Engine) -> bool:
    """Create the ledger's table.

    :return: whether it was missing.
    :raises VambeLedgerError: when the database does not let it, cannot hold a ledger, or holds one of a newer version.
    """
    statements.check_dialect(engine.dialect.name)

    def make() -> bool:
        if sa.inspect(engine).has_table(TABLE):
            ensure_table(engine, create=False)
            return False
        create_table(engine)
        return True

    return retrying(make)


class LedgerAdmin:
    """A ledger in the hands of a person.

    :param engine: an engine of its own for the ledger's database.
    :raises VambeLedgerError: when the database cannot be reached, has no ledger, or one of a newer version.
    """

    def __init__(self, engine: sa.engine.Engine) -> None:
        self._engine = engine
        tune(engine)
        retrying(lambda: ensure_table(engine, create=False))

    def counts(self, *, namespace: str | None = None) -> list[Count]:
        """Return how many tickets are in which state, by namespace."""
        query = (
            sa.select(
                ledger.c.namespace,
                ledger.c.state,
                sa.func.count(),
                sa.func.min(ledger.c.updated_at),
                sa.func.max(ledger.c.updated_at),
            )
            .group_by(ledger.c.namespace, ledger.c.state)
            .order_by(ledger.c.namespace, ledger.c.state)
        )
        if namespace is not None:
            query = query.where(ledger.c.namespace == namespace)

        def read() -> list[Count]:
            with self._transaction() as (connection, _):
                return [Count(*row) for row in connection.execute(query)]

        return retrying(read)

    def newest(self, selection: Selection, *, limit: int) -> list[Entry]:
        """Return the rows that changed last, newest first."""

        def read() -> list[Entry]:
            with self._transaction() as (connection, now):
                query = (
                    sa.select(*_ENTRY)
                    .where(*selection.conditions(now))
                    .order_by(ledger.c.updated_at.desc(), ledger.c.namespace, ledger.c.ticket_key)
                    .limit(limit)
                )
                return [Entry(*row) for row in connection.execute(query)]

        return retrying(read)

    def every(self, selection: Selection, *, page: int = PAGE) -> Iterator[Entry]:
        """Yield all rows, in the order of their keys.

        They are read page by page, each in a transaction of its own, so that a slow reader blocks no delivery; a row
        that changes meanwhile is returned as it was or as it is.
        """
        started = retrying(self._now)
        last: Entry | None = None
        while entries := retrying(partial(self._page, selection, started, last, page)):
            yield from entries
            last = entries[-1]

    def find(self, key: str, *, namespace: str | None = None) -> list[Entry]:
        """Return the rows that a key means.

        :param key: the ``airflow_ticket_key`` that Vambe shows, or the text of the key as ``order_id=1042``.
        :param namespace: only there.
        """

        def read() -> list[Entry]:
            with self._transaction() as (connection, _):
                return _find(connection, key, namespace)

        return retrying(read)

    def resolve(
        self,
        keys: Sequence[str],
        *,
        sent: bool,
        namespace: str | None = None,
        ai_contact_id: str | None = None,
        force: bool = False,
    ) -> list[Entry]:
        """Record what a person found out about tickets of which nobody knew whether they exist.

        :param keys: see :meth:`find`; each must mean one row. All of them are changed, or none.
        :param sent: the ticket exists, and is never sent again; otherwise it does not, and the next run sends it.
        :param ai_contact_id: the contact, for a ticket that exists.
        :param force: also for a ticket that a worker may be sending at this moment.
        :return: the rows as they are now.
        :raises VambeLedgerError: when there is no such row, or its state leaves nothing to resolve.
        :raises VambeConfigError: when a key means more than one row.
        """

        def write() -> list[Entry]:
            with self._transaction() as (connection, now):
                entries = _named(connection, keys, namespace)
                for entry in entries:
                    check_resolvable(entry, now, force=force)
                    _change(connection, entry, resolved(entry, now, sent=sent, ai_contact_id=ai_contact_id))
                return [_one(connection, entry.ticket_key, entry.namespace) for entry in entries]

        return retrying(write)

    def retry(self, keys: Sequence[str], *, namespace: str | None = None) -> list[Entry]:
        """Let the next run take tickets again that were rejected; a failed one is taken anyway.

        :return: the rows as they are now.
        :raises VambeLedgerError: when there is no such row, or it was neither rejected nor failed.
        :raises VambeConfigError: when a key means more than one row.
        """

        def write() -> list[Entry]:
            with self._transaction() as (connection, now):
                entries = _named(connection, keys, namespace)
                for entry in entries:
                    check_retriable(entry)
                    _change(connection, entry, {"state": State.FAILED.value, "updated_at": now})
                return [_one(connection, entry.ticket_key, entry.namespace) for entry in entries]

        return retrying(write)

    def retry_all(self, namespace: str) -> int:
        """Let the next run take all rejected tickets of a namespace again, and return how many these are."""

        def write() -> int:
            with self._transaction() as (connection, now):
                rejected = Selection(namespace=namespace, states=[State.REJECTED]).conditions(now)
                change = sa.update(ledger).where(*rejected).values(state=State.FAILED.value, updated_at=now)
                return int(connection.execute(change).rowcount)

        return retrying(write)

    def count(self, selection: Selection) -> int:
        """Return how many rows there are."""

        def read() -> int:
            with self._transaction() as (connection, now):
                query = sa.select(sa.func.count()).select_from(ledger).where(*selection.conditions(now))
                return int(connection.execute(query).scalar_one())

        return retrying(read)

    def prune(self, *, state: State, older_than: timedelta, namespace: str | None = None, page: int = PAGE) -> int:
        """Forget old rows, in many small transactions, and return how many were forgotten.

        A forgotten ticket is new for the next run whose query returns it, and is then sent again.

        :raises VambeConfigError: for a state in which a ticket must not be forgotten.
        """
        check_prunable(state)
        selection = Selection(namespace=namespace, states=[state], older_than=older_than)
        conditions = selection.conditions(retrying(self._now))
        forgotten = 0
        while deleted := retrying(lambda: self._forget(conditions, page)):
            forgotten += deleted
        return forgotten

    def _forget(self, conditions: Sequence[Any], page: int) -> int:
        newest_of_page = (
            sa.select(ledger.c.updated_at).where(*conditions).order_by(ledger.c.updated_at).offset(page - 1).limit(1)
        )
        with self._transaction() as (connection, _):
            edge = connection.execute(newest_of_page).scalar()
            some = [*conditions, ledger.c.updated_at <= edge] if edge is not None else conditions
            return int(connection.execute(sa.delete(ledger).where(*some)).rowcount)

    def _page(self, selection: Selection, now: datetime, after: Entry | None, size: int) -> list[Entry]:
        conditions = selection.conditions(now)
        if after is not None:
            later = sa.and_(ledger.c.ticket_key == after.ticket_key, ledger.c.namespace > after.namespace)
            conditions.append(sa.or_(ledger.c.ticket_key > after.ticket_key, later))
        query = sa.select(*_ENTRY).where(*conditions).order_by(ledger.c.ticket_key, ledger.c.namespace).limit(size)
        with self._transaction() as (connection, _):
            return [Entry(*row) for row in connection.execute(query)]

    def _now(self) -> datetime:
        with self._transaction() as (_, now):
            return now

    @contextmanager
    def _transaction(self) -> Iterator[tuple[sa.engine.Connection, datetime]]:
        with self._engine.begin() as connection:
            yield connection, connection.execute(sa.select(utc_now())).scalar_one()


def _find(connection: sa.engine.Connection, key: str, namespace: str | None) -> list[Entry]:
    hashed = _DIGEST.fullmatch(key)
    meant = ledger.c.ticket_key == hashed["digest"] if hashed else ledger.c.key_text == key
    query = sa.select(*_ENTRY).where(meant).order_by(ledger.c.namespace, ledger.c.ticket_key)
    if namespace is not None:
        query = query.where(ledger.c.namespace == namespace)
    return [Entry(*row) for row in connection.execute(query)]


def _named(connection: sa.engine.Connection, keys: Sequence[str], namespace: str | None) -> list[Entry]:
    """Return one row for each key, each row once, in the order in which workers lock rows."""
    entries = {entry.ticket_key: entry for entry in (_one(connection, key, namespace) for key in keys)}
    return [entries[digest] for digest in sorted(entries)]


def _one(connection: sa.engine.Connection, key: str, namespace: str | None) -> Entry:
    match _find(connection, key, namespace):
        case [entry]:
            return entry
        case []:
            where = f" in the namespace {namespace}" if namespace else ""
            raise VambeLedgerError(f"No ticket has the key {key!r}{where}", fix="Look for it with `ledger list`.")
        case [*entries]:
            found = ", ".join(f"{entry.ticket_key} in {entry.namespace}" for entry in entries[:5])
            raise VambeConfigError(
                f"{len(entries)} tickets have the key {key!r}: {found}",
                fix="Add --namespace, or give the 32 characters instead.",
            )
    raise AssertionError("unreachable")


def _change(connection: sa.engine.Connection, entry: Entry, values: dict[str, Any]) -> None:
    """Change a row that is still as it was read."""
    unchanged = (
        ledger.c.namespace == entry.namespace,
        ledger.c.ticket_key == entry.ticket_key,
        ledger.c.state == entry.state,
        ledger.c.attempts == entry.attempts,
    )
    if connection.execute(sa.update(ledger).where(*unchanged).values(**values)).rowcount != 1:
        raise VambeLedgerError(
            f"{entry.key_text} was changed by a run at this moment; nothing was changed here",
            fix="Look at it again with `ledger show`.",
        )
