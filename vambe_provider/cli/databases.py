"""Where the ledger of a command is: behind an Airflow connection or at a URL."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from vambe_provider.delivery.ledger.admin import LedgerAdmin
from vambe_provider.exceptions import VambeConfigError, VambeLedgerError

if TYPE_CHECKING:
    import argparse

    from sqlalchemy.engine import Engine


@contextmanager
def admin_of(options: argparse.Namespace) -> Iterator[LedgerAdmin]:
    """Give the ledger that a command names, and close it afterwards."""
    with database_of(options) as engine:
        yield LedgerAdmin(engine, options.conn_id)


@contextmanager
def database_of(options: argparse.Namespace, *, must_exist: bool = True) -> Iterator[Engine]:
    """Give the engine of the database that a command names, and close it afterwards.

    :param must_exist: refuse a file of SQLite that is not there.
    """
    if bool(options.conn_id) == bool(options.url):
        raise VambeConfigError(
            "Say where the ledger is with either --conn-id or --url",
            fix="Tasks use `ledger_conn_id`, which for SqlToVambeTicketsOperator is its `sql_conn_id` by default.",
        )
    if options.conn_id:
        from vambe_provider.cli.connections import ledger_engine_of

        engine = ledger_engine_of(options.conn_id)
    else:
        engine = _engine_at(options.url, must_exist=must_exist)
    try:
        yield engine
    finally:
        engine.dispose()


def _engine_at(text: str, *, must_exist: bool) -> Engine:
    """Return the engine of a SQLAlchemy URL; an error never shows the URL, which may hold a password."""
    from sqlalchemy import create_engine
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    example = "Write it as postgresql+psycopg2://user@host/database, mysql+pymysql://… or sqlite:////path/to/file."
    try:
        url = make_url(text)
        engine = create_engine(url, hide_parameters=True)
    except (ArgumentError, ValueError):
        raise VambeConfigError("--url: this is not a SQLAlchemy URL of a known kind", fix=example) from None
    except ImportError as error:
        raise VambeConfigError(
            f"--url: the database driver {error.name} is not installed", fix="Install it, or name another in the URL."
        ) from None
    file = url.database if url.get_backend_name() == "sqlite" else None
    if must_exist and file and file != ":memory:" and not file.startswith("file:") and not Path(file).exists():
        raise VambeLedgerError(f"--url: there is no file {file}", fix="Tasks or `ledger create` make it.")
    return engine
