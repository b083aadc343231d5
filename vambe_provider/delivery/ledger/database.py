"""Transactions with the ledger's database: which kind, how often they are tried, and what its clock says."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import sqlalchemy as sa

from vambe_provider.delivery import clock
from vambe_provider.delivery.ledger.tables import utc_now
from vambe_provider.exceptions import VambeLedgerError

T = TypeVar("T")

PAUSES = (0.05, 0.25, 1.0)
"""Seconds between the tries of one transaction that met a deadlock, a lock or a lost connection."""
MAX_JUMP = 5.0
"""Seconds by which the database's clock may differ from what this machine expects of it; more is a jump."""

_WRITES = "vambe_writes"
_AGAIN = (sa.exc.OperationalError, sa.exc.InternalError, sa.exc.InterfaceError, sa.exc.IntegrityError)
_MAY_NOT_WRITE = frozenset(
    {"42501", "3F000", "25006", "1044", "1142", "1290", "1792", "SQLITE_READONLY", "SQLITE_CANTOPEN"}
)
"""What databases answer when the user has no right to write, no schema is chosen, or the database is read-only."""


@dataclass(frozen=True, slots=True)
class Transaction:
    """An open transaction.

    :param now: the database's clock at its beginning.
    :param ahead: seconds by which that is ahead of this machine's UTC clock.
    :param began: the beginning at the latest, in seconds of :func:`~vambe_provider.delivery.clock.now`; a lease that is
        counted from here ends no later than the one in the database.
    """

    connection: sa.engine.Connection
    now: datetime
    ahead: float
    began: float

    def here(self, moment: datetime) -> float:
        """Return a moment of the database as seconds of this machine's UTC clock."""
        return moment.replace(tzinfo=UTC).timestamp() - self.ahead

    def there(self, moment: float) -> datetime:
        """Return a moment of this machine's UTC clock as the database holds it."""
        return datetime.fromtimestamp(moment + self.ahead, UTC).replace(tzinfo=None)

    def in_(self, seconds: float) -> datetime:
        """Return the moment in so many seconds, as the database holds it."""
        return self.now + timedelta(seconds=seconds)


class Database:
    """An engine of the ledger's own.

    :param engine: the engine; its transactions become ``READ COMMITTED``, on SQLite WAL.
    :param conn_id: the connection that it came from, for texts; None when there is none.
    :raises VambeLedgerError: for a kind of database that was never tried.
    """

    def __init__(self, engine: sa.engine.Engine, conn_id: str | None = None) -> None:
        check_dialect(engine.dialect.name)
        self.engine, self.conn_id = engine, conn_id
        self.dialect: str = engine.dialect.name
        self.epoch = 0
        self._ahead: tuple[float, float] | None = None
        tune(engine)
        self._writing = engine.execution_options(**{_WRITES: True})

    def read(self, action: Callable[[Transaction], T]) -> T:
        """Run a transaction that changes nothing and waits for nobody.

        :raises VambeLedgerError: when it fails each time.
        """
        return self._run(self.engine, action)

    def write(self, action: Callable[[Transaction], T]) -> T:
        """Run a transaction that may change something.

        :raises VambeLedgerError: when it fails each time.
        """
        return self._run(self._writing, action)

    def retrying(self, action: Callable[[], T]) -> T:
        """Run an action, again when it met a deadlock or lost its connection.

        :raises VambeLedgerError: when it fails each time. The text names the kind of the database's error, neither
            its statement nor its text, which have values in them.
        """
        for pause in (*PAUSES, None):
            try:
                return action()
            except sa.exc.SQLAlchemyError as error:
                if pause is None or not isinstance(error, _AGAIN) or code_of(error) in _MAY_NOT_WRITE:
                    raise self._failed(error) from None
                time.sleep(pause)
        raise AssertionError("unreachable")

    def command(self, name: str) -> str:
        """Return a command of the ledger's command line that works as printed."""
        return f"python -m vambe_provider ledger {name} --conn-id {self.conn_id or 'CONN_ID'}"

    def _run(self, engine: sa.engine.Engine, action: Callable[[Transaction], T]) -> T:
        def run() -> T:
            with self._transaction(engine) as tx:
                return action(tx)

        return self.retrying(run)

    @contextmanager
    def _transaction(self, engine: sa.engine.Engine) -> Iterator[Transaction]:
        with engine.begin() as connection:
            before = clock.now()
            now = self._read_clock(connection)
            there = now.replace(tzinfo=UTC).timestamp()
            self._measure(there - clock.now(), there - before)
            yield Transaction(connection, now, there - clock.utc(), before)

    def _read_clock(self, connection: sa.engine.Connection) -> datetime:
        now: datetime = connection.execute(_NOW).scalar_one()
        return now

    def _measure(self, least: float, most: float) -> None:
        """Notice a jump of the database's clock, such as after a fail-over: leases that it counts are worth nothing
        then.

        It is ahead of this machine's by something between these two, however long the answer took.
        """
        if self._ahead is not None and (least > self._ahead[1] + MAX_JUMP or most < self._ahead[0] - MAX_JUMP):
            self.epoch += 1
        self._ahead = (least, most)

    def _failed(self, error: sa.exc.SQLAlchemyError) -> VambeLedgerError:
        cause, code = getattr(error, "orig", None) or error, code_of(error)
        what = f"The ledger's database failed with {type(cause).__name__}{f' ({code})' if code else ''}"
        if code in _MAY_NOT_WRITE:
            return VambeLedgerError(
                f"{what}: this user may not write there",
                fix="Name a connection whose user may as `ledger_conn_id`. When only creating tables is not allowed, "
                f"let an administrator run `{self.command('create')}` once.",
            )
        return VambeLedgerError(
            what, fix="Check the ledger's connection and its user's rights; the next try goes on from here."
        )


_NOW = sa.select(utc_now())


def code_of(error: sa.exc.SQLAlchemyError) -> str:
    """Return the database's own short code of an error; empty when it has none."""
    cause = getattr(error, "orig", None)
    for name in ("pgcode", "sqlite_errorname"):
        if isinstance(code := getattr(cause, name, None), str):
            return code
    numbers = getattr(cause, "args", ())
    if numbers and isinstance(numbers[0], int):  # MySQL's own number says more than its SQLSTATE
        return str(numbers[0])
    return str(getattr(cause, "sqlstate", None) or "")


def check_dialect(dialect: str) -> None:
    """Refuse a kind of database that does not promise unique keys, or has not been tried.

    :raises VambeLedgerError: names the kinds that will do.
    """
    if dialect not in ("postgresql", "sqlite", "mysql", "mariadb"):
        raise VambeLedgerError(
            f"The database kind {dialect!r} cannot hold the ledger",
            fix="Name a PostgreSQL, MySQL, MariaDB or SQLite connection as `ledger_conn_id`.",
        )


def tune(engine: sa.engine.Engine) -> None:
    """Give every connection of this engine the transactions that the ledger needs."""
    match engine.dialect.name:
        case "sqlite":
            sa.event.listen(engine, "connect", _sqlite_connect)
            sa.event.listen(engine, "begin", _sqlite_begin)
        case "mysql" | "mariadb":
            sa.event.listen(engine, "connect", _mysql_connect)
        case "postgresql":
            sa.event.listen(engine, "connect", _postgresql_connect)


def _sqlite_connect(connection: Any, _: object) -> None:
    # The driver must not begin transactions by itself, and a reader of the same file (the query over the warehouse)
    # must not block.
    connection.isolation_level = None
    connection.execute("PRAGMA busy_timeout = 30000")
    connection.execute("PRAGMA journal_mode = WAL")


def _sqlite_begin(connection: sa.engine.Connection) -> None:
    # Who will write takes the lock at once, so that two of them do not read the same and then block each other; who
    # only reads never waits.
    writes = connection.get_execution_options().get(_WRITES, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _mysql_connect(connection: Any, _: object) -> None:
    cursor = connection.cursor()
    cursor.execute("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED")
    cursor.close()


def _postgresql_connect(connection: Any, _: object) -> None:
    # Compiling such short statements never pays, but without statistics they look long.
    cursor = connection.cursor()
    cursor.execute("SELECT set_config('jit', 'off', false) FROM pg_catalog.pg_settings WHERE name = 'jit'")
    cursor.execute("SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL READ COMMITTED")
    cursor.close()
    connection.commit()
