"""The tickets of a batch that are read and not yet done: who is next, who waits, and that one person never has two on
their way.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vambe_provider.delivery.model import Outcome

if TYPE_CHECKING:
    from vambe_provider.delivery.model import Work

MOST_OF_ONE_PERSON = 100
"""Tickets that wait behind another one to the same person at most; more would keep everybody else from being read."""


@dataclass(slots=True)
class Held:
    """One ticket that a batch holds.

    :param work: the ticket.
    :param tries: how often it was posted or looked for in this run.
    :param gives_up: until when it waits for another task that has it, in seconds of the process's clock.
    """

    work: Work
    tries: int = 0
    gives_up: float = math.inf


class Line:
    """What a batch holds in memory; never more than its reader puts in."""

    def __init__(self) -> None:
        self._held: dict[str, Held] = {}
        self._ready: deque[Held] = deque()
        self._later: list[tuple[float, int, Held]] = []
        self._behind: dict[str, deque[Held]] = {}
        self._order = itertools.count()
        self.size = 0
        """Bytes of the requests that are held, about."""

    def __len__(self) -> int:
        return len(self._held)

    @property
    def idle(self) -> int:
        """How many tickets wait for nothing but their turn."""
        return len(self._ready)

    def add(self, work: Work) -> Outcome | None:
        """Take in a ticket.

        :return: ``duplicate`` or ``conflict`` when its key is held already, with the same or with other content;
            ``failed`` when too many tickets to its person wait already.
        """
        known = self._held.get(work.key.digest)
        if known is not None:
            return Outcome.DUPLICATE if known.work.fingerprint == work.fingerprint else Outcome.CONFLICT
        if len(self._behind.get(work.person, ())) >= MOST_OF_ONE_PERSON:
            return Outcome.FAILED
        self._held[work.key.digest] = held = Held(work)
        self.size += work.size
        self._ready.append(held)
        return None

    def get(self, work: Work) -> Held:
        """Return the record of a ticket that is held."""
        return self._held[work.key.digest]

    def take(self, most: int, now: float) -> list[Work]:
        """Return the next tickets, each to a person to whom none is on its way; those persons are busy until
        released.
        """
        while self._later and self._later[0][0] <= now:
            self._ready.appendleft(heapq.heappop(self._later)[2])
        taken: list[Work] = []
        while self._ready and len(taken) < most:
            held = self._ready.popleft()
            if held.work.person in self._behind:
                self._behind[held.work.person].append(held)
            else:
                self._behind[held.work.person] = deque()
                taken.append(held.work)
        return taken

    def put_back(self, works: list[Work]) -> None:
        """Give back tickets that were taken and not begun; they stand in front again."""
        for work in reversed(works):
            self._release(work)
            self._ready.appendleft(self._held[work.key.digest])

    def done(self, work: Work) -> None:
        """Forget a ticket, and let the next one to its person have its turn."""
        if self._held.pop(work.key.digest, None) is not None:
            self.size -= work.size
        self._release(work)

    def postpone(self, work: Work, until: float) -> None:
        """Keep a ticket for later, and let others to its person go first."""
        self._release(work)
        heapq.heappush(self._later, (until, next(self._order), self._held[work.key.digest]))

    def next_due(self) -> float | None:
        """Return when the first postponed ticket is due; None when none is postponed."""
        return self._later[0][0] if self._later else None

    def waiting(self) -> list[Held]:
        """Return the tickets that nobody has begun now, for the end of a run that was stopped."""
        behind = [held for line in self._behind.values() for held in line]
        return [*self._ready, *(held for _, _, held in self._later), *behind]

    def _release(self, work: Work) -> None:
        # Whoever waited behind this ticket stands in front again: first come, first served.
        self._ready.extendleft(reversed(self._behind.pop(work.person, ())))
