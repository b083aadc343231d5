"""When so many answers of a sender are unclear that going on would only make more doubts: a share over a window, in the
order in which the posts began. Pure bookkeeping.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

WINDOW = 40
"""Posts over which the share is taken; fewer say too little."""
SHARE = 0.5
"""The share of unclear answers at which the sender rests."""
IN_A_ROW = 6
"""Unclear answers in a row at which it rests before the window is full."""
PAUSES = (30.0, 60.0, 120.0, 300.0)
"""Seconds of the rests that follow each other while answers stay unclear; after the last one the run stops."""


@dataclass(frozen=True, slots=True)
class Rest:
    """A sender has to rest.

    :param seconds: for how long; None when it has rested often enough, and the run has to stop.
    :param unclear: how many answers were unclear.
    :param posts: of how many posts.
    """

    seconds: float | None
    unclear: int
    posts: int

    def __str__(self) -> str:
        return f"{self.unclear} of the last {self.posts} tickets got no clear answer"


@dataclass(slots=True)
class Breaker:
    """Judges the answers of one sender.

    Failures often land before the successes that began with them, so answers are judged in the order in which their
    posts began: an answer waits until those before it have landed.
    """

    rests: int = 0
    """How many rests followed each other; a full window without too many unclear answers ends the series."""
    probing: bool = False
    """True after a rest until one answer is clear: then one ticket at a time is enough to find out."""
    _next: int = 0
    _landed: dict[int, bool | None] = field(default_factory=dict)
    _window: deque[bool] = field(default_factory=lambda: deque(maxlen=WINDOW))

    def landed(self, ordinal: int, *, unclear: bool | None) -> Rest | None:
        """Note an answer.

        :param ordinal: the how-manieth post of this run it answers, from 0 on; every post has to land once.
        :param unclear: nobody can tell what it did; None when it never reached Vambe, which says nothing here.
        :return: the rest that follows, if one does.
        """
        self._landed[ordinal] = unclear
        rest = None
        while self._next in self._landed:
            judged = self._landed.pop(self._next)
            self._next += 1
            if judged is not None:
                rest = self._judge(judged) or rest
        return rest

    def _judge(self, unclear: bool) -> Rest | None:
        self._window.append(unclear)
        if not unclear:
            self.probing = False
            if len(self._window) == WINDOW and self._share() < SHARE / 2:
                self.rests = 0
            return None
        newest = list(self._window)[-IN_A_ROW:]
        in_a_row = len(newest) == IN_A_ROW and all(newest)
        full = len(self._window) == WINDOW and self._share() >= SHARE
        return self._rest() if self.probing or in_a_row or full else None

    def _rest(self) -> Rest:
        unclear, posts = sum(self._window), len(self._window)
        self._window.clear()
        # What is on its way now began before the rest and says nothing new.
        self.probing = True
        seconds = PAUSES[self.rests] if self.rests < len(PAUSES) else None
        self.rests += 1
        return Rest(seconds, unclear, posts)

    def _share(self) -> float:
        return sum(self._window) / len(self._window)
