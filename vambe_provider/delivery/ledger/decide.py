"""What a ledger row allows: the rules of "exactly once", as one pure function."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple

from vambe_provider.delivery.key import digest
from vambe_provider.delivery.model import State, Verdict

if TYPE_CHECKING:
    from vambe_provider.delivery.model import Work
    from vambe_provider.delivery.options import DeliveryOptions


class Known(NamedTuple):
    """What the ledger holds about one ticket; times are the ledger's."""

    state: State
    generation: int
    attempts: int
    run: str
    owner: str | None
    fingerprint: str
    lease_until: datetime | None = None
    due_at: datetime | None = None
    started_at: datetime | None = None
    ai_contact_id: str | None = None
    resent_by: str | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """What may be done with a ticket.

    :param verdict: see :class:`~vambe_provider.delivery.model.Verdict`.
    :param generation: the generation that a new attempt would have.
    :param wait: seconds until asking again makes sense.
    """

    verdict: Verdict
    generation: int = 0
    wait: float = 0.0


def decide(known: Known | None, work: Work, options: DeliveryOptions, *, me: str, now: datetime) -> Decision:
    """Say what may be done with a ticket of which the ledger knows this.

    :param known: the ledger's row; None when there is none.
    :param me: the beginning of every ``owner`` that this try of the run has written.
    :param now: the ledger's clock.
    """
    if known is None:
        return Decision(Verdict.SEND)
    mine = known.owner is not None and known.owner.startswith(me)
    changed = known.fingerprint != work.fingerprint
    match known.state:
        case State.OPENED:
            return _opened(known, options, mine=mine, changed=changed)
        case State.SENDING:
            return _sending(known, options, now=now)
        case State.REJECTED if mine:
            return Decision(Verdict.CONFLICT if changed else Verdict.DUPLICATE)
        case State.REJECTED if not changed:
            return Decision(Verdict.REJECTED)
        case State.UNKNOWN if mine or options.on_unknown == "fail":
            return Decision(Verdict.UNKNOWN)
        case State.UNKNOWN:
            return Decision(Verdict.CHECK, known.generation)
        case State.POSTPONED if known.due_at is not None and known.due_at > now:
            return Decision(Verdict.HELD)
    return Decision(Verdict.SEND, known.generation)


def _opened(known: Known, options: DeliveryOptions, *, mine: bool, changed: bool) -> Decision:
    if options.resend and known.resent_by != resend_token(options):
        return Decision(Verdict.SEND, known.generation + 1)
    if mine:
        return Decision(Verdict.CONFLICT if changed else Verdict.DUPLICATE)
    if changed and options.on_change == "open_again" and known.run != options.run:
        return Decision(Verdict.SEND, known.generation + 1)
    return Decision(Verdict.OPENED, known.generation)


def _sending(known: Known, options: DeliveryOptions, *, now: datetime) -> Decision:
    left = (known.lease_until - now).total_seconds() if known.lease_until else 0.0
    if left <= 0:
        return Decision(Verdict.CHECK, known.generation)
    # An earlier try of this very run is most likely dead, but it may only be slow: its lease decides.
    return Decision(Verdict.WAIT if known.run == options.run else Verdict.HELD, wait=left)


def resend_token(options: DeliveryOptions) -> str | None:
    """Return what marks a ticket as opened again by this run, so that a retry of the run does not do it once more."""
    return digest("resend", options.run) if options.resend else None
