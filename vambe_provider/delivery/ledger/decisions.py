"""What a person may decide about a ticket, and what follows from it: pure functions from what is known to what is known
then.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING

from vambe_provider.delivery.ledger.changes import id_of, is_ruled_out
from vambe_provider.delivery.model import Evidence, Sent, State
from vambe_provider.delivery.rules import UNDECIDED
from vambe_provider.exceptions import VambeConfigError, VambeLedgerError

if TYPE_CHECKING:
    from collections.abc import Callable

    from vambe_provider.delivery.model import Attempt
    from vambe_provider.delivery.rules import Known

PERSON = Evidence.PERSON.value


class Choice(StrEnum):
    """What a person decides about a ticket."""

    SENT = "sent"
    """It exists: it is never sent again."""
    NOT_SENT = "not_sent"
    """It does not exist: the next run sends it."""
    RETRY = "retry"
    """Its cause is mended, or it was ruled out by mistake: the next run tries it again."""
    NEVER = "never"
    """It is never sent, whatever a query returns."""


@dataclass(frozen=True, slots=True)
class Case:
    """A ticket about which a person decides.

    :param text: how it is called in texts.
    :param known: its row.
    :param doubted: the attempt that may or may not have been carried out; None when there is none.
    :param now: the ledger's clock.
    :param command: returns a command for this ticket that works as printed.
    """

    text: str
    known: Known
    doubted: Attempt | None
    now: datetime
    command: Callable[[str], str]


def check(case: Case, choice: Choice, *, force: bool = False) -> None:
    """Refuse a decision that does not fit to what is known.

    :param force: also while a worker may be sending the ticket.
    :raises VambeLedgerError: says what fits.
    """
    state: str = case.known.state
    if choice in (Choice.SENT, Choice.NOT_SENT):
        _check_resolvable(case, force=force)
    elif choice == Choice.RETRY:
        if state not in (State.REJECTED, State.FAILED) and not is_ruled_out(case.known):
            raise VambeLedgerError(f"{case.text} is {state}, so there is nothing to retry", fix=_other_way(case))
        if case.doubted is not None:
            raise VambeLedgerError(
                f"{case.text} was ruled out while nobody knew whether it exists",
                fix=f"Look at the contact in Vambe, then run `{case.command('resolve')} --sent` or `--not-sent`.",
            )
    elif state in (State.SENDING, State.OPENED) or is_ruled_out(case.known):
        raise VambeLedgerError(f"{case.text} is {state}, so there is nothing to rule out", fix=_other_way(case))


def decided(case: Case, choice: Choice, *, owner: str, ai_contact_id: str | None = None) -> Known:
    """Return the ticket's row after a decision.

    :param owner: who writes it.
    :param ai_contact_id: the contact of a ticket that exists, when the person knows it.
    """
    known = case.known._replace(
        owner=owner,
        attempts=case.known.attempts + 1,
        lease_until=None,
        due_at=None,
        evidence=PERSON,
    )
    match choice:
        case Choice.SENT:
            return _found(known, case.doubted, ai_contact_id)
        case Choice.NEVER:
            return known._replace(state=State.SUPPRESSED)
        case Choice.NOT_SENT | Choice.RETRY if known.opened is not None:
            # An older generation is open, and stays so.
            return known._replace(state=State.OPENED, evidence=case.known.evidence, error_kind=None, error=None)
        case Choice.NOT_SENT:
            # What was taken for a trace of this ticket belongs to another one then.
            return known._replace(state=State.FAILED, ai_contact_id=None)
        case Choice.RETRY:
            return known._replace(state=State.FAILED, row_hash=None)


def verdict_of(choice: Choice) -> Sent:
    """Return what a decision says about the attempt that was in doubt."""
    return {Choice.SENT: Sent.YES, Choice.NOT_SENT: Sent.NO}.get(choice, Sent.MAYBE)


def check_prunable(state: State) -> None:
    """Refuse to forget tickets that may or may not have been sent."""
    if state in UNDECIDED:
        raise VambeConfigError(
            f"Tickets in the state {state} are never pruned: nobody knows whether they were sent",
            fix="Look at the contacts in Vambe, then use `ledger resolve`."
            if state == State.UNKNOWN
            else "The next run finds out what became of them.",
        )


def _check_resolvable(case: Case, *, force: bool) -> None:
    known = case.known
    if known.state == State.UNKNOWN or (is_ruled_out(known) and case.doubted is not None):
        return
    if known.state != State.SENDING:
        raise VambeLedgerError(f"{case.text} is {known.state}, so there is nothing to resolve", fix=_other_way(case))
    if not force and known.lease_until is not None and known.lease_until > case.now:
        left = (known.lease_until - case.now).total_seconds()
        raise VambeLedgerError(
            f"{case.text} is being sent by a worker, whose lease ends in {left:.0f} s",
            fix="Wait until then: the next run finds out by itself. With --force a wrong --not-sent sends it twice.",
        )


def _found(known: Known, doubted: Attempt | None, ai_contact_id: str | None) -> Known:
    contact = id_of(ai_contact_id) or (doubted and doubted.ai_contact_id) or known.ai_contact_id
    found = known._replace(
        state=State.OPENED, opened=known.generation, ai_contact_id=contact, error_kind=None, error=None
    )
    if doubted is None:
        return found
    return found._replace(
        opened=doubted.generation, fingerprint=doubted.fingerprint or None, person=doubted.person or None
    )


def _other_way(case: Case) -> str:
    state: str = case.known.state
    match state:
        case State.OPENED:
            return "It is not sent again by itself. To open it once more, run its task with resend=True."
        case State.REJECTED:
            return f"To have it tried again, run `{case.command('retry')}`."
        case State.UNKNOWN:
            return f"Look at the contact in Vambe, then run `{case.command('resolve')} --sent` or `--not-sent`."
        case State.SENDING:
            return "The next run finds out what became of it."
        case State.SUPPRESSED if is_ruled_out(case.known):
            return f"A person ruled it out. To take that back, run `{case.command('retry')}`."
        case _:
            return "The next run judges it anew by itself."
