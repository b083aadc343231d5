"""When the next tickets of one sender may go: the rate that its number bears, and the pauses that the API asks for."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Protocol

from vambe_provider.delivery import clock

if TYPE_CHECKING:
    from vambe_provider.api.rate import Rate

TOLERANCE = 0.1
"""Seconds of tickets that may go at once, so that a fast rate is not slowed by the length of a turn."""


class Pacer(Protocol):
    """Gives out permits for single tickets of one sender."""

    async def permits(self, wanted: int) -> int:
        """Return how many tickets may be sent now, at most ``wanted``; they count as sent."""
        ...

    async def pause(self, seconds: float) -> None:
        """Give out no permit for so long."""
        ...

    def wait(self) -> float:
        """Return the seconds until the next permit, as far as is known."""
        ...

    def fresh_in(self) -> float:
        """Return the seconds after which a process that knows nothing of this one's permits keeps the rate too."""
        ...


class LocalPacer:
    """Paces the tickets of this process, spread evenly.

    :param rate: tickets in a period; None for no limit.
    """

    def __init__(self, rate: Rate | None) -> None:
        self._interval = rate.interval if rate else 0.0
        self._next = self._paused = -math.inf

    async def permits(self, wanted: int) -> int:
        """Return how many tickets may be sent now."""
        now = clock.now()
        if now < self._paused or wanted <= 0:
            return 0
        if self._interval == 0:
            return wanted
        # `_next` is when the next ticket is due; what was missed within the tolerance is made up for. Not at a slow
        # rate: there a single ticket too early is one too many in its period.
        begin = max(self._next, now - (TOLERANCE if self._interval < TOLERANCE else 0.0))
        granted = min(wanted, max(0, math.floor((now - begin) / self._interval + 1 + 1e-9)))
        self._next = begin + granted * self._interval
        return granted

    async def pause(self, seconds: float) -> None:
        """Give out no permit for so long."""
        self._paused = max(self._paused, clock.now() + seconds)

    def wait(self) -> float:
        """Return the seconds until the next permit."""
        return max(0.0, max(self._next, self._paused) - clock.now())

    def fresh_in(self) -> float:
        """Return the seconds after which another process may begin."""
        return self.wait()


class WindowPacer(LocalPacer):
    """Gives out the tickets of a whole period at once, and then none for as long, so that a task can leave its worker
    slot meanwhile.

    :param rate: tickets in a period.
    """

    def __init__(self, rate: Rate) -> None:
        super().__init__(rate)
        self._rate = rate
        self._left = rate.count
        self._last = -math.inf

    async def permits(self, wanted: int) -> int:
        """Return how many tickets may be sent now."""
        now = clock.now()
        if now < max(self._paused, self._next) or wanted <= 0:
            return 0
        granted = min(wanted, self._left)
        self._left, self._last = self._left - granted, now
        if self._left == 0:
            # Counted from the last ticket, so that no period of this length ever holds more than the rate.
            self._left, self._next = self._rate.count, now + self._rate.seconds
        return granted

    def fresh_in(self) -> float:
        """Return the seconds after which another process may begin, which would begin with a whole period's tickets."""
        return max(self.wait(), self._last + self._rate.seconds - clock.now())


def make_pacer(rate: Rate | None, *, store: str | None, sender: str, burst: bool = False) -> Pacer:
    """Return the pacer for a sender: shared where the connection names a store, else this process's own.

    :param burst: send a period's tickets at once, for a task that defers in between.
    """
    if store is None:
        return WindowPacer(rate) if burst and rate is not None else LocalPacer(rate)
    from vambe_provider.delivery.pace.shared import SharedPacer

    return SharedPacer(rate, store=store, sender=sender, burst=burst)


def expected_time(rows: int, rate: Rate) -> str:
    """Return one line that says what pacing means, as ``10,000 rows at 10/minute take 16 h 40 min``."""
    return f"{rows:,} rows at {rate} take {duration(rows * rate.interval)}"


def duration(seconds: float) -> str:
    """Return a length of time for people, in its two largest units."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    parts = [(whole // 86400, "d"), (whole % 86400 // 3600, "h"), (whole % 3600 // 60, "min"), (whole % 60, "s")]
    while parts[0][0] == 0:
        parts.pop(0)
    return " ".join(f"{count} {unit}" for count, unit in parts[:2] if count)
