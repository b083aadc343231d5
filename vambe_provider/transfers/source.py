"""Rows of one SQL query, streamed from whatever database an Airflow connection leads to."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

from vambe_provider.exceptions import VambeConfigError, VambeDeliveryError
from vambe_provider.hooks.sql import database_engine, database_hook

if TYPE_CHECKING:
    from sqlalchemy.engine import Engine

Parameters = Mapping[str, Any] | Sequence[Any] | None

BATCH = 1000
"""Rows that are held in memory at once."""


_PATIENCE = 7 * 24 * 3600
"""Seconds for which a server waits until the next rows are fetched."""


@dataclass(frozen=True, slots=True)
class Rows:
    """An open result.

    :param columns: the names of its columns.
    :param values: its rows, in the order of the columns; to be read once.
    """

    columns: tuple[str, ...]
    values: Iterator[Sequence[Any]]

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return (dict(zip(self.columns, row, strict=True)) for row in self.values)


class SqlSource:
    """One query over one database.

    :param conn_id: the Airflow connection.
    :param sql: the query, with the placeholders of the database's driver.
    :param parameters: values for the placeholders.
    :raises VambeConfigError: when the connection does not run SQL.
    """

    def __init__(self, *, conn_id: str, sql: str, parameters: Parameters = None) -> None:
        self._hook = database_hook(conn_id, argument="sql_conn_id")
        self._engine = database_engine(self._hook)
        self._sql = sql
        self._parameters = _driver_parameters(parameters)

    def close(self) -> None:
        """Give the connections back."""
        if self._engine is not None:
            self._engine.dispose()

    @contextmanager
    def open(self) -> Iterator[Rows]:
        """Run the query and hand out its rows as they arrive; the database connection is held until the block ends.

        :raises VambeConfigError: when it returns no columns, or two columns of one name.
        :raises VambeDeliveryError: when the database fails, also in the middle of the rows.
        """
        with self._run(self._sql) as rows:
            _check_columns(rows.columns)
            yield rows

    def count(self) -> int:
        """Return how many rows the query has now, which runs it once more inside the database."""
        with self._run(f"SELECT COUNT(*) FROM ({_subquery(self._sql)}) vambe_rows") as rows:  # noqa: S608 - the user wrote it
            return int(next(rows.values)[0])

    def unusable_keys(self, key_columns: Sequence[str], *, limit: int = 20) -> list[dict[str, Any]]:
        """Return keys that are null or come more than once, with how often as ``rows``; at most ``limit``.

        :param key_columns: columns of the query; as they become part of the SQL, each has to be a plain word.
        :raises VambeConfigError: when one is not.
        """
        for column in key_columns:
            if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", column):
                raise VambeConfigError(
                    f"check_keys: the key column {column!r} is not a plain name", fix="Rename it in the query."
                )
        keys = ", ".join(key_columns)
        nulls = " OR ".join(f"{column} IS NULL" for column in key_columns)
        sql = (
            f"SELECT {keys}, COUNT(*) AS vambe_count FROM ({_subquery(self._sql)}) vambe_rows "  # noqa: S608 - checked above
            f"GROUP BY {keys} HAVING COUNT(*) > 1 OR {nulls}"
        )
        with self._run(sql) as rows:
            return [dict(zip((*key_columns, "rows"), row, strict=True)) for row in islice(rows.values, limit)]

    @contextmanager
    def _run(self, sql: str) -> Iterator[Rows]:
        stream = _engine_rows if self._engine is not None else _driver_rows
        with stream(self._engine or self._hook, sql, self._parameters) as rows:
            yield rows


@contextmanager
def _quiet_errors() -> Iterator[None]:
    """Turn an error of the database into one whose text holds neither parameters nor what looks like personal data."""
    from sqlalchemy.exc import SQLAlchemyError

    from vambe_provider.api.redact import said

    try:
        yield
    except SQLAlchemyError as error:
        cause = getattr(error, "orig", None) or error
        raise VambeDeliveryError(
            f"sql: the query failed with {type(cause).__name__}: {said(str(cause).encode())}",
            fix="Correct the query or its connection. Rows that were sent are recorded; the next try takes the others.",
        ) from None


@contextmanager
def _engine_rows(engine: Engine, sql: str, parameters: Any) -> Iterator[Rows]:
    with _quiet_errors(), engine.connect() as connection:
        if engine.dialect.name in ("mysql", "mariadb"):
            # These servers hang up on a reader that pauses for a minute, and a paced one pauses for longer.
            connection.exec_driver_sql(f"SET SESSION net_write_timeout = {_PATIENCE}")
        # no_parameters keeps a percent sign in the SQL a percent sign when there is nothing to fill in.
        options = {"stream_results": True, "yield_per": BATCH, "no_parameters": parameters is None}
        result = connection.execution_options(**options).exec_driver_sql(sql, parameters)
        with closing(result):
            yield Rows(tuple(result.keys()), iter(result)) if result.returns_rows else Rows((), iter(()))


@contextmanager
def _driver_rows(hook: Any, sql: str, parameters: Any) -> Iterator[Rows]:
    with closing(hook.get_conn()) as connection, closing(connection.cursor()) as cursor:
        cursor.execute(sql, *([] if parameters is None else [parameters]))
        yield Rows(tuple(item[0] for item in cursor.description or ()), _fetched(cursor))


def _fetched(cursor: Any) -> Iterator[Sequence[Any]]:
    while batch := cursor.fetchmany(BATCH):
        yield from batch


def _driver_parameters(parameters: Parameters) -> Any:
    """Return the parameters as drivers take them; a list would be run once for each of its items."""
    if not parameters:
        return None
    return dict(parameters) if isinstance(parameters, Mapping) else tuple(parameters)


def _check_columns(columns: Sequence[str]) -> None:
    if not columns:
        raise VambeConfigError(
            "sql: the statement is no query", fix="Give one SELECT that returns one row for each ticket."
        )
    twice = [name for name, times in Counter(columns).items() if times > 1]
    if twice:
        raise VambeConfigError(
            f"sql: more than one column is named {', '.join(twice)}", fix="Give each column a name of its own with AS."
        )


def _subquery(sql: str) -> str:
    """Return a query as it can stand between brackets; a comment at its end must not swallow the bracket."""
    return f"{sql.strip().rstrip(';')}\n"
