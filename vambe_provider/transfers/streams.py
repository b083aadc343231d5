"""How the rows of one query arrive from each kind of database: a batch at a time, as plain tuples."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from vambe_provider.delivery.database_errors import Statement, sqlstate_of
from vambe_provider.hooks.sql import package_of

Batch = Sequence[tuple[Any, ...]]

MOST_ROWS = 5000
"""Rows in a batch at most."""
MOST_BYTES = 2**20
"""Bytes that a batch should have at most, roughly."""
_FEW_ROWS = 10
"""Rows of the first batch, before anything is known of their size."""

_POSTGRES = ("psycopg", "psycopg2")
_DECLARE = "DECLARE vambe_rows NO SCROLL CURSOR WITH HOLD FOR "
_DECLARE_IN_TRANSACTION = "DECLARE vambe_rows NO SCROLL CURSOR FOR "
# What databases answer that only look like PostgreSQL and know no WITH HOLD.
_UNSUPPORTED = ("0A000", "42601")
_MYSQL = ("MySQLdb", "mysql", "pymysql")
_MYSQL_TIMESTAMP = 7


@dataclass(frozen=True, slots=True)
class Stream:
    """An open result.

    :param columns: the names of its columns; empty for a statement that returns no rows.
    :param batches: its rows; to be read once.
    :param detached: the database has all rows ready outside of any transaction, so that it does not matter to others
        how long the reading takes.
    :param session_times: columns whose times are given in the time zone of the session, without saying so.
    """

    columns: tuple[str, ...]
    batches: Iterator[Batch]
    detached: bool = False
    session_times: frozenset[str] = frozenset()


def open_stream(connection: Any, sql: str, parameters: Any) -> Stream:
    """Run a query on a connection that is closed afterwards, also when not all rows were read.

    :param connection: from :func:`~vambe_provider.hooks.sql.opener`.
    :param parameters: values for the placeholders, or None.
    """
    package = package_of(connection)
    if package in _POSTGRES:
        return _postgres(connection, sql, parameters)
    if package == "MySQLdb":
        # Its usual cursor would hold the whole result in memory.
        cursor = connection.cursor(import_module("MySQLdb.cursors").SSCursor)
    else:
        cursor = connection.cursor()
    return _plain(cursor, sql, parameters, session_type=_MYSQL_TIMESTAMP if package in _MYSQL else None)


def sent_as(connection: Any, sql: str, parameters: Any, *, within: str | None = None) -> Statement:
    """Return the user's query and where it stands in what the database saw, so that an error can point into it.

    :param within: the statement that the query is part of.
    """
    offset = len(_DECLARE) if package_of(connection) in _POSTGRES else 0
    if within is not None:
        offset += within.index(sql)
    return Statement(sql, offset, exact=parameters is None)


def _plain(cursor: Any, sql: str, parameters: Any, *, session_type: object) -> Stream:
    _execute(cursor, sql, parameters)
    described = cursor.description or ()
    times = frozenset(item[0] for item in described if session_type is not None and item[1] == session_type)
    batches = _sized(cursor.fetchmany) if described else iter(())
    return Stream(tuple(item[0] for item in described), batches, session_times=times)


def _postgres(connection: Any, sql: str, parameters: Any) -> Stream:
    """Let PostgreSQL keep the result in its temporary files, and end the transaction before the first row is read."""
    connection.autocommit = True
    if package_of(connection) == "psycopg":
        connection.prepare_threshold = None  # poolers mix prepared statements up, and each of ours is cheap
    cursor = connection.cursor()
    with suppress(Exception):
        # A role may end idle sessions, and a paced reader is idle most of the time. Older servers lack the setting.
        cursor.execute(
            "SELECT set_config('idle_session_timeout', '0', false) "
            "WHERE current_setting('idle_session_timeout', true) IS NOT NULL"
        )
    detached = _declare(cursor, sql, parameters)

    def fetch(size: int) -> Batch:
        cursor.execute(f"FETCH FORWARD {size} FROM vambe_rows")
        rows: Batch = cursor.fetchall()
        return rows

    first = fetch(_FEW_ROWS)
    columns = tuple(item[0] for item in cursor.description)
    return Stream(columns, _sized(fetch, first), detached=detached)


def _declare(cursor: Any, sql: str, parameters: Any) -> bool:
    """Open the cursor; return False when it lives in a transaction, because the database knows no other."""
    try:
        cursor.execute("BEGIN READ ONLY")
        _execute(cursor, f"{_DECLARE}{sql}", parameters)
        cursor.execute("COMMIT")
    except Exception as error:
        if sqlstate_of(error) not in _UNSUPPORTED:
            raise
        try:
            cursor.execute("ROLLBACK")
            cursor.execute("BEGIN READ ONLY")
            _execute(cursor, f"{_DECLARE_IN_TRANSACTION}{sql}", parameters)
        except Exception:  # noqa: BLE001 - then it was not the kind of cursor that was wrong
            raise error from None
        return False
    return True


def _execute(cursor: Any, sql: str, parameters: Any) -> None:
    # Without parameters a percent sign in the SQL is a percent sign.
    cursor.execute(sql, *([] if parameters is None else [parameters]))


def _sized(fetch: Callable[[int], Sequence[Any]], rows: Sequence[Any] | None = None) -> Iterator[Batch]:
    """Yield batches that are small where rows are large."""
    size = _FEW_ROWS
    if rows is None:
        rows = fetch(size)
    while rows:
        batch = _tuples(rows)
        yield batch
        size = max(1, min(MOST_ROWS, size * 4, MOST_BYTES // _weight(batch)))
        rows = fetch(size)


def _tuples(rows: Sequence[Any]) -> Batch:
    if isinstance(rows[0], tuple):
        return rows
    return [tuple(row.values()) if isinstance(row, Mapping) else tuple(row) for row in rows]


def _weight(batch: Batch) -> int:
    """Return about how many bytes a row of a batch takes."""
    sample = batch[:: max(1, len(batch) // 20)]
    return 1 + sum(sum(map(sys.getsizeof, row)) for row in sample) // len(sample)
