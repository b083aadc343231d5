"""What a person asks of the ledger and changes in it: behind ``python -m vambe_provider ledger`` and the ledger page.

Hashes of persons, messages and contents stay inside: nothing here returns them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import fields
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import sqlalchemy as sa

from vambe_provider.delivery.ledger.database import Database
from vambe_provider.delivery.ledger.decisions import Choice, check_prunable
from vambe_provider.delivery.ledger.entry import Count, Entry, Selection, Step
from vambe_provider.delivery.ledger.recording import decide, recorded
from vambe_provider.delivery.ledger.tables import attempts, ledger, metadata
from vambe_provider.delivery.ledger.upgrade import ensure_tables
from vambe_provider.delivery.model import Evidence, State
from vambe_provider.exceptions import VambeConfigError, VambeLedgerError

if TYPE_CHECKING:
    from vambe_provider.delivery.ledger.database import Transaction

PAGE = 1000
"""Rows that are read, changed or deleted in one transaction, so that no delivery waits long for this."""
_AT_ONCE = 250
"""Keys that one statement names."""

_DIGEST = re.compile(r"(?P<digest>[0-9a-f]{32})(\.\d+)?")
_ENTRY = tuple(ledger.c[field.name] for field in fields(Entry))
_STEP = tuple(attempts.c[field.name] for field in fields(Step))
_KEY = (ledger.c.ticket_key, ledger.c.namespace, ledger.c.account)
_Key = tuple[str, str, str]


def create(engine: sa.engine.Engine, conn_id: str | None = None) -> bool:
    """Create the ledger's tables.

    :param conn_id: the connection that the engine came from, for commands in texts.
    :return: whether they were missing.
    :raises VambeLedgerError: when the database does not let it, cannot hold a ledger, or holds one of another version.
    """
    return ensure_tables(Database(engine, conn_id), create=True)


def exists(engine: sa.engine.Engine) -> bool:
    """Say whether a ledger was begun in this database.

    :raises VambeLedgerError: when the database cannot be reached or cannot hold a ledger.
    """
    return Database(engine).retrying(lambda: any(map(sa.inspect(engine).has_table, metadata.tables)))


class LedgerAdmin:
    """A ledger in the hands of a person.

    :param engine: an engine of its own for the ledger's database.
    :param conn_id: the connection that it came from, for commands in texts.
    :raises VambeLedgerError: when the database cannot be reached, has no ledger, or one of another version.
    """

    def __init__(self, engine: sa.engine.Engine, conn_id: str | None = None) -> None:
        self._database = Database(engine, conn_id)
        ensure_tables(self._database, create=False)

    # --- look ---

    def counts(self, selection: Selection = Selection()) -> list[Count]:  # noqa: B008 - it is frozen
        """Return how many tickets are in which state, by namespace and account."""
        columns = (ledger.c.namespace, ledger.c.account, ledger.c.state)
        times = (sa.func.min(ledger.c.updated_at), sa.func.max(ledger.c.updated_at))

        def read(tx: Transaction) -> list[Count]:
            query = sa.select(*columns, sa.func.count(), *times).where(*selection.conditions(tx.now))
            return [Count(*row) for row in tx.connection.execute(query.group_by(*columns).order_by(*columns))]

        return self._database.read(read)

    def count(self, selection: Selection) -> int:
        """Return how many tickets there are."""

        def read(tx: Transaction) -> int:
            query = sa.select(sa.func.count()).select_from(ledger).where(*selection.conditions(tx.now))
            return int(tx.connection.execute(query).scalar_one())

        return self._database.read(read)

    def newest(self, selection: Selection, *, limit: int) -> list[Entry]:
        """Return the tickets that changed last, newest first."""

        def read(tx: Transaction) -> list[Entry]:
            query = sa.select(*_ENTRY).where(*selection.conditions(tx.now))
            query = query.order_by(ledger.c.updated_at.desc(), *_KEY).limit(limit)
            return [Entry(*row) for row in tx.connection.execute(query)]

        return self._database.read(read)

    def every(self, selection: Selection, *, page: int = PAGE) -> Iterator[Entry]:
        """Yield all tickets, in the order of their keys.

        They are read page by page, each in a transaction of its own, so that a slow reader blocks no delivery; a row
        that changes meanwhile is returned as it was or as it is.
        """
        conditions = selection.conditions(self._now())
        last: _Key | None = None
        while entries := self._database.read(partial(_page, conditions=conditions, after=last, size=page)):
            yield from entries
            last = _key_of(entries[-1])

    def find(self, key: str, *, namespace: str | None = None, account: str | None = None) -> list[Entry]:
        """Return the tickets that a key means.

        :param key: the ``airflow_ticket_key`` that Vambe shows, or the text of the key, such as ``order_id=1042``.
        :param namespace: only there.
        :param account: only there.
        """
        return self._database.read(lambda tx: _find(tx, key, namespace, account))

    def history(self, entry: Entry) -> list[Step]:
        """Return all attempts at a ticket and decisions about it, in order."""
        same = (attempts.c[column.name] == value for column, value in zip(_KEY, _key_of(entry), strict=True))
        query = sa.select(*_STEP).where(*same).order_by(attempts.c.number)
        return self._database.read(lambda tx: [Step(*row) for row in tx.connection.execute(query)])

    # --- decide ---

    def resolve(
        self,
        keys: Sequence[str],
        *,
        sent: bool,
        decided_by: str,
        namespace: str | None = None,
        account: str | None = None,
        ai_contact_id: str | None = None,
        force: bool = False,
    ) -> list[Entry]:
        """Record what a person found out about tickets that may or may not exist.

        :param keys: see :meth:`find`; each must mean one ticket. All of them are changed, or none.
        :param sent: the ticket exists, and is never sent again; otherwise it does not, and the next run sends it.
        :param decided_by: the name of who decided.
        :param ai_contact_id: the contact, for a ticket that exists.
        :param force: also for a ticket that a worker may be sending at this moment.
        :return: the tickets as they are now.
        :raises VambeLedgerError: when there is no such ticket, or its state leaves nothing to resolve.
        :raises VambeConfigError: when a key means more than one ticket.
        """
        choice = Choice.SENT if sent else Choice.NOT_SENT
        more = {"force": force, "ai_contact_id": ai_contact_id}
        return self._decide(keys, choice, decided_by, namespace, account, **more)

    def retry(
        self, keys: Sequence[str], *, decided_by: str, namespace: str | None = None, account: str | None = None
    ) -> list[Entry]:
        """Let the next run take tickets again that were rejected, or that a person had ruled out; a failed one is
        taken anyway.

        :return: the tickets as they are now.
        :raises VambeLedgerError: when there is no such ticket, or its state leaves nothing to retry.
        :raises VambeConfigError: when a key means more than one ticket.
        """
        return self._decide(keys, Choice.RETRY, decided_by, namespace, account)

    def never(
        self, keys: Sequence[str], *, decided_by: str, namespace: str | None = None, account: str | None = None
    ) -> list[Entry]:
        """Let no run send these tickets, whatever a query returns.

        :return: the tickets as they are now.
        :raises VambeLedgerError: when there is no such ticket, or it is open or being sent.
        :raises VambeConfigError: when a key means more than one ticket.
        """
        return self._decide(keys, Choice.NEVER, decided_by, namespace, account)

    def retry_all(self, namespace: str, *, decided_by: str, account: str | None = None, page: int = PAGE) -> int:
        """Let the next run take all rejected tickets of a namespace again, and return how many these are."""
        rejected = Selection(namespace=namespace, account=account, states=[State.REJECTED])
        conditions, changed = rejected.conditions(self._now()), 0
        while entries := self._database.read(partial(_page, conditions=conditions, after=None, size=page)):
            self._record(entries, Choice.RETRY, decided_by, f"decided.{uuid4().hex[:16]}")
            changed += len(entries)
        return changed

    # --- forget ---

    def prune(
        self,
        *,
        state: State,
        older_than: timedelta,
        namespace: str | None = None,
        account: str | None = None,
        page: int = PAGE,
    ) -> int:
        """Forget old tickets with their attempts, in many small transactions, and return how many were forgotten.

        A forgotten ticket is new for the next run whose query returns it, and is then sent again. What a person ruled
        out, and what has an attempt that is not decided, is kept.

        :raises VambeConfigError: for a state in which a ticket must not be forgotten.
        """
        conditions = self._prunable(state, older_than, namespace, account)
        forgotten, last = 0, None
        while keys := self._database.write(partial(_forget, conditions=conditions, after=last, size=page)):
            forgotten, last = forgotten + len(keys), keys[-1]
        return forgotten

    def count_prunable(
        self, *, state: State, older_than: timedelta, namespace: str | None = None, account: str | None = None
    ) -> int:
        """Return how many tickets :meth:`prune` would forget."""
        conditions = self._prunable(state, older_than, namespace, account)
        query = sa.select(sa.func.count()).select_from(ledger).where(*conditions)
        return int(self._database.read(lambda tx: tx.connection.execute(query).scalar_one()))

    def _prunable(
        self, state: State, older_than: timedelta, namespace: str | None, account: str | None
    ) -> Sequence[Any]:
        check_prunable(state)
        chosen = Selection(namespace=namespace, account=account, states=[state], older_than=older_than)
        conditions = chosen.conditions(self._now())
        if state == State.SUPPRESSED:
            conditions.append(sa.func.coalesce(ledger.c.evidence, "") != Evidence.PERSON.value)
        same = (attempts.c[column.name] == column for column in _KEY)
        conditions.append(~sa.exists().where(*same, attempts.c.closed_at.is_(None)))
        return conditions

    def _decide(
        self,
        keys: Sequence[str],
        choice: Choice,
        decided_by: str,
        namespace: str | None,
        account: str | None,
        **more: Any,
    ) -> list[Entry]:
        # Named before the first try, so that a commit whose answer was lost is recognised.
        owner = f"decided.{uuid4().hex[:16]}"
        chosen: dict[_Key, Entry] = {}
        for key in keys:
            entry = self._database.read(lambda tx, key=key: self._one(tx, key, namespace, account, choice))  # type: ignore[misc]
            chosen[_key_of(entry)] = entry
        self._record(list(chosen.values()), choice, decided_by, owner, **more)
        return [self._again(entry) for entry in chosen.values()]

    def _record(self, entries: Sequence[Entry], choice: Choice, decided_by: str, owner: str, **more: Any) -> None:
        self._database.write(
            lambda tx: decide(tx, self._database, entries, choice, owner=owner, decided_by=decided_by, **more)
        )

    def _again(self, entry: Entry) -> Entry:
        [found] = self.find(entry.ticket_key, namespace=entry.namespace, account=entry.account)
        return found

    def _one(self, tx: Transaction, key: str, namespace: str | None, account: str | None, choice: Choice) -> Entry:
        found = _find(tx, key, namespace, account)
        if len(found) > 1 and len({entry.ticket_key for entry in found}) == 1:
            # One ticket in several accounts. A command in a text names the ticket alone: it means the account in which
            # there is something to decide.
            found = [entry for entry in found if recorded(tx, self._database, entry, choice)] or found
        if not found:
            where = "".join(f" in the {name} {value}" for name, value in _given(namespace, account))
            raise VambeLedgerError(
                f"No ticket has the key {key!r}{where}", fix=f"Look for it with `{self._database.command('list')}`."
            )
        if len(found) > 1:
            places = ", ".join(f"{one.ticket_key} in {one.namespace} of {one.account}" for one in found[:5])
            raise VambeConfigError(
                f"{len(found)} tickets have the key {key!r}: {places}",
                fix="Add --namespace or --account, or give the 32 characters instead.",
            )
        return found[0]

    def _now(self) -> datetime:
        return self._database.read(lambda tx: tx.now)


def _given(namespace: str | None, account: str | None) -> list[tuple[str, str]]:
    return [(name, value) for name, value in (("namespace", namespace), ("account", account)) if value is not None]


def _key_of(entry: Entry) -> _Key:
    return entry.ticket_key, entry.namespace, entry.account


def _after(last: _Key) -> list[Any]:
    values = [sa.literal(value, column.type) for value, column in zip(last, _KEY, strict=True)]
    # MySQL finds no place in an index by a comparison of rows, but by its first column.
    return [ledger.c.ticket_key >= last[0], sa.tuple_(*_KEY) > sa.tuple_(*values)]


def _page(tx: Transaction, *, conditions: Sequence[Any], after: _Key | None, size: int) -> list[Entry]:
    query = sa.select(*_ENTRY).where(*conditions, *(_after(after) if after else ())).order_by(*_KEY).limit(size)
    return [Entry(*row) for row in tx.connection.execute(query)]


def _find(tx: Transaction, key: str, namespace: str | None, account: str | None) -> list[Entry]:
    hashed = _DIGEST.fullmatch(key)
    meant = ledger.c.ticket_key == hashed["digest"] if hashed else ledger.c.key_text == key
    query = sa.select(*_ENTRY).where(meant).order_by(ledger.c.namespace, ledger.c.account, ledger.c.ticket_key)
    for name, value in _given(namespace, account):
        query = query.where(ledger.c[name] == value)
    return [Entry(*row) for row in tx.connection.execute(query)]


def _forget(tx: Transaction, *, conditions: Sequence[Any], after: _Key | None, size: int) -> list[_Key]:
    query = sa.select(*_KEY).where(*conditions, *(_after(after) if after else ())).order_by(*_KEY).limit(size)
    keys: list[_Key] = [tuple(row) for row in tx.connection.execute(query.with_for_update())]
    for table in (attempts, ledger):
        columns = [table.c[column.name] for column in _KEY]
        for begin in range(0, len(keys), _AT_ONCE):
            some = keys[begin : begin + _AT_ONCE]
            tx.connection.execute(sa.delete(table).where(sa.tuple_(*columns).in_(some)))
    return keys
