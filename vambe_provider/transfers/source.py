"""Rows of one SQL query, streamed from whatever database an Airflow connection leads to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

from vambe_provider.delivery.database_errors import describe_database_error
from vambe_provider.delivery.shown import shown_name
from vambe_provider.exceptions import VambeConfigError, VambeDeliveryError, VambeError
from vambe_provider.hooks.sql import database_hook, opener
from vambe_provider.transfers.spool import PATIENCE, ReadAhead
from vambe_provider.transfers.statement import check_reads, nested
from vambe_provider.transfers.streams import open_stream, sent_as

if TYPE_CHECKING:
    from vambe_provider.delivery.database_errors import Statement
    from vambe_provider.transfers.streams import Batch, Stream

Parameters = Mapping[str, Any] | Sequence[Any] | None

_ARGUMENT = "sql_conn_id"
_QUOTES = {
    "mysql": "`{}`",
    "sqlite": "`{}`",  # it takes a name in double quotes that it does not know for a text
    "mssql": "[{}]",
    "bigquery": "`{}`",
    "databricks": "`{}`",
    "hive": "`{}`",
    "spark": "`{}`",
}
"""How a name is quoted where it is not with double quotes; by the type of the connection's hook."""


@dataclass(frozen=True, slots=True)
class Rows:
    """An open result.

    :param columns: the names of its columns.
    :param values: its rows as tuples, in the order of the columns; to be read once.
    """

    columns: tuple[str, ...]
    values: Iterator[tuple[Any, ...]]

    def __iter__(self) -> Iterator[dict[str, Any]]:
        columns = self.columns
        return (dict(zip(columns, row, strict=True)) for row in self.values)


class SqlSource:
    """One query over one database. It runs once each time that it is opened, in a connection of its own.

    No transaction is open for longer than the database needs for the query and half a minute: PostgreSQL keeps the
    result itself, other databases are read to the end when the reader is slow.

    :param conn_id: the Airflow connection.
    :param sql: the query, with the placeholders of the database's driver.
    :param parameters: values for the placeholders.
    :param key_columns: the columns of the tickets' keys.
    :param resumed: something may have been sent already, which errors then say.
    :param argument: what names the connection, for errors.
    :raises VambeConfigError: when the connection does not run SQL, or the text is not a query.
    """

    def __init__(
        self,
        *,
        conn_id: str,
        sql: str,
        parameters: Parameters = None,
        key_columns: Sequence[str] = (),
        resumed: bool = False,
        argument: str = _ARGUMENT,
    ) -> None:
        check_reads(sql)
        self._key_columns = tuple(key_columns)
        self._hook = database_hook(conn_id, argument=argument)
        self._connect = opener(self._hook, argument=argument, what="query")
        self._argument = argument
        self._conn_id, self._sql, self._resumed = conn_id, sql, resumed
        self._parameters = _driver_parameters(parameters)

    @contextmanager
    def open(self) -> Iterator[Rows]:
        """Run the query and hand out its rows as they arrive.

        :raises VambeConfigError: when it returns no columns, two columns of one name, or a key that depends on the
            session; or when the query cannot work.
        :raises VambeDeliveryError: when the database fails, also in the middle of the rows.
        """
        with self._run(self._sql) as (rows, stream):
            _check_columns(rows.columns)
            _check_times(self._key_columns, stream.session_times)
            yield rows

    def total(self) -> None:
        """Return None: to count the rows would run the query once more."""

    def unusable_keys(self, *, limit: int = 20) -> list[dict[str, Any]]:
        """Return keys that are null or come more than once, with how often as ``rows``; at most ``limit``.

        It runs the query once more inside the database.
        """
        key_columns = self._key_columns
        quoted = [_quoted(name, self._hook) for name in key_columns]
        keys = ", ".join(quoted)
        nulls = " OR ".join(f"{name} IS NULL" for name in quoted)
        query = nested(self._sql)
        sql = (
            f"SELECT {keys}, COUNT(*) AS vambe_count FROM ({query}) vambe_rows "  # noqa: S608 - quoted above
            f"GROUP BY {keys} HAVING COUNT(*) > 1 OR {nulls}"
        )
        try:
            with self._run(query, within=sql) as (rows, _):
                return [dict(zip((*key_columns, "rows"), row, strict=True)) for row in islice(rows.values, limit)]
        except VambeConfigError as error:
            raise VambeConfigError(
                f"check_keys: {error.message}",
                fix=f"{error.fix} Spell the names in key_columns as the query returns them.",
            ) from None

    @contextmanager
    def _run(self, sql: str, *, within: str | None = None) -> Iterator[tuple[Rows, Stream]]:
        """Run the query, or the statement that it stands within."""
        statement: list[Statement] = []

        @contextmanager
        def opened() -> Iterator[Stream]:
            connection = self._connect()
            try:
                statement.append(sent_as(connection, sql, self._parameters, within=within))
                yield open_stream(connection, within or sql, self._parameters)
            finally:
                # Some drivers complain when rows are left, and close all the same.
                with suppress(Exception):
                    connection.close()

        def batches() -> Iterator[Batch]:
            begun = self._resumed
            try:
                for batch in ahead:
                    begun = True
                    yield batch
            except Exception as error:  # noqa: BLE001 - each driver has its own
                raise self._described(error, statement, begun=begun) from None

        with closing(ReadAhead(opened, patience=PATIENCE)) as ahead:
            try:
                stream = ahead.start()
            except Exception as error:  # noqa: BLE001
                raise self._described(error, statement, begun=self._resumed) from None
            yield Rows(stream.columns, chain.from_iterable(batches())), stream

    def _described(self, error: Exception, statement: list[Statement], *, begun: bool) -> VambeError:
        if isinstance(error, VambeError):
            return _after_an_earlier_part(error) if self._resumed else error
        return describe_database_error(
            error,
            conn_id=self._conn_id,
            what="query",
            argument=self._argument,
            statement=statement[0] if statement else None,
            begun=begun,
        )


def _after_an_earlier_part(error: VambeError) -> VambeError:
    """Return an error of a connection that could not be opened, for a task that may have sent something before."""
    told = VambeDeliveryError(error.message, fix="Rows that were sent are recorded; the next try takes the others.")
    told.permanent = error.permanent
    return told


def _driver_parameters(parameters: Parameters) -> Any:
    """Return the parameters as drivers take them; a list would be run once for each of its items."""
    if not parameters:
        return None
    return dict(parameters) if isinstance(parameters, Mapping) else tuple(parameters)


def _check_columns(columns: Sequence[str]) -> None:
    if not columns:
        raise VambeConfigError(
            "sql: the statement returns no rows", fix="Give one SELECT that returns one row for each ticket."
        )
    twice = [shown_name(name) for name, times in Counter(columns).items() if times > 1]
    if twice:
        raise VambeConfigError(
            f"sql: more than one column is named {', '.join(twice)}", fix="Give each column a name of its own with AS."
        )


def _check_times(key_columns: Sequence[str], session_times: Collection[str]) -> None:
    for name in key_columns:
        if name in session_times:
            raise VambeConfigError(
                f"key_columns: {shown_name(name)} is a TIMESTAMP, which MySQL and MariaDB give in the time zone of the "
                "session, so that another session would make other tickets of the same rows",
                fix=f"Let the query return UNIX_TIMESTAMP({name}), and name that in key_columns.",
            )


def _quoted(name: str, hook: Any) -> str:
    """Return the name of a column as this database quotes it, so that any name is only a name."""
    quotes = _QUOTES.get(str(getattr(hook, "conn_type", "")), '"{}"')
    return quotes.format(name.replace(quotes[-1], quotes[-1] * 2))
