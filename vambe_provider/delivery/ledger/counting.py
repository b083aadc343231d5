"""What the caps of a contact policy count, read within the transaction that claims.

Attempts count that reached somebody or may have. Two workers cannot both take the last slot: for a sender, each locks
the sender's row before it counts; for a person, each counts again after it has recorded its attempt, since only one
attempt to a person can be on its way.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.dialects import mysql, postgresql, sqlite

from vambe_provider.delivery.ledger import statements
from vambe_provider.delivery.ledger.tables import MAX_SENDER, attempts, senders, unindexed

if TYPE_CHECKING:
    from vambe_provider.contact_policy.facts import Needs
    from vambe_provider.delivery.ledger.database import Transaction
    from vambe_provider.delivery.options import DeliveryOptions


class Start(NamedTuple):
    """When an attempt at somebody began, and in which namespace."""

    moment: datetime
    namespace: str


def lock_senders(tx: Transaction, needs: Needs, options: DeliveryOptions) -> None:
    """Let nobody else count for the same sender until the transaction ends, where the policy counts for one."""
    names = set()
    if needs.new_people:
        names.add(_sender(options))
    for cap in needs.counts:
        if cap.per == "sender":
            names.add("" if cap.scope == "account" else _sender(options))
    if not names:
        return
    rows = [{"account": options.account, "sender": name} for name in sorted(names)]
    dialect = tx.connection.dialect.name
    tx.connection.execute(_new_senders(dialect), rows)
    if dialect != "sqlite":  # where the whole transaction has the lock
        tx.connection.execute(_LOCK, {"c_account": options.account, "k_sender": sorted(names)}).all()


def person_starts(
    tx: Transaction, dialect: str, persons: Sequence[str], since: datetime, *, besides: str = ""
) -> dict[str, list[Start]]:
    """Return when attempts at these persons began since a moment.

    :param besides: leave out the attempts of this owner.
    """
    found: dict[str, list[Start]] = {}
    shared = {"c_since": _there(since), "c_owner": besides}
    for statement, values in statements.of_persons(dialect, persons):
        for person, namespace, started in tx.connection.execute(statement, values | shared):
            found.setdefault(person, []).append(Start(_here(started), namespace))
    return found


def known_people(tx: Transaction, dialect: str, persons: Sequence[str], account: str) -> set[str]:
    """Return those of these persons to whom the account has written."""
    known: set[str] = set()
    for statement, values in statements.written_to(dialect, persons):
        known.update(tx.connection.execute(statement, values | {"c_account": account}).scalars())
    return known


def sender_starts(
    tx: Transaction, options: DeliveryOptions, since: datetime, *, limit: int, whole_account: bool
) -> list[datetime]:
    """Return when the newest attempts of a sender, or of the whole account, began since a moment, newest first.

    :param limit: so many at most.
    """
    values = {"c_account": options.account, "c_since": _there(since), "c_limit": limit}
    if whole_account:
        return [_here(moment) for moment in tx.connection.scalars(_OF_ACCOUNT, values)]
    return [_here(moment) for moment in tx.connection.scalars(_OF_SENDER, values | {"c_sender": _sender(options)})]


def new_people(tx: Transaction, options: DeliveryOptions, since: datetime, *, limit: int) -> list[datetime]:
    """Return when the sender wrote to each of the people to whom the account had not written before a moment.

    :param limit: the newest of them at most.
    """
    values = {
        "c_account": options.account,
        "c_sender": _sender(options),
        "c_since": _there(since),
        "c_limit": limit,
    }
    return [_here(moment) for _, moment in tx.connection.execute(_NEW_PEOPLE, values)]


def first_send(tx: Transaction, options: DeliveryOptions) -> datetime | None:
    """Return when the sender's first ticket was sent; None when there was none."""
    own = {"c_account": options.account, "c_sender": _sender(options)}
    kept = tx.connection.execute(_KEPT, own).scalar_one_or_none()
    if kept is None:
        # Counted once for each sender: from then on it is kept.
        kept = tx.connection.execute(_FIRST, own).scalar_one_or_none()
        if kept is not None:
            _keep(tx, own, kept)
    return None if kept is None else _here(kept)


def keep_first_send(tx: Transaction, options: DeliveryOptions) -> None:
    """Record that the sender's first ticket is being sent now."""
    _keep(tx, {"c_account": options.account, "c_sender": _sender(options)}, tx.now)


def _keep(tx: Transaction, own: dict[str, Any], moment: datetime) -> None:
    tx.connection.execute(_KEEP, own | {"c_first": moment})


def _sender(options: DeliveryOptions) -> str:
    return options.sender[:MAX_SENDER]


def _here(moment: datetime) -> datetime:
    """Return a moment of the database with its zone; everything here is by the database's clock."""
    return moment.replace(tzinfo=UTC)


def _there(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(tzinfo=None)


def _param(column: Any, name: str) -> Any:
    return sa.bindparam(name, type_=column.type)


_COUNTED = attempts.c.sent != "no"
_ACCOUNT = attempts.c.account == _param(attempts.c.account, "c_account")
_MINE = unindexed(attempts.c.sender) == _param(attempts.c.sender, "c_sender")
_RECENT = attempts.c.started_at >= _param(attempts.c.started_at, "c_since")
_LIMIT = sa.bindparam("c_limit", type_=sa.Integer)

_OF_ACCOUNT = (
    sa.select(attempts.c.started_at)
    .where(_ACCOUNT, _COUNTED, _RECENT)
    .order_by(attempts.c.started_at.desc())
    .limit(_LIMIT)
)
_OF_SENDER = _OF_ACCOUNT.where(_MINE)
_FIRST = sa.select(attempts.c.started_at).where(_ACCOUNT, _MINE, _COUNTED).order_by(attempts.c.started_at).limit(1)

_before = attempts.alias("before_it")
_NEW_PEOPLE = (
    sa.select(attempts.c.person, sa.func.min(attempts.c.started_at))
    .where(
        _ACCOUNT,
        _MINE,
        _COUNTED,
        _RECENT,
        attempts.c.person.is_not(None),
        ~sa.exists().where(
            _before.c.person == attempts.c.person,
            unindexed(_before.c.account) == _param(attempts.c.account, "c_account"),
            _before.c.sent != "no",
            _before.c.started_at < _param(attempts.c.started_at, "c_since"),
        ),
    )
    .group_by(attempts.c.person)
    .order_by(sa.func.min(attempts.c.started_at).desc())
    .limit(_LIMIT)
)

_OWN = (
    senders.c.account == _param(senders.c.account, "c_account"),
    senders.c.sender == _param(senders.c.sender, "c_sender"),
)
_KEPT = sa.select(senders.c.first_at).where(*_OWN)
_KEEP = (
    sa.update(senders).where(*_OWN, senders.c.first_at.is_(None)).values(first_at=_param(senders.c.first_at, "c_first"))
)
_LOCK = (
    sa.select(senders.c.sender)
    .where(_OWN[0], senders.c.sender.in_(sa.bindparam("k_sender", expanding=True)))
    .order_by(senders.c.sender)
    .with_for_update()
)


def _new_senders(dialect: str) -> Any:
    if dialect == "postgresql":
        return postgresql.insert(senders).on_conflict_do_nothing()
    if dialect == "sqlite":
        return sqlite.insert(senders).on_conflict_do_nothing()
    return mysql.insert(senders).on_duplicate_key_update(sender=senders.c.sender)
