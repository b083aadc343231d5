"""How a call is carried out, written once for the blocking and the async client.

A call is a generator that asks for requests and pauses. Who runs it sends every
:class:`~vambe_provider.api.requests.Request` that it is given, waits for every :class:`Pause`, and puts the reply or
the error back in, until the generator returns the result. All decisions are on this side: which request, how its reply
is read, whether a read is tried again.

:func:`blocking`, :func:`awaiting` and their two siblings make a method out of an endpoint of
:mod:`vambe_provider.api.endpoints`, with its parameters, its types and its docstring.
"""

from __future__ import annotations

import functools
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Concatenate, Generic, ParamSpec, Protocol, TypeVar

from vambe_provider.api.retry import Retries, http_date
from vambe_provider.exceptions import VambeError

if TYPE_CHECKING:
    from vambe_provider.api.models import Pipeline
    from vambe_provider.api.replies import Reader, Reply
    from vambe_provider.api.requests import Request
    from vambe_provider.api.settings import ConnectionSettings

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Pause:
    """Ask for a wait.

    :param seconds: how long.
    """

    seconds: float


Steps = Generator["Request | Pause", "Reply | None", T]


@dataclass(slots=True)
class Calls:
    """What the calls of one client share.

    :param settings: the connection.
    :param retries: how often a read is tried.
    :param pipelines: as they were last read; None before that.
    """

    settings: ConnectionSettings
    retries: Retries
    pipelines: list[Pipeline] | None = None
    _clock: tuple[str, float] | None = field(default=None, repr=False)

    @property
    def server_clock_offset(self) -> float | None:
        """Seconds that the API's clock was ahead of the local one in the last reply, to a second; None when unknown."""
        if self._clock is None:
            return None
        date, received = self._clock
        when = http_date(date)
        return None if when is None else (when - datetime.fromtimestamp(received, UTC)).total_seconds()

    def send(self, request: Request, read: Callable[[Reader, Reply], T]) -> Steps[T]:
        """Send a request and read its reply; one that writes is sent once, one that reads is tried again."""
        from vambe_provider.api.replies import Reader

        reader = Reader(request, host=self.settings.host, api_key=self.settings.api_key)
        attempt = 1
        while True:
            try:
                reply = yield request
                return read(reader, self._received(reply))
            except VambeError as error:
                wait = self.retries.wait(error, attempt) if request.idempotent else None
                if wait is None:
                    raise
            attempt += 1
            yield Pause(wait)

    def _received(self, reply: Reply | None) -> Reply:
        if reply is None:
            raise TypeError("a request has to be answered with a reply")
        date = reply.headers.get("date")
        if date is not None:
            self._clock = (date, time.time())
        return reply

    @contextmanager
    def named(self) -> Iterator[None]:
        """Put the name of the connection into every error of a call."""
        try:
            yield
        except VambeError as error:
            error.name_connection(self.settings.name)
            raise


Call = Callable[[Calls], Steps[T]]


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """A part of a list.

    :param items: what is in it.
    :param following: reads the next part; None at the end.
    """

    items: list[T]
    following: Call[Page[T]] | None


class Blocking(Protocol):
    """Carries out calls and waits for them."""

    def run(self, call: Call[T]) -> T:
        """Carry out one call."""
        ...


class Awaiting(Protocol):
    """Carries out calls in an event loop."""

    async def arun(self, call: Call[T]) -> T:
        """Carry out one call."""
        ...


def blocking(endpoint: Callable[Concatenate[Calls, P], Steps[T]]) -> Callable[Concatenate[Blocking, P], T]:
    """Make a method that waits for an endpoint's result."""

    @functools.wraps(endpoint)
    def method(self: Blocking, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self.run(lambda calls: endpoint(calls, *args, **kwargs))

    return method


def awaiting(
    endpoint: Callable[Concatenate[Calls, P], Steps[T]],
) -> Callable[Concatenate[Awaiting, P], Coroutine[Any, Any, T]]:
    """Make a method that is awaited for an endpoint's result."""

    @functools.wraps(endpoint)
    async def method(self: Awaiting, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await self.arun(lambda calls: endpoint(calls, *args, **kwargs))

    return method


def iterating(
    endpoint: Callable[Concatenate[Calls, P], Steps[Page[T]]],
) -> Callable[Concatenate[Blocking, P], Iterator[T]]:
    """Make a method that yields what an endpoint lists, page by page."""

    @functools.wraps(endpoint)
    def method(self: Blocking, /, *args: P.args, **kwargs: P.kwargs) -> Iterator[T]:
        call: Call[Page[T]] | None = lambda calls: endpoint(calls, *args, **kwargs)  # noqa: E731
        while call is not None:
            page = self.run(call)
            yield from page.items
            call = page.following

    return method


def aiterating(
    endpoint: Callable[Concatenate[Calls, P], Steps[Page[T]]],
) -> Callable[Concatenate[Awaiting, P], AsyncIterator[T]]:
    """Make a method that yields to ``async for`` what an endpoint lists, page by page."""

    @functools.wraps(endpoint)
    async def method(self: Awaiting, /, *args: P.args, **kwargs: P.kwargs) -> AsyncIterator[T]:
        call: Call[Page[T]] | None = lambda calls: endpoint(calls, *args, **kwargs)  # noqa: E731
        while call is not None:
            page = await self.arun(call)
            for item in page.items:
                yield item
            call = page.following

    return method
