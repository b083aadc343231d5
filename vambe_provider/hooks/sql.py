"""The databases that Airflow connections lead to: the home of a ledger, or the source of rows.

Every connection to them is opened by the Airflow hook's own ``get_conn``, so that it is the database, the schema and
the encryption that the Airflow connection means, with all of its extras.
"""

from __future__ import annotations

import json
import re
import sqlite3
from contextlib import closing, suppress
from importlib import import_module
from typing import TYPE_CHECKING, Any

from vambe_provider.compat import AirflowNotFoundException, BaseHook
from vambe_provider.exceptions import VambeConfigError, VambeError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sqlalchemy.engine import Engine

    from vambe_provider.delivery.database_errors import What

_DIALECTS = {
    "psycopg2": "postgresql+psycopg2",
    "psycopg": "postgresql+psycopg",
    "MySQLdb": "mysql+mysqldb",
    "mysql": "mysql+mysqlconnector",
    "pymysql": "mysql+pymysql",
    "sqlite3": "sqlite+pysqlite",
}
"""From the package of a connection to the SQLAlchemy dialect that speaks through it."""

_MYSQL_EXTRAS = {
    "mysqlclient": ("ssl", "ssl_mode", "charset", "unix_socket"),
    "mysql-connector-python": ("ssl_",),
}
"""What the hook of MySQL reads of the extras that change where a connection leads or how; it ignores the others."""


def database_hook(conn_id: str, *, argument: str) -> Any:
    """Return the hook of a connection that can run SQL.

    :param conn_id: the connection.
    :param argument: the operator argument that names it, for the error.
    :raises VambeConfigError: when there is no such connection, its hook is not installed or runs no SQL, or the hook
        would ignore one of its extras.
    """
    try:
        connection = BaseHook.get_connection(conn_id)
    except AirflowNotFoundException:
        raise VambeConfigError(
            f"{argument}: Airflow has no connection {conn_id}",
            fix="Create it, or name another one; `airflow connections list` shows those that there are.",
        ) from None
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
            fix="Name a connection to a database, such as PostgreSQL, MySQL or SQLite.",
        )
    if kind == "mysql":
        _check_mysql(connection, conn_id, argument)
    if connection.extra_dejson.get("sqlalchemy_query"):
        raise VambeConfigError(
            f"{argument}: the extra sqlalchemy_query of the connection {conn_id} is read by SQLAlchemy's URLs only",
            fix='Set what it holds as extras of their own, such as {"sslmode": "require"}.',
        )
    return hook


def _check_mysql(connection: Any, conn_id: str, argument: str) -> None:
    """Refuse extras that the hook of MySQL would pass over without a word, such as a TLS setting of another client."""
    extra = connection.extra_dejson
    client = str(extra.get("client") or "mysqlclient")
    if client not in _MYSQL_EXTRAS:
        raise VambeConfigError(
            f"{argument}: the connection {conn_id} has the extra client={client!r}, which its hook cannot connect with",
            fix=f"Set it to {' or '.join(_MYSQL_EXTRAS)}, or leave it out.",
        )
    read = _MYSQL_EXTRAS[client]
    ignored = [
        name
        for name in extra
        if name.startswith(("ssl", "charset", "unix_socket"))
        and not (name in read or any(name.startswith(begin) for begin in read if begin.endswith("_")))
    ]
    if ignored:
        raise VambeConfigError(
            f"{argument}: the connection {conn_id} has the extra {', '.join(sorted(ignored))}, which is not read with "
            f"client={client!r}",
            fix=f"That client reads {', '.join(f'{name}…' if name.endswith('_') else name for name in read)}; "
            "for TLS use those, or another client.",
        )
    _check_ssl(extra.get("ssl"), conn_id, argument)


def _check_ssl(value: object, conn_id: str, argument: str) -> None:
    """Refuse an extra ``ssl`` with which the hook would connect in plain text or fail with a text of its own."""
    if value in (None, ""):
        return
    parsed = value
    if isinstance(value, str):
        try:
            parsed = json.loads(value)
        except ValueError:
            parsed = None
    if not isinstance(parsed, dict) or not parsed:
        raise VambeConfigError(
            f"{argument}: the extra ssl of the connection {conn_id} is not an object with something in it",
            fix='Write it as {"ssl": {"ca": "/path/to/ca.pem"}}, or set "ssl_mode": "REQUIRED".',
        )


def opener(hook: Any, *, argument: str, what: What) -> Callable[[], Any]:
    """Return what opens connections through the hook, whose cursors return plain tuples.

    It may be called in another thread, and so may what it opens. What the hook has to ask Airflow for, it asks here,
    and not in that thread.

    :param hook: the hook, from :func:`database_hook`.
    :param argument: the operator argument that names the connection, for the error.
    :param what: what it is for: ``query`` or ``ledger``.
    :return: a function that raises ``VambeConfigError`` when the fields or extras of the connection are wrong, and a
        ``VambeDeliveryError`` when the database cannot be reached now.
    """
    open_one = _opener(hook, argument)
    return lambda: _told(open_one, hook, argument=argument, what=what)


def _told(open_one: Callable[[], Any], hook: Any, *, argument: str, what: What) -> Any:
    try:
        return open_one()
    except VambeError:
        raise
    except Exception as error:  # noqa: BLE001 - each hook and each driver has its own
        raise _described(error, hook, argument=argument, what=what) from None


def _described(error: BaseException, hook: Any, *, argument: str, what: What) -> VambeError:
    from vambe_provider.delivery.database_errors import describe_connection_error

    secrets = [getattr(getattr(hook, "connection", None), "password", None) or ""]
    return describe_connection_error(error, conn_id=hook.get_conn_id(), what=what, argument=argument, secrets=secrets)


def package_of(connection: Any) -> str:
    """Return the package of a connection's driver, such as ``psycopg``."""
    return type(connection).__module__.partition(".")[0]


def _with_plain_tuples(connection: Any) -> Any:
    """Take back what the extra ``cursor`` makes of rows: dicts and named tuples lose columns that have one name."""
    match package_of(connection):
        case "psycopg2":
            connection.cursor_factory = None
        case "psycopg":
            connection.row_factory = import_module("psycopg.rows").tuple_row
        case "MySQLdb":
            connection.cursorclass = import_module("MySQLdb.cursors").Cursor
        case "sqlite3":
            connection.row_factory = None
    return connection


def database_engine(hook: Any, *, argument: str = "ledger_conn_id") -> Engine | None:
    """Return an engine whose connections are the hook's own, or None when no SQLAlchemy dialect speaks to them.

    One connection is opened right away: its driver says which dialect is needed, whatever the Airflow connection's URL
    would say.

    :param argument: the operator argument that names the connection, for the error.
    :raises VambeConfigError: when the fields or extras of the connection are wrong.
    :raises VambeLedgerError: when the database cannot be reached now.
    """
    import sqlalchemy as sa

    from vambe_provider.compat import AirflowOptionalProviderFeatureException

    open_one = _opener(hook, argument)
    first = _told(open_one, hook, argument=argument, what="ledger")
    waiting = [first]

    def creator() -> Any:
        return waiting.pop() if waiting else _reconnected(open_one, engine, hook, argument)

    options: dict[str, Any] = {"creator": creator, "hide_parameters": True}
    package = package_of(first)
    try:
        if package in _DIALECTS:
            if package == "sqlite3":
                # A URL without a file would mean a database in memory, with a pool for one thread.
                options["poolclass"] = sa.pool.QueuePool
            engine: Engine = sa.create_engine(f"{_DIALECTS[package]}://", **options)
        else:
            engine = hook.get_sqlalchemy_engine(engine_kwargs=options)
    except (ImportError, NotImplementedError, sa.exc.ArgumentError, AirflowOptionalProviderFeatureException):
        first.close()
        return None

    @sa.event.listens_for(engine, "engine_disposed")
    def close_unused(_: Engine) -> None:
        while waiting:
            waiting.pop().close()

    return engine


def _opener(hook: Any, argument: str) -> Callable[[], Any]:
    """Return what opens a connection that may be used in another thread than the one that opened it."""
    try:
        from airflow.providers.sqlite.hooks.sqlite import SqliteHook
    except ImportError:
        pass
    else:
        if type(hook).get_conn is SqliteHook.get_conn:
            # As that hook connects, but its own connections refuse to work in another thread, and so many slashes as
            # SQLAlchemy wants before a path mean a host to SQLite.
            uri = re.sub("^sqlite:///(/*)", lambda found: f"file:{found[1][:1]}", hook.get_uri())
            return lambda: sqlite3.connect(uri, uri=True, check_same_thread=False)
    with suppress(Exception):
        hook.connection  # noqa: B018 - read once and kept by the hook
    if getattr(hook, "conn_type", None) == "mysql":
        conn_id = hook.get_conn_id()
        if _asks_for_tls(hook.get_connection(conn_id).extra_dejson):
            return lambda: _surely_tls(_with_plain_tuples(hook.get_conn()), conn_id, argument)
    return lambda: _with_plain_tuples(hook.get_conn())


def _asks_for_tls(extra: Mapping[str, Any]) -> bool:
    mode = str(extra.get("ssl_mode") or "").upper()
    named = any(extra.get(name) for name in ("ssl", "ssl_ca", "ssl_verify_cert", "ssl_verify_identity"))
    return named or mode in ("REQUIRED", "VERIFY_CA", "VERIFY_IDENTITY")


def _surely_tls(connection: Any, conn_id: str, argument: str) -> Any:
    """Refuse a connection in plain text: some clients of MySQL go on without a word when the server has no TLS."""
    with closing(connection.cursor()) as cursor:
        cursor.execute("SHOW SESSION STATUS LIKE 'Ssl_cipher'")
        found = cursor.fetchall()
    if not found or not found[0][1]:
        connection.close()
        raise VambeConfigError(
            f"{argument}: the extras of the connection {conn_id} ask for TLS, and the server speaks without it",
            fix="Give the server a certificate, correct the extras, or take them out.",
        )
    return connection


def _reconnected(open_one: Callable[[], Any], engine: Engine, hook: Any, argument: str) -> Any:
    try:
        return open_one()
    except (VambeError, engine.dialect.dbapi.Error):  # type: ignore[union-attr]
        raise  # SQLAlchemy knows the driver's, and the ledger tries again
    except Exception as error:  # noqa: BLE001 - such as what a hook says when it gets no token
        raise _described(error, hook, argument=argument, what="ledger") from None


def ledger_engine(conn_id: str, *, argument: str = "ledger_conn_id") -> Engine:
    """Return an engine for the ledger behind a connection.

    On PostgreSQL its commits wait until they are on disk, whatever the database or the user has as
    ``synchronous_commit``: a claim that a crash takes back would be sent twice.

    :param argument: what names the connection, for the error.
    :raises VambeConfigError: when the connection cannot hold a ledger.
    :raises VambeLedgerError: when its database cannot be reached now.
    """
    import sqlalchemy as sa

    engine = database_engine(database_hook(conn_id, argument=argument), argument=argument)
    if engine is None:
        raise VambeConfigError(
            f"{argument}: there is no SQLAlchemy dialect for the connection {conn_id}",
            fix="Install the dialect, or keep the ledger in PostgreSQL, MySQL or SQLite.",
        )
    if engine.dialect.name == "postgresql":
        sa.event.listen(engine, "connect", _wait_for_disk)
    return engine


def _wait_for_disk(connection: Any, _: object) -> None:
    with connection.cursor() as cursor:
        # Only what is less than a flush to this server's disk: who waits for standby servers goes on doing so.
        cursor.execute(
            "SELECT set_config('synchronous_commit', 'on', false) "
            "WHERE current_setting('synchronous_commit', true) = 'off'"
        )
    connection.commit()
