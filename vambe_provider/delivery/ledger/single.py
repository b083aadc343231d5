"""Memories for one ticket of one task instance, where no ledger was named. They ask the same rules as the ledger."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NoReturn, Protocol
from uuid import uuid4

from vambe_provider.delivery import clock
from vambe_provider.delivery.ledger.changes import IS_OPEN, answer, begun, id_of, is_held, settled, taken
from vambe_provider.delivery.model import Attempt, Claim, Evidence, Outcome, Reason, Sent, State, Verdict
from vambe_provider.delivery.rules import Glimpse, Known, decide
from vambe_provider.exceptions import VambeConfigError

if TYPE_CHECKING:
    from vambe_provider.delivery.key import TicketKey
    from vambe_provider.delivery.model import Settlement, Unsendable, Withheld, Work
    from vambe_provider.delivery.options import DeliveryOptions
    from vambe_provider.delivery.rules import Decision


class Store(Protocol):
    """What Airflow 3.3 hands a task as ``task_state_store``."""

    def get(self, key: str, default: Any = None) -> Any:
        """Return what was stored, also by an earlier try."""
        ...

    def set(self, key: str, value: Any) -> None:
        """Store a JSON value."""
        ...


class StateStoreLedger:
    """One ticket in Airflow's task state store: it survives the retries of a task instance, a clear not always, and
    nothing else.

    :param store: ``context["task_state_store"]``.
    :param later_try: an earlier try of this task instance may have sent the ticket, also one before a clear: then an
        empty store proves nothing, and the ticket is looked for first.
    :param since: the start of the Dag run's first try, in seconds of this machine's UTC clock.
    """

    def __init__(self, store: Store, *, later_try: bool, since: float) -> None:
        self._store, self._later_try, self._since = store, later_try, since
        self._me = uuid4().hex[:16]
        self._counter = itertools.count()

    @property
    def me(self) -> str:
        """The beginning of every ``owner`` that this try writes."""
        return self._me

    @property
    def epoch(self) -> int:
        """Always 0: leases are counted by this machine's clock."""
        return 0

    def glimpses(self, namespace: str, digests: Sequence[str]) -> Mapping[str, Sequence[Glimpse]]:
        """Return nothing: a single ticket is always claimed."""
        return {}

    def look_up(self, works: Sequence[Work], options: DeliveryOptions) -> list[Claim]:
        """Say what would become of this ticket."""
        return [answer(work, *self._decide(work, options)[:2], options) for work in works]

    def exchange(
        self, settle: Sequence[Settlement], claim: Sequence[Work], options: DeliveryOptions, lease: float
    ) -> list[Claim]:
        """Record what became of the ticket, or take it."""
        for item in settle:
            self._settle(item, options)
        return [self._claim(work, options, lease) for work in claim]

    def reject(self, rows: Sequence[Unsendable], options: DeliveryOptions) -> list[Verdict]:
        """Remember nothing: a ticket that validation refused is tried again when the task is."""
        return [Verdict.REJECTED for _ in rows]

    def withhold(self, items: Sequence[Withheld], options: DeliveryOptions) -> list[bool]:
        """Remember nothing: a ticket that a contact policy holds back is judged again when the task goes on."""
        return [True for _ in items]

    def first_seen(self, digests: Sequence[str], options: DeliveryOptions) -> Mapping[str, float]:
        """Return nothing: what does not outlive the task cannot tell."""
        return {}

    def seed(self, keys: Sequence[TicketKey], options: DeliveryOptions) -> NoReturn:
        """Refuse: what does not outlive the task is of no use to a later one."""
        raise VambeConfigError("seed needs a ledger", fix="Set ledger_conn_id.")

    def opened(self, key: TicketKey, options: DeliveryOptions) -> Attempt | None:
        """Return the newest attempt that opened this ticket."""
        found = self._store.get(_name(key)) or {}
        made = [_attempt_from(attempt) for attempt in found.get("attempts", ())]
        ours = [attempt for attempt in made if attempt.account == options.account and attempt.sent == Sent.YES]
        return max(ours, key=lambda attempt: attempt.generation, default=None)

    def contacts(self, namespace: str, digests: Sequence[str], options: DeliveryOptions) -> list[str]:
        """Return none: a single ticket names its contact itself."""
        return []

    def siblings(self, attempt: Attempt) -> list[Attempt]:
        """Return none: other tickets are out of sight here."""
        return []

    def witnesses(self, attempt: Attempt) -> list[Attempt]:
        """Return none."""
        return []

    def earlier(self, attempt: Attempt) -> list[str]:
        """Return none."""
        return []

    def _claim(self, work: Work, options: DeliveryOptions, lease: float) -> Claim:
        rows, decision, attempts = self._decide(work, options)
        if decision.verdict not in (Verdict.SEND, Verdict.CHECK):
            return answer(work, rows, decision, options)
        known = _own(rows, options)
        began, expires, owner = clock.utc(), clock.now() + lease, f"{self._me}.{next(self._counter)}"
        if decision.verdict == Verdict.SEND:
            attempt = begun(known, work, decision, options, started=began, ended=began + lease)
            if decision.reason == Reason.BLIND and known is not None:
                attempts = [
                    replace(a, ended=min(a.ended, began)) if a.number == known.attempts else a for a in attempts
                ]
            attempts = [*attempts, attempt]
        else:
            attempt = next(made for made in attempts if known is not None and made.number == known.attempts)
        row = taken(known, work, decision, options, owner=owner, until=_moment(began + lease))
        others = [other for other in rows if other.account != options.account]
        self._save(work, [row, *others], attempts)
        return answer(work, [row, *others], decision, options, owner=owner, attempt=attempt, expires=expires)

    def _settle(self, item: Settlement, options: DeliveryOptions) -> None:
        work, made = item.claim.work, item.claim.made
        rows, attempts = self._load(work)
        known = next((row for row in rows if row.account == made.account), None)
        if known is None or not (item.outcome in IS_OPEN or is_held(known, item.claim.owner)):
            # A try that slept through its lease may find that the next one has gone on. Then only the truth that the
            # ticket is open counts.
            return
        row = self._settled(known, item)
        attempts = [self._closed(one, item) if _same(one, made) else one for one in attempts]
        self._save(work, [row, *(other for other in rows if other is not known)], attempts)

    def _settled(self, known: Known, item: Settlement) -> Known:
        return settled(known, item)

    def _closed(self, attempt: Attempt, item: Settlement) -> Attempt:
        sent = Sent.YES if item.outcome in IS_OPEN else Sent.MAYBE if item.outcome == Outcome.UNKNOWN else Sent.NO
        return replace(
            attempt,
            sent=sent,
            ended=attempt.ended if item.ended is None else item.ended,
            ai_contact_id=id_of(item.ai_contact_id) or attempt.ai_contact_id,
            evidence_id=id_of(item.evidence_id) or attempt.evidence_id,
        )

    def _decide(self, work: Work, options: DeliveryOptions) -> tuple[list[Known], Decision, list[Attempt]]:
        rows, attempts = self._load(work)
        if not rows and self._later_try:
            presumed = self._presumed(work, options)
            rows = [_undecided(presumed)]
            attempts = [presumed]
        own = [attempt for attempt in attempts if attempt.account == options.account]
        mine = [attempt for attempt in own if attempt.dag_run == options.origin.dag_run]
        decision = decide(rows, work, options, me=self._me, now=_moment(clock.utc()), mine=mine)
        return rows, decision, own

    def _presumed(self, work: Work, options: DeliveryOptions) -> Attempt:
        """Return the attempt that an earlier try may have made, as far as it can be known: as today's would be."""
        from vambe_provider.delivery.rules import Decision

        return begun(
            None, work, Decision(Verdict.SEND), options, started=min(self._since, clock.utc()), ended=clock.utc()
        )

    def _load(self, work: Work) -> tuple[list[Known], list[Attempt]]:
        found = self._store.get(_name(work.key)) or {}
        return [_known_from(row) for row in found.get("rows", ())], [
            _attempt_from(attempt) for attempt in found.get("attempts", ())
        ]

    def _save(self, work: Work, rows: Sequence[Known], attempts: Sequence[Attempt]) -> None:
        _, before = self._load(work)
        others = [one for one in before if not any(_same(one, attempt) for attempt in attempts)]
        kept = [asdict(attempt) for attempt in (*others, *attempts)]
        self._store.set(_name(work.key), {"rows": [_to_json(row) for row in rows], "attempts": kept})


class NoLedger(StateStoreLedger):
    """No memory beyond this try: a later one cannot know what the first one did, and looks before it posts.

    :param later_try: an earlier try of this task instance may have sent the ticket.
    :param since: the start of the Dag run's first try, in seconds of this machine's UTC clock.
    """

    def __init__(self, *, later_try: bool, since: float) -> None:
        super().__init__(_Memory(), later_try=later_try, since=since)

    def _settled(self, known: Known, item: Settlement) -> Known:
        if item.evidence == Evidence.LEASE_OVER:
            # Another try may have sent it meanwhile, and there is nothing that would tell: it has to be looked for.
            return known._replace(lease_until=None)
        return super()._settled(known, item)

    def _closed(self, attempt: Attempt, item: Settlement) -> Attempt:
        if item.evidence == Evidence.LEASE_OVER:
            return replace(attempt, ended=clock.utc())
        return super()._closed(attempt, item)


class _Memory:
    def __init__(self) -> None:
        self._values: dict[str, Any] = {}

    def get(self, key: str, default: Any = None) -> Any:
        return self._values.get(key, default)

    def set(self, key: str, value: Any) -> None:
        self._values[key] = value


def _name(key: TicketKey) -> str:
    return f"vambe_ticket_{key.digest}"


def _own(rows: Sequence[Known], options: DeliveryOptions) -> Known | None:
    return next((row for row in rows if row.account == options.account), None)


def _same(one: Attempt, other: Attempt) -> bool:
    return (one.account, one.number) == (other.account, other.number)


def _undecided(attempt: Attempt) -> Known:
    return Known(
        account=attempt.account,
        state=State.SENDING,
        generation=0,
        opened=None,
        attempts=attempt.number,
        dag_run=attempt.dag_run,
        owner=None,
        fingerprint=attempt.fingerprint,
        row_hash=None,
        person=attempt.person,
    )


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _to_json(row: Known) -> dict[str, Any]:
    values = row._asdict()
    return values | {name: value.isoformat() for name, value in values.items() if isinstance(value, datetime)}


def _known_from(values: Mapping[str, Any]) -> Known:
    until = values["lease_until"]
    times = {"lease_until": datetime.fromisoformat(until) if until else None, "due_at": None}
    return Known(**{**values, **times, "state": State(values["state"])})


def _attempt_from(values: Mapping[str, Any]) -> Attempt:
    return Attempt(**{**values, "reason": Reason(values["reason"]), "sent": Sent(values["sent"])})
