"""When the next tickets of one sender may go: the rate that its number bears, and the pauses that the API asks for."""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING, Protocol, cast

from vambe_provider.delivery import clock
from vambe_provider.exceptions import VambeConfigError

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
        # `_next` is when the next ticket is due; what was missed within the tolerance is made up for.
        begin = max(self._next, now - TOLERANCE)
        granted = min(wanted, max(0, math.floor((now - begin) / self._interval + 1 + 1e-9)))
        self._next = begin + granted * self._interval
        return granted

    async def pause(self, seconds: float) -> None:
        """Give out no permit for so long."""
        self._paused = max(self._paused, clock.now() + seconds)

    def wait(self) -> float:
        """Return the seconds until the next permit."""
        return max(0.0, max(self._next, self._paused) - clock.now())


class WindowPacer(LocalPacer):
    """Gives out the tickets of a whole period at once, and then none for as long, so that a task can leave its worker
    slot meanwhile.

    :param rate: tickets in a period.
    """

    def __init__(self, rate: Rate) -> None:
        super().__init__(rate)
        self._rate = rate
        self._left = rate.count

    async def permits(self, wanted: int) -> int:
        """Return how many tickets may be sent now."""
        now = clock.now()
        if now < max(self._paused, self._next) or wanted <= 0:
            return 0
        granted = min(wanted, self._left)
        self._left -= granted
        if self._left == 0:
            # Counted from the last ticket, so that no period of this length ever holds more than the rate.
            self._left, self._next = self._rate.count, now + self._rate.seconds
        return granted


class SharedPacer:
    """Paces one sender across processes and machines, through a store that the ``limits`` library reaches.

    :param rate: tickets in a period.
    :param store: address of the store, as ``redis://host:6379/0``.
    :param sender: what tells this sender from others.
    :raises VambeConfigError: when the library is not installed or the store cannot be reached.
    """

    def __init__(self, rate: Rate, *, store: str, sender: str) -> None:
        try:
            from limits import RateLimitItemPerSecond
            from limits.storage import storage_from_string
            from limits.strategies import MovingWindowRateLimiter
        except ImportError as error:
            raise VambeConfigError(
                "rate_store needs the `limits` library", fix="Install airflow-provider-vambe[redis]."
            ) from error
        spread = rate.interval >= 1
        self._item = RateLimitItemPerSecond(
            1 if spread else rate.count, math.ceil(rate.interval) if spread else rate.seconds
        )
        self._pause_key = f"vambe/pause/{sender}"
        self._sender = sender
        self._until = -math.inf
        try:
            self._storage = storage_from_string(store)
            self._limiter = MovingWindowRateLimiter(self._storage)
            reachable = self._storage.check()
        except Exception as error:  # noqa: BLE001 - each store has errors of its own
            raise VambeConfigError(f"rate_store: {type(error).__name__} while reaching the store") from None
        if not reachable:
            raise VambeConfigError(
                "rate_store: the store cannot be reached", fix="Check its address, or remove rate_store."
            )

    async def permits(self, wanted: int) -> int:
        """Return how many tickets may be sent now; asks the store."""
        return await asyncio.to_thread(self._permits, wanted)

    async def pause(self, seconds: float) -> None:
        """Give out no permit for so long, to no process."""
        if seconds > 0:
            await asyncio.to_thread(self._storage.incr, self._pause_key, math.ceil(seconds))

    def wait(self) -> float:
        """Return the seconds until the next permit, as the store last said."""
        return max(0.0, self._until - clock.utc())

    def _permits(self, wanted: int) -> int:
        if self._storage.get(self._pause_key):
            self._until = max(clock.utc() + 0.1, cast("float", self._storage.get_expiry(self._pause_key)))
            return 0
        granted = 0
        while granted < wanted and self._limiter.hit(self._item, self._sender):
            granted += 1
        if granted < wanted:
            reset = self._limiter.get_window_stats(self._item, self._sender).reset_time
            now = clock.utc()
            self._until = now + min(max(0.05, reset - now), self._item.get_expiry())
        return granted


def make_pacer(rate: Rate | None, *, store: str | None, sender: str, burst: bool = False) -> Pacer:
    """Return the pacer for a sender: shared where the connection names a store, else this process's own.

    :param burst: send a period's tickets at once, for a task that defers in between.
    """
    if rate is None or store is None:
        return WindowPacer(rate) if burst and rate is not None else LocalPacer(rate)
    return SharedPacer(rate, store=store, sender=sender)


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
