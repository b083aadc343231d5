"""The tables of the ledger, and the database's own clock.

They hold keys, hashes, states, ids, counts and times; no message, no number and no name. Times are UTC without a zone,
taken from the database, so that workers with wrong clocks agree about a lease.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import mysql
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.expression import FunctionElement

TABLE = "vambe_ticket_ledger"
ATTEMPTS = "vambe_ticket_attempts"
SUPPRESSIONS = "vambe_ticket_suppressions"
SENDERS = "vambe_ticket_senders"
SCHEMA = "vambe_ticket_schema"
VERSION = 2

MAX_ACCOUNT, MAX_DAG_RUN, MAX_SENDER, MAX_ID, MAX_ERROR, MAX_NAME = 255, 501, 200, 100, 1000, 100
"""Characters that the columns hold."""

_TIME = sa.DateTime().with_variant(mysql.DATETIME(fsp=6), "mysql").with_variant(mysql.DATETIME(fsp=6), "mariadb")
_HASH = sa.String(32)
_BINARY: dict[str, Any] = {
    "mysql_charset": "utf8mb4",
    "mysql_collate": "utf8mb4_bin",
    "mariadb_charset": "utf8mb4",
    "mariadb_collate": "utf8mb4_bin",
}


def _key() -> list[sa.Column[Any]]:
    # The key's digest first: it alone finds the row, since it is made of the namespace too.
    return [
        sa.Column("ticket_key", _HASH, primary_key=True),
        sa.Column("namespace", sa.String(200), primary_key=True),
        sa.Column("account", sa.String(MAX_ACCOUNT), primary_key=True),
    ]


metadata = sa.MetaData()

attempts = sa.Table(
    ATTEMPTS,
    metadata,
    *_key(),
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("generation", sa.Integer, nullable=False),
    sa.Column("reason", sa.String(10), nullable=False),
    sa.Column("dag_id", sa.String(250), nullable=False),
    sa.Column("task_id", sa.String(250), nullable=False),
    sa.Column("run_id", sa.String(250), nullable=False),
    sa.Column("map_index", sa.Integer, nullable=False),
    sa.Column("try_number", sa.Integer, nullable=False),
    sa.Column("sender", sa.String(MAX_SENDER), nullable=False),
    sa.Column("person", _HASH),
    sa.Column("fingerprint", _HASH),
    sa.Column("message_hash", _HASH),
    sa.Column("owner", sa.String(40), nullable=False),
    sa.Column("started_at", _TIME, nullable=False),
    # The end of its lease, with the longest that its last request may run: later nothing of it can happen.
    sa.Column("lease_until", _TIME, nullable=False),
    # When it surely had happened, where that is known better.
    sa.Column("ended_at", _TIME),
    sa.Column("closed_at", _TIME),
    sa.Column("sent", sa.String(5), nullable=False),
    sa.Column("evidence", sa.String(20)),
    sa.Column("evidence_id", sa.String(MAX_ID)),
    sa.Column("ai_contact_id", sa.String(MAX_ID)),
    sa.Column("error_kind", sa.String(40)),
    sa.Column("error", sa.UnicodeText),
    sa.Column("decision", sa.String(10)),
    sa.Column("decided_by", sa.Unicode(MAX_NAME)),
    # The person while the request may be under way, null otherwise. It is unique, so that one number never has two
    # requests on their way, whatever their namespace and account.
    sa.Column("in_flight", _HASH, unique=True),
    sa.Index(f"ix_{ATTEMPTS}_person", "person", "started_at"),
    sa.Index(f"ix_{ATTEMPTS}_account", "account", "started_at"),
    **_BINARY,
)

# No index on a column that a settlement changes: PostgreSQL can then write the row's next version beside it.
ledger = sa.Table(
    TABLE,
    metadata,
    *_key(),
    sa.Column("key_text", sa.Unicode(250), nullable=False),
    sa.Column("state", sa.String(12), nullable=False),
    sa.Column("generation", sa.Integer, nullable=False),
    sa.Column("opened", sa.Integer),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("dag_run", sa.String(MAX_DAG_RUN), nullable=False),
    sa.Column("owner", sa.String(40)),
    sa.Column("lease_until", _TIME),
    sa.Column("due_at", _TIME),
    sa.Column("fingerprint", _HASH),
    sa.Column("row_hash", _HASH),
    sa.Column("person", _HASH),
    sa.Column("ai_contact_id", sa.String(MAX_ID)),
    sa.Column("evidence", sa.String(20)),
    sa.Column("error_kind", sa.String(40)),
    sa.Column("error", sa.UnicodeText),
    sa.Column("created_at", _TIME, nullable=False),
    sa.Column("updated_at", _TIME, nullable=False),
    sa.Index(f"ix_{TABLE}_namespace", "namespace", "created_at"),
    **_BINARY,
)

suppressions = sa.Table(
    SUPPRESSIONS,
    metadata,
    sa.Column("person", _HASH, primary_key=True),
    # One of the purposes of a policy, or ALL_PURPOSES.
    sa.Column("purpose", sa.String(20), primary_key=True),
    # A person has a row for every spelling under which a ticket may be addressed to them; one of the rows counts.
    sa.Column("counts", sa.Boolean, nullable=False),
    sa.Column("source", sa.String(20), nullable=False),
    sa.Column("added_at", _TIME, nullable=False),
    sa.Column("added_by", sa.Unicode(MAX_NAME)),
    **_BINARY,
)
"""Who must not be contacted, and for which purpose. Nothing that forgets tickets touches it."""

ALL_PURPOSES = "all"

senders = sa.Table(
    SENDERS,
    metadata,
    sa.Column("account", sa.String(MAX_ACCOUNT), primary_key=True),
    # Empty for the row of the whole account.
    sa.Column("sender", sa.String(MAX_SENDER), primary_key=True),
    # When its first ticket was sent, also after the ledger has forgotten that ticket.
    sa.Column("first_at", _TIME),
    **_BINARY,
)
"""Senders whose tickets a contact policy counts; whoever claims for one of them locks its row first."""

schema = sa.Table(
    SCHEMA,
    metadata,
    sa.Column("id", sa.SmallInteger, primary_key=True, autoincrement=False),
    sa.Column("version", sa.Integer, nullable=False),
    # Tells whether the secret of the hashes of persons is still the one with which they were made.
    sa.Column("person_check", _HASH),
    # When a list of people who must not be contacted was imported last.
    sa.Column("imported_at", _TIME),
    **_BINARY,
)
"""One row."""


# Room in each page for what becomes of its rows, so that most settlements touch no index.
_roomy: Any = sa.DDL(f"ALTER TABLE {TABLE} SET (fillfactor = 70)")  # type: ignore[no-untyped-call]
sa.event.listen(ledger, "after_create", _roomy.execute_if(dialect="postgresql"))

# InnoDB keeps rows in the order of their primary key, and every index of a table holds it. In the order of digests a
# million known rows need half a gigabyte of buffer pool to be found quickly; in the order of arrival they do not.
for _table in (attempts, ledger):
    _columns = ", ".join(column.name for column in _table.primary_key)
    _in_order: Any = sa.DDL(  # type: ignore[no-untyped-call]
        f"ALTER TABLE {_table.name} DROP PRIMARY KEY, ADD UNIQUE KEY uq_{_table.name} ({_columns}), "
        "ADD COLUMN arrival BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY"
    )
    sa.event.listen(_table, "after_create", _in_order.execute_if(dialect=("mysql", "mariadb")))


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


class unindexed(FunctionElement[Any]):  # noqa: N801 - named as SQLAlchemy names its functions
    """A text column by which no index may be chosen.

    Without statistics SQLite and PostgreSQL take one equality for as good as another, and would read a whole account to
    find the rows of a few keys or of one person.
    """

    inherit_cache = True


@compiles(unindexed)
def _as_it_is(element: Any, compiler: Any, **more: Any) -> str:
    return str(compiler.process(element.clauses, **more))


@compiles(unindexed, "sqlite")
def _with_plus(element: Any, compiler: Any, **more: Any) -> str:
    return f"+{compiler.process(element.clauses, **more)}"


@compiles(unindexed, "postgresql")
def _with_nothing_added(element: Any, compiler: Any, **more: Any) -> str:
    return f"({compiler.process(element.clauses, **more)} || '')"
