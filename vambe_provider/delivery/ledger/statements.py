"""The SQL of the ledger: a handful of statements, compiled once and run for many rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.dialects import mysql, postgresql, sqlite

from vambe_provider.delivery.key import printable
from vambe_provider.delivery.ledger.decide import Decision, Known
from vambe_provider.delivery.ledger.schema import VERSION, ledger
from vambe_provider.delivery.model import State
from vambe_provider.exceptions import VambeLedgerError

if TYPE_CHECKING:
    from vambe_provider.delivery.key import TicketKey
    from vambe_provider.delivery.model import Settlement, Unsendable, Work
    from vambe_provider.exceptions import VambeError

_KEY = sa.and_(ledger.c.namespace == sa.bindparam("b_namespace"), ledger.c.ticket_key == sa.bindparam("b_ticket_key"))
_CLAIMED = ("run", "owner", "lease_until", "fingerprint", "message_hash", "person", "person_in_flight", "resent_by")
_REJECTED = ("run", "owner", "fingerprint", "error_kind", "error", "updated_at")

RETAKE = (
    sa.update(ledger)
    .where(_KEY, ledger.c.state == sa.bindparam("b_state"), ledger.c.attempts == sa.bindparam("b_attempts"))
    .values({
        "state": State.SENDING.value,
        "attempts": ledger.c.attempts + 1,
        **{name: sa.bindparam(f"v_{name}") for name in (*_CLAIMED, "generation", "started_at", "updated_at")},
    })
)  # fmt: skip
"""Every claim counts ``attempts`` up, so that of two who read the same row only one finds it as it was."""

FREE_PERSON = (
    sa.update(ledger)
    .where(
        ledger.c.person_in_flight == sa.bindparam("b_person"),
        sa.or_(ledger.c.lease_until.is_(None), ledger.c.lease_until <= sa.bindparam("b_now")),
    )
    .values(person_in_flight=None)
)
"""A worker that died keeps its ticket until it is reconciled, but not the person."""

REJECT = (
    sa.update(ledger)
    # Not in_(): SQLAlchemy cannot run that for many rows at once.
    .where(_KEY, sa.or_(ledger.c.state == State.REJECTED.value, ledger.c.state == State.FAILED.value))
    .values({"state": State.REJECTED.value, **{name: sa.bindparam(f"v_{name}") for name in _REJECTED}})
)

Row = dict[str, Any]

_OWN = ("ticket_key", "key_text", "fingerprint", "message_hash", "person", "person_in_flight", "error_kind", "error")
"""The columns in which the rows of one insert differ."""

SETTLED_AT_ONCE = 128
"""Tickets that one statement settles at most."""


def read(dialect: str, works: Sequence[Work]) -> tuple[Any, Row]:
    """Return the query, and its parameters, for what the ledger holds about these tickets: the key, then the fields of
    :class:`~vambe_provider.delivery.ledger.decide.Known`.
    """
    keys = [work.key.digest for work in works]
    return _read(array=dialect == "postgresql"), {"b_namespace": works[0].key.namespace, "a_ticket_key": keys}


@cache
def _read(*, array: bool) -> Any:
    if array:
        is_one = ledger.c.ticket_key == sa.any_(_array("ticket_key"))
    else:
        is_one = ledger.c.ticket_key.in_(sa.bindparam("a_ticket_key", expanding=True))
    columns = ("ticket_key", *Known._fields)
    return sa.select(*(ledger.c[name] for name in columns)).where(
        ledger.c.namespace == sa.bindparam("b_namespace"), is_one
    )


def settle(dialect: str, settlements: Sequence[Settlement], now: datetime) -> tuple[Any, Row]:
    """Return the update, and its parameters, that settles up to ``SETTLED_AT_ONCE`` tickets in one round trip.

    :param dialect: the kind of database.
    :param settlements: equal in :func:`alike`, so that they differ in nothing but ticket and contact.
    :param now: the ledger's clock.
    """
    first = settlements[0]
    opened = first.state == State.OPENED
    values: Row = {
        "b_namespace": first.claim.work.key.namespace,
        "v_state": first.state.value,
        "v_evidence": first.evidence,
        "v_evidence_id": _id(first.evidence_id),
        "v_error_kind": first.error.kind if first.error else None,
        "v_error": _text(first.error),
        "v_updated_at": now,
        **({"b_generation": first.claim.generation} if opened else {"b_owner": first.claim.owner}),
    }
    keys = [item.claim.work.key.digest for item in settlements]
    contacts = [_id(item.ai_contact_id) for item in settlements]
    if dialect == "postgresql":
        return _settle_arrays(opened=opened), values | {"a_ticket_key": keys, "a_ai_contact_id": contacts}
    # Few different lengths, so that each is compiled only once; naming the last ticket more than once does no harm.
    count = 1 << (len(settlements) - 1).bit_length()
    for number in range(count):
        given = min(number, len(settlements) - 1)
        values |= {f"b_key_{number}": keys[given], f"v_contact_{number}": contacts[given]}
    return _settle(count, opened=opened), values


def alike(item: Settlement) -> tuple[object, ...]:
    """Return what settlements must have in common to be written by one statement."""
    error = (item.error.kind, str(item.error)) if item.error else None
    guard = item.claim.generation if item.state == State.OPENED else item.claim.owner
    return item.claim.work.key.namespace, item.state, guard, item.evidence, item.evidence_id, error


@cache
def _settle(count: int, *, opened: bool) -> Any:
    keys = [sa.bindparam(f"b_key_{number}", type_=ledger.c.ticket_key.type) for number in range(count)]
    contacts = [
        (ledger.c.ticket_key == key, sa.bindparam(f"v_contact_{number}", type_=ledger.c.ai_contact_id.type))
        for number, key in enumerate(keys)
    ]
    return _settled(ledger.c.ticket_key.in_(keys), sa.case(*contacts), opened=opened)


@cache
def _settle_arrays(*, opened: bool) -> Any:
    own = _unnested("ticket_key", "ai_contact_id")
    # The second condition says nothing new, but with it PostgreSQL reads the table once, and not once for each ticket.
    is_one = sa.and_(ledger.c.ticket_key == own.c.ticket_key, ledger.c.ticket_key == sa.any_(_array("ticket_key")))
    return _settled(is_one, own.c.ai_contact_id, opened=opened)


def _settled(is_one: Any, contact: Any, *, opened: bool) -> Any:
    # A ticket that is surely open is recorded whoever holds the row now: the truth needs no lease. Anything else is
    # recorded only by the one who holds the row.
    if opened:
        may = ledger.c.generation == sa.bindparam("b_generation")
    else:
        may = sa.and_(ledger.c.state == State.SENDING.value, ledger.c.owner == sa.bindparam("b_owner"))
    told = ("state", "evidence", "evidence_id", "error_kind", "error", "updated_at")
    return (
        sa.update(ledger)
        .where(ledger.c.namespace == sa.bindparam("b_namespace"), is_one, may)
        .values({
            **{name: sa.bindparam(f"v_{name}") for name in told},
            "ai_contact_id": contact,
            "lease_until": None,
            "person_in_flight": None,
        })
    )  # fmt: skip


def insert_ignoring_known(dialect: str, rows: Sequence[Row]) -> tuple[Any, Row | Sequence[Row]]:
    """Return the insert, and its parameters, that leaves rows alone which break a unique constraint: the key's, or that
    of the person in flight.

    :param dialect: the kind of database.
    :param rows: equal in everything but ``_OWN``.
    """
    if dialect != "postgresql":
        return _insert(dialect), rows
    own = [name for name in rows[0] if name in _OWN]
    return _insert_arrays(tuple(rows[0])), rows[0] | {f"a_{name}": [row[name] for row in rows] for name in own}


@cache
def _insert(dialect: str) -> Any:
    if dialect == "sqlite":
        return sqlite.insert(ledger).on_conflict_do_nothing()
    return mysql.insert(ledger).on_duplicate_key_update(ticket_key=ledger.c.ticket_key)


@cache
def _insert_arrays(columns: tuple[str, ...]) -> Any:
    # SQLAlchemy would make one statement of each row when there is an ON CONFLICT, and repeat in each what all share.
    own = _unnested(*(name for name in columns if name in _OWN))
    values = [own.c[name] if name in _OWN else sa.bindparam(name, type_=ledger.c[name].type) for name in columns]
    return postgresql.insert(ledger).from_select(columns, sa.select(*values)).on_conflict_do_nothing()


def _unnested(*names: str) -> Any:
    """Return the table that PostgreSQL makes of one array for each column."""
    return sa.func.unnest(*map(_array, names)).table_valued(*names).render_derived(name="own")


def _array(name: str) -> Any:
    kind = postgresql.ARRAY(sa.Text)
    return sa.cast(sa.bindparam(f"a_{name}", type_=kind), kind)  # an array of nulls alone has no type by itself


def check_dialect(dialect: str) -> None:
    """Refuse a kind of database that does not promise unique keys, or has not been tried.

    :raises VambeLedgerError: names the kinds that will do.
    """
    if dialect not in ("postgresql", "sqlite", "mysql", "mariadb"):
        raise VambeLedgerError(
            f"The database kind {dialect!r} cannot hold the ledger",
            fix="Name a PostgreSQL, MySQL, MariaDB or SQLite connection as `ledger_conn_id`.",
        )


def new_row(work: Work, run: str, owner: str, now: datetime, until: datetime, resent_by: str | None) -> Row:
    """Return a first claim."""
    return _row(work.key, run, owner, work.fingerprint, now) | {
        "state": State.SENDING.value,
        "attempts": 1,
        "lease_until": until,
        "message_hash": work.message_hash,
        "person": work.person,
        "person_in_flight": work.person,
        "started_at": now,
        "resent_by": resent_by,
    }


def rejected_row(row: Unsendable, run: str, owner: str, now: datetime) -> Row:
    """Return a row that was refused before anything was sent."""
    assert row.key is not None  # noqa: S101 - only rows with a key are recorded
    return _row(row.key, run, owner, row.fingerprint, now) | {
        "state": State.REJECTED.value,
        "attempts": 0,
        "error_kind": row.error.kind if row.error else None,
        "error": _text(row.error),
    }


def retaken(work: Work, known_state: str, attempts: int, decision: Decision, claimed: Row, started: datetime) -> Row:
    """Return the parameters of ``RETAKE``."""
    return {
        "b_namespace": work.key.namespace,
        "b_ticket_key": work.key.digest,
        "b_state": known_state,
        "b_attempts": attempts,
        "v_generation": decision.generation,
        "v_started_at": started,
        **{f"v_{name}": claimed[name] for name in (*_CLAIMED, "updated_at")},
    }


def as_update(row: Mapping[str, Any]) -> Row:
    """Return the parameters of ``REJECT`` for a row made by :func:`rejected_row`."""
    key = {"b_namespace": row["namespace"], "b_ticket_key": row["ticket_key"]}
    return key | {f"v_{name}": row[name] for name in _REJECTED}


def _text(error: VambeError | None) -> str | None:
    return printable(" ".join(str(error).split()))[:1000] if error else None


def _id(text: str | None) -> str | None:
    # Whatever the API answers, an outcome must not get lost because a column is too short for it.
    return printable(text)[:100] if text else None


def _row(key: TicketKey, run: str, owner: str, fingerprint: str, now: datetime) -> Row:
    return {
        "namespace": key.namespace,
        "ticket_key": key.digest,
        "key_text": key.text,
        "generation": 0,
        "run": run,
        "owner": owner,
        "fingerprint": fingerprint,
        "created_at": now,
        "updated_at": now,
        "schema_version": VERSION,
    }
