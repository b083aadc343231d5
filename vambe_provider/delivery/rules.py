"""The rules of "exactly once", as pure functions: what may be done with a ticket, and what a verdict means.

Every home of the ledger asks them: the tables, the task state store, and the memory of one try. Every state is named,
and what is not named is not sent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlencode

from vambe_provider.delivery.model import NEW_GENERATION, Attempt, Evidence, Outcome, Reason, Sent, State, Verdict
from vambe_provider.exceptions import (
    VambeConfigError,
    VambeError,
    VambeRefusedError,
    VambeTicketHeldError,
    VambeUnknownOutcomeError,
)

if TYPE_CHECKING:
    from vambe_provider.delivery.model import Claim, Work
    from vambe_provider.delivery.options import DeliveryOptions


class Glimpse(NamedTuple):
    """As much of a ticket's row as decides about a row that is known; one account's."""

    account: str
    state: State
    owner: str | None
    dag_run: str
    row_hash: str | None


class Known(NamedTuple):
    """What the ledger holds about one ticket in one account; times are the ledger's.

    :param generation: the generation of the last attempt.
    :param opened: the newest generation that is open; None when none is.
    :param attempts: the number of the last attempt; 0 when it was refused before any.
    :param dag_run: the Dag run that changed it last.
    :param owner: who changed it last, or holds it.
    :param fingerprint: of the open generation, or of the last attempt when none is open.
    :param person: likewise.
    :param ai_contact_id: likewise.
    :param evidence: why the state is believed; while a newer generation is tried, why the older one is open.
    :param error_kind: of the last attempt that failed; None when the ticket is open.
    :param error: its text.
    """

    account: str
    state: State
    generation: int
    opened: int | None
    attempts: int
    dag_run: str
    owner: str | None
    fingerprint: str | None
    row_hash: str | None
    person: str | None
    lease_until: datetime | None = None
    due_at: datetime | None = None
    ai_contact_id: str | None = None
    evidence: str | None = None
    error_kind: str | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """What may be done with a ticket.

    :param verdict: see :class:`~vambe_provider.delivery.model.Verdict`.
    :param generation: the generation that a new attempt has.
    :param reason: why the attempt is begun, for ``send``.
    :param wait: seconds until asking again makes sense, for ``wait``.
    :param changed: it is open with other content than asked for now.
    :param elsewhere: the account that the verdict is about, when it is another one.
    """

    verdict: Verdict
    generation: int = 0
    reason: Reason = Reason.FIRST
    wait: float = 0.0
    changed: bool = False
    elsewhere: str | None = None


OPTED_OUT = "opted_out"
"""The reason of a ticket whose person is on the list of opt-outs."""

UNDECIDED = (State.SENDING, State.UNKNOWN)
"""The states of a ticket whose last attempt may have created something."""


def glance(rows: Sequence[Glimpse], row_hash: str | None, options: DeliveryOptions, *, me: str) -> Verdict | None:
    """Say what is known of a row before its request is made; None when only a claim can tell.

    :param rows: what the ledger knows of its ticket, in every account.
    :param row_hash: hash of the row and of how requests are made; None when it is not known, as for a function.
    :param me: the beginning of every ``owner`` that this try has written.
    """
    own = next((row for row in rows if row.account == options.account), None)
    if own is None or (own.owner is not None and own.owner.startswith(me)):
        return None
    if own.state == State.OPENED and not (options.resend or options.on_change == "open_again"):
        return Verdict.OPENED
    if own.state == State.REJECTED and row_hash is not None and own.row_hash == row_hash:
        return _refused(own.dag_run, options)
    return None


def decide(
    rows: Sequence[Known],
    work: Work,
    options: DeliveryOptions,
    *,
    me: str,
    now: datetime,
    mine: Sequence[Attempt] = (),
) -> Decision:
    """Say what may be done with a ticket.

    :param rows: what the ledger knows of it, in every account.
    :param me: the beginning of every ``owner`` that this try has written.
    :param now: the ledger's clock.
    :param mine: the attempts that this Dag run made at it in this account; needed when the options allow to begin one
        that is forbidden otherwise, see ``DeliveryOptions.recalls``.
    """
    own = next((row for row in rows if row.account == options.account), None)
    decision = Decision(Verdict.SEND) if own is None else _decide(own, work, options, me=me, now=now, mine=mine)
    if options.resend and decision.reason in (Reason.FIRST, Reason.AGAIN):
        # Recorded, so that a later try of this Dag run does not take what it opened for something to open again.
        decision = replace(decision, reason=Reason.RESEND)
    if decision.verdict == Verdict.SEND:
        elsewhere = [row.account for row in rows if row.account != options.account and row.state in UNDECIDED]
        if elsewhere:
            return Decision(Verdict.UNKNOWN, decision.generation, elsewhere=elsewhere[0])
    return decision


def _decide(
    known: Known, work: Work, options: DeliveryOptions, *, me: str, now: datetime, mine: Sequence[Attempt]
) -> Decision:
    here = known.owner is not None and known.owner.startswith(me)
    state: str = known.state  # as the database holds it: a state that is not named here sends nothing
    match state:
        case State.SENDING:
            return _sending(known, options, now=now)
        case State.UNKNOWN:
            return _unknown(known, work, options, mine=mine)
        case State.SUPPRESSED if known.evidence == Evidence.PERSON or not (
            options.policy is not None or known.error_kind == OPTED_OUT
        ):
            # What a person ruled out stays so; what a policy ruled out is the policy's to judge again, and every claim
            # asks the list of opt-outs again.
            return Decision(Verdict.SUPPRESSED)
        case State.POSTPONED if not (options.policy is not None or known.due_at is None or known.due_at <= now):
            return Decision(Verdict.POSTPONED)
        case State.OPENED:
            return _opened(known, work, options, here=here, mine=mine)
        case State.REJECTED | State.FAILED | State.POSTPONED | State.SUPPRESSED if known.opened is not None:
            return _opened(known, work, options, here=here, mine=mine)
        case State.REJECTED if known.row_hash == work.row_hash:
            return Decision(Verdict.DUPLICATE if here else _refused(known.dag_run, options))
        case State.REJECTED | State.FAILED | State.POSTPONED | State.SUPPRESSED:
            return Decision(Verdict.SEND, known.generation, Reason.AGAIN if known.attempts else Reason.FIRST)
    return Decision(Verdict.HELD)  # a state that a later version has written


def _opened(known: Known, work: Work, options: DeliveryOptions, *, here: bool, mine: Sequence[Attempt]) -> Decision:
    if known.person and known.person != work.person:
        return Decision(Verdict.CONFLICT if here else Verdict.OTHER_PERSON)
    changed = known.fingerprint is not None and known.fingerprint != work.fingerprint
    reason = _new_generation(options, changed=changed)
    if reason is not None and known.opened is not None and not _has_sent(mine, reason):
        return Decision(Verdict.SEND, known.opened + 1, reason)
    if here:
        return Decision(Verdict.CONFLICT if changed else Verdict.DUPLICATE)
    return Decision(Verdict.OPENED, known.generation, changed=changed)


def _new_generation(options: DeliveryOptions, *, changed: bool) -> Reason | None:
    if options.resend:
        return Reason.RESEND
    return Reason.CHANGED if changed and options.on_change == "open_again" else None


def _has_sent(mine: Sequence[Attempt], reason: Reason) -> bool:
    """Say whether this Dag run has had its new generation of this ticket, or may have had it.

    Two rows of one key in a run are not a change, so a ticket that this run opened is never opened again because of
    other content.
    """
    counts = tuple(Reason) if reason == Reason.CHANGED else (*NEW_GENERATION, Reason.BLIND)
    return any(attempt.sent != Sent.NO and attempt.reason in counts for attempt in mine)


def _is_open_enough(known: Known, options: DeliveryOptions) -> bool:
    """Say whether an older generation is open and this task asks for no newer one."""
    return known.opened is not None and not options.resend and options.on_change == "ignore"


def _sending(known: Known, options: DeliveryOptions, *, now: datetime) -> Decision:
    left = (known.lease_until - now).total_seconds() if known.lease_until else 0.0
    if left <= 0:
        return Decision(Verdict.CHECK, known.generation)
    if _is_open_enough(known, options):
        return Decision(Verdict.OPENED, known.generation)
    # An earlier try of this very run is most likely dead, but it may only be slow: its lease decides.
    return Decision(Verdict.WAIT, known.generation, wait=left)


def _unknown(known: Known, work: Work, options: DeliveryOptions, *, mine: Sequence[Attempt]) -> Decision:
    if _is_open_enough(known, options):
        return Decision(Verdict.OPENED, known.generation)
    if known.dag_run != options.origin.dag_run:
        return Decision(Verdict.CHECK, known.generation)  # every Dag run looks once more, since reading costs nobody
    blind = any(attempt.reason == Reason.BLIND for attempt in mine)
    if options.on_unknown == "resend" and not blind and (not known.person or known.person == work.person):
        return Decision(Verdict.SEND, known.generation, Reason.BLIND)
    return Decision(Verdict.UNKNOWN, known.generation)


def _refused(dag_run: str, options: DeliveryOptions) -> Verdict:
    return Verdict.REJECTED if dag_run == options.origin.dag_run else Verdict.STILL_REJECTED


def refuse(known: Known | None, row_hash: str, options: DeliveryOptions, *, me: str) -> Verdict:
    """Say what a row is that validation refused.

    :param known: what the ledger knows of its ticket in this account.
    :return: ``rejected`` is to be recorded unless it is recorded so already; the others change nothing.
    """
    if known is None:
        return Verdict.REJECTED
    here = known.owner is not None and known.owner.startswith(me)
    state: str = known.state
    match state:
        case State.SENDING | State.UNKNOWN:
            return Verdict.OPENED if _is_open_enough(known, options) else Verdict.HELD
        case State.SUPPRESSED if known.evidence == Evidence.PERSON:
            return Verdict.SUPPRESSED
        case State.OPENED:
            return Verdict.CONFLICT if here else Verdict.OPENED
        case State.REJECTED | State.FAILED | State.POSTPONED | State.SUPPRESSED if known.opened is not None:
            return Verdict.CONFLICT if here else Verdict.OPENED
        case State.REJECTED if known.row_hash == row_hash:
            return Verdict.DUPLICATE if here else _refused(known.dag_run, options)
        case State.REJECTED | State.FAILED | State.POSTPONED | State.SUPPRESSED:
            return Verdict.REJECTED
    return Verdict.HELD  # a state that a later version has written


_OUTCOMES = {
    Verdict.OPENED: Outcome.ALREADY_OPENED,
    Verdict.REJECTED: Outcome.REJECTED,
    Verdict.STILL_REJECTED: Outcome.STILL_REJECTED,
    Verdict.UNKNOWN: Outcome.UNKNOWN,
    Verdict.HELD: Outcome.HELD,
    Verdict.WAIT: Outcome.HELD,
    Verdict.DUPLICATE: Outcome.DUPLICATE,
    Verdict.CONFLICT: Outcome.CONFLICT,
    Verdict.OTHER_PERSON: Outcome.CONFLICT,
    Verdict.POSTPONED: Outcome.POSTPONED,
    Verdict.SUPPRESSED: Outcome.SUPPRESSED,
}


def outcome_of(verdict: Verdict) -> Outcome:
    """Return what a row is reported as that the ledger does not give out.

    :raises KeyError: for ``send`` and ``check``, which end nothing.
    """
    return _OUTCOMES[verdict]


def error_of(claim: Claim, options: DeliveryOptions) -> VambeError | None:
    """Return why a ticket that the ledger does not give out is not open; None when that is no error."""
    what = f"Ticket {claim.work.key.text}"
    match claim.verdict:
        case Verdict.REJECTED | Verdict.STILL_REJECTED:
            return VambeRefusedError(
                f"{what} was refused before and has not changed since",
                fix=f"Correct the data. When the cause was elsewhere, run `{command(options, 'retry', claim)}`.",
            )
        case Verdict.UNKNOWN if claim.elsewhere:
            return VambeUnknownOutcomeError(
                f"{what} may exist in the account {claim.elsewhere}, where an attempt was not decided",
                fix="Run the task once with the connection of that account, which looks there, or look yourself "
                f"and {how_to_decide(options, claim, account=claim.elsewhere)}.",
            )
        case Verdict.UNKNOWN:
            return VambeUnknownOutcomeError(
                f"{what} may exist since an earlier attempt, and no look could tell",
                fix=f"Look at the contact in Vambe, then {how_to_decide(options, claim)}.",
            )
        case Verdict.HELD | Verdict.WAIT:
            return VambeTicketHeldError(
                f"{what} is being sent by another task", fix="A retry of this task finds its result."
            )
        case Verdict.CONFLICT:
            return conflict(claim.work.key.text, 0)
        case Verdict.OTHER_PERSON:
            return VambeConfigError(
                f"{what} was opened for another person{_by(claim)}",
                fix="Give each person a key of its own, such as one with the order's id.",
            )
        case _:
            return None


def conflict(key: str, first: int) -> VambeError:
    """Return what a second row with a key of this run and other content is told.

    :param first: which row of the source had the key first; 0 when that is not known any more.
    """
    return VambeConfigError(
        f"Ticket {key} has another row in this run with other content, which was taken: "
        f"{f'row {first}' if first else 'an earlier row'}",
        fix="Make the key unique: name more columns in key_columns, or mend the query.",
    )


def found_for_another(claim: Claim) -> VambeError | None:
    """Return what a reader has to know when a look found a ticket that went to another person than the row names now;
    None when it is the same person.
    """
    if claim.made.person == claim.work.person:
        return None
    return VambeConfigError(
        f"Ticket {claim.work.key.text} was opened by an earlier attempt for another person; its row has changed since",
        fix="The ticket stays with that person; give the corrected row a key of its own to write to the new number.",
    )


def command(options: DeliveryOptions, name: str, claim: Claim) -> str:
    """Return a command of the ledger's command line that works as printed."""
    conn_id = options.ledger_conn_id or "CONN_ID"
    return f"python -m vambe_provider ledger {name} --conn-id {conn_id} {claim.work.key.digest}"


def how_to_decide(options: DeliveryOptions, claim: Claim, *, account: str | None = None) -> str:
    """Return how a person says whether a ticket exists: a command that works as printed, and the page that shows it.

    :param account: the account of the ticket; default the one that is delivered to.
    """
    commands = f"run `{command(options, 'resolve', claim)} --sent` or `--not-sent`"
    if options.page is None:
        return commands
    ticket = {
        "ledger": options.ledger_conn_id,
        "key": claim.work.key.digest,
        "account": account or options.account,
    }
    return f"decide at {options.page}/ticket?{urlencode(ticket)} or {commands}"


def _by(claim: Claim) -> str:
    return f" by the Dag {claim.dag}" if claim.dag else ""
