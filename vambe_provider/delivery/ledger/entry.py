"""What a person may see of the ledger's rows, and what a person may do with a row: plain data and pure rules."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from vambe_provider.delivery.ledger.schema import ledger
from vambe_provider.delivery.model import State
from vambe_provider.exceptions import VambeConfigError, VambeLedgerError

PERSON = "person"
"""The evidence of a row that a person decided; who it was is not recorded."""
YOUNGEST = timedelta(days=7)
"""What is pruned younger than this was most likely a slip of the finger."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A row of the ledger, as a person may see it; times are UTC."""

    namespace: str
    ticket_key: str
    key_text: str
    state: str
    generation: int
    attempts: int
    run: str
    lease_until: datetime | None
    due_at: datetime | None
    ai_contact_id: str | None
    evidence: str | None
    evidence_id: str | None
    error_kind: str | None
    error: str | None
    created_at: datetime
    started_at: datetime | None
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class Count:
    """How many tickets of a namespace are in a state, and when the first and the last of them came there."""

    namespace: str
    state: str
    tickets: int
    oldest: datetime
    newest: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which rows are meant; what is not given does not matter.

    :param namespace: exactly this one.
    :param states: in one of these states.
    :param run: last touched by a run whose name contains this.
    :param older_than: not changed for this long.
    :param newer_than: changed within this time.
    """

    namespace: str | None = None
    states: Sequence[State] = ()
    run: str | None = None
    older_than: timedelta | None = None
    newer_than: timedelta | None = None

    def conditions(self, now: datetime) -> list[Any]:
        """Return the SQL conditions, with ages as seen at ``now``."""
        found: list[Any] = []
        if self.namespace is not None:
            found.append(ledger.c.namespace == self.namespace)
        if self.states:
            found.append(ledger.c.state.in_([state.value for state in self.states]))
        if self.run is not None:
            found.append(ledger.c.run.contains(self.run, autoescape=True))
        if self.older_than is not None:
            found.append(ledger.c.updated_at < now - self.older_than)
        if self.newer_than is not None:
            found.append(ledger.c.updated_at >= now - self.newer_than)
        return found


def check_prunable(state: State) -> None:
    """Raise unless tickets in this state may be forgotten."""
    if state in (State.SENDING, State.UNKNOWN):
        raise VambeConfigError(
            f"Tickets in the state {state} are never pruned: nobody knows whether they were sent",
            fix=_other_way(state),
        )


def check_resolvable(entry: Entry, now: datetime, *, force: bool) -> None:
    """Raise unless this is a row of which nobody knows whether the ticket exists."""
    if entry.state == State.UNKNOWN:
        return
    if entry.state != State.SENDING:
        raise VambeLedgerError(
            f"{entry.key_text} is {entry.state}, so there is nothing to resolve", fix=_other_way(entry.state)
        )
    if not force and entry.lease_until is not None and entry.lease_until > now:
        left = (entry.lease_until - now).total_seconds()
        raise VambeLedgerError(
            f"{entry.key_text} is being sent by a worker, whose lease ends in {left:.0f} s",
            fix="Wait until then: the next run finds out by itself. With --force a wrong --not-sent sends it twice.",
        )


def check_retriable(entry: Entry) -> None:
    """Raise unless this ticket was surely not created."""
    if entry.state not in (State.REJECTED, State.FAILED):
        raise VambeLedgerError(f"{entry.key_text} is {entry.state}, not rejected", fix=_other_way(entry.state))


def _other_way(state: str) -> str:
    match state:
        case State.OPENED:
            return "To open it once more, run its task with resend=True."
        case State.REJECTED:
            return "To have it tried again, use `ledger retry`."
        case State.UNKNOWN:
            return "Look at the contact in Vambe, then use `ledger resolve`."
        case State.SENDING:
            return "The next run finds out what became of it."
        case _:
            return "The next run judges it anew by itself."


def resolved(entry: Entry, now: datetime, *, sent: bool, ai_contact_id: str | None) -> dict[str, Any]:
    """Return the columns that record a person's verdict."""
    freed = {"lease_until": None, "person_in_flight": None, "evidence": PERSON, "updated_at": now}
    if sent:
        contact = ai_contact_id or entry.ai_contact_id
        opened = {"state": State.OPENED.value, "ai_contact_id": contact, "error_kind": None, "error": None}
        return {**freed, **opened}
    # What was taken for a trace of this ticket belongs to another one then.
    return {**freed, "state": State.FAILED.value, "ai_contact_id": None, "evidence_id": None}
