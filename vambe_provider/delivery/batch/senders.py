"""What talks to the API for a batch: slots that post claimed tickets, and looks for those without an answer."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vambe_provider.delivery import clock

if TYPE_CHECKING:
    from vambe_provider.delivery.attempt.post import Courier
    from vambe_provider.delivery.attempt.reconcile import Records
    from vambe_provider.delivery.model import Claim, Settlement
    from vambe_provider.exceptions import VambeError


MOST_LOOKS = 4000
"""Looks that may be under way at once. Each spends nearly all of its time waiting; how many of their requests may be on
their way is another matter, see ``Courier``.
"""


@dataclass(frozen=True, slots=True)
class Post:
    """One post of a run.

    :param ordinal: the how-manieth it was, from 0 on.
    :param began: when, in seconds of the process's clock.
    """

    ordinal: int
    began: float


class Senders:
    """The tasks of one run that talk to the API; they know nothing of queues and ledgers.

    :param courier: posts and looks.
    :param slots: posts that may be on their way at once.
    :param may_post: asked before each post; False keeps claimed tickets where they are.
    :param posted: told of each post: the claim, what became of it or the error after which nobody knows, and which
        post it was.
    :param looked: told what each look came to.
    :param ended: told when a slot or a look is free again.
    """

    def __init__(
        self,
        courier: Courier,
        *,
        slots: int,
        may_post: Callable[[], bool],
        posted: Callable[[Claim, Settlement | VambeError, Post], None],
        looked: Callable[[Settlement], None],
        ended: Callable[[], None],
    ) -> None:
        self._courier, self._slots = courier, slots
        self._may_post, self._tell_posted, self._tell_looked, self._tell_ended = may_post, posted, looked, ended
        self._begun = 0
        self._claimed: deque[Claim] = deque()
        self._posting: set[asyncio.Task[None]] = set()
        self._checking: set[asyncio.Task[None]] = set()
        self._failure: BaseException | None = None

    @property
    def posting(self) -> int:
        """How many posts are on their way."""
        return len(self._posting)

    @property
    def checking(self) -> int:
        """How many looks are under way."""
        return len(self._checking)

    @property
    def claimed(self) -> int:
        """How many claimed tickets wait for a slot."""
        return len(self._claimed)

    @property
    def room(self) -> int:
        """How many tickets may be claimed now: what has a slot, and as many again, so that no slot waits for the
        ledger.
        """
        return 2 * self._slots - len(self._posting) - len(self._claimed)

    @property
    def room_to_check(self) -> int:
        """How many more looks may run; they have a budget of their own, so that doubts do not stop all claims."""
        return MOST_LOOKS - len(self._checking)

    def post(self, claims: list[Claim]) -> None:
        """Post claimed tickets as soon as there is a slot for each."""
        self._claimed.extend(claims)
        self._fill()

    def check(self, claim: Claim, cause: VambeError | None, records: Records) -> None:
        """Find out whether a ticket exists."""

        async def look() -> None:
            self._tell_looked(await self._courier.resolve(claim, cause, records))

        self._start(look(), self._checking)

    def take_back(self) -> list[Claim]:
        """Return the claims that wait for a slot, and forget them."""
        claims = list(self._claimed)
        self._claimed.clear()
        return claims

    def raise_failure(self) -> None:
        """Raise what ended a task that was not meant to fail."""
        if self._failure is not None:
            raise self._failure

    async def finish(self, *, hurry: bool) -> None:
        """Wait for what is on its way.

        :param hurry: leave off looking for what may exist; such a ticket stays ``sending``, and the next try goes on
            with it.
        """
        if hurry:
            for task in self._checking:
                task.cancel()
        while tasks := [*self._posting, *self._checking]:
            await asyncio.wait(tasks)

    async def _use_slot(self, claim: Claim) -> None:
        """Post one ticket after the other as long as there are claims; a task for each would cost more."""
        while True:
            post = Post(self._begun, clock.now())
            self._begun += 1
            self._tell_posted(claim, await self._courier.post(claim), post)
            if not (self._claimed and self._may_post()):
                return
            claim = self._claimed.popleft()

    def _fill(self) -> None:
        while self._claimed and len(self._posting) < self._slots and self._may_post():
            self._start(self._use_slot(self._claimed.popleft()), self._posting)

    def _start(self, work: Coroutine[None, None, None], group: set[asyncio.Task[None]]) -> None:
        task = asyncio.create_task(work)
        group.add(task)
        task.add_done_callback(lambda done: self._ended(done, group))

    def _ended(self, task: asyncio.Task[None], group: set[asyncio.Task[None]]) -> None:
        group.discard(task)
        if not task.cancelled() and task.exception() is not None:
            self._failure = self._failure or task.exception()
        self._fill()
        self._tell_ended()
