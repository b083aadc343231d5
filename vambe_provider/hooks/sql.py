"""The databases that Airflow connections lead to: the home of a ledger, or the source of rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vambe_provider.compat import BaseHook
from vambe_provider.exceptions import VambeConfigError

if TYPE_CHECKING:
    from sqlalchemy.engine import Engine


def database_hook(conn_id: str, *, argument: str) -> Any:
    """Return the hook of a connection that can run SQL.

    :param conn_id: the connection.
    :param argument: the operator argument that names it, for the error.
    :raises AirflowNotFoundException: when there is no such connection.
    :raises VambeConfigError: when its hook is not installed, or is no database hook.
    """
    connection = BaseHook.get_connection(conn_id)
    kind = connection.conn_type
    try:
        hook = connection.get_hook()  # type: ignore[no-untyped-call]
    except Exception as error:
        raise VambeConfigError(
            f"{argument}: no hook for the connection {conn_id} of the type {kind!r} ({type(error).__name__})",
            fix="Install the Airflow provider of this database where the task runs.",
        ) from error
    if not hasattr(hook, "get_sqlalchemy_engine"):
        raise VambeConfigError(
            f"{argument}: the connection {conn_id} of the type {kind!r} does not run SQL",
            fix="Name a connection to a database, as PostgreSQL, MySQL or SQLite.",
        )
    return hook


def database_engine(hook: Any) -> Engine | None:
    """Return an engine of the caller's own, or None when no SQLAlchemy dialect for this database is installed."""
    from sqlalchemy.exc import ArgumentError

    from vambe_provider.compat import AirflowOptionalProviderFeatureException

    try:
        engine: Engine = hook.get_sqlalchemy_engine()
    except (ImportError, NotImplementedError, ArgumentError, AirflowOptionalProviderFeatureException):
        return None
    # Parameters may hold phone numbers, and SQLAlchemy would show them in the text of every error.
    engine.hide_parameters = True
    return engine


def ledger_engine(conn_id: str, *, argument: str = "ledger_conn_id") -> Engine:
    """Return an engine for the ledger behind a connection.

    :param argument: what names the connection, for the error.
    :raises VambeConfigError: when the connection cannot hold a ledger.
    """
    engine = database_engine(database_hook(conn_id, argument=argument))
    if engine is None:
        raise VambeConfigError(
            f"{argument}: there is no SQLAlchemy dialect for the connection {conn_id}",
            fix="Install the dialect, or keep the ledger in PostgreSQL, MySQL or SQLite.",
        )
    return engine
