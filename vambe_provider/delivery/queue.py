"""The tickets of a batch that are read and not yet done: who is next, who waits, and that one person never has two on
their way.
"""

from __future__ import annotations

import heapq
import itertools
from collections import deque
from typing import TYPE_CHECKING

from vambe_provider.delivery.model import Outcome

if TYPE_CHECKING:
    from vambe_provider.delivery.model import Work


class Queue:
    """What a batch holds in memory; never more than its reader puts in."""

    def __init__(self) -> None:
        self._held: dict[str, str] = {}
        self._ready: deque[Work] = deque()
        self._later: list[tuple[float, int, Work]] = []
        self._behind: dict[str, deque[Work]] = {}
        self._order = itertools.count()

    def __len__(self) -> int:
        return len(self._held)

    @property
    def idle(self) -> int:
        """How many tickets wait for nothing but their turn."""
        return len(self._ready)

    def add(self, work: Work) -> Outcome | None:
        """Take in a ticket.

        :return: ``duplicate`` or ``conflict`` when its key is held already, with the same or with other content.
        """
        known = self._held.get(work.key.digest)
        if known is not None:
            return Outcome.DUPLICATE if known == work.fingerprint else Outcome.CONFLICT
        self._held[work.key.digest] = work.fingerprint
        self._ready.append(work)
        return None

    def take(self, most: int, now: float) -> list[Work]:
        """Return the next tickets, each to a person to whom none is on its way; those persons are busy until
        released.
        """
        while self._later and self._later[0][0] <= now:
            self._ready.appendleft(heapq.heappop(self._later)[2])
        taken: list[Work] = []
        while self._ready and len(taken) < most:
            work = self._ready.popleft()
            if work.person in self._behind:
                self._behind[work.person].append(work)
            else:
                self._behind[work.person] = deque()
                taken.append(work)
        return taken

    def put_back(self, works: list[Work]) -> None:
        """Give back tickets that were taken and not begun; they stand in front again."""
        for work in reversed(works):
            self._release(work)
            self._ready.appendleft(work)

    def done(self, work: Work) -> None:
        """Forget a ticket, and let the next one to its person have its turn."""
        self._held.pop(work.key.digest, None)
        self._release(work)

    def postpone(self, work: Work, until: float) -> None:
        """Keep a ticket for later, and let others to its person go first."""
        self._release(work)
        heapq.heappush(self._later, (until, next(self._order), work))

    def next_due(self) -> float | None:
        """Return when the first postponed ticket is due; None when none is postponed."""
        return self._later[0][0] if self._later else None

    def _release(self, work: Work) -> None:
        # Whoever waited behind this ticket stands in front again: first come, first served.
        self._ready.extendleft(reversed(self._behind.pop(work.person, ())))
