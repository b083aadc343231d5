"""Deliver many tickets: read, look up, claim, post and settle at once, in constant memory.

This loop alone owns the life of each ticket. One row's way: the source reads and keys it; the ledger is asked what it
knows, which ends most rows of a usual night; its request is made; it stands in line; it is claimed right before there
is room to post it, in one transaction with the settlements of those before it; it is posted, or looked for; its
outcome goes to the report at once and to the ledger with the next transaction. What is claimed is never more than what
can be sent now, so a killed worker leaves only a handful of rows to be reconciled, and a lease never has to be renewed.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from vambe_provider.delivery import clock
from vambe_provider.delivery.batch.intake import PART, Intake, Taken
from vambe_provider.delivery.batch.line import MOST_OF_ONE_PERSON, Line
from vambe_provider.delivery.batch.senders import Post, Senders
from vambe_provider.delivery.batch.source import CHUNK
from vambe_provider.delivery.model import Claim, Evidence, Outcome, Settlement, Verdict, Withheld, Work
from vambe_provider.delivery.permission import WithheldError
from vambe_provider.delivery.rules import conflict, found_for_another
from vambe_provider.exceptions import (
    VambeDeliveryError,
    VambeError,
    VambeLedgerError,
    VambeNotSentError,
    VambeRateLimitError,
    VambeTicketHeldError,
)

if TYPE_CHECKING:
    from vambe_provider.delivery.attempt.post import Courier
    from vambe_provider.delivery.batch.judge import Judge
    from vambe_provider.delivery.batch.progress import Progress
    from vambe_provider.delivery.batch.report import Report
    from vambe_provider.delivery.ledger.threaded import ThreadedLedger
    from vambe_provider.delivery.pace.health import Health
    from vambe_provider.delivery.pace.rate import Pacer

TURN = 0.02
"""Seconds at least from one transaction's begin to the next one's while posts are on their way, so that each carries
many rows."""
MAX_TRIES = 6
"""How often one row is posted or looked for in one run, while each time nothing was created."""
LOOK_AGAIN = 5.0
"""Seconds at most until the ledger is asked again for a row that somebody else holds."""
LEDGER_PATIENCE = 60.0
"""Seconds for which a ledger that is down is asked again before the run gives up."""
MOST_BYTES = 64 * 1024 * 1024
"""Bytes of requests that wait in line, about, beyond which no more are made."""


class Loop:
    """Owns the tickets of one run; see :func:`~vambe_provider.delivery.batch.deliver.deliver_many`.

    :param intake: takes rows in.
    :param ledger: which tickets may be sent, and what became of the others.
    :param courier: posts and looks.
    :param pacer: how many may go now.
    :param report: where every row ends.
    :param progress: says how far it is.
    :param judge: asks the contact policy; None without one.
    :param health: when the sender has to rest, and the run to stop.
    :param slots: posts that may be on their way at once.
    """

    def __init__(
        self,
        intake: Intake,
        ledger: ThreadedLedger,
        courier: Courier,
        pacer: Pacer,
        report: Report,
        progress: Progress,
        judge: Judge | None,
        health: Health,
        *,
        slots: int,
        max_tickets: int | None,
        dry_run: bool,
        defer_after: float | None,
        stop: threading.Event,
    ) -> None:
        self._intake, self._ledger, self._pacer, self._health = intake, ledger, pacer, health
        self._report, self._progress, self._judge, self._options = report, progress, judge, courier.options
        self._dry_run, self._defer_after, self._stop = dry_run, defer_after, stop
        self._budget = math.inf if max_tickets is None else max_tickets
        self._wake = asyncio.Event()
        self._senders = Senders(
            courier,
            slots=slots,
            may_post=self._may_post,
            posted=self._posted,
            looked=self._looked,
            ended=self._wake.set,
        )
        self._line = Line()
        self._settled: list[Settlement] = []
        self._undecided: set[str] = set()
        """Tickets that may have been sent: they are looked for at any hour, and judged when nothing was found."""
        self._doubts: deque[tuple[Claim, VambeError | None]] = deque()
        self._taking: asyncio.Task[Taken] | None = None
        self._open = True
        self._rests_until = -math.inf
        self._pause = 0.0
        self._began = 0.0

    async def run(self) -> None:
        """Deliver until the source is empty and everything is settled, or until there is a reason to stop."""
        began = clock.now()
        try:
            try:
                while self._report.stopped is None and not self._finished():
                    await self._turn()
                    self._look_for_reasons_to_stop()
            finally:
                await self._end()
            self._wait_for_policy()
        finally:
            self._report.elapsed = clock.now() - began
            await self._intake.close()
            self._ledger.close()
        self._progress.end()

    # --- from the intake into the line ---

    @property
    def _wanted(self) -> bool:
        """True when the line runs short and there is more to take in; bounds what is held in memory."""
        few = self._line.idle < 2 * PART and len(self._line) < 2 * CHUNK and self._line.size < MOST_BYTES
        return few and not self._intake.exhausted

    def _queue(self, taken: Taken) -> None:
        self._undecided |= taken.undecided
        for work in taken.works:
            outcome = self._line.add(work)
            error: VambeError | None = None
            if outcome is None:
                continue
            if outcome == Outcome.CONFLICT:
                error = conflict(work.key.text, self._line.get(work).work.number)
            elif outcome == Outcome.FAILED:
                error = VambeDeliveryError(
                    f"{MOST_OF_ONE_PERSON} tickets to this person wait already; the next try goes on"
                )
            self._report.add(outcome, key=work.key, error=error, number=work.number)

    # --- from the line to the API ---

    async def _turn(self) -> None:
        if self._taking is not None and self._taking.done():
            self._queue(self._taking.result())
            self._taking = None
        if self._taking is None and self._wanted:
            self._taking = asyncio.create_task(self._intake.take(full=self._used() >= self._budget))
            self._taking.add_done_callback(lambda _: self._wake.set())
        if self._pause > 0:
            seconds, self._pause = self._pause, 0.0
            await self._pacer.pause(seconds)
        while self._doubts and self._senders.room_to_check > 0:
            claim, cause = self._doubts.popleft()
            self._senders.check(claim, cause, self._ledger)
        works = await self._next_works()
        if works or self._settled:
            self._receive(await self._exchange(works))
        self._progress.tick()
        await self._rest()

    async def _next_works(self) -> list[Work]:
        resting = self._judge is not None and self._judge.sender_rests
        room = self._line.idle if resting else self._room()
        if room <= 0 or (self._pacer.wait() > 0 and not resting):
            return []
        if self._judge is not None and not await self._judge.ready():
            return []
        works = self._line.take(room, clock.now())
        if self._judge is not None:
            # Hours may have passed since a row was taken in, and what must not go takes no permit of the sender.
            looked_for = [work for work in works if work.key.digest in self._undecided]
            works, must_not = self._judge.sort([work for work in works if work.key.digest not in self._undecided])
            works = [*looked_for, *works]
            await self._judge.hold_back(must_not)
            for item in must_not:
                self._line.done(item.work)
        permits = await self._pacer.permits(len(works)) if works else 0
        self._line.put_back(works[permits:])
        return works[:permits]

    def _room(self) -> int:
        """Return how many tickets may be claimed now; after a rest one is enough to see whether the server is back."""
        senders = self._senders
        room = 1 - senders.posting - senders.claimed if self._health.probing else senders.room
        return int(min(room, self._budget - self._used()))

    def _used(self) -> int:
        """Return how many tickets of ``max_tickets`` are used up, or may be."""
        senders = self._senders
        on_their_way = senders.posting + senders.claimed + senders.checking + len(self._doubts) + len(self._settled)
        counts = self._report.counts
        sent = (
            counts[Outcome.OPENED] + counts[Outcome.RECONCILED] + counts[Outcome.UNKNOWN] + self._report.opened_before
        )
        return sent + on_their_way

    async def _exchange(self, works: list[Work]) -> list[Claim]:
        """Settle what came back, and claim what may go, in one transaction."""
        settled, self._settled = [self._final(item) for item in self._settled], []
        self._began = clock.now()
        patience = self._began + LEDGER_PATIENCE
        while True:
            try:
                claims = await self._ledger.exchange(settled, works)
                break
            except VambeLedgerError as error:
                if error.permanent or clock.now() > patience or self._stop.is_set():
                    raise
                await asyncio.sleep(1.0)
        for item in settled:
            self._undecided.discard(item.claim.work.key.digest)
            if item.retry_in is None:
                self._line.done(item.claim.work)
            else:
                self._line.postpone(item.claim.work, clock.now() + item.retry_in)
        return claims

    def _final(self, item: Settlement) -> Settlement:
        """Report an outcome, unless this run tries the row again."""
        if item.retry_in is not None and self._may_try_again(item):
            return item
        outcome, error = item.outcome, item.error
        if outcome == Outcome.RECONCILED and (other := found_for_another(item.claim)):
            outcome, error = Outcome.CONFLICT, other
        if isinstance(error, WithheldError):
            self._report.add_withheld(Withheld(item.claim.work, error.ruling))
        else:
            self._report.add(outcome, key=item.claim.work.key, error=error, ai_contact_id=item.ai_contact_id)
        return item if item.retry_in is None else replace(item, retry_in=None)

    def _may_try_again(self, item: Settlement) -> bool:
        if not self._open or self._stop.is_set() or self._health.stop:
            return False
        if isinstance(item.error, VambeRateLimitError) or item.evidence == Evidence.NOT_POSTED:
            return True
        held = self._line.get(item.claim.work)
        held.tries += 1
        return held.tries < MAX_TRIES

    def _receive(self, claims: list[Claim]) -> None:
        """Act on the ledger's answers."""
        send = [claim for claim in claims if claim.verdict == Verdict.SEND]
        rest = self._rests_until - clock.now()
        if rest > 0:
            self._give_back(send, "The sender rests", retry_in=rest)
        else:
            self._senders.post(send)
        for claim in claims:
            if claim.verdict == Verdict.CHECK:
                self._doubts.append((claim, None))
            elif claim.verdict == Verdict.WAIT:
                self._wait_for(claim)
            elif claim.verdict != Verdict.SEND:
                self._undecided.discard(claim.work.key.digest)
                self._line.done(claim.work)
                self._close(claim)

    def _wait_for(self, claim: Claim) -> None:
        held, now = self._line.get(claim.work), clock.now()
        held.gives_up = min(held.gives_up, now + self._ledger.lease + 30.0)
        if now < held.gives_up:
            # Whoever has it may be done early; a task that can leave its slot meanwhile waits for the lease to end.
            longest = LOOK_AGAIN if self._defer_after is None else claim.wait
            self._line.postpone(claim.work, now + max(0.05, min(claim.wait, longest)))
            return
        self._line.done(claim.work)
        self._close(claim)

    def _close(self, claim: Claim) -> None:
        """Report a row that the ledger does not give out."""
        if claim.ruling is not None and self._judge is not None:
            self._judge.note(claim.ruling)
        self._report.close(claim, self._options)

    # --- what the senders tell ---

    def _may_post(self) -> bool:
        return self._open and not self._stop.is_set()

    def _posted(self, claim: Claim, result: Settlement | VambeError, post: Post) -> None:
        if isinstance(result, Settlement):
            self._settled.append(result)
        else:
            # After the end nobody has time to look: the row stays `sending`, and the next try reconciles it.
            self._doubts.append((claim, result))
        error = result.error if isinstance(result, Settlement) else result
        rest = self._health.landed(error, ordinal=post.ordinal, began=post.began, now=clock.now())
        if rest > 0:
            self._progress.note(f"The sender rests for {rest:.1f} s: {self._health.why}")
            self._rests_until = max(self._rests_until, clock.now() + rest)
            self._pause = max(self._pause, rest)
            self._give_back(self._senders.take_back(), "The sender rests", retry_in=rest)
        self._wake.set()

    def _looked(self, result: Settlement) -> None:
        self._settled.append(result)
        self._wake.set()

    def _give_back(self, claims: list[Claim], reason: str, *, retry_in: float | None) -> None:
        """Settle what was claimed and not posted, so that it does not go out during a rest, and no lease holds it."""
        error = VambeNotSentError(reason)
        self._settled += [
            Settlement(claim, Outcome.FAILED, Evidence.NOT_POSTED, error=error, retry_in=retry_in) for claim in claims
        ]

    # --- rests and ends ---

    @property
    def _busy(self) -> bool:
        """True while anything is on its way, or came back and is not settled."""
        senders = self._senders
        on_their_way = senders.posting or senders.checking or senders.claimed
        return bool(on_their_way or self._settled or self._doubts or self._taking is not None)

    def _finished(self) -> bool:
        if self._busy or not self._intake.exhausted:
            return False
        if len(self._line) and self._used() >= self._budget:
            self._leave()
        return not len(self._line)

    def _leave(self) -> None:
        """Report what ``max_tickets`` leaves for the next run."""
        for held in self._line.waiting():
            self._report.add(Outcome.LEFT, key=held.work.key)
            self._line.done(held.work)

    def _look_for_reasons_to_stop(self) -> None:
        self._senders.raise_failure()
        if self._stop.is_set():
            self._report.stopped = "the task was told to stop"
        elif self._health.stop:
            self._report.stopped = self._health.stop
        elif self._defer_after is not None and (idle := self._idle_for()) >= self._defer_after:
            self._report.stopped, self._report.resume_in = "deferred", max(idle, self._pacer.fresh_in())

    def _wait_for_policy(self) -> None:
        """Let a deferrable run go on when the first postponed row is due."""
        report, due = self._report, self._report.next_due
        if self._defer_after is None or self._dry_run or due is None or report.stopped is not None:
            return
        if self._used() < self._budget:
            report.stopped, report.waits_for_policy = "deferred", True
            report.resume_in = max(1.0, due.timestamp() - clock.utc())

    def _idle_for(self) -> float:
        """Return for how many seconds there will be nothing to do."""
        if self._busy or self._wanted:
            return 0.0
        due = self._line.next_due()
        waits = [] if due is None else [due - clock.now()]
        if self._line.idle:
            waits.append(self._pacer.wait())
        return max(0.0, min(waits, default=0.0))

    async def _rest(self) -> None:
        """Wait until there is something to do, and while posts are on their way at least a moment."""
        senders = self._senders
        if senders.posting and senders.claimed:
            await self._until(self._began + TURN - clock.now(), lambda: not senders.claimed)
        due = self._line.next_due()
        waiting = self._line.idle or (due is not None and due <= clock.now())
        can_go = waiting and self._room() > 0 and self._pacer.wait() == 0
        can_look = self._doubts and senders.room_to_check > 0
        if not (self._settled or can_go or can_look or self._pause or self._finished()):
            await self._until(min(1.0, self._idle_for() or 1.0), lambda: True)
        else:
            await asyncio.sleep(0)  # whatever there is to do, the posts on their way have to go on

    async def _until(self, seconds: float, enough: Callable[[], bool]) -> None:
        """Wait until something happened after which there is enough to do, and no longer than so many seconds."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while True:
                    self._wake.clear()
                    await self._wake.wait()
                    if enough():
                        return

    async def _end(self) -> None:
        """Begin nothing new, wait for what is on its way, and settle it."""
        self._open = False
        if self._taking is not None:
            self._taking.cancel()
            await asyncio.wait([self._taking])
            if not self._taking.cancelled() and self._taking.exception() is None:
                self._queue(self._taking.result())
        await self._senders.finish(hurry=self._stop.is_set())
        self._give_back(self._senders.take_back(), "The run ended before this ticket was posted", retry_in=None)
        if self._settled:
            await self._exchange([])
        for claim, _ in self._doubts:
            doubt = VambeTicketHeldError("Nobody has looked yet whether it exists; the next try does")
            self._report.add(Outcome.HELD, key=claim.work.key, error=doubt, number=claim.work.number)
        if self._report.stopped is not None and self._report.resume_in is None:
            error = VambeDeliveryError(f"Not tried, because {self._report.stopped}")
            for held in self._line.waiting():
                self._report.add(Outcome.FAILED, key=held.work.key, error=error)
