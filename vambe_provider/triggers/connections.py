"""One look at a connection for everybody in an event loop who waits on it.

In Airflow 3 a trigger asks its supervisor for a connection, and for the masking of each of its secrets, and the
supervisor answers one question at a time, between queries about all triggers. Thousands of waits that start after a
restart would keep it busy for minutes, and while it is busy it does not read what the loop logs, which stops the loop.
"""

from __future__ import annotations

import asyncio
import time
from importlib import import_module
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

if TYPE_CHECKING:
    from vambe_provider.api import ConnectionSettings

MAX_AGE = 30.0
"""Seconds for which a look at a connection serves everybody who starts to wait."""
MAX_AGE_FAILED = 1.0
"""Seconds for which a look that failed does."""
_HEAVY = (
    "vambe_provider.api.client",
    "vambe_provider.waiting.feed",
    "vambe_provider.waiting.poll",
    "vambe_provider.waiting.subscription",
)


class _Look:
    """One look at a connection, which may still be under way."""

    def __init__(self, conn_id: str) -> None:
        self._began = time.monotonic()
        self.reading = asyncio.get_running_loop().create_task(_read(conn_id), name=f"vambe-connection-{conn_id}")

    def will_do(self, refused: ConnectionSettings | None, refused_at: float) -> bool:
        age = time.monotonic() - self._began
        if not self.reading.done():
            return True
        if self.reading.cancelled() or self.reading.exception() is not None:
            return age < MAX_AGE_FAILED
        return age < MAX_AGE and (self._began >= refused_at or self.reading.result() != refused)


_looks: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, _Look]] = WeakKeyDictionary()


async def shared_settings(
    conn_id: str, *, refused: ConnectionSettings | None = None, refused_at: float = 0.0
) -> ConnectionSettings:
    """Return the settings of a connection, as they were at most ``MAX_AGE`` seconds ago.

    :param conn_id: the connection.
    :param refused: what has turned out to be wrong; the connection is looked at again unless there is something newer.
    :param refused_at: when that was, by the monotonic clock.
    :raises AirflowNotFoundException: when there is no such connection.
    :raises VambeConfigError: when it cannot be used.
    """
    here = _looks.setdefault(asyncio.get_running_loop(), {})
    look = here.get(conn_id)
    if look is None or not look.will_do(refused, refused_at):
        look = here[conn_id] = _Look(conn_id)
    # One who is cancelled must not take the look from the others.
    return await asyncio.shield(look.reading)


async def prepare() -> None:
    """Import what a client needs in a thread: doing it in the event loop would stop all triggers for half a second."""
    await asyncio.to_thread(lambda: [import_module(name) for name in _HEAVY])


async def _read(conn_id: str) -> ConnectionSettings:
    from vambe_provider.hooks.vambe import VambeHook

    await prepare()
    return await VambeHook(conn_id).asettings()
