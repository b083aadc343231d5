"""The pace of one sender that several workers share through a Redis."""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from vambe_provider.delivery import clock
from vambe_provider.exceptions import VambeConfigError, VambeDeliveryError

if TYPE_CHECKING:
    from vambe_provider.api.rate import Rate

STORE_TIMEOUT = 5.0
"""Seconds that one question to the shared store may take."""

_PAUSE_LONGER = """
if redis.call('pttl', KEYS[1]) < tonumber(ARGV[1]) then
    redis.call('set', KEYS[1], 1, 'px', ARGV[1])
end
"""
"""Begin a pause, or make it longer, never shorter; the counters of ``limits`` keep the end that they began with."""


class SharedPacer:
    """Paces one sender across processes and machines, through a Redis that the ``limits`` library keeps the count in.

    Tickets are spread as evenly as whole seconds allow. The clocks of the machines should agree within a second.

    :param rate: tickets in a period; None shares only the pauses that the API asks for.
    :param store: address of the store, as ``redis://host:6379/0``.
    :param sender: what tells this sender from others; tasks share the rate when both are the same.
    :param burst: give out a period's tickets as soon as they are asked for, instead of spreading them.
    :raises VambeConfigError: when the library is not installed, or the address is wrong or refused.
    :raises VambeDeliveryError: when the store cannot be reached now; also raised by the methods, before any permit is
        given.
    """

    def __init__(self, rate: Rate | None, *, store: str, sender: str, burst: bool = False) -> None:
        try:
            import redis  # noqa: F401 - an extra of `limits`
            from limits import RateLimitItemPerSecond
            from limits.strategies import MovingWindowRateLimiter
        except ImportError as error:
            raise VambeConfigError(
                "rate_store: needs the libraries `limits` and `redis`", fix="Install airflow-provider-vambe[redis]."
            ) from error
        self._sender = sender
        limits = windows(rate, burst=burst) if rate else []
        self._items = [RateLimitItemPerSecond(count, seconds) for count, seconds in limits]
        self._until = -math.inf
        with _store_errors("opened"):
            storage = _redis_storage(store)
            self._client = storage.get_connection()
            self._client.ping()
            self._pause_longer = self._client.register_script(_PAUSE_LONGER)
        self._limiter = MovingWindowRateLimiter(storage)
        self._pause_key = f"vambe/pause/{sender}"

    async def permits(self, wanted: int) -> int:
        """Return how many tickets may be sent now; asks the store."""
        return await asyncio.to_thread(self._permits, wanted) if self.wait() == 0 else 0

    async def pause(self, seconds: float) -> None:
        """Give out no permit for so long, to no process; a longer pause that is on already stays."""
        if seconds > 0:
            # At once for this process, whatever becomes of the store.
            self._until = max(self._until, clock.now() + seconds)
            await asyncio.to_thread(self._pause, seconds)

    def wait(self) -> float:
        """Return the seconds until the next permit, as the store last said."""
        return max(0.0, self._until - clock.now())

    def fresh_in(self) -> float:
        """Return the seconds after which another process may begin; the store tells it of the permits."""
        return self.wait()

    def _pause(self, seconds: float) -> None:
        with _store_errors("told of a pause"):
            self._pause_longer(keys=[self._pause_key], args=[math.ceil(seconds * 1000)])

    def _permits(self, wanted: int) -> int:
        granted, wait = 0, 0.0
        with _store_errors("asked for a permit"):
            if (paused := int(self._client.pttl(self._pause_key))) > 0:
                wait = paused / 1000
            else:
                while granted < wanted and (wait := self._wait_for_one()) == 0:
                    granted += 1
        # A pause of this process may have begun while the store was asked.
        self._until = max(self._until, clock.now() + wait) if wait else self._until
        return granted

    def _wait_for_one(self) -> float:
        """Take one permit and return 0, or return the seconds until there may be one."""
        for item in self._items:
            if not self._limiter.hit(item, self._sender):
                reset = self._limiter.get_window_stats(item, self._sender).reset_time
                return min(max(0.01, reset - clock.utc()), float(item.get_expiry()))
        return 0.0


def windows(rate: Rate, *, burst: bool = False) -> list[tuple[int, int]]:
    """Return the limits that keep a rate with periods of whole seconds, as (tickets, seconds); all of them must hold.

    ``50/minute`` is 5 in 6 seconds and 1 in each second; ``7/minute`` is 7 in 60 seconds and 1 in 8.

    :param burst: only the rate itself, not its spread.
    """
    if burst:
        return [(rate.count, rate.seconds)]
    common = math.gcd(rate.count, rate.seconds)
    whole = (rate.count // common, rate.seconds // common)
    gap = math.floor(rate.interval)
    return [(1, gap), whole] if gap >= 1 and whole[0] > 1 else [whole]


def _redis_storage(address: str) -> Any:
    from limits.storage import storage_from_string

    # What the library says of an address has its password in it.
    with contextlib.suppress(Exception):
        if address.startswith("redis"):
            return storage_from_string(address, socket_timeout=STORE_TIMEOUT, socket_connect_timeout=STORE_TIMEOUT)
    raise VambeConfigError(
        "rate_store: is not the address of a Redis",
        fix="Write it as redis://host:6379/0, and install airflow-provider-vambe[redis].",
    )


@contextlib.contextmanager
def _store_errors(what: str) -> Iterator[None]:
    """Turn what the store raises into an error of ours, without the text, in which the address may be."""
    import redis

    try:
        yield
    except (redis.AuthenticationError, redis.exceptions.NoPermissionError) as error:
        raise VambeConfigError(
            f"rate_store: the store refused its user or password ({type(error).__name__})",
            fix="Correct rate_store in the connection's extra.",
        ) from None
    except redis.RedisError as error:
        raise VambeDeliveryError(
            f"rate_store: the store could not be {what} ({type(error).__name__})",
            fix="Without it the rate cannot be kept, so no ticket is sent; the next try goes on from here.",
        ) from None
