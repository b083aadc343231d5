"""Deliver many tickets: read, claim, post and settle at once, in constant memory.

One row's way: the intake prepares it and asks the ledger whether it is worth a try; it queues; it is claimed right
before there is room to post it, in one transaction with the settlements of those before it; it is posted, or looked
for; its outcome goes to the report at once and to the ledger with the next transaction. What is claimed is never more
than what can be sent now, so a killed worker leaves only a handful of rows to be reconciled, and a lease never has to
be renewed.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

from vambe_provider.delivery import clock
from vambe_provider.delivery.attempt import Courier
from vambe_provider.delivery.background import run_to_the_end
from vambe_provider.delivery.flight import NOT_POSTED, Flight
from vambe_provider.delivery.intake import Intake, close
from vambe_provider.delivery.ledger.threaded import ThreadedLedger
from vambe_provider.delivery.model import Claim, Outcome, Settlement, Verdict
from vambe_provider.delivery.pacing import make_pacer
from vambe_provider.delivery.progress import Progress
from vambe_provider.delivery.queue import Queue
from vambe_provider.delivery.reader import Reader
from vambe_provider.delivery.report import Report
from vambe_provider.exceptions import VambeLedgerError, VambeRateLimitError

if TYPE_CHECKING:
    from vambe_provider.api.rate import Rate
    from vambe_provider.api.settings import ConnectionSettings
    from vambe_provider.delivery.ledger import Ledger
    from vambe_provider.delivery.model import Row, Unsendable, Work
    from vambe_provider.delivery.options import DeliveryOptions
    from vambe_provider.delivery.pacing import Pacer

TURN = 0.02
"""Seconds at least from one transaction's begin to the next one's while posts are on their way, so that each carries
many rows."""
MAX_TRIES = 6
"""How often one row is posted or looked for in one run, while each time nothing was created."""
LOOK_AGAIN = 5.0
"""Seconds at most until the ledger is asked again for a row that somebody else holds."""
LEDGER_PATIENCE = 60.0
"""Seconds for which a ledger that is down is asked again before the run gives up."""


def deliver_many(
    rows: Iterable[Row],
    *,
    prepare: Callable[[Row], Work | Unsendable | None],
    ledger: Ledger,
    settings: ConnectionSettings,
    options: DeliveryOptions,
    max_concurrency: int = 8,
    rate: Rate | None = None,
    phone_id: str | None = None,
    channel: str | None = None,
    total: int | None = None,
    dry_run: bool = False,
    defer_after: float | None = None,
    log: Callable[[str], None] = lambda line: None,
    stop: threading.Event | None = None,
) -> Report:
    """Open one ticket for each row, each exactly once.

    :param rows: the source; read once, a few hundred rows ahead, in a thread of its own.
    :param prepare: from a row to work, to the reason why it cannot be sent, or to None when it is another shard's.
    :param ledger: where every ticket is recorded before and after its post.
    :param settings: the connection.
    :param options: how to deliver.
    :param max_concurrency: posts that may be on their way at once.
    :param rate: tickets in a period for the sender; None for no limit.
    :param phone_id: the sender, when it is not the connection's.
    :param channel: its channel, likewise.
    :param total: number of rows, when it is known, for the progress.
    :param dry_run: look everything up and send and record nothing.
    :param defer_after: end with ``resume_in`` set when nothing can be done for so many seconds; None never does.
    :param log: takes one line of progress every few seconds.
    :param stop: when set, begin nothing new, finish what is on its way, and return.
    :return: the report; a row that failed is in it and stops no other.
    :raises VambeLedgerError: when the ledger cannot be used. What was posted and could not be recorded is found by
        the next try.
    """
    report, stopping = Report(), stop or threading.Event()
    progress = Progress(report, log, total)
    sender = f"{settings.host}/{phone_id or settings.phone_id}"
    burst = rate is not None and defer_after is not None and rate.seconds >= defer_after
    pacer = make_pacer(rate, store=settings.rate_store, sender=sender, burst=burst)

    async def run() -> Report:
        from vambe_provider.api import AsyncVambeClient

        threaded = ThreadedLedger(ledger, options, options.hold(settings.timeout))
        async with AsyncVambeClient(settings, max_connections=2 * max_concurrency) as api:
            courier = Courier(api, options, settings.timeout, phone_id, channel)
            queue = Queue()
            engine = Engine(
                Intake(Reader(rows, prepare), threaded, queue, report, dry_run=dry_run),
                queue,
                threaded,
                Flight(courier, threaded, pacer, slots=max_concurrency, progress=progress, stop=stopping),
                pacer,
                report,
                progress,
                stop=stopping,
                defer_after=defer_after,
            )
            await engine.run()
        return report

    return run_to_the_end(run, stop=stopping.set)


class Engine:
    """Turns the wheel: one transaction a turn, and everything else beside it.

    :param intake: fills the queue.
    :param queue: who is next.
    :param ledger: who may be sent, and what became of whom.
    :param flight: what is on its way.
    :param pacer: how many may go now.
    :param report: where every row ends.
    :param progress: says how far it is.
    :param stop: set from outside when the task is killed.
    :param defer_after: see :func:`deliver_many`.
    """

    def __init__(
        self,
        intake: Intake,
        queue: Queue,
        ledger: ThreadedLedger,
        flight: Flight,
        pacer: Pacer,
        report: Report,
        progress: Progress,
        *,
        stop: threading.Event,
        defer_after: float | None,
    ) -> None:
        self._intake, self._queue, self._ledger, self._flight = intake, queue, ledger, flight
        self._pacer, self._report, self._progress = pacer, report, progress
        self._stop, self._defer_after = stop, defer_after
        self._reading = False
        self._began = 0.0
        self._tries: dict[str, int] = {}
        self._waits: dict[str, float] = {}

    async def run(self) -> None:
        """Deliver until the source is empty and everything is settled, or until there is a reason to stop."""
        began = clock.now()
        try:
            try:
                while self._report.stopped is None and not self._finished():
                    await self._turn()
                    self._look_for_reasons_to_stop()
            finally:
                await self._flight.land(hurry=self._stop.is_set())
                if self._flight.landed:
                    await self._exchange([])
        finally:
            self._report.elapsed = clock.now() - began
            await self._intake.close()
            self._ledger.close()
        self._progress.end()

    async def _turn(self) -> None:
        if self._intake.wanted and not self._reading:
            self._reading = True
            self._flight.start(self._read())
        works = await self._next_works()
        if works or self._flight.landed:
            self._receive(await self._exchange(works))
        self._progress.tick()
        await self._rest()

    async def _read(self) -> None:
        await self._intake.next_chunk()
        self._reading = False

    async def _next_works(self) -> list[Work]:
        room = self._flight.room()
        if room <= 0 or self._pacer.wait() > 0:
            return []
        works = self._queue.take(room, clock.now())
        permits = await self._pacer.permits(len(works)) if works else 0
        self._queue.put_back(works[permits:])
        return works[:permits]

    async def _exchange(self, works: list[Work]) -> list[Claim]:
        """Settle what has landed, and claim what may go, in one transaction."""
        landed, self._flight.landed = self._flight.landed, []
        settled = [self._final(item) for item in landed]
        self._began = clock.now()
        patience = self._began + LEDGER_PATIENCE
        while True:
            try:
                claims = await self._ledger.exchange(settled, works)
                break
            except VambeLedgerError:
                if clock.now() > patience or self._stop.is_set():
                    raise
                await asyncio.sleep(1.0)
        for item in settled:
            if item.retry_in is None:
                self._queue.done(item.claim.work)
            else:
                self._queue.postpone(item.claim.work, clock.now() + item.retry_in)
        return claims

    def _final(self, item: Settlement) -> Settlement:
        """Report an outcome, unless this run tries the row again."""
        if item.retry_in is not None and self._may_try_again(item):
            return item
        digest = item.claim.work.key.digest
        self._tries.pop(digest, None)
        self._waits.pop(digest, None)
        self._report.add(item.outcome, key=item.claim.work.key, error=item.error, ai_contact_id=item.ai_contact_id)
        return item if item.retry_in is None else replace(item, retry_in=None)

    def _may_try_again(self, item: Settlement) -> bool:
        if self._stop.is_set() or self._flight.health.stop or self._report.stopped:
            return False
        if isinstance(item.error, VambeRateLimitError) or item.evidence == NOT_POSTED:
            return True
        digest = item.claim.work.key.digest
        self._tries[digest] = self._tries.get(digest, 0) + 1
        return self._tries[digest] < MAX_TRIES

    def _receive(self, claims: list[Claim]) -> None:
        """Act on the ledger's answers."""
        self._flight.post([claim for claim in claims if claim.verdict == Verdict.SEND])
        for claim in claims:
            if claim.verdict == Verdict.CHECK:
                self._flight.check(claim)
            elif claim.verdict == Verdict.WAIT:
                self._wait_for(claim)
            elif claim.verdict != Verdict.SEND:
                self._queue.done(claim.work)
                close(claim, self._report)

    def _wait_for(self, claim: Claim) -> None:
        give_up = self._waits.setdefault(claim.work.key.digest, clock.now() + self._ledger.lease + 30.0)
        if clock.now() < give_up:
            # Whoever has it may be done early; a task that can leave its slot meanwhile waits for the lease to end.
            longest = LOOK_AGAIN if self._defer_after is None else claim.wait
            self._queue.postpone(claim.work, clock.now() + max(0.05, min(claim.wait, longest)))
            return
        del self._waits[claim.work.key.digest]
        self._queue.done(claim.work)
        close(claim, self._report, Outcome.HELD)

    def _finished(self) -> bool:
        return self._intake.exhausted and not (len(self._queue) or self._flight.busy)

    def _look_for_reasons_to_stop(self) -> None:
        self._flight.raise_failure()
        if self._stop.is_set():
            self._report.stopped = "the task was told to stop"
        elif self._flight.health.stop:
            self._report.stopped = self._flight.health.stop
        elif self._defer_after is not None and (idle := self._idle_for()) >= self._defer_after:
            self._report.stopped, self._report.resume_in = "deferred", max(idle, self._pacer.fresh_in())

    def _idle_for(self) -> float:
        """Return for how many seconds there will be nothing to do."""
        if self._flight.busy or self._intake.wanted:
            return 0.0
        due = self._queue.next_due()
        waits = [] if due is None else [due - clock.now()]
        if self._queue.idle:
            waits.append(self._pacer.wait())
        return max(0.0, min(waits, default=0.0))

    async def _rest(self) -> None:
        """Wait until there is something to do, and while posts are on their way at least a moment."""
        flight = self._flight
        if flight.posting:
            await _until(flight.hungry, self._began + TURN - clock.now())
        due = self._queue.next_due()
        waiting = self._queue.idle or (due is not None and due <= clock.now())
        can_go = waiting and flight.room() > 0 and self._pacer.wait() == 0
        if not (flight.landed or can_go or self._finished()):
            await _until(flight.news, min(1.0, self._idle_for() or 1.0))
        flight.news.clear()


async def _until(event: asyncio.Event, seconds: float) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
