"""The ledger in a PostgreSQL, MySQL, MariaDB or SQLite database.

One row is read, decided upon by :func:`~vambe_provider.delivery.ledger.decide.decide`, and taken by a statement that
only one of two rivals can win: an insert that the primary key refuses, or an update that names the row as it was
read.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import uuid4

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql.psycopg2 import EXECUTEMANY_VALUES_PLUS_BATCH

from vambe_provider.delivery import clock
from vambe_provider.delivery.ledger import statements
from vambe_provider.delivery.ledger.decide import Decision, Known, decide, resend_token
from vambe_provider.delivery.ledger.schema import ensure_table, ledger, utc_now
from vambe_provider.delivery.model import Claim, Outcome, Sibling, State, Verdict
from vambe_provider.exceptions import VambeLedgerError

if TYPE_CHECKING:
    from vambe_provider.delivery.model import Settlement, Unsendable, Work
    from vambe_provider.delivery.options import DeliveryOptions

T = TypeVar("T")

_PAUSES = (0.05, 0.25, 1.0)
"""Seconds between the tries of one transaction that met a deadlock, a lock or a lost connection."""
_PERSON_BUSY = 2.0
"""Seconds after which to ask again for a person to whom another worker is sending."""
_STATES = {state.value: state for state in State}


@dataclass(frozen=True, slots=True)
class _Transaction:
    """An open transaction, the database's clock, and how many seconds that is ahead of this machine's."""

    connection: sa.engine.Connection
    now: datetime
    ahead: float

    def local(self, moment: datetime | None) -> float:
        return (moment or self.now).replace(tzinfo=UTC).timestamp() - self.ahead


@dataclass(frozen=True, slots=True)
class _Terms:
    """What is the same for all tickets of one claim."""

    options: DeliveryOptions
    owner: str
    until: datetime
    expires: float


class SqlLedger:
    """The ledger table in a database.

    :param engine: an engine of this ledger's own; its transactions become ``READ COMMITTED``, on SQLite immediate
        ones in WAL mode.
    :param create: make the table when it is missing.
    :raises VambeLedgerError: when the database cannot be reached or cannot hold a ledger, the table is missing and
        may not be made, or it is of a newer version.
    """

    def __init__(self, engine: sa.engine.Engine, *, create: bool = True) -> None:
        statements.check_dialect(engine.dialect.name)
        self._engine = engine
        tune(engine)
        self._me = uuid4().hex[:16]
        self._counter = itertools.count()
        self._unanswered: str | None = None
        retrying(lambda: ensure_table(engine, create=create))

    def close(self) -> None:
        """Give the connections back."""
        self._engine.dispose()

    def look_up(self, works: Sequence[Work], options: DeliveryOptions) -> list[Claim]:
        """Say what would become of these tickets, and change nothing."""

        def read() -> list[Claim]:
            with self._transaction() as tx:
                known = self._select(tx, works)
                found = [(work, known.get(work.key.digest)) for work in works]
                return [
                    _answer(tx, work, row, decide(row, work, options, me=self._me, now=tx.now), options)
                    for work, row in found
                ]

        return retrying(read)

    def exchange(
        self, settle: Sequence[Settlement], claim: Sequence[Work], options: DeliveryOptions, lease: float
    ) -> list[Claim]:
        """Record what became of earlier claims, then claim these tickets for ``lease`` seconds, in one transaction."""
        # When the answer to a commit was lost, the next try must recognise its own rows: so a name is only given up
        # after a success, also when it is the caller who tries again.
        owner, self._unanswered = self._unanswered or f"{self._me}.{next(self._counter)}", None

        def write() -> list[Claim]:
            expires = clock.now() + lease
            with self._transaction() as tx:
                self._settle(tx, settle)
                terms = _Terms(options, owner, tx.now + timedelta(seconds=lease), expires)
                return self._claim(tx, claim, terms) if claim else []

        try:
            return retrying(write)
        except VambeLedgerError:
            self._unanswered = owner
            raise

    def reject(self, rows: Sequence[Unsendable], options: DeliveryOptions) -> list[Outcome]:
        """Record rows that validation refused, and say what they are; a row whose ticket is open stays open."""
        keyed = {row.key.digest: row for row in rows if row.key is not None}

        def write() -> set[str]:
            with self._transaction() as tx:
                values = [
                    statements.rejected_row(row, options.run, f"{self._me}.r", tx.now)
                    for _, row in sorted(keyed.items())
                ]
                self._insert(tx, values)
                tx.connection.execute(statements.REJECT, [statements.as_update(value) for value in values])
                opened = sa.select(ledger.c.ticket_key).where(
                    ledger.c.ticket_key.in_(list(keyed)), ledger.c.state == State.OPENED.value
                )
                return set(tx.connection.scalars(opened))

        opened = retrying(write) if keyed else set()
        return [
            Outcome.ALREADY_OPENED if row.key is not None and row.key.digest in opened else Outcome.REJECTED
            for row in rows
        ]

    def siblings(self, work: Work) -> list[Sibling]:
        """Return the other tickets to the same person, whatever their namespace."""
        columns = ("ai_contact_id", "evidence_id", "started_at", "state", "message_hash")
        query = sa.select(*(ledger.c[name] for name in columns)).where(
            ledger.c.person == work.person, ledger.c.ticket_key != work.key.digest, ledger.c.started_at.is_not(None)
        )

        def read() -> list[Sibling]:
            with self._transaction() as tx:
                rows = tx.connection.execute(query).all()
                return [
                    Sibling(contact, evidence, tx.local(started), State(state), message)
                    for contact, evidence, started, state, message in rows
                ]

        return retrying(read)

    def _settle(self, tx: _Transaction, settlements: Sequence[Settlement]) -> None:
        groups: dict[object, list[Settlement]] = {}
        for item in settlements:
            groups.setdefault(statements.alike(item), []).append(item)
        for group in groups.values():
            for begin in range(0, len(group), statements.SETTLED_AT_ONCE):
                some = group[begin : begin + statements.SETTLED_AT_ONCE]
                tx.connection.execute(*statements.settle(self._engine.dialect.name, some, tx.now))

    def _claim(self, tx: _Transaction, works: Sequence[Work], terms: _Terms) -> list[Claim]:
        self._take_new(tx, works, terms)
        known = self._select(tx, works)
        claims = []
        for work in works:
            row = known.get(work.key.digest)
            decision = self._decide(tx, work, row, terms)
            if decision.verdict in (Verdict.SEND, Verdict.CHECK) and not self._is_taken(tx, work, row, decision, terms):
                decision = self._lost(tx, work, terms)
            claims.append(_answer(tx, work, row, decision, terms.options, terms))
        return claims

    def _decide(self, tx: _Transaction, work: Work, row: Known | None, terms: _Terms) -> Decision:
        if row is not None and _is_ours(row, terms):
            # The commit went through although its answer did not. A first claim was surely not sent; any other is
            # checked.
            return Decision(Verdict.SEND if row.attempts == 1 else Verdict.CHECK, row.generation)
        return decide(row, work, terms.options, me=self._me, now=tx.now)

    def _take_new(self, tx: _Transaction, works: Sequence[Work], terms: _Terms) -> None:
        # Always in the same order, so that two workers with the same rows do not wait for each other in a circle.
        ordered = sorted(works, key=lambda work: work.key.digest)
        self._insert(tx, [_new_row(work, terms, tx.now) for work in ordered])

    def _insert(self, tx: _Transaction, rows: Sequence[statements.Row]) -> None:
        tx.connection.execute(*statements.insert_ignoring_known(self._engine.dialect.name, rows))

    def _is_taken(self, tx: _Transaction, work: Work, row: Known | None, decision: Decision, terms: _Terms) -> bool:
        return row is not None and (_is_ours(row, terms) or self._retake(tx, work, row, decision, terms))

    def _retake(self, tx: _Transaction, work: Work, row: Known, decision: Decision, terms: _Terms) -> bool:
        # What may have been sent is looked for from its first attempt on; what was surely not sent begins anew.
        started = row.started_at if decision.verdict == Verdict.CHECK and row.started_at else tx.now
        claimed = _new_row(work, terms, tx.now)
        values = statements.retaken(work, row.state.value, row.attempts, decision, claimed, started)
        try:
            with tx.connection.begin_nested():
                return tx.connection.execute(statements.RETAKE, values).rowcount == 1
        except sa.exc.IntegrityError:
            return False  # another ticket to this person is on its way

    def _lost(self, tx: _Transaction, work: Work, terms: _Terms) -> Decision:
        """Say why a ticket that looked free could not be taken: a rival has it, or its person is being messaged."""
        row = self._select(tx, [work]).get(work.key.digest)
        decision = decide(row, work, terms.options, me=self._me, now=tx.now)
        if decision.verdict not in (Verdict.SEND, Verdict.CHECK):
            return decision
        freed = tx.connection.execute(statements.FREE_PERSON, {"b_person": work.person, "b_now": tx.now}).rowcount
        return Decision(Verdict.WAIT, wait=0.0 if freed else _PERSON_BUSY)

    def _select(self, tx: _Transaction, works: Sequence[Work]) -> dict[str, Known]:
        if not works:
            return {}
        found = tx.connection.execute(*statements.read(self._engine.dialect.name, works))
        return {row[0]: Known(_STATES[row[1]], *row[2:]) for row in found}

    @contextmanager
    def _transaction(self) -> Iterator[_Transaction]:
        with self._engine.begin() as connection:
            now = connection.execute(sa.select(utc_now())).scalar_one()
            yield _Transaction(connection, now, now.replace(tzinfo=UTC).timestamp() - clock.utc())


def _is_ours(row: Known, terms: _Terms) -> bool:
    return row.owner == terms.owner and row.state == State.SENDING


def _expiry(row: Known | None, terms: _Terms) -> float:
    if row is None or row.lease_until is None or not _is_ours(row, terms):
        return terms.expires
    # Claimed by a commit whose answer was lost: the lease runs from then.
    return terms.expires - (terms.until - row.lease_until).total_seconds()


def _new_row(work: Work, terms: _Terms, now: datetime) -> statements.Row:
    return statements.new_row(work, terms.options.run, terms.owner, now, terms.until, resend_token(terms.options))


def _answer(
    tx: _Transaction,
    work: Work,
    row: Known | None,
    decision: Decision,
    options: DeliveryOptions,
    terms: _Terms | None = None,
) -> Claim:
    check = decision.verdict == Verdict.CHECK
    return Claim(
        work=work,
        verdict=decision.verdict,
        owner=terms.owner if terms else "",
        generation=decision.generation,
        started=tx.local(row.started_at if row and check else None),
        expires=_expiry(row, terms) if terms else 0.0,
        wait=decision.wait,
        ai_contact_id=row.ai_contact_id if row else None,
        same_run=row is not None and row.run == options.run,
    )


def retrying(action: Callable[[], T]) -> T:
    """Run a transaction, again when it met a deadlock or lost its connection.

    :raises VambeLedgerError: when it fails each time. The text names the kind of the database's error and not its
        statement, which has values in it.
    """
    for pause in (*_PAUSES, None):
        try:
            return action()
        except sa.exc.SQLAlchemyError as error:
            if pause is None or not isinstance(
                error, (sa.exc.OperationalError, sa.exc.InternalError, sa.exc.InterfaceError)
            ):
                cause = getattr(error, "orig", None) or error
                raise VambeLedgerError(
                    f"The ledger's database failed with {type(cause).__name__}: {_first_line(cause)}",
                    fix="Check the ledger's connection and its user's rights; the next try goes on from here.",
                ) from None
            time.sleep(pause)
    raise AssertionError("unreachable")


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else "no text"


def tune(engine: sa.engine.Engine) -> None:
    """Give every connection of this engine the transactions that the ledger needs."""
    match engine.dialect.name:
        case "sqlite":
            sa.event.listen(engine, "connect", _sqlite_connect)
            sa.event.listen(engine, "begin", _sqlite_begin)
        case "mysql" | "mariadb":
            sa.event.listen(engine, "connect", _mysql_connect)
        case "postgresql" if engine.dialect.driver == "psycopg2":
            # By itself this driver makes one round trip for each row; others send many rows at once.
            engine.dialect.executemany_mode = EXECUTEMANY_VALUES_PLUS_BATCH  # type: ignore[attr-defined]


def _sqlite_connect(connection: Any, _: object) -> None:
    # The driver must not begin transactions by itself, and a reader of the same file (the query over the warehouse)
    # must not block.
    connection.isolation_level = None
    connection.execute("PRAGMA busy_timeout = 30000")
    connection.execute("PRAGMA journal_mode = WAL")


def _sqlite_begin(connection: sa.engine.Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def _mysql_connect(connection: Any, _: object) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED")
