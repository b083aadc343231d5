"""Deliver many tickets: read, claim, post and settle at once, in constant memory.

One row's way: the reader prepares it and asks the ledger whether it is worth a try; it queues; it is claimed right
before there is room to post it, in one transaction with the settlements of those before it; it is posted, or
reconciled; its outcome goes to the report at once and to the ledger with the next transaction. What is claimed is
never more than what can be sent now, so a killed worker leaves only a handful of rows to be reconciled, and a lease
never has to be renewed.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import deque
from collections.abc import Callable, Coroutine, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

from vambe_provider.delivery import clock
from vambe_provider.delivery.attempt import not_created, post, resolve
from vambe_provider.delivery.background import run_to_the_end
from vambe_provider.delivery.health import Health
from vambe_provider.delivery.model import Claim, Outcome, Settlement, Verdict
from vambe_provider.delivery.pacing import make_pacer
from vambe_provider.delivery.progress import Progress
from vambe_provider.delivery.queue import Queue
from vambe_provider.delivery.reader import Reader
from vambe_provider.delivery.report import Report
from vambe_provider.exceptions import (
    VambeError,
    VambeLedgerError,
    VambeNotSentError,
    VambeRateLimitError,
    VambeRefusedError,
    VambeTicketHeldError,
    VambeUnknownOutcomeError,
)

if TYPE_CHECKING:
    from vambe_provider.api.rate import Rate
    from vambe_provider.api.settings import ConnectionSettings
    from vambe_provider.delivery.attempt import Api
    from vambe_provider.delivery.ledger import Ledger
    from vambe_provider.delivery.model import Row, Unsendable, Work
    from vambe_provider.delivery.options import DeliveryOptions
    from vambe_provider.delivery.pacing import Pacer

T = TypeVar("T")

TURN = 0.02
"""Seconds at least between two transactions, so that each carries many rows."""
MAX_TRIES = 6
"""How often one row is posted or looked for in one run, while each time nothing was created."""
LEDGER_PATIENCE = 60.0
"""Seconds for which a ledger that is down is asked again before the run gives up."""
SETTLED: dict[Verdict, Outcome] = {
    Verdict.OPENED: Outcome.ALREADY_OPENED,
    Verdict.REJECTED: Outcome.REJECTED,
    Verdict.UNKNOWN: Outcome.UNKNOWN,
    Verdict.HELD: Outcome.HELD,
    Verdict.DUPLICATE: Outcome.DUPLICATE,
    Verdict.CONFLICT: Outcome.CONFLICT,
}


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
    sender = f"{settings.host}/{phone_id or settings.phone_id}"
    pacer = make_pacer(rate, store=settings.rate_store, sender=sender, burst=defer_after is not None)

    async def run() -> Report:
        from vambe_provider.api import AsyncVambeClient

        async with AsyncVambeClient(settings, max_connections=2 * max_concurrency) as api:
            engine = _Engine(
                api, ledger, options, pacer, report, stopping,
                reader=Reader(rows, prepare), max_concurrency=max_concurrency, timeout=settings.timeout, dry_run=dry_run,
                defer_after=defer_after, progress=Progress(report, log, total), sender=(phone_id, channel),
            )  # fmt: skip
            await engine.run()
        return report

    return run_to_the_end(run, stop=stopping.set)


class _Engine:
    """The state of one run; every method runs in one event loop."""

    def __init__(
        self,
        api: Api,
        ledger: Ledger,
        options: DeliveryOptions,
        pacer: Pacer,
        report: Report,
        stop: threading.Event,
        *,
        reader: Reader,
        max_concurrency: int,
        timeout: float,
        dry_run: bool,
        defer_after: float | None,
        progress: Progress,
        sender: tuple[str | None, str | None],
    ) -> None:
        self._api, self._ledger, self._options, self._pacer, self._report, self._stop = (
            api, ledger, options, pacer, report, stop,
        )  # fmt: skip
        self._reader, self._slots, self._timeout, self._dry_run = reader, max_concurrency, timeout, dry_run
        self._defer_after, self._progress, self._sender = defer_after, progress, sender
        self._lease = options.hold(timeout)
        self._queue, self._health = Queue(), Health()
        self._claimed: deque[Claim] = deque()
        self._unsettled: list[Settlement] = []
        self._posting: set[asyncio.Task[None]] = set()
        self._checking: set[asyncio.Task[None]] = set()
        self._reading: set[asyncio.Task[None]] = set()
        self._broken: BaseException | None = None
        self._tries: dict[str, int] = {}
        self._waits: dict[str, float] = {}
        self._wake, self._hungry = asyncio.Event(), asyncio.Event()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="vambe-ledger")

    async def run(self) -> None:
        """Deliver until the source is empty and everything is settled, or until there is a reason to stop."""
        began = clock.now()
        try:
            try:
                while self._report.stopped is None and not self._finished():
                    await self._turn()
                    self._look_for_reasons_to_stop()
            finally:
                await self._wind_up()
        finally:
            self._report.elapsed = clock.now() - began
            await self._reader.close()
            self._thread.shutdown(wait=False)
        self._progress.end()

    # --- one turn: read, settle and claim, begin, wait ---

    async def _turn(self) -> None:
        if self._wants_rows():
            self._begin(self._reading, self._read())
        works = await self._next_works()
        if works or self._unsettled:
            for claim in await self._exchange(works):
                self._receive(claim)
        self._fill_slots()
        self._hungry.clear()
        self._progress.tick()
        await self._rest()

    async def _read(self) -> None:
        works, unsendable, count = await self._reader.next_chunk()
        self._report.rows += count
        self._refuse(unsendable, await self._recorded(unsendable))
        claims = await self._in_thread(self._ledger.look_up, works, self._options) if works else []
        for claim in claims:
            if claim.verdict in (Verdict.OPENED, Verdict.REJECTED, Verdict.UNKNOWN) or self._dry_run:
                self._close(claim, SETTLED.get(claim.verdict, Outcome.DRY_RUN))
            elif (double := self._queue.add(claim.work)) is not None:
                self._report.add(double, key=claim.work.key)

    async def _recorded(self, unsendable: list[Unsendable]) -> list[Outcome]:
        rejected = [row for row in unsendable if row.outcome == Outcome.REJECTED]
        if self._dry_run or not rejected:
            return [Outcome.REJECTED for _ in rejected]
        return await self._in_thread(self._ledger.reject, rejected, self._options)

    def _refuse(self, unsendable: list[Unsendable], outcomes: list[Outcome]) -> None:
        verdicts = iter(outcomes)
        for row in unsendable:
            outcome = next(verdicts) if row.outcome == Outcome.REJECTED else row.outcome
            self._report.add(outcome, key=row.key, error=row.error if outcome == Outcome.REJECTED else None)

    async def _next_works(self) -> list[Work]:
        room = self._room()
        if room <= 0 or self._health.stop or self._stop.is_set():
            return []
        if self._pacer.wait() > 0:
            return []
        works = self._queue.take(room, clock.now())
        permits = await self._pacer.permits(len(works)) if works else 0
        self._queue.put_back(works[permits:])
        return works[:permits]

    def _room(self) -> int:
        """How many tickets may be claimed now: what has a slot, and half as many again, so that no slot waits for the
        ledger.
        """
        if len(self._checking) >= max(8, self._slots):
            return 0
        slots = 1 if self._health.shaky else self._slots + self._slots // 2
        return slots - len(self._posting) - len(self._claimed)

    async def _exchange(self, works: list[Work]) -> list[Claim]:
        settled, self._unsettled = self._unsettled, []
        patience = clock.now() + LEDGER_PATIENCE
        while True:
            try:
                claims = await self._in_thread(self._ledger.exchange, settled, works, self._options, self._lease)
            except VambeLedgerError:
                if clock.now() > patience or self._stop.is_set():
                    self._unsettled = settled + self._unsettled
                    raise
                await asyncio.sleep(1.0)
            else:
                break
        for item in settled:
            if item.retry_in is None:
                self._queue.done(item.claim.work)
            else:
                self._queue.postpone(item.claim.work, clock.now() + item.retry_in)
        return claims

    def _receive(self, claim: Claim) -> None:
        match claim.verdict:
            case Verdict.SEND:
                self._claimed.append(claim)
            case Verdict.CHECK:
                self._begin(self._checking, self._resolve(claim, None))
            case Verdict.WAIT:
                self._wait_for(claim)
            case _:
                self._queue.done(claim.work)
                self._close(claim, SETTLED[claim.verdict])

    def _wait_for(self, claim: Claim) -> None:
        digest = claim.work.key.digest
        give_up = self._waits.setdefault(digest, clock.now() + self._lease + 30.0)
        if clock.now() < give_up:
            self._queue.postpone(claim.work, clock.now() + min(max(claim.wait, 0.05), 5.0))
            return
        self._queue.done(claim.work)
        self._close(claim, Outcome.HELD)

    def _fill_slots(self) -> None:
        while self._claimed and len(self._posting) < self._slots and not self._stop.is_set():
            self._begin(self._posting, self._post(self._claimed.popleft()))

    def _begin(self, tasks: set[asyncio.Task[None]], work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        tasks.add(task)
        task.add_done_callback(lambda task: self._ended(tasks, task))

    def _ended(self, tasks: set[asyncio.Task[None]], task: asyncio.Task[None]) -> None:
        tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            self._broken = self._broken or task.exception()
        if self._report.stopped is None:
            self._fill_slots()
        if not self._claimed:
            self._hungry.set()
        self._wake.set()

    # --- what becomes of a claim ---

    async def _post(self, claim: Claim) -> None:
        began = clock.now()
        phone_id, channel = self._sender
        result = await post(claim, self._api, phone_id=phone_id, channel=channel, timeout=self._timeout)
        error = result.error if isinstance(result, Settlement) else result
        if error is None:
            self._health.works()
        else:
            rest = self._health.fails(error, began=began, now=clock.now())
            if rest > 0:
                self._progress.note(f"the sender rests for {rest:.0f} s: {error.message}")
                await self._pacer.pause(rest)
        if isinstance(result, Settlement):
            self._settle(result)
        else:
            self._begin(self._checking, self._resolve(claim, result))

    async def _resolve(self, claim: Claim, cause: VambeError | None) -> None:
        siblings = await self._in_thread(self._ledger.siblings, claim.work)
        self._settle(await resolve(claim, self._api, cause=cause, siblings=siblings, options=self._options))

    def _settle(self, item: Settlement) -> None:
        """Hand an outcome to the ledger, and to the report unless this run tries the row again."""
        if item.retry_in is not None and not self._may_try_again(item):
            item = Settlement(
                item.claim, item.state, item.outcome, item.ai_contact_id, item.evidence, item.evidence_id, item.error
            )
        self._unsettled.append(item)
        if item.retry_in is None:
            self._tries.pop(item.claim.work.key.digest, None)
            self._report.add(item.outcome, key=item.claim.work.key, error=item.error, ai_contact_id=item.ai_contact_id)

    def _may_try_again(self, item: Settlement) -> bool:
        if self._stop.is_set() or self._health.stop:
            return False
        if isinstance(item.error, VambeRateLimitError):
            return True
        digest = item.claim.work.key.digest
        self._tries[digest] = self._tries.get(digest, 0) + 1
        return self._tries[digest] < MAX_TRIES

    def _close(self, claim: Claim, outcome: Outcome) -> None:
        """Report a row that the ledger did not give out."""
        error: VambeError | None = None
        match outcome:
            case Outcome.HELD:
                error = VambeTicketHeldError("Another run is sending this row")
            case Outcome.UNKNOWN:
                error = VambeUnknownOutcomeError("An earlier attempt may have opened it; this run left it alone")
            case Outcome.REJECTED:
                error = VambeRefusedError("It was refused before and has not changed since")
        self._report.add(outcome, key=claim.work.key, error=error, ai_contact_id=claim.ai_contact_id)

    # --- waiting and ending ---

    def _wants_rows(self) -> bool:
        chunk = self._reader.chunk
        few = self._queue.idle < chunk // 2 and len(self._queue) < 4 * chunk
        return few and not (self._reading or self._reader.exhausted or self._health.stop or self._stop.is_set())

    def _finished(self) -> bool:
        busy = len(self._queue) or self._claimed or self._posting or self._checking or self._unsettled or self._reading
        return self._reader.exhausted and not busy

    def _look_for_reasons_to_stop(self) -> None:
        if self._broken is not None:
            raise self._broken
        if self._stop.is_set():
            self._report.stopped = "the task was told to stop"
        elif self._health.stop:
            self._report.stopped = self._health.stop
        elif self._defer_after is not None and (idle := self._idle_for()) >= self._defer_after:
            self._report.stopped, self._report.resume_in = "deferred", idle

    def _idle_for(self) -> float:
        """Return for how many seconds there will be nothing to do."""
        if self._claimed or self._posting or self._checking or self._unsettled or self._reading or self._wants_rows():
            return 0.0
        due = self._queue.next_due()
        waits = [] if due is None else [due - clock.now()]
        if self._queue.idle:
            waits.append(self._pacer.wait())
        return max(0.0, min(waits, default=0.0))

    async def _rest(self) -> None:
        """Wait until there is something to do; while posts are on their way at least a moment, so that a transaction
        carries many.
        """
        if self._finished():
            return
        if self._posting:
            await self._pause(self._hungry, TURN)
        if not self._unsettled and not (self._queue.idle and self._room() > 0 and self._pacer.wait() == 0):
            await self._pause(self._wake, min(1.0, self._idle_for() or 1.0))
        self._wake.clear()

    async def _pause(self, event: asyncio.Event, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await event.wait()

    async def _wind_up(self) -> None:
        """Let what is on its way come to its end, settle it, and give back what was claimed and not posted."""
        if self._stop.is_set():
            for task in [*self._checking, *self._reading]:
                task.cancel()  # only reads are torn; a row stays `sending`, and the next try goes on with it
        while tasks := [*self._posting, *self._checking, *self._reading]:
            await asyncio.wait(tasks)
        for claim in self._claimed:
            self._unsettled.append(not_created(claim, VambeNotSentError("The run ended before this ticket was posted")))
        self._claimed.clear()
        if self._unsettled:
            await self._exchange([])

    async def _in_thread(self, function: Callable[..., T], *args: object) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, function, *args)
