"""The ledgers that the page shows, and reading them so that a slow or missing database costs nobody but its visitor."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeVar

import sqlalchemy as sa

from vambe_provider.delivery.ledger.database import Database, code_of
from vambe_provider.delivery.ledger.upgrade import ensure_tables
from vambe_provider.exceptions import VambeError
from vambe_provider.ui.queries import Count, read_summary

if TYPE_CHECKING:
    from vambe_provider.delivery.person import Persons

T = TypeVar("T")
log = logging.getLogger(__name__)

PATIENCE = 20.0
"""Seconds that a visitor waits for a database, with everything that is asked of it for one page."""
STATEMENT_LIMIT = 15
"""Seconds after which the database gives up a statement of the page, so that it does not work for nobody."""
FRESH = 10.0
"""Seconds for which the counts of a ledger are believed."""
_ENGINE_AGE = 300.0
"""Seconds after which a connection is looked up again, since its password or host may have changed."""
_THREADS = 4
"""Pages that one ledger answers at the same time, in each process of the API server."""


class LedgerUnavailableError(Exception):
    """The ledger cannot be read or changed now. The text is for the visitor, without values of the database."""


class Ledger:
    """One ledger as the page reads it.

    :param conn_id: the connection of its database.
    """

    def __init__(self, conn_id: str) -> None:
        self.conn_id = conn_id
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix=f"vambe-page-{conn_id}")
        self._lock = threading.Lock()
        self._database: Database | None = None
        self._opened = 0.0
        self._summary: tuple[float, list[Count]] | None = None

    def read(self, action: Callable[[sa.engine.Connection], T]) -> T:
        """Return what an action reads in one transaction.

        :raises LedgerUnavailableError: when the database does not answer, or not in time.
        """
        return self._in_time(lambda: self._read(action))

    def summary(self) -> list[Count]:
        """Return how many tickets there are by namespace, account, Dag and state, some seconds old at most.

        :raises LedgerUnavailableError: see :meth:`read`.
        """
        kept = self._summary
        if kept is None or time.monotonic() - kept[0] > FRESH:
            kept = time.monotonic(), self.read(read_summary)
            self._summary = kept
        return kept[1]

    def check_secret(self, persons: Persons) -> None:
        """Make sure that persons can be recognised in this ledger.

        :raises LedgerUnavailableError: when it was begun with another ``[vambe] person_secret``; see also :meth:`read`.
        """
        try:
            self._in_time(lambda: ensure_tables(self._open(), persons, create=False))
        except VambeError as error:
            raise LedgerUnavailableError(_words(error)) from None

    def write(self, action: Callable[[sa.engine.Engine], T]) -> T:
        """Return what an action returns that changes the ledger with an engine of its own.

        :raises LedgerUnavailableError: when the database does not answer, or not in time.
        :raises VambeError: when the ledger refuses the change.
        """

        def change() -> T:
            engine = _engine(self.conn_id)
            try:
                return action(engine)
            finally:
                engine.dispose()

        try:
            return self._in_time(change, late=" The change may still come: load the page again.")
        finally:
            self._summary = None

    def _in_time(self, action: Callable[[], T], *, late: str = "") -> T:
        future = self._threads.submit(action)
        try:
            return future.result(PATIENCE)
        except TimeoutError:
            future.cancel()
            raise LedgerUnavailableError(
                f"The database of the connection {self.conn_id} did not answer within {PATIENCE:.0f} s.{late}"
            ) from None
        except sa.exc.SQLAlchemyError as error:
            code = " ".join(filter(None, (type(getattr(error, "orig", None) or error).__name__, code_of(error))))
            log.warning("The ledger page cannot read the connection %s: %s", self.conn_id, code)
            raise LedgerUnavailableError(_unreachable(self.conn_id, code)) from None

    def _read(self, action: Callable[[sa.engine.Connection], T]) -> T:
        database = self._open()
        try:
            with database.engine.begin() as connection:
                return action(connection)
        except sa.exc.DBAPIError as error:
            if not error.connection_invalidated:
                raise
        # The pool held a connection that the database had ended; it has none of them any more.
        with database.engine.begin() as connection:
            return action(connection)

    def _open(self) -> Database:
        with self._lock:
            if self._database is not None and time.monotonic() - self._opened < _ENGINE_AGE:
                return self._database
            if self._database is not None:
                self._database.engine.dispose()
                self._database = None
        database = self._opened_anew()
        with self._lock:
            self._database, self._opened = database, time.monotonic()
        return database

    def _opened_anew(self) -> Database:
        try:
            engine = _engine(self.conn_id)
            sa.event.listen(engine, "connect", _limit_statements)
            database = Database(engine, self.conn_id)
            engine.connect().close()
        except LedgerUnavailableError:
            raise
        except Exception as error:  # noqa: BLE001 - a hook or a driver may raise anything
            # The text of a driver may name hosts and users, which not every visitor may know.
            log.warning("The ledger page cannot open the connection %s: %s", self.conn_id, error)
            raise LedgerUnavailableError(_unreachable(self.conn_id)) from None
        try:
            ensure_tables(database, create=False)
        except VambeError as error:
            raise LedgerUnavailableError(f"The connection {self.conn_id}: {_words(error)}") from None
        return database


def _engine(conn_id: str) -> sa.engine.Engine:
    from vambe_provider.compat import AirflowNotFoundException, BaseHook
    from vambe_provider.hooks.sql import ledger_engine

    try:
        BaseHook.get_connection(conn_id)
    except AirflowNotFoundException:
        raise LedgerUnavailableError(
            f"The API server knows no connection {conn_id}. It reads its own environment and secrets backend: a "
            f"variable AIRFLOW_CONN_{conn_id.upper()} that only the workers have is not there."
        ) from None
    return ledger_engine(conn_id, argument="[vambe] ledger_conn_ids")


def _words(error: VambeError) -> str:
    return " ".join(f"{part.rstrip('.')}." for part in (error.message, error.fix) if part)


def _unreachable(conn_id: str, code: str = "") -> str:
    return (
        f"The database of the connection {conn_id} cannot be used from the API server{f' ({code})' if code else ''}. "
        "It has to lead to a PostgreSQL, MySQL, MariaDB or SQLite database, whose driver the API server needs, with a "
        "network path and a user who may read the ledger's tables. The log of the API server says more."
    )


def _limit_statements(connection: Any, _: object) -> None:
    """Bound every statement on a new connection; SQLite has no such limit."""
    kind = type(connection).__module__.partition(".")[0]
    cursor = connection.cursor()
    try:
        if kind in ("psycopg2", "psycopg"):
            cursor.execute(f"SET statement_timeout = {STATEMENT_LIMIT * 1000}")
        elif kind in ("pymysql", "MySQLdb", "mysql"):
            cursor.execute("SELECT VERSION()")
            [version] = cursor.fetchone()
            if "mariadb" in str(version).lower():
                cursor.execute(f"SET SESSION max_statement_time = {STATEMENT_LIMIT}")
            else:
                cursor.execute(f"SET SESSION max_execution_time = {STATEMENT_LIMIT * 1000}")
    finally:
        cursor.close()
    if kind in ("psycopg2", "psycopg"):
        connection.commit()
