"""Memories for one ticket of one task instance, where no ledger table was named."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol
from uuid import uuid4

from vambe_provider.delivery import clock
from vambe_provider.delivery.model import LEASE_OVER, Claim, Outcome, Sibling, State, Verdict

if TYPE_CHECKING:
    from vambe_provider.delivery.model import Settlement, Unsendable, Work
    from vambe_provider.delivery.options import DeliveryOptions


class Store(Protocol):
    """What Airflow 3.3 hands a task as ``task_state_store``."""

    def get(self, key: str, default: Any = None) -> Any:
        """Return what was stored, also by an earlier try and before the task was cleared."""
        ...

    def set(self, key: str, value: Any) -> None:
        """Store a JSON value."""
        ...


class StateStoreLedger:
    """One ticket in Airflow's task state store: it survives retries and a clear of the same task instance, and
    nothing else.

    :param store: ``context["task_state_store"]``.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._me = uuid4().hex

    def look_up(self, works: Sequence[Work], options: DeliveryOptions) -> list[Claim]:
        """Say what would become of this ticket."""
        return [self._answer(work, options) for work in works]

    def exchange(
        self, settle: Sequence[Settlement], claim: Sequence[Work], options: DeliveryOptions, lease: float
    ) -> list[Claim]:
        """Record what became of the ticket, or take it."""
        for item in settle:
            # A try that slept through its lease may find that the next one has gone on. Then only the truth that the
            # ticket is open counts.
            if item.state == State.OPENED or self._known(item.claim.work).get("owner") == self._me:
                self._record(item.claim, item.state, ai_contact_id=item.ai_contact_id, evidence=item.evidence)
        claims = []
        for work in claim:
            answer = self._answer(work, options, expires=clock.now() + lease)
            if answer.verdict in (Verdict.SEND, Verdict.CHECK):
                self._record(answer, State.SENDING, until=clock.utc() + lease)
            claims.append(answer)
        return claims

    def reject(self, rows: Sequence[Unsendable], options: DeliveryOptions) -> list[Outcome]:
        """Remember nothing: a ticket that validation refused is tried again when the task is."""
        return [Outcome.REJECTED for _ in rows]

    def siblings(self, work: Work) -> list[Sibling]:
        """Return none: other tickets are out of sight here."""
        return []

    def _answer(self, work: Work, options: DeliveryOptions, *, expires: float = 0.0) -> Claim:
        known = self._known(work)
        started, contact = float(known.get("started", clock.utc())), known.get("ai_contact_id")
        match known.get("state"):
            case State.OPENED if not options.resend or known.get("resent"):
                return Claim(work, Verdict.OPENED, ai_contact_id=contact)
            case State.OPENED:
                return Claim(work, Verdict.SEND, generation=1, started=clock.utc(), expires=expires)
            case State.UNKNOWN if options.on_unknown == "fail":
                return Claim(work, Verdict.UNKNOWN, ai_contact_id=contact)
            case State.SENDING if known.get("until", 0.0) > clock.utc():
                # The try before this one is most likely dead, but it may only be slow: its lease decides.
                return Claim(work, Verdict.WAIT, wait=known["until"] - clock.utc())
            case State.SENDING | State.UNKNOWN:
                return Claim(
                    work, Verdict.CHECK, generation=known.get("generation", 0), started=started, expires=expires
                )
        return Claim(work, Verdict.SEND, generation=known.get("generation", 0), started=clock.utc(), expires=expires)

    def _known(self, work: Work) -> Mapping[str, Any]:
        known: Mapping[str, Any] = self._store.get(_name(work)) or {}
        return known

    def _record(self, claim: Claim, state: State, **more: Any) -> None:
        self._store.set(
            _name(claim.work),
            {
                "state": state.value,
                "owner": self._me,
                "generation": claim.generation,
                "started": claim.started,
                "resent": claim.generation > 0,
                **more,
            },
        )


class NoLedger:
    """No memory at all: a second try cannot know what the first one did, and reconciles before it posts.

    :param second_try: an earlier try of this task instance may have sent the ticket.
    :param since: when the first try may have begun, in seconds since 1970; evidence must be newer.
    """

    def __init__(self, *, second_try: bool, since: float) -> None:
        self._check = second_try
        self._since = since

    def look_up(self, works: Sequence[Work], options: DeliveryOptions) -> list[Claim]:
        """Say what would be done."""
        return [self._answer(work, options, 0.0) for work in works]

    def exchange(
        self, settle: Sequence[Settlement], claim: Sequence[Work], options: DeliveryOptions, lease: float
    ) -> list[Claim]:
        """Remember within this try only: what was surely not sent need not be checked again."""
        for item in settle:
            unsent = item.state in (State.FAILED, State.REJECTED)
            self._check = not unsent or item.evidence == LEASE_OVER
        return [self._answer(work, options, clock.now() + lease) for work in claim]

    def reject(self, rows: Sequence[Unsendable], options: DeliveryOptions) -> list[Outcome]:
        """Remember nothing."""
        return [Outcome.REJECTED for _ in rows]

    def siblings(self, work: Work) -> list[Sibling]:
        """Return none: other tickets are out of sight here."""
        return []

    def _answer(self, work: Work, options: DeliveryOptions, expires: float) -> Claim:
        if self._check:
            return Claim(work, Verdict.CHECK, started=self._since, expires=expires)
        return Claim(work, Verdict.SEND, started=clock.utc(), expires=expires)


def _name(work: Work) -> str:
    return f"vambe_ticket_{work.key.digest}"
