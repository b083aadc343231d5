"""From the source to tickets that may be claimed: rows are read, looked up in the ledger, prepared and judged.

Most rows of a usual night end here.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from operator import attrgetter
from typing import TYPE_CHECKING

from vambe_provider.delivery import clock
from vambe_provider.delivery.batch.sift import sift
from vambe_provider.delivery.model import Outcome, Unsendable, Verdict, Work

if TYPE_CHECKING:
    from vambe_provider.delivery.batch.judge import Judge
    from vambe_provider.delivery.batch.progress import Progress
    from vambe_provider.delivery.batch.report import Report
    from vambe_provider.delivery.batch.source import Keyed, Source
    from vambe_provider.delivery.ledger.threaded import ThreadedLedger
    from vambe_provider.delivery.options import DeliveryOptions
    from vambe_provider.delivery.pace.health import Health
    from vambe_provider.delivery.rows.prepare import Preparer

PART = 100
"""Rows whose requests are made at once; making them holds the interpreter, and answers wait."""
_SURE = (Verdict.OPENED, Verdict.REJECTED, Verdict.STILL_REJECTED, Verdict.UNKNOWN, Verdict.OTHER_PERSON)
"""What a look into the ledger can say for good; anything else is decided by a claim."""


@dataclass(frozen=True, slots=True)
class Taken:
    """What a part of the rows came to.

    :param works: tickets to be claimed, in the order of the rows.
    :param undecided: digests of those that may have been sent: under a contact policy they are looked for at any hour,
        and judged when nothing was found.
    """

    works: tuple[Work, ...] = ()
    undecided: frozenset[str] = frozenset()


NOTHING = Taken()


class Intake:
    """Takes rows in, a part at a time, when the loop wants more; it hands tickets over and keeps none.

    :param source: reads the rows and makes their requests.
    :param prepare: knows the namespace, and whether an unchanged row gives an unchanged request.
    :param ledger: what became of each ticket.
    :param options: how to deliver.
    :param report: where rows end that need no claim.
    :param progress: says what the first look showed.
    :param judge: asks the contact policy; None without one.
    :param health: told of reasons to stop.
    :param dry_run: look up and report, and hand nothing over.
    :param seed: record rows as done, and hand nothing over.
    """

    def __init__(
        self,
        source: Source,
        prepare: Preparer,
        ledger: ThreadedLedger,
        options: DeliveryOptions,
        report: Report,
        progress: Progress,
        judge: Judge | None,
        health: Health,
        *,
        dry_run: bool,
        seed: bool,
    ) -> None:
        self._source, self._prepare, self._ledger, self._options = source, prepare, ledger, options
        self._report, self._progress, self._judge, self._health = report, progress, judge, health
        self._dry_run, self._seed = dry_run, seed
        self._fresh: deque[Keyed] = deque()

    @property
    def exhausted(self) -> bool:
        """True when there is nothing more to take in."""
        return self._source.exhausted and not self._fresh

    async def take(self, *, full: bool) -> Taken:
        """Read the next rows, or prepare some that were read.

        :param full: ``max_tickets`` are used up; the rows are left for the next run.
        """
        if not self._fresh:
            await self._read()
            return NOTHING
        part = [self._fresh.popleft() for _ in range(min(PART, len(self._fresh)))]
        if self._seed:
            await self._record_as_done(part)
            return NOTHING
        if full:
            self._report.count(Outcome.LEFT, len(part))
            return NOTHING
        works = await self._prepared(part)
        known = {row.number for row in part if row.known}
        if self._judge is None:
            fresh = [work.ticket.to_phone_number for work in works if work.number not in known]
            self._progress.before_sending(fresh, datetime.fromtimestamp(clock.utc(), UTC))
        if self._dry_run:
            await self._rehearse(works)
            return NOTHING
        return await self._sorted(works, known)

    async def _sorted(self, works: list[Work], known: set[int]) -> Taken:
        """End the tickets that the ledger decides, before they need a permit of the sender."""
        judged = [work for work in works if work.number not in known]
        undecided = []
        for claim in await self._ledger.look_up([work for work in works if work.number in known]):
            if claim.verdict in _SURE:
                self._report.close(claim, self._options)
            elif claim.verdict == Verdict.SEND:
                judged.append(claim.work)
            else:
                undecided.append(claim.work)
        if self._judge is None:
            return Taken(_in_order([*judged, *undecided]))
        judged = await self._allowed(self._judge, judged, known)
        return Taken(_in_order([*judged, *undecided]), frozenset(work.key.digest for work in undecided))

    async def _prepared(self, rows: list[Keyed]) -> list[Work]:
        """Make the requests of some rows, and end those that have none."""
        made = await self._source.prepare(rows)
        await self._refuse([item for item in made if isinstance(item, Unsendable)])
        return [item for item in made if isinstance(item, Work)]

    async def close(self) -> None:
        """Close the source, also when it was not read to its end."""
        await self._source.close()

    async def _read(self) -> None:
        """Read a chunk, and end every row that the ledger decides."""
        rows = await self._source.next_chunk()
        self._report.rows += len(rows)
        self._report.any_rows = self._report.any_rows or self._source.any_rows
        namespace, row_hash = self._prepare.namespace, self._prepare.row_hash if self._prepare.can_glance else None
        digests = [row.digest for row in rows if row.digest is not None]
        if digests:
            found = await self._ledger.call(
                lambda ledger: sift(
                    rows, ledger.glimpses(namespace, digests), self._options, me=self._ledger.me, row_hash=row_hash
                )
            )
            self._report.add_known(found, self._prepare.key)
            room = self._report.room_for_contacts
            if found.here and room > 0:
                here = found.here[:room]
                self._report.add_contacts(
                    await self._ledger.call(lambda ledger: ledger.contacts(namespace, here, self._options))
                )
            self._fresh.extend(found.fresh)
            self._progress.first_look(self._report)
        else:
            self._fresh.extend(rows)

    async def _allowed(self, judge: Judge, works: list[Work], known: set[int]) -> list[Work]:
        """Return the tickets that the contact policy lets go now; the others are recorded and reported."""
        if not await judge.ready():
            return works  # the run ends, and reports them as not tried
        seen = await judge.with_first_seen([work for work in works if work.number in known])
        may, must_not = judge.sort([*(work for work in works if work.number not in known), *seen])
        await judge.hold_back(must_not)
        return may

    async def _rehearse(self, works: list[Work]) -> None:
        """Report what would become of tickets now."""
        may = []
        for claim in await self._ledger.look_up(works):
            if claim.verdict not in (Verdict.SEND, Verdict.CHECK):
                self._report.close(claim, self._options)
            elif claim.verdict == Verdict.CHECK or self._judge is None:
                self._report.add_rehearsed(claim.work, None, judged=False)
            else:
                may.append(claim.work)
        if self._judge is not None and await self._judge.ready():
            may, must_not = self._judge.sort(await self._judge.with_first_seen(may))
            judged = [*((work, None) for work in may), *((item.work, item.ruling) for item in must_not)]
            for work, ruling in sorted(judged, key=lambda one: one[0].number):
                self._report.add_rehearsed(work, ruling, judged=True)

    async def _record_as_done(self, rows: list[Keyed]) -> None:
        """Seed the ledger with rows that it does not know; their requests are not made."""
        keys = [self._prepare.key(row.values) for row in rows if row.digest is not None]
        if self._dry_run:
            self._report.count(Outcome.DRY_RUN, len(keys))
        else:
            seeded = await self._ledger.seed(keys)
            self._report.count(Outcome.SEEDED, seeded)
            self._report.count(Outcome.DUPLICATE, len(keys) - seeded)
        await self._prepared([row for row in rows if row.digest is None])  # says what their keys lack

    async def _refuse(self, rows: list[Unsendable]) -> None:
        for row in rows:
            if row.outcome == Outcome.SKIPPED:
                self._report.add(Outcome.SKIPPED, key=row.key)
        refused = [row for row in rows if row.outcome == Outcome.REJECTED]
        known = [Verdict.REJECTED] * len(refused) if self._dry_run else await self._ledger.reject(refused)
        for row, verdict in zip(refused, known, strict=True):
            self._report.add_refused(row, verdict)
            self._health.refused_by_validation(row.error)


def _in_order(works: Iterable[Work]) -> tuple[Work, ...]:
    return tuple(sorted(works, key=attrgetter("number")))
