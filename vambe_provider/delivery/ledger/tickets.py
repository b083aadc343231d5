"""The rows of some tickets within one transaction: read once, changed in memory, and written where they differ."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

from vambe_provider.delivery.ledger import statements
from vambe_provider.delivery.ledger.tables import ledger
from vambe_provider.delivery.model import Attempt, Reason, Sent, State
from vambe_provider.delivery.rules import Known

if TYPE_CHECKING:
    from vambe_provider.delivery.key import TicketKey
    from vambe_provider.delivery.ledger.database import Transaction
    from vambe_provider.delivery.options import DeliveryOptions

_STATES = {state.value: state for state in State}
_REASONS = {reason.value: reason for reason in Reason}
_SENT = {sent.value: sent for sent in Sent}


class Tickets:
    """What the ledger holds about some tickets, in every account.

    :param tx: the transaction.
    :param dialect: the kind of database.
    :param keys: the tickets.
    :param account: the account whose rows may be changed.
    :param lock: keep others from changing the rows until the transaction ends.
    """

    def __init__(
        self, tx: Transaction, dialect: str, keys: Sequence[TicketKey], account: str, *, lock: bool = False
    ) -> None:
        self._tx, self._dialect, self._account = tx, dialect, account
        self._keys = {key.digest: key for key in keys}
        self._found = read_known(tx, dialect, sorted(self._keys), lock=lock)
        self._before = {
            digest: row for digest, rows in self._found.items() for row in rows if row.account == self._account
        }
        self._now = dict(self._before)

    def own(self, digest: str) -> Known | None:
        """Return the ticket's row in this account, with what was changed so far."""
        return self._now.get(digest)

    def everywhere(self, digest: str) -> list[Known]:
        """Return the ticket's rows in every account, with what was changed so far."""
        own, found = self._now.get(digest), self._found.get(digest)
        if found is None:
            return [] if own is None else [own]
        others = [row for row in found if row.account != self._account]
        return others if own is None else [own, *others]

    def become(self, digest: str, row: Known) -> None:
        """Change the ticket's row in this account."""
        self._now[digest] = row

    def write(self) -> None:
        """Write what differs from what was read: nothing when nothing differs.

        :raises sqlalchemy.exc.IntegrityError: when another transaction has made a row meanwhile that was not there.
        """
        new = [self._new(digest, row) for digest, row in self._now.items() if digest not in self._before]
        if new:
            self._tx.connection.execute(*statements.add(self._dialect, ledger, new))
        changes = []
        for digest, before in self._before.items():
            row = self._now[digest]
            if row is not before and (differing := _difference(before, row)):
                changes.append(self._key(digest) | differing | {"updated_at": self._tx.now})
        change(self._tx, self._dialect, ledger, changes)

    def _key(self, digest: str) -> statements.Row:
        return {"ticket_key": digest, "namespace": self._keys[digest].namespace, "account": self._account}

    def _new(self, digest: str, row: Known) -> statements.Row:
        made = {"key_text": self._keys[digest].text, "created_at": self._tx.now, "updated_at": self._tx.now}
        return self._key(digest) | made | _difference(None, row)


def _difference(before: Known | None, row: Known) -> statements.Row:
    if before is None:
        values = row._asdict()
        del values["account"]
        return values
    return {
        name: new for name, old, new in zip(Known._fields, before, row, strict=True) if old is not new and old != new
    }


def change(tx: Transaction, dialect: str, table: Any, rows: Sequence[statements.Row]) -> None:
    """Write new values of rows that are given by their primary keys; those with the same columns at once."""
    groups: dict[tuple[str, ...], list[statements.Row]] = {}
    for row in rows:
        groups.setdefault(tuple(row), []).append(row)
    for group in groups.values():
        for statement in statements.change(dialect, table, group):
            tx.connection.execute(*statement)


def read_known(tx: Transaction, dialect: str, keys: Sequence[str], *, lock: bool = False) -> dict[str, list[Known]]:
    """Return what the ledger holds about each of these tickets, in every account."""
    found: dict[str, list[Known]] = {}
    for statement in statements.known(dialect, keys, lock=lock) if keys else ():
        for digest, account, state, *others in tx.connection.execute(*statement):
            row = Known(account, state_of(state), *others)
            found.setdefault(digest, []).append(row)
    return found


def read_attempts(
    tx: Transaction, dialect: str, keys: Sequence[str], options: DeliveryOptions
) -> dict[str, list[tuple[Attempt, str]]]:
    """Return the attempts of this account at each of these tickets that are undecided or of this Dag run, in order,
    each with its owner.
    """
    found: dict[str, list[tuple[Attempt, str]]] = {}
    origin = options.origin
    for statement in statements.attempts_of(dialect, sorted(keys), origin.dag, origin.run) if keys else ():
        for row in tx.connection.execute(*statement):
            if row.account == options.account:
                found.setdefault(row.ticket_key, []).append((to_attempt(tx, row), row.owner))
    for made in found.values():
        made.sort(key=lambda item: item[0].number)
    return found


def state_of(text: str) -> State:
    """Return a state as the ledger holds it; one that this provider does not know stays a text, which no rule names."""
    return _STATES.get(text) or cast("State", text)


def to_attempt(tx: Transaction, row: Any) -> Attempt:
    """Return an attempt whose columns :data:`~vambe_provider.delivery.ledger.statements.ATTEMPT` were read."""
    return Attempt(
        ticket_key=row.ticket_key,
        namespace=row.namespace,
        account=row.account,
        number=row.number,
        generation=row.generation,
        reason=_REASONS[row.reason],
        person=row.person or "",
        fingerprint=row.fingerprint or "",
        message_hash=row.message_hash,
        started=tx.here(row.started_at),
        ended=tx.here(row.ended_at or row.lease_until),
        sent=_SENT[row.sent],
        ai_contact_id=row.ai_contact_id,
        evidence_id=row.evidence_id,
        dag_run=f"{row.dag_id}/{row.run_id}",
    )


def begin(tx: Transaction, dialect: str, rows: Sequence[statements.Row], owner: str) -> set[str]:
    """Record attempts, and return the tickets at which they are recorded.

    Left out are those whose number another has taken, or whose person has a request on its way.
    """
    if not rows:
        return set()
    # Always in the same order, so that two workers with the same tickets or persons do not wait for each other in a
    # circle.
    ordered = sorted(rows, key=lambda row: (row["person"] or "", row["ticket_key"]))
    result = tx.connection.execute(*statements.begin(dialect, ordered))
    if dialect == "postgresql":
        return set(result.scalars())
    found: set[str] = set()
    for statement in statements.owned(dialect, [row["ticket_key"] for row in ordered], owner):
        found.update(tx.connection.execute(*statement).scalars())
    return found


def close(attempt: Attempt, **values: Any) -> statements.Row:
    """Return the change of an attempt's row; whatever became of it, nothing of it is on its way any more."""
    return {
        "ticket_key": attempt.ticket_key,
        "namespace": attempt.namespace,
        "account": attempt.account,
        "number": attempt.number,
        "in_flight": None,
        **values,
    }
