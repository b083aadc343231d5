"""The two clients of the Vambe API: the same methods, one blocking and one for an event loop."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, TypeVar

from vambe_provider.api import endpoints, pages
from vambe_provider.api.calls import Call, Calls, Pause, aiterating, awaiting, blocking, iterating
from vambe_provider.api.retry import Retries
from vambe_provider.api.transport import AsyncTransport, SyncTransport
from vambe_provider.exceptions import VambeError

if TYPE_CHECKING:
    from types import TracebackType

    from vambe_provider.api.replies import Reply
    from vambe_provider.api.requests import Request
    from vambe_provider.api.settings import ConnectionSettings

T = TypeVar("T")


class _Client:
    """What both clients share."""

    def __init__(self, settings: ConnectionSettings, *, retries: Retries | None = None) -> None:
        self.settings = settings
        self._calls = Calls(settings, retries or Retries())

    @property
    def server_clock_offset(self) -> float | None:
        """Seconds that the API's clock was ahead of the local one in the last reply, to a second; None when unknown."""
        return self._calls.server_clock_offset


class VambeClient(_Client):
    """Blocking client; not meant to be shared by threads. What each method does is in the module ``endpoints``.

    :param settings: the connection.
    :param retries: how often and how soon reads are repeated.
    """

    def __init__(self, settings: ConnectionSettings, *, retries: Retries | None = None) -> None:
        super().__init__(settings, retries=retries)
        self._transport = SyncTransport(settings)

    def __enter__(self) -> VambeClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections; the next call opens them again."""
        self._transport.close()

    open_ticket = blocking(endpoints.open_ticket)
    close_ticket = blocking(endpoints.close_ticket)
    get_pipelines = blocking(endpoints.get_pipelines)
    find_stage = blocking(endpoints.find_stage)
    get_channel = blocking(endpoints.get_channel)
    get_contact = blocking(endpoints.get_contact)
    search_contacts = blocking(endpoints.search_contacts)
    list_contacts = iterating(endpoints.list_contacts)
    get_messages = blocking(endpoints.get_messages)
    update_contact_metadata = blocking(endpoints.update_contact_metadata)
    update_ticket_metadata = blocking(endpoints.update_ticket_metadata)
    update_ticket_amount = blocking(endpoints.update_ticket_amount)

    def run(self, call: Call[T]) -> T:
        """Carry out one call; the methods above do it for you."""
        with self._calls.named():
            steps = call(self._calls)
            answer: Reply | VambeError | None = None
            while True:
                try:
                    step = steps.throw(answer) if isinstance(answer, VambeError) else steps.send(answer)
                except StopIteration as stop:
                    result: T = stop.value
                    return result
                try:
                    answer = self._perform(step)
                except VambeError as error:
                    answer = error

    def _perform(self, step: Request | Pause) -> Reply | None:
        if isinstance(step, Pause):
            time.sleep(step.seconds)
            return None
        return self._transport.exchange(step)


class AsyncVambeClient(_Client):
    """Client for an event loop, safe to share by the tasks of one loop; the methods are those of :class:`VambeClient`.

    :param settings: the connection.
    :param max_connections: connections that may be open at once.
    :param retries: how often and how soon reads are repeated.
    """

    def __init__(
        self, settings: ConnectionSettings, *, max_connections: int = 100, retries: Retries | None = None
    ) -> None:
        super().__init__(settings, retries=retries)
        self._transport = AsyncTransport(settings, max_connections=max_connections)

    async def __aenter__(self) -> AsyncVambeClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections; the next call opens them again."""
        await self._transport.aclose()

    open_ticket = awaiting(endpoints.open_ticket)
    close_ticket = awaiting(endpoints.close_ticket)
    get_pipelines = awaiting(endpoints.get_pipelines)
    find_stage = awaiting(endpoints.find_stage)
    get_channel = awaiting(endpoints.get_channel)
    get_contact = awaiting(endpoints.get_contact)
    search_contacts = awaiting(endpoints.search_contacts)
    list_contacts = aiterating(endpoints.list_contacts)
    contacts_page = awaiting(pages.contacts_page)
    get_messages = awaiting(endpoints.get_messages)
    messages_page = awaiting(pages.messages_page)
    update_contact_metadata = awaiting(endpoints.update_contact_metadata)
    update_ticket_metadata = awaiting(endpoints.update_ticket_metadata)
    update_ticket_amount = awaiting(endpoints.update_ticket_amount)

    async def arun(self, call: Call[T]) -> T:
        """Carry out one call; the methods above do it for you."""
        with self._calls.named():
            steps = call(self._calls)
            answer: Reply | VambeError | None = None
            while True:
                try:
                    step = steps.throw(answer) if isinstance(answer, VambeError) else steps.send(answer)
                except StopIteration as stop:
                    result: T = stop.value
                    return result
                try:
                    answer = await self._perform(step)
                except VambeError as error:
                    answer = error

    async def _perform(self, step: Request | Pause) -> Reply | None:
        if isinstance(step, Pause):
            await asyncio.sleep(step.seconds)
            return None
        return await self._transport.exchange(step)
