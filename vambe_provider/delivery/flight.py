"""What is on its way: claimed and waiting for a slot, being posted, or being looked for."""

from __future__ import annotations

import asyncio
import math
import threading
from collections import deque
from collections.abc import Coroutine
from functools import partial
from typing import TYPE_CHECKING

from vambe_provider.delivery import clock
from vambe_provider.delivery.health import Health
from vambe_provider.delivery.model import Outcome, Settlement, State
from vambe_provider.exceptions import VambeNotSentError

if TYPE_CHECKING:
    from vambe_provider.delivery.attempt import Courier
    from vambe_provider.delivery.ledger.threaded import ThreadedLedger
    from vambe_provider.delivery.model import Claim
    from vambe_provider.delivery.pacing import Pacer
    from vambe_provider.delivery.progress import Progress
    from vambe_provider.exceptions import VambeError

NOT_POSTED = "not_posted"
"""The evidence of a ticket that was claimed and given back; no try of it is counted."""
MIN_CHECKS = 8
"""Reconciliations that may run at once even when fewer posts may."""


class Flight:
    """The tasks of one run that talk to the API.

    :param courier: posts and looks.
    :param ledger: knows the other tickets to a person.
    :param pacer: is told to rest when the API asks for it.
    :param slots: posts that may be on their way at once.
    :param progress: is told why the sender rests.
    :param stop: when set, nothing that was claimed is posted any more.
    """

    def __init__(
        self,
        courier: Courier,
        ledger: ThreadedLedger,
        pacer: Pacer,
        *,
        slots: int,
        progress: Progress,
        stop: threading.Event,
    ) -> None:
        self.health = Health()
        self.landed: list[Settlement] = []
        self.news, self.hungry = asyncio.Event(), asyncio.Event()
        self._courier, self._ledger, self._pacer, self._progress = courier, ledger, pacer, progress
        self._slots, self._stop = slots, stop
        self._claimed: deque[Claim] = deque()
        self._posting: set[asyncio.Task[None]] = set()
        self._checking: set[asyncio.Task[None]] = set()
        self._others: set[asyncio.Task[None]] = set()
        self._failure: BaseException | None = None
        self._open = True
        self._rests_until = -math.inf

    @property
    def busy(self) -> bool:
        """True while anything is on its way, or has landed and is not settled."""
        return bool(self._claimed or self._posting or self._checking or self._others or self.landed)

    @property
    def posting(self) -> bool:
        """True while a post is on its way."""
        return bool(self._posting)

    def room(self) -> int:
        """Return how many tickets may be claimed now.

        That is what has a slot, and as many again, so that no slot waits for the ledger. After a pause one ticket is
        enough to find out whether the server is back.
        """
        if len(self._checking) >= max(MIN_CHECKS, self._slots):
            return 0
        most = 1 if self.health.shaky else 2 * self._slots
        return most - len(self._posting) - len(self._claimed)

    def post(self, claims: list[Claim]) -> None:
        """Post claimed tickets as soon as there is a slot for each, unless the sender was sent to rest meanwhile."""
        self._claimed.extend(claims)
        if (rest := self._rests_until - clock.now()) > 0:
            self._give_back("The sender rests", retry_in=rest)
        self._fill()
        self.hungry.clear()

    def check(self, claim: Claim, cause: VambeError | None = None) -> None:
        """Find out whether a ticket exists."""
        self.start(self._check(claim, cause), self._checking)

    def start(self, work: Coroutine[None, None, None], tasks: set[asyncio.Task[None]] | None = None) -> None:
        """Run something beside; its failure ends the run."""
        group = self._others if tasks is None else tasks
        task = asyncio.create_task(work)
        group.add(task)
        task.add_done_callback(lambda done: self._ended(done, group))

    def raise_failure(self) -> None:
        """Raise what ended a task that was not meant to fail."""
        if self._failure is not None:
            raise self._failure

    async def land(self, *, hurry: bool) -> None:
        """Begin nothing new, and wait for what is on its way.

        :param hurry: leave off looking for what may exist; such a row stays ``sending``, and the next try goes on
            with it.
        """
        self._open = False
        if hurry:
            for task in [*self._checking, *self._others]:
                task.cancel()
        while tasks := [*self._posting, *self._checking, *self._others]:
            await asyncio.wait(tasks)
        self._give_back("The run ended before this ticket was posted", retry_in=None)

    async def _use_slot(self, claim: Claim) -> None:
        """Post one ticket after the other as long as there are claims; a task for each would cost more."""
        while True:
            await self._post(claim)
            self.news.set()
            if not self._may_post():
                return
            claim = self._claimed.popleft()
            if not self._claimed:
                self.hungry.set()

    async def _post(self, claim: Claim) -> None:
        began = clock.now()
        result = await self._courier.post(claim)
        if isinstance(result, Settlement):
            self.landed.append(result)
        elif self._open:
            self.check(claim, result)
        # else: nobody knows, and nobody has time to look; the row stays `sending`, and the next try reconciles it
        error = result.error if isinstance(result, Settlement) else result
        if error is None:
            self.health.works()
        elif (rest := self.health.fails(error, began=began, now=clock.now())) > 0:
            self._progress.note(f"the sender rests for {rest:.1f} s: {error.message}")
            self._rests_until = max(self._rests_until, clock.now() + rest)
            self._give_back("The sender rests", retry_in=rest)
            # Last, because a shared store may fail, and the outcome must be recorded all the same.
            await self._pacer.pause(rest)

    def _give_back(self, reason: str, *, retry_in: float | None) -> None:
        """Settle what was claimed and not posted, so that it does not go out during a rest, and no lease holds it."""
        error = VambeNotSentError(reason)
        self.landed += [
            Settlement(claim, State.FAILED, Outcome.FAILED, evidence=NOT_POSTED, error=error, retry_in=retry_in)
            for claim in self._claimed
        ]
        self._claimed.clear()

    async def _check(self, claim: Claim, cause: VambeError | None) -> None:
        found = await self._courier.resolve(claim, cause, partial(self._ledger.siblings, claim.work))
        # Not in one line with the await: the list may be another one afterwards.
        self.landed.append(found)

    def _fill(self) -> None:
        while self._may_post() and len(self._posting) < self._slots:
            self.start(self._use_slot(self._claimed.popleft()), self._posting)

    def _may_post(self) -> bool:
        return bool(self._claimed) and self._open and not self._stop.is_set()

    def _ended(self, task: asyncio.Task[None], group: set[asyncio.Task[None]]) -> None:
        group.discard(task)
        if not task.cancelled() and task.exception() is not None:
            self._failure = self._failure or task.exception()
        self._fill()
        if not self._claimed:
            self.hungry.set()
        self.news.set()
