"""What follows from a decision and from a settlement: pure functions from what is known to what is known then. Every
home of the ledger uses them.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from vambe_provider.delivery.key import printable
from vambe_provider.delivery.model import Attempt, Claim, Evidence, Outcome, State, Verdict
from vambe_provider.delivery.rules import UNDECIDED, Known

if TYPE_CHECKING:
    from vambe_provider.delivery.model import Settlement, Unsendable, Withheld, Work
    from vambe_provider.delivery.options import DeliveryOptions
    from vambe_provider.delivery.permission import Ruling
    from vambe_provider.delivery.rules import Decision
    from vambe_provider.exceptions import VambeError

IS_OPEN = (Outcome.OPENED, Outcome.RECONCILED)
"""The outcomes that say that the attempt opened the ticket."""
_ENDS = {
    Outcome.REJECTED: State.REJECTED,
    Outcome.FAILED: State.FAILED,
    Outcome.UNKNOWN: State.UNKNOWN,
    Outcome.POSTPONED: State.POSTPONED,
    Outcome.SKIPPED: State.POSTPONED,
    Outcome.SUPPRESSED: State.SUPPRESSED,
}
_JUDGED = (State.REJECTED, State.FAILED, State.POSTPONED, State.SUPPRESSED)
"""The states of a ticket that surely was not sent, which a policy may change."""
_MAX_ERROR = 1000


def taken(
    known: Known | None, work: Work, decision: Decision, options: DeliveryOptions, *, owner: str, until: datetime
) -> Known:
    """Return the row of a ticket that was taken, to be posted or to be looked for."""
    if known is None:
        return Known(
            account=options.account,
            state=State.SENDING,
            generation=decision.generation,
            opened=None,
            attempts=1,
            dag_run=options.origin.dag_run,
            owner=owner,
            fingerprint=work.fingerprint,
            row_hash=None,
            person=work.person,
            lease_until=until,
        )
    mine = known._replace(state=State.SENDING, owner=owner, lease_until=until, dag_run=options.origin.dag_run)
    if decision.verdict == Verdict.CHECK:
        return mine  # what is looked for is the attempt that was made, whatever the row says today
    mine = mine._replace(generation=decision.generation, attempts=known.attempts + 1, row_hash=None, due_at=None)
    if known.opened is not None:
        return mine  # the row goes on to tell of the generation that is open
    contact = known.ai_contact_id if known.person == work.person else None
    return mine._replace(
        fingerprint=work.fingerprint,
        person=work.person,
        ai_contact_id=contact,
        evidence=None,
        error_kind=None,
        error=None,
    )


def begun(
    known: Known | None, work: Work, decision: Decision, options: DeliveryOptions, *, started: float, ended: float
) -> Attempt:
    """Return the attempt that a decision to send begins.

    :param known: what the ledger knew of the ticket before.
    """
    return Attempt(
        ticket_key=work.key.digest,
        namespace=work.key.namespace,
        account=options.account,
        number=known.attempts + 1 if known else 1,
        generation=decision.generation,
        reason=decision.reason,
        person=work.person,
        fingerprint=work.fingerprint,
        message_hash=work.message_hash,
        started=started,
        ended=ended,
        dag_run=options.origin.dag_run,
    )


def answer(
    work: Work,
    rows: Sequence[Known],
    decision: Decision,
    options: DeliveryOptions,
    *,
    owner: str = "",
    attempt: Attempt | None = None,
    expires: float = 0.0,
    epoch: int = 0,
    ruling: Ruling | None = None,
) -> Claim:
    """Return the claim that follows from a decision.

    :param rows: what is known of the ticket in every account.
    :param ruling: why it is held back.
    """
    own = next((row for row in rows if row.account == options.account), None)
    elsewhere = decision.elsewhere
    if elsewhere is None and decision.verdict == Verdict.SEND:
        elsewhere = next((row.account for row in rows if row is not own and row.state == State.OPENED), None)
    given = decision.verdict in (Verdict.SEND, Verdict.CHECK)
    return Claim(
        work=work,
        verdict=decision.verdict,
        owner=owner if given else "",
        attempt=attempt,
        expires=expires if given else 0.0,
        epoch=epoch,
        wait=decision.wait,
        ai_contact_id=own.ai_contact_id if own else None,
        dag=own.dag_run.partition("/")[0] if own else "",
        same_run=own is not None and own.dag_run == options.origin.dag_run,
        changed=decision.changed,
        elsewhere=elsewhere,
        ruling=ruling,
    )


def settled(known: Known, item: Settlement) -> Known:
    """Return the row after what became of a claim was recorded; the same row when that changes nothing.

    That a ticket is open is recorded whoever holds the row now: the truth needs no lease. Anything else is recorded
    only by the one who holds it.
    """
    if item.outcome in IS_OPEN:
        return _opened(known, item)
    if not is_held(known, item.claim.owner):
        return known
    over = known._replace(lease_until=None, error_kind=kind_of(item.error), error=text_of(item.error))
    state = _ENDS[item.outcome]
    if known.opened is not None:
        # An open generation stays open, whatever becomes of a newer one.
        if state == State.UNKNOWN:
            return over._replace(state=state)
        return known._replace(state=State.OPENED, lease_until=None, error_kind=None, error=None)
    return over._replace(
        state=state,
        evidence=item.evidence.value,
        ai_contact_id=id_of(item.ai_contact_id) or known.ai_contact_id,
        row_hash=item.claim.work.row_hash if state == State.REJECTED else known.row_hash,
        due_at=item.due,
    )


def _opened(known: Known, item: Settlement) -> Known:
    made = item.claim.made
    ruled_out = is_ruled_out(known)
    if ruled_out or (known.attempts > made.number and known.state in UNDECIDED):
        state, until = known.state, known.lease_until
    else:
        state, until = State.OPENED, None
    if known.opened is not None and known.opened >= made.generation:
        # That generation is known to be open.
        if state == known.state:
            return known
        return known._replace(state=state, lease_until=until, error_kind=None, error=None)
    contact = known.ai_contact_id if known.person == made.person else None
    return known._replace(
        state=state,
        lease_until=until,
        opened=made.generation,
        fingerprint=made.fingerprint,
        person=made.person,
        ai_contact_id=id_of(item.ai_contact_id) or made.ai_contact_id or contact,
        evidence=known.evidence if ruled_out else item.evidence.value,
        error_kind=None,
        error=None,
    )


def refused(known: Known | None, row: Unsendable, options: DeliveryOptions, *, owner: str) -> Known:
    """Return the row of a ticket whose data validation refused."""
    if known is None:
        known = Known(options.account, State.REJECTED, 0, None, 0, options.origin.dag_run, owner, None, None, None)
    return known._replace(
        state=State.REJECTED,
        dag_run=options.origin.dag_run,
        owner=owner,
        row_hash=row.row_hash,
        due_at=None,
        evidence=Evidence.VALIDATION.value,
        error_kind=kind_of(row.error),
        error=text_of(row.error),
    )


def withheld(
    known: Known | None, item: Withheld, options: DeliveryOptions, *, owner: str, due: datetime | None
) -> Known:
    """Return the row of a ticket that a contact policy does not let go now; the same row where that says nothing new of
    a ticket that is open, undecided, or ruled out by a person.

    :param due: when the policy allows it, by the ledger's clock.
    """
    if known is None:
        known = Known(options.account, State.POSTPONED, 0, None, 0, options.origin.dag_run, owner, None, None, None)
    elif known.opened is not None or is_ruled_out(known) or known.state not in _JUDGED:
        return known
    state = _ENDS[item.ruling.outcome]
    return known._replace(
        state=state,
        dag_run=options.origin.dag_run,
        owner=owner,
        row_hash=item.work.row_hash if state == State.REJECTED else None,
        due_at=due,
        evidence=Evidence.POLICY.value,
        error_kind=printable(item.ruling.reason)[:40],
        error=printable(item.ruling.text)[:_MAX_ERROR],
    )


def seeded(options: DeliveryOptions, *, owner: str) -> Known:
    """Return the row of a ticket that is recorded as done without being sent."""
    opened = Known(options.account, State.OPENED, 0, 0, 1, options.origin.dag_run, owner, None, None, None)
    return opened._replace(evidence=Evidence.SEEDED.value)


def is_held(known: Known, owner: str) -> bool:
    """Say whether this owner holds the row."""
    return known.state == State.SENDING and known.owner == owner


def is_ruled_out(known: Known) -> bool:
    """Say whether a person decided that the ticket is never sent."""
    return known.state == State.SUPPRESSED and known.evidence == Evidence.PERSON


def kind_of(error: VambeError | None) -> str | None:
    """Return an error's kind as the ledger holds it."""
    return error.kind[:40] if error else None


def text_of(error: VambeError | None) -> str | None:
    """Return an error's text as the ledger holds it."""
    return printable(" ".join(str(error).split()))[:_MAX_ERROR] if error else None


def id_of(text: str | None) -> str | None:
    """Return an id of Vambe's as the ledger holds it."""
    # Whatever the API answers, an outcome must not get lost because a column is too short for it.
    return printable(text)[:100] if text else None
