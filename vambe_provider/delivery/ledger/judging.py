"""Whether people may be contacted, asked within the transaction that claims their tickets: nobody is messaged who opted
out after their row was taken in, and no two workers take the last slot of a cap.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from vambe_provider.contact_policy.caps import Tally, counted_since, looked_at_since
from vambe_provider.contact_policy.decide import NEW_PEOPLE_DAY, Decision, sender_zones
from vambe_provider.contact_policy.suppression import stopping
from vambe_provider.delivery.ledger import counting
from vambe_provider.delivery.ledger.suppressions import read_imported, read_suppressed
from vambe_provider.delivery.model import Outcome, Verdict
from vambe_provider.delivery.permission import Ruling

if TYPE_CHECKING:
    from vambe_provider.contact_policy.facts import Facts
    from vambe_provider.contact_policy.parts import Cap
    from vambe_provider.contact_policy.suppression import Suppressed
    from vambe_provider.delivery.ledger.counting import Start
    from vambe_provider.delivery.ledger.database import Transaction
    from vambe_provider.delivery.model import Claim, Work
    from vambe_provider.delivery.options import DeliveryOptions
    from vambe_provider.delivery.permission import Permission, Subject

VERDICTS = {
    Outcome.SUPPRESSED: Verdict.SUPPRESSED,
    Outcome.REJECTED: Verdict.REJECTED,
    # What on_closed makes of them stands in the ruling.
    Outcome.POSTPONED: Verdict.POSTPONED,
    Outcome.SKIPPED: Verdict.POSTPONED,
    Outcome.FAILED: Verdict.POSTPONED,
}
"""What a claim answers that was held back."""

Listed = Mapping[str, "tuple[Suppressed, ...]"]


def look(tx: Transaction, dialect: str, claims: Sequence[Claim], options: DeliveryOptions) -> list[Claim]:
    """Return what would be claimed, with those held back who are on the list of opt-outs; nothing is counted."""
    works = [claim.work for claim in claims if claim.verdict == Verdict.SEND]
    listed = _listed(tx, dialect, works)
    return [
        replace(claim, verdict=Verdict.SUPPRESSED, ruling=ruling)
        if claim.verdict == Verdict.SEND and (ruling := _opted_out(claim.work, listed, options))
        else claim
        for claim in claims
    ]


def judge_of(tx: Transaction, dialect: str, options: DeliveryOptions) -> Judge | ListJudge:
    """Return who judges the tickets of one exchange."""
    if options.policy is None:
        return ListJudge(tx, dialect, options)
    return Judge(tx, dialect, options, options.policy)


class ListJudge:
    """Judges by the ledger's own list alone, which holds without a policy too."""

    def __init__(self, tx: Transaction, dialect: str, options: DeliveryOptions) -> None:
        self._tx, self._dialect, self._options = tx, dialect, options

    def before(self, works: Sequence[Work]) -> Mapping[str, Ruling]:
        """Return why tickets must not be sent now, by their keys' digests; those that may be sent are left out."""
        listed = _listed(self._tx, self._dialect, works)
        found = ((work, _opted_out(work, listed, self._options)) for work in works)
        return {work.key.digest: ruling for work, ruling in found if ruling is not None}

    def after(self, works: Sequence[Work], owner: str) -> Mapping[str, Ruling]:
        """Return which of the recorded attempts must not be made: none."""
        return {}


class Judge:
    """Judges by a policy, with everything that the ledger knows. Who is let pass takes a slot of what is counted.

    :param tx: the transaction, in which the rows of the counted senders are locked.
    :param permission: asks the policy.
    """

    def __init__(self, tx: Transaction, dialect: str, options: DeliveryOptions, permission: Permission) -> None:
        self._tx, self._dialect, self._options, self._permission = tx, dialect, options, permission
        self._now = tx.now.replace(tzinfo=UTC)
        self._needs = permission.needs
        self._zones = sender_zones(permission.policy)
        self._of_person = [cap for cap in self._needs.counts if cap.per == "person"]

    def before(self, works: Sequence[Work]) -> Mapping[str, Ruling]:
        """Return why tickets must not be sent now, by their keys' digests; those that may be sent are left out."""
        listed = _listed(self._tx, self._dialect, works)
        asked = self._needs.opt_outs.list_age is not None
        imported = read_imported(self._tx) if asked else None
        persons = sorted({work.person for work in works})
        starts = self._starts(works)
        senders = {cap: self._sender_slots(cap) for cap in self._needs.counts if cap.per == "sender"}
        known = self._known(persons)
        new, first = self._new_people()
        found: dict[str, Ruling] = {}
        for work in works:
            facts = self._facts(work, listed)
            facts = replace(
                facts,
                list_imported=imported,
                counts=self._counts(work, starts) | {cap: slots.tally() for cap, slots in senders.items()},
                new_person=None if known is None else work.person not in known,
                new_people=new.tally(),
                first_send=first,
            )
            if ruling := self._ruling(work, facts):
                found[work.key.digest] = ruling
                continue
            starts.setdefault(work.person, []).append(counting.Start(self._now, work.key.namespace))
            for slots in senders.values():
                slots.take()
            if known is not None and work.person not in known:
                known.add(work.person)
                new.take()
        if self._needs.new_people and first is None and len(found) < len(works):
            counting.keep_first_send(self._tx, self._options)
        return found

    def after(self, works: Sequence[Work], owner: str) -> Mapping[str, Ruling]:
        """Return which of the recorded attempts must not be made, because another worker took the last slot of a
        person meanwhile. No other attempt at these persons can begin now.

        :param owner: whose attempts they are.
        """
        if not self._of_person or not works:
            return {}
        starts = self._starts(works, besides=owner)
        found = {}
        for work in works:
            stranger = self._permission.known(work.ticket.to_phone_number, self._now)
            facts = replace(stranger, suppressed=(), counts={**stranger.counts, **self._counts(work, starts)})
            if ruling := self._ruling(work, facts):
                found[work.key.digest] = ruling
        return found

    def _facts(self, work: Work, listed: Listed) -> Facts:
        facts = self._permission.known(work.ticket.to_phone_number, self._now)
        if facts.suppressed is None:
            return facts
        return replace(facts, suppressed=(*listed.get(work.person, ()), *facts.suppressed))

    def _ruling(self, work: Work, facts: Facts) -> Ruling | None:
        return self._permission.ruling(self._permission.decide(_subject(work), self._now, facts))

    def _starts(self, works: Sequence[Work], *, besides: str = "") -> dict[str, list[Start]]:
        if not self._of_person or not works:
            return {}
        since = min(
            looked_at_since(cap, self._now, zones)
            for zones in {_subject(work).person.place.zones for work in works}
            for cap in self._of_person
        )
        persons = sorted({work.person for work in works})
        return counting.person_starts(self._tx, self._dialect, persons, since, besides=besides)

    def _counts(self, work: Work, starts: Mapping[str, Sequence[Start]]) -> dict[Cap, Tally]:
        zones, mine = _subject(work).person.place.zones, starts.get(work.person, ())
        space = work.key.namespace
        return {
            cap: Tally.of(
                cap,
                [start.moment for start in mine if cap.scope == "ledger" or start.namespace == space],
                now=self._now,
                zones=zones,
            )
            for cap in self._of_person
        }

    def _sender_slots(self, cap: Cap) -> _Slots:
        since = looked_at_since(cap, self._now, self._zones)
        whole = cap.scope == "account"
        times = counting.sender_starts(self._tx, self._options, since, limit=cap.n, whole_account=whole)
        return _Slots(cap, times, self._now, self._zones, enough=cap.n)

    def _known(self, persons: Sequence[str]) -> set[str] | None:
        if not self._needs.new_people:
            return None
        return counting.known_people(self._tx, self._dialect, persons, self._options.account)

    def _new_people(self) -> tuple[_Slots, datetime | None]:
        warm_up = self._permission.policy.warm_up
        if warm_up is None:
            return _Slots(NEW_PEOPLE_DAY, [], self._now, self._zones, enough=1), None
        since = counted_since(NEW_PEOPLE_DAY, self._now, self._zones)
        times = counting.new_people(self._tx, self._options, since, limit=warm_up.ceiling)
        slots = _Slots(NEW_PEOPLE_DAY, times, self._now, self._zones, enough=warm_up.first_day)
        return slots, counting.first_send(self._tx, self._options)


class _Slots:
    """What is taken of something that all tickets of an exchange share.

    :param times: when each was taken.
    :param enough: fewer than these never refuse, so that their times need not be known.
    """

    def __init__(self, cap: Cap, times: list[datetime], now: datetime, zones: tuple[str, ...], *, enough: int) -> None:
        self._cap, self._times, self._now, self._zones, self._enough = cap, times, now, zones, enough
        self._full: Tally | None = None

    def take(self) -> None:
        """Take one now."""
        self._times.append(self._now)
        self._full = None

    def tally(self) -> Tally:
        """Return what is taken; the times are worked out once, and only where they may be asked for."""
        if len(self._times) < self._enough:
            return Tally(len(self._times))
        if self._full is None:
            self._full = Tally.of(self._cap, self._times, now=self._now, zones=self._zones)
        return self._full


def _listed(tx: Transaction, dialect: str, works: Sequence[Work]) -> Listed:
    return read_suppressed(tx, dialect, sorted({work.person for work in works if work.person}))


def _opted_out(work: Work, listed: Listed, options: DeliveryOptions) -> Ruling | None:
    entry = stopping(listed.get(work.person, ()), options.purpose)
    if entry is None:
        return None
    return Ruling(Outcome.SUPPRESSED, Decision(decision="suppress", rule="suppression", reason=entry.reason))


def _subject(work: Work) -> Subject:
    if work.subject is None:
        raise ValueError("a ticket under a policy has to be prepared with it")
    return work.subject
