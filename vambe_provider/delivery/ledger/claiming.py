"""Claims within one transaction: what may be done with tickets is decided, recorded, and only then given out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import sqlalchemy as sa

from vambe_provider.delivery.ledger import statements
from vambe_provider.delivery.ledger.changes import answer, begun, is_held, taken, withheld
from vambe_provider.delivery.ledger.judging import VERDICTS, judge_of
from vambe_provider.delivery.ledger.tables import MAX_SENDER, attempts
from vambe_provider.delivery.ledger.tickets import begin, change, close, read_attempts, read_known
from vambe_provider.delivery.model import Attempt, Claim, Evidence, Reason, Sent, Verdict, Withheld
from vambe_provider.delivery.rules import UNDECIDED, Decision, Known, decide

if TYPE_CHECKING:
    from vambe_provider.delivery.ledger.database import Transaction
    from vambe_provider.delivery.ledger.tickets import Tickets
    from vambe_provider.delivery.model import Origin, Work
    from vambe_provider.delivery.options import DeliveryOptions
    from vambe_provider.delivery.permission import Ruling

PERSON_BUSY = 2.0
"""Seconds after which to ask again for a person to whom another ticket is on its way."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What is the same for all tickets of one exchange.

    :param me: the beginning of every owner that this try writes.
    :param owner: who claims; another one for each exchange.
    :param lease: seconds that a claim holds.
    :param expires: when it ends, on this machine's own clock.
    :param epoch: the epoch of the ledger's clock.
    """

    options: DeliveryOptions
    me: str
    owner: str
    lease: float
    expires: float
    epoch: int


@dataclass(slots=True)
class _Candidate:
    """A ticket that is asked for.

    :param known: its row in this account.
    :param rows: its rows in every account.
    :param made: the attempts at it that are undecided or of this Dag run, each with its owner.
    :param ours: this very exchange has it already, by a commit whose answer was lost.
    :param attempt: the attempt that is given out with it.
    :param ruling: why it must not be sent, although nothing else is against it.
    """

    work: Work
    known: Known | None
    rows: Sequence[Known]
    made: Sequence[tuple[Attempt, str]]
    ours: bool
    decision: Decision
    attempt: Attempt | None = None
    ruling: Ruling | None = None

    def last(self) -> tuple[Attempt, str] | None:
        """Return the last attempt, when it is undecided or of this Dag run."""
        return next((one for one in self.made if self.known is not None and one[0].number == self.known.attempts), None)


class Claiming:
    """The claims of one exchange.

    :param tx: its transaction.
    :param dialect: the kind of database.
    :param tickets: the rows of the tickets, locked.
    :param terms: what is the same for all of them.
    """

    def __init__(self, tx: Transaction, dialect: str, tickets: Tickets, terms: Terms) -> None:
        self._tx, self._dialect, self._tickets, self._terms = tx, dialect, tickets, terms
        self._options, self._until = terms.options, tx.in_(terms.lease)
        self._begun, self._ended = tx.here(tx.now), tx.here(self._until)
        self._dag_run = terms.options.origin.dag_run
        self._judge = judge_of(tx, dialect, terms.options)

    def claim(self, works: Sequence[Work]) -> list[Claim]:
        """Claim tickets, and return one claim for each."""
        first: dict[str, Work] = {}
        for work in works:
            first.setdefault(work.key.digest, work)
        candidates = self._candidates(first)
        self._take(candidates)
        claims = {candidate.work.key.digest: self._answer(candidate) for candidate in candidates}
        return [
            claims[work.key.digest] if work is first[work.key.digest] else _double(work, first[work.key.digest])
            for work in works
        ]

    # --- what may be done with them ---

    def _candidates(self, works: dict[str, Work]) -> list[_Candidate]:
        known = {digest: self._tickets.own(digest) for digest in works}
        needed = [d for d, row in known.items() if row and (row.state in UNDECIDED or self._options.recalls)]
        made = read_attempts(self._tx, self._dialect, needed, self._options)
        return [self._candidate(work, known[digest], made.get(digest, ())) for digest, work in works.items()]

    def _candidate(self, work: Work, known: Known | None, made: Sequence[tuple[Attempt, str]]) -> _Candidate:
        rows = self._tickets.everywhere(work.key.digest)
        ours = known is not None and is_held(known, self._terms.owner)
        decision = self._decided(work, rows, made)
        found = _Candidate(work, known, rows, made, ours, decision)
        if not ours and decision.verdict != Verdict.CHECK:
            return found
        last = found.last()
        if last is None:
            found.decision = Decision(Verdict.UNKNOWN, decision.generation)  # nothing is known that could be looked for
        elif ours:
            # What this very exchange recorded was surely not sent.
            verdict = Verdict.SEND if last[1] == self._terms.owner else Verdict.CHECK
            found.decision = Decision(verdict, last[0].generation, last[0].reason)
        found.attempt = last[0] if last else None
        return found

    def _decided(self, work: Work, rows: Sequence[Known], made: Sequence[tuple[Attempt, str]]) -> Decision:
        mine = [attempt for attempt, _ in made if attempt.dag_run == self._dag_run]
        return decide(rows, work, self._options, me=self._terms.me, now=self._tx.now, mine=mine)

    # --- who gets them ---

    def _take(self, candidates: Sequence[_Candidate]) -> None:
        sent = [one for one in candidates if one.decision.verdict == Verdict.SEND and not one.ours]
        sent = self._allowed(sent)
        for one in sent:
            one.attempt = begun(
                one.known, one.work, one.decision, self._options, started=self._begun, ended=self._ended
            )
        rows = [self._row(one.attempt) for one in sent if one.attempt]
        won = begin(self._tx, self._dialect, rows, self._terms.owner)
        self._lost([one for one in sent if one.work.key.digest not in won])
        self._take_back([one for one in sent if one.attempt])
        self._give_up([one for one in sent if one.attempt and one.decision.reason == Reason.BLIND])
        self._keep_away([one for one in candidates if one.decision.verdict == Verdict.CHECK])
        for one in candidates:
            if one.attempt is not None and not one.ours:
                row = taken(
                    one.known, one.work, one.decision, self._options, owner=self._terms.owner, until=self._until
                )
                self._tickets.become(one.work.key.digest, row)
                one.rows = [row, *(other for other in one.rows if other is not one.known)]

    def _allowed(self, candidates: Sequence[_Candidate]) -> list[_Candidate]:
        """Return the tickets whose persons may be contacted; the others are recorded as held back."""
        if not candidates:
            return []
        self._hold_back(candidates, self._judge.before([one.work for one in candidates]))
        return [one for one in candidates if one.ruling is None]

    def _take_back(self, candidates: Sequence[_Candidate]) -> None:
        """Remove the attempts that another worker's ticket to the same person leaves no room for."""
        found = self._judge.after([one.work for one in candidates], self._terms.owner)
        if not found:
            return
        for digest in found:
            mine = (attempts.c.ticket_key == digest, attempts.c.owner == self._terms.owner)
            self._tx.connection.execute(sa.delete(attempts).where(*mine))
        self._hold_back(candidates, found)

    def _hold_back(self, candidates: Sequence[_Candidate], found: Mapping[str, Ruling]) -> None:
        for one in candidates:
            ruling = one.ruling = found.get(one.work.key.digest)
            if ruling is None:
                continue
            one.attempt, one.decision = None, Decision(VERDICTS[ruling.outcome], one.decision.generation)
            due = None if ruling.due is None else ruling.due.astimezone(UTC).replace(tzinfo=None)
            item = Withheld(one.work, ruling)
            row = withheld(one.known, item, self._options, owner=self._terms.owner, due=due)
            self._tickets.become(one.work.key.digest, row)

    def _row(self, attempt: Attempt) -> statements.Row:
        options, origin = self._options, self._options.origin
        new = attempt_row(attempt, origin, options.sender, self._terms.owner, self._tx.now, self._until)
        new["in_flight"] = new["person"]
        return new

    def _lost(self, candidates: Sequence[_Candidate]) -> None:
        """Decide anew about tickets that looked free and could not be taken: a rival has one, or its person is being
        messaged.
        """
        if not candidates:
            return
        found = read_known(self._tx, self._dialect, sorted(one.work.key.digest for one in candidates))
        busy = []
        for one in candidates:
            one.attempt, one.rows = None, found.get(one.work.key.digest, [])
            one.decision = self._decided(one.work, one.rows, one.made)
            if one.decision.verdict in (Verdict.SEND, Verdict.CHECK):
                busy.append(one)
        if not busy:
            return
        given = {"k_person": sorted({one.work.person for one in busy}), "c_now": self._tx.now}
        freed = self._tx.connection.execute(statements.FREE, given).rowcount
        for one in busy:
            one.decision = Decision(Verdict.WAIT, wait=0.0 if freed else PERSON_BUSY)

    def _give_up(self, candidates: Sequence[_Candidate]) -> None:
        """Close the attempts that nobody could decide, since the task asked to send again then."""
        blind = {"sent": Sent.MAYBE.value, "evidence": Evidence.BLIND.value, "closed_at": self._tx.now}
        last = [one.last() for one in candidates]
        change(self._tx, self._dialect, attempts, [close(made[0], **blind) for made in last if made])

    def _keep_away(self, candidates: Sequence[_Candidate]) -> None:
        """Keep other tickets to these persons from being sent while one is looked for, where none is on its way."""
        looked = {one.attempt.person: one.attempt for one in candidates if one.attempt and one.attempt.person}
        if not looked:
            return
        busy = set(self._tx.connection.scalars(statements.BUSY, {"k_person": sorted(looked)}))
        free = [close(made, in_flight=person) for person, made in sorted(looked.items()) if person not in busy]
        try:
            with self._tx.connection.begin_nested():
                change(self._tx, self._dialect, attempts, free)
        except sa.exc.IntegrityError:
            return  # one of them is being messaged since a moment; the look knows the other ticket

    def _answer(self, one: _Candidate) -> Claim:
        expires = self._terms.expires
        if one.ours and one.known is not None and one.known.lease_until is not None:
            expires -= (self._until - one.known.lease_until).total_seconds()
        return answer(
            one.work,
            one.rows,
            one.decision,
            self._options,
            owner=self._terms.owner,
            attempt=one.attempt,
            expires=expires,
            epoch=self._terms.epoch,
            ruling=one.ruling,
        )


def attempt_row(
    attempt: Attempt, origin: Origin, sender: str, owner: str, now: datetime, until: datetime
) -> statements.Row:
    """Return the row of a new attempt."""
    return {
        "ticket_key": attempt.ticket_key,
        "namespace": attempt.namespace,
        "account": attempt.account,
        "number": attempt.number,
        "generation": attempt.generation,
        "reason": attempt.reason.value,
        "dag_id": origin.dag,
        "task_id": origin.task,
        "run_id": origin.run,
        "map_index": origin.map_index,
        "try_number": origin.try_number,
        "sender": sender[:MAX_SENDER],
        "person": attempt.person or None,
        "fingerprint": attempt.fingerprint or None,
        "message_hash": attempt.message_hash,
        "owner": owner,
        "started_at": now,
        "lease_until": until,
        "sent": attempt.sent.value,
    }


def _double(work: Work, first: Work) -> Claim:
    same = work.fingerprint == first.fingerprint
    return Claim(work, Verdict.DUPLICATE if same else Verdict.CONFLICT)
