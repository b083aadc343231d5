"""What a person may see of the ledger's rows: plain data, without the hashes of persons, messages and contents."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from vambe_provider.delivery.ledger.tables import ledger

if TYPE_CHECKING:
    from vambe_provider.delivery.model import State

YOUNGEST = timedelta(days=7)
"""What is pruned younger than this was most likely a slip of the finger."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A ticket, as a person may see it; times are UTC."""

    namespace: str
    account: str
    ticket_key: str
    key_text: str
    state: str
    generation: int
    opened: int | None
    attempts: int
    dag_run: str
    lease_until: datetime | None
    due_at: datetime | None
    ai_contact_id: str | None
    evidence: str | None
    error_kind: str | None
    error: str | None
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class Step:
    """An attempt at a ticket or a decision about it, as a person may see it; times are UTC."""

    namespace: str
    account: str
    ticket_key: str
    number: int
    generation: int
    reason: str
    dag_id: str
    task_id: str
    run_id: str
    map_index: int
    try_number: int
    sender: str
    started_at: datetime
    lease_until: datetime
    ended_at: datetime | None
    closed_at: datetime | None
    sent: str
    evidence: str | None
    evidence_id: str | None
    ai_contact_id: str | None
    error_kind: str | None
    error: str | None
    decision: str | None
    decided_by: str | None


@dataclass(frozen=True, slots=True)
class Count:
    """How many tickets of a namespace and account are in a state, and when the first and the last came there."""

    namespace: str
    account: str
    state: str
    tickets: int
    oldest: datetime
    newest: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which tickets are meant; what is not given does not matter.

    :param namespace: exactly this one.
    :param account: exactly this one.
    :param states: in one of these states.
    :param run: last touched by a Dag run whose ``dag/run`` contains this.
    :param older_than: not changed for this long.
    :param newer_than: changed within this time.
    """

    namespace: str | None = None
    account: str | None = None
    states: Sequence[State] = ()
    run: str | None = None
    older_than: timedelta | None = None
    newer_than: timedelta | None = None

    def conditions(self, now: datetime) -> list[Any]:
        """Return the SQL conditions, with ages as seen at ``now``."""
        found: list[Any] = []
        if self.namespace is not None:
            found.append(ledger.c.namespace == self.namespace)
        if self.account is not None:
            found.append(ledger.c.account == self.account)
        if self.states:
            found.append(ledger.c.state.in_([state.value for state in self.states]))
        if self.run is not None:
            found.append(ledger.c.dag_run.contains(self.run, autoescape=True))
        if self.older_than is not None:
            found.append(ledger.c.updated_at < now - self.older_than)
        if self.newer_than is not None:
            found.append(ledger.c.updated_at >= now - self.newer_than)
        return found
