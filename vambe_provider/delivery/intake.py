"""From the source into the queue: what is refused, known or double is reported at once, and the rest goes on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vambe_provider.delivery.model import Outcome, Verdict
from vambe_provider.exceptions import VambeError, VambeRefusedError, VambeTicketHeldError, VambeUnknownOutcomeError

if TYPE_CHECKING:
    from vambe_provider.delivery.ledger.threaded import ThreadedLedger
    from vambe_provider.delivery.model import Claim, Unsendable
    from vambe_provider.delivery.queue import Queue
    from vambe_provider.delivery.reader import Reader
    from vambe_provider.delivery.report import Report

_ENDS = {
    Verdict.OPENED: Outcome.ALREADY_OPENED,
    Verdict.REJECTED: Outcome.REJECTED,
    Verdict.UNKNOWN: Outcome.UNKNOWN,
    Verdict.HELD: Outcome.HELD,
    Verdict.DUPLICATE: Outcome.DUPLICATE,
    Verdict.CONFLICT: Outcome.CONFLICT,
}
_SURE = (Verdict.OPENED, Verdict.REJECTED, Verdict.UNKNOWN)
"""What a look into the ledger can say for good; anything else is decided by a claim."""


class Intake:
    """Takes rows in, a chunk at a time.

    :param reader: the source.
    :param ledger: what is known already.
    :param queue: where tickets go that may be sent.
    :param report: where all others go.
    :param dry_run: record nothing, and report what would be sent.
    """

    def __init__(
        self, reader: Reader, ledger: ThreadedLedger, queue: Queue, report: Report, *, dry_run: bool = False
    ) -> None:
        self._reader, self._ledger, self._queue, self._report, self._dry_run = reader, ledger, queue, report, dry_run
        self._part = max(1, reader.chunk // 5)
        self._fruitful = True

    @property
    def exhausted(self) -> bool:
        """True when the source is at its end."""
        return self._reader.exhausted

    @property
    def wanted(self) -> bool:
        """True when the queue runs short and there is more to read; bounds what is held in memory."""
        few = self._queue.idle < 2 * self._part and len(self._queue) < 4 * self._reader.chunk
        return few and not self._reader.exhausted

    async def next_chunk(self) -> None:
        """Read some rows, and look all of them up at once.

        Only a few as long as that brings something to post: preparing rows holds the interpreter, and answers wait.
        """
        works, unsendable, count = await self._reader.next_chunk(self._part if self._fruitful else None)
        self._report.rows += count
        await self._refuse(unsendable)
        claims = await self._ledger.look_up(works)
        idle = self._queue.idle
        for claim in claims:
            if claim.verdict in _SURE or self._dry_run:
                close(claim, self._report)
            elif (double := self._queue.add(claim.work)) is not None:
                self._report.add(double, key=claim.work.key)
        self._fruitful = self._queue.idle > idle

    async def close(self) -> None:
        """End the source."""
        await self._reader.close()

    async def _refuse(self, unsendable: list[Unsendable]) -> None:
        rejected = [row for row in unsendable if row.outcome == Outcome.REJECTED]
        known = [Outcome.REJECTED] * len(rejected) if self._dry_run else await self._ledger.reject(rejected)
        for row, outcome in zip(rejected, known, strict=True):
            self._report.add(outcome, key=row.key, error=row.error if outcome == Outcome.REJECTED else None)
        for row in unsendable:
            if row.outcome == Outcome.SKIPPED:
                self._report.add(Outcome.SKIPPED, key=row.key)


def close(claim: Claim, report: Report, outcome: Outcome | None = None) -> None:
    """Report a row that the ledger does not give out.

    :param outcome: what to report; default what follows from the verdict, or ``dry_run`` for one that could be sent.
    """
    end = outcome or _ENDS.get(claim.verdict, Outcome.DRY_RUN)
    error: VambeError | None = None
    match end:
        case Outcome.HELD:
            error = VambeTicketHeldError("Another run is sending this row")
        case Outcome.UNKNOWN:
            error = VambeUnknownOutcomeError("An earlier attempt may have opened it; this run left it alone")
        case Outcome.REJECTED:
            error = VambeRefusedError("It was refused before and has not changed since")
    contact = claim.ai_contact_id if claim.same_run else None
    report.add(end, key=claim.work.key, error=error, ai_contact_id=contact)
