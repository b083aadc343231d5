"""One HTTP client for everybody in an event loop who waits on the same connection."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

if TYPE_CHECKING:
    from vambe_provider.api import AsyncVambeClient, ConnectionSettings

MAX_CONNECTIONS = 8


class _Shared:
    def __init__(self, client: AsyncVambeClient) -> None:
        self.client = client
        self.users = 0


_clients: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[ConnectionSettings, _Shared]] = WeakKeyDictionary()


def open_clients() -> int:
    """Return how many clients this event loop has now."""
    return len(_clients.get(asyncio.get_running_loop(), {}))


@asynccontextmanager
async def shared_client(settings: ConnectionSettings) -> AsyncIterator[AsyncVambeClient]:
    """Lend the client of this event loop for some settings; it is made for the first user and closed after the last.

    It asks once for each request: who polls decides by itself what a failure means.

    :param settings: the connection; equal settings share a client.
    """
    from vambe_provider.api import AsyncVambeClient
    from vambe_provider.api.retry import Retries

    here = _clients.setdefault(asyncio.get_running_loop(), {})
    if settings not in here:
        client = AsyncVambeClient(settings, max_connections=MAX_CONNECTIONS, retries=Retries(attempts=1))
        here[settings] = _Shared(client)
    shared = here[settings]
    shared.users += 1
    try:
        yield shared.client
    finally:
        shared.users -= 1
        if not shared.users:
            del here[settings]
            await shared.client.aclose()
