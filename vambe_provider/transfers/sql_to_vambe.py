"""Open one Vambe ticket for each row of a query."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from vambe_provider.exceptions import VambeConfigError
from vambe_provider.operators.arguments import flag, given, person_secret
from vambe_provider.operators.batch import VambeTicketsOperator

if TYPE_CHECKING:
    from vambe_provider.transfers.source import SqlSource


class SqlToVambeTicketsOperator(VambeTicketsOperator):
    """Open one ticket for each row of a query, each exactly once.

    The rows are streamed from the database, so their number does not matter for the memory. They are data: nothing in
    them is a template. A row that cannot be sent is rejected with the reason and stops no other.

    On a task retry, when the task is cleared, and in the next run, rows whose ticket is open are not sent again; what
    may have been sent is looked up in Vambe first. A killed task finishes and records what is on its way.

    All other parameters are those of :class:`~vambe_provider.operators.vambe.VambeOpenTicketBatchOperator`.

    :param sql: one query, or the path of a ``.sql`` file; its columns are what ``ticket`` and ``key_columns`` name.
    :param sql_conn_id: the connection of the database.
    :param parameters: values for the placeholders of the query, in the style of the database's driver.
    :param ledger_conn_id: default ``sql_conn_id``; name another one where this task may not create or write a table.
    :param check_keys: ask the database first for keys that are null or come more than once, and fail when there are
        any; otherwise such rows are rejected or reported one by one. It runs the query once more.
    """

    template_fields: Sequence[str] = (
        "sql",
        "sql_conn_id",
        "parameters",
        "check_keys",
        *VambeTicketsOperator.template_fields,
    )
    template_ext: Sequence[str] = (".sql",)
    template_fields_renderers = {
        **VambeTicketsOperator.template_fields_renderers,
        "sql": "sql",
        "parameters": "json",
    }

    def __init__(
        self,
        *,
        sql: str,
        sql_conn_id: str,
        parameters: Mapping[str, Any] | Sequence[Any] | None = None,
        check_keys: bool | str = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.sql = sql
        self.sql_conn_id = sql_conn_id
        self.parameters = parameters
        self.check_keys = check_keys

    @contextmanager
    def open_source(self) -> Iterator[SqlSource]:
        """Return the query, with its keys checked when that is wanted."""
        from vambe_provider.transfers.source import SqlSource

        if not given(self.sql):
            raise VambeConfigError("sql: is empty", fix="Give one SELECT that returns one row for each ticket.")
        resumed = self._earlier is not None
        source = SqlSource(
            conn_id=self.sql_conn_id,
            sql=self.sql,
            parameters=self.parameters,
            key_columns=self.keys(),
            resumed=resumed,
        )
        if not resumed and flag(self.check_keys, name="check_keys"):
            self._check_keys(source)
        yield source

    def query(self) -> tuple[str, str]:
        """Return the connection and the text of the query."""
        return self.sql_conn_id, self.sql

    def ledger_connection(self) -> str:
        """Return the connection of the ledger: that of the query unless another one is named."""
        return self.stated("ledger_conn_id", "the ledger would move to another database") or self.sql_conn_id

    def _check_keys(self, source: SqlSource) -> None:
        unusable = source.unusable_keys()
        if not unusable:
            return
        secret = person_secret()
        shown = "; ".join(", ".join(_shown(name, value, secret) for name, value in key.items()) for key in unusable)
        raise VambeConfigError(
            f"check_keys: these keys are null or not unique, here the first {len(unusable)}: {shown}",
            fix="Name the columns in key_columns that make a row unique, or filter such rows out in the query.",
        )


def _shown(name: str, value: object, secret: str | None) -> str:
    """Return a key value for an error text, hashed when it may be that of a person."""
    from vambe_provider.delivery.key import canonical_value
    from vambe_provider.delivery.shown import printable, readable, shown_hash, shown_name

    if value is None:
        return f"{shown_name(name)}=null"
    try:
        text = canonical_value(value)
    except ValueError as error:
        return f"{shown_name(name)} {error}"
    return f"{shown_name(name)}={printable(text) if readable(text, name) else shown_hash(text, secret)}"
