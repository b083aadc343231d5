"""The one table of the ledger, and the database's own clock.

It holds keys, hashes, states, ids, counts and times; no message and no number. Times are UTC without a zone, taken
from the database, so that workers with wrong clocks agree about a lease.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import mysql
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.expression import FunctionElement

from vambe_provider.exceptions import VambeLedgerError

TABLE = "vambe_ticket_ledger"
VERSION = 1

_TIME = sa.DateTime().with_variant(mysql.DATETIME(fsp=6), "mysql").with_variant(mysql.DATETIME(fsp=6), "mariadb")
_HASH = sa.String(32)

metadata = sa.MetaData()
ledger = sa.Table(
    TABLE,
    metadata,
    sa.Column("namespace", sa.String(200), nullable=False),
    sa.Column("ticket_key", _HASH, nullable=False),
    sa.Column("key_text", sa.Unicode(250), nullable=False),
    sa.Column("state", sa.String(12), nullable=False),
    sa.Column("generation", sa.Integer, nullable=False, default=0),
    sa.Column("attempts", sa.Integer, nullable=False, default=0),
    sa.Column("run", sa.String(250), nullable=False),
    sa.Column("owner", sa.String(40)),
    sa.Column("lease_until", _TIME),
    sa.Column("due_at", _TIME),
    sa.Column("fingerprint", _HASH, nullable=False),
    sa.Column("message_hash", _HASH),
    sa.Column("person", _HASH),
    # The person while the ticket is being sent, null otherwise. It is unique, so that one person never has two
    # tickets on their way.
    sa.Column("person_in_flight", _HASH, unique=True),
    sa.Column("ai_contact_id", sa.String(100)),
    sa.Column("evidence", sa.String(20)),
    sa.Column("evidence_id", sa.String(100)),
    sa.Column("error_kind", sa.String(40)),
    sa.Column("error", sa.UnicodeText),
    sa.Column("resent_by", _HASH),
    sa.Column("created_at", _TIME, nullable=False),
    sa.Column("started_at", _TIME),
    sa.Column("updated_at", _TIME, nullable=False),
    sa.Column("schema_version", sa.SmallInteger, nullable=False, default=VERSION),
    # The key first: without statistics PostgreSQL takes one namespace for few rows, and would read all of them.
    sa.PrimaryKeyConstraint("ticket_key", "namespace"),
    sa.Index(f"ix_{TABLE}_state", "state", "updated_at"),
    sa.Index(f"ix_{TABLE}_person", "person"),
    mysql_charset="utf8mb4",
    mysql_collate="utf8mb4_bin",
    mariadb_charset="utf8mb4",
    mariadb_collate="utf8mb4_bin",
)


class utc_now(FunctionElement[datetime]):  # noqa: N801 - named as SQLAlchemy names its functions
    """The database's clock, in UTC, as it is now and not as it was when the transaction began."""

    type = sa.DateTime()
    inherit_cache = True


@compiles(utc_now)
def _standard(*_: Any, **__: Any) -> str:
    return "CURRENT_TIMESTAMP"


@compiles(utc_now, "postgresql")
def _postgresql(*_: Any, **__: Any) -> str:
    return "(clock_timestamp() AT TIME ZONE 'UTC')"


@compiles(utc_now, "mysql")
@compiles(utc_now, "mariadb")
def _mysql(*_: Any, **__: Any) -> str:
    return "UTC_TIMESTAMP(6)"


@compiles(utc_now, "sqlite")
def _sqlite(*_: Any, **__: Any) -> str:
    return "strftime('%Y-%m-%d %H:%M:%f000', 'now')"


def ensure_table(engine: sa.engine.Engine, *, create: bool) -> None:
    """Make sure that the ledger's table is there and can be used.

    :param create: make it when it is missing; otherwise a missing table is an error.
    :raises VambeLedgerError: when it is missing and may not be made, or was written by a newer provider.
    """
    found = sa.inspect(engine).has_table(TABLE)
    if not found and not create:
        raise VambeLedgerError(
            f"The table {TABLE} does not exist",
            fix="Run `python -m vambe_provider ledger create --conn-id …` with a user who may create tables.",
        )
    if not found:
        create_table(engine)
    with engine.connect() as connection:
        version = connection.scalar(sa.select(ledger.c.schema_version).limit(1))
    if version is not None and version > VERSION:
        raise VambeLedgerError(
            f"The table {TABLE} has the schema version {version}, this provider knows {VERSION}",
            fix="Upgrade the provider.",
        )


def create_table(engine: sa.engine.Engine) -> None:
    """Create the table, also when another worker does the same at this moment."""
    try:
        metadata.create_all(engine, tables=[ledger], checkfirst=True)
    except sa.exc.DBAPIError:
        if not sa.inspect(engine).has_table(TABLE):
            raise
