"""One poll for everybody in an event loop who waits on the same connection.

A round asks for the contacts that changed, with one request however many wait, and reads only those that somebody
waits for. Since it is not documented that everything marks a contact as changed, a few contacts that were not read for
long are read in every round as well.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import random
import time
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from vambe_provider.exceptions import (
    VambeAuthError,
    VambeError,
    VambeRateLimitError,
    VambeReadError,
    VambeRefusedError,
)
from vambe_provider.waiting.changes import OVERLAP, changed_since, fingerprint
from vambe_provider.waiting.clients import MAX_CONNECTIONS, shared_client
from vambe_provider.waiting.conditions import Wait, hides_messages, is_over, judge, moment
from vambe_provider.waiting.look import Seen, read_contact

if TYPE_CHECKING:
    from vambe_provider.api import AsyncVambeClient, ConnectionSettings, Contact

log = logging.getLogger(__name__)

SWEEP_AFTER = 900.0
"""Seconds after which a contact is read although the list did not name it."""
SWEEP_SIZE = 5
"""Contacts that are read for this reason in one round; with more of them, each has to wait longer."""
LIST_AGAIN_AFTER = 900.0
"""Seconds after which a list that was refused is asked for again."""
READS_PER_SECOND = 20
_JITTER = (0.85, 1.15)


class Subscription:
    """One task's wait.

    :param wait: what is waited for.
    :param contact_ids: the contacts.
    :param mode_of: ``all`` or ``any``.
    :param since: when all of them were looked at for the last time, by the API's clock, in seconds since 1970.
    :param interval: seconds between two rounds, at most.
    :param max_failures: rounds that may fail one after the other.
    :param each: read every contact in every round, without the list of changes.
    """

    def __init__(
        self,
        *,
        wait: Wait,
        contact_ids: Iterable[str],
        mode_of: str,
        since: float,
        interval: float,
        max_failures: int,
        each: bool = False,
    ) -> None:
        self.wait = wait
        self.mode_of = mode_of
        self.since = since
        self.interval = interval
        self.max_failures = max_failures
        self.each = each
        self.done = dict.fromkeys(contact_ids, False)
        self.failures = 0
        self.result: asyncio.Future[list[str]] = asyncio.get_running_loop().create_future()
        """The contacts for which it happened, when the wait is over; or the error that ended it."""

    def wants(self, contact_id: str) -> bool:
        """Return whether reading a contact can still change something."""
        return not self.result.done() and not (self.wait.lasting and self.done[contact_id])

    def saw(self, contact_id: str, seen: Seen) -> None:
        """Judge what was read."""
        self.done[contact_id] = judge(self.wait, seen.info, seen.messages).done
        if is_over(self.done.values(), self.mode_of) and not self.result.done():
            self.result.set_result([name for name, done in self.done.items() if done])

    def failed(self, error: BaseException, *, at_once: bool = False) -> None:
        """Count a failed round; too many of them end the wait."""
        self.failures += 1
        if (at_once or self.failures >= self.max_failures) and not self.result.done():
            self.result.set_exception(error)

    def end(self) -> None:
        """Drop a result that nobody asks for any more."""
        if not self.result.cancel() and not self.result.cancelled():
            self.result.exception()


class _Watched:
    """One contact that somebody waits for."""

    def __init__(self) -> None:
        self.by: set[Subscription] = set()
        self.fingerprint: str | None = None
        self.read_at = time.monotonic()
        self.again = False


class Poll:
    """The rounds of one connection in one event loop.

    :param settings: the connection.
    """

    def __init__(self, settings: ConnectionSettings) -> None:
        self._settings = settings
        self._subscriptions: set[Subscription] = set()
        self._watched: dict[str, _Watched] = {}
        self._after: float | None = None
        self._no_list_until = 0.0
        self._unreliable = False
        self._task: asyncio.Task[None] | None = None
        self._woken = asyncio.Event()

    def add(self, subscription: Subscription) -> None:
        """Take part in the rounds; the first one starts them."""
        self._subscriptions.add(subscription)
        for contact_id in subscription.done:
            watched = self._watched.setdefault(contact_id, _Watched())
            watched.by.add(subscription)
            # What others have read of it may be newer than what the new one knows.
            watched.fingerprint = None
        start = subscription.since - OVERLAP
        self._after = start if self._after is None else min(self._after, start)
        self._woken.set()
        if self._task is None:
            # In a context of its own: what it logs belongs to no single task.
            self._task = asyncio.get_running_loop().create_task(
                self._run(), name="vambe-poll", context=contextvars.Context()
            )

    def remove(self, subscription: Subscription) -> bool:
        """Leave the rounds, and return whether nobody is left."""
        self._subscriptions.discard(subscription)
        for contact_id in subscription.done:
            watched = self._watched[contact_id]
            watched.by.discard(subscription)
            if not watched.by:
                del self._watched[contact_id]
        return not self._subscriptions

    async def stop(self) -> None:
        """End the rounds."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _run(self) -> None:
        try:
            async with shared_client(self._settings) as client:
                # After a restart many join within a moment; the first round should be for all of them.
                pause, at_least = random.uniform(0.0, min(1.0, self._interval())), 0.0  # noqa: S311
                while True:
                    await self._sleep(pause, at_least=at_least)
                    began = time.monotonic()
                    at_least = await self._round(client)
                    pause = self._interval() * random.uniform(*_JITTER) - (time.monotonic() - began)  # noqa: S311
        except Exception as error:
            # A mistake in this file must not leave anybody waiting for ever.
            log.exception("The poll of %s broke", self._settings.host)
            self._task = None
            for subscription in self._subscriptions:
                subscription.failed(error, at_once=True)

    def _interval(self) -> float:
        return min((subscription.interval for subscription in self._subscriptions), default=1.0)

    async def _sleep(self, seconds: float, *, at_least: float) -> None:
        """Wait; a task that joins with a shorter interval shortens it, but not below what Vambe asked for."""
        now = time.monotonic()
        earliest, end = now + at_least, now + max(seconds, at_least)
        while (left := end - time.monotonic()) > 0:
            self._woken.clear()
            try:
                async with asyncio.timeout(left):
                    await self._woken.wait()
            except TimeoutError:
                return
            end = max(earliest, min(end, time.monotonic() + self._interval()))

    async def _round(self, client: AsyncVambeClient) -> float:
        """Look once, and return the seconds that Vambe asked to wait, or 0."""
        try:
            due = await self._due(client)
            failed = await self._read(client, due)
        except VambeError as error:
            log.warning("Could not look at what is waited for on %s (%s)", self._settings.host, error.kind)
            for subscription in self._subscriptions:
                subscription.failed(error, at_once=error.permanent)
            return error.retry_after or 0.0
        for subscription in self._subscriptions:
            if subscription in failed:
                subscription.failed(failed[subscription])
            else:
                subscription.failures = 0
        log.debug("%d of %d contacts that are waited for had to be read", len(due), len(self._watched))
        return 0.0

    async def _due(self, client: AsyncVambeClient) -> list[str]:
        """Return the contacts to read in this round."""
        due = dict.fromkeys(name for name, watched in self._watched.items() if watched.again)
        everything = self._unreliable or time.monotonic() < self._no_list_until
        if not everything and any(not subscription.each for subscription in self._subscriptions):
            everything = not await self._add_changed(client, due)
        for name, watched in self._watched.items():
            if everything or any(subscription.each for subscription in watched.by):
                due[name] = None
        old = sorted((watched.read_at, name) for name, watched in self._watched.items() if name not in due)
        limit = time.monotonic() - SWEEP_AFTER
        due.update(dict.fromkeys(name for read_at, name in old[:SWEEP_SIZE] if read_at < limit))
        return list(due)

    async def _add_changed(self, client: AsyncVambeClient, due: dict[str, None]) -> bool:
        """Add the contacts that the list names; return False when Vambe refuses the list."""
        after = self._after if self._after is not None else time.time()
        asked_at = time.time() + (client.server_clock_offset or 0.0)
        times, rows = [], 0
        try:
            async for row in changed_since(client, after):
                rows += 1
                times.append(moment(row.updated_at))
                self._note_row(row, due)
        except VambeError as error:
            if not _refuses(error):
                raise
            log.warning("%s does not list changes (%s); contacts are read one by one", self._settings.host, error.kind)
            self._no_list_until = time.monotonic() + LIST_AGAIN_AFTER
            return False
        known = [at for at in times if at is not None]
        newest = max(known) if known else asked_at if rows else after + OVERLAP
        if self._after == after:  # nobody with an older look has joined meanwhile
            self._after = max(after, newest - OVERLAP)
        return True

    def _note_row(self, row: Contact, due: dict[str, None]) -> None:
        watched = self._watched.get(row.id)
        if watched is not None and watched.fingerprint != (now := fingerprint(row)):
            watched.fingerprint = now
            watched.again = True
            due[row.id] = None

    async def _read(self, client: AsyncVambeClient, due: list[str]) -> dict[Subscription, VambeError]:
        """Read contacts, in small groups and not faster than is polite; return for whom a read failed.

        :raises VambeError: when the failure is not that of a single contact.
        """
        failed: dict[Subscription, VambeError] = {}
        for start in range(0, len(due), MAX_CONNECTIONS):
            began = time.monotonic()
            group = due[start : start + MAX_CONNECTIONS]
            errors = await asyncio.gather(*(self._read_one(client, name) for name in group))
            for name, error in zip(group, errors, strict=True):
                if isinstance(error, (VambeAuthError, VambeRateLimitError)):
                    raise error
                if error is not None and name in self._watched:
                    failed.update(dict.fromkeys(self._watched[name].by, error))
            if start + MAX_CONNECTIONS < len(due):
                await asyncio.sleep(max(0.0, len(group) / READS_PER_SECOND - (time.monotonic() - began)))
        return failed

    async def _read_one(self, client: AsyncVambeClient, contact_id: str) -> VambeError | None:
        """Read a contact and tell those who wait for it; return why it could not be read."""
        watched = self._watched.get(contact_id)
        if watched is None:
            return None
        interested = [subscription for subscription in watched.by if subscription.wants(contact_id)]
        try:
            seen = await read_contact(client, contact_id, [by.wait for by in interested]) if interested else None
        except VambeError as error:
            watched.again = True
            if error.permanent and not isinstance(error, VambeAuthError):
                for subscription in interested:
                    subscription.failed(error, at_once=True)
                return None
            return error
        watched.again, watched.read_at = False, time.monotonic()
        if seen is not None:
            self._note_silence(seen)
            for subscription in interested:
                subscription.saw(contact_id, seen)
        return None

    def _note_silence(self, seen: Seen) -> None:
        if self._unreliable or not hides_messages(seen.info):
            return
        self._unreliable = True
        log.warning(
            "%s does not mark a contact as changed by a message; contacts are read one by one", self._settings.host
        )


def _refuses(error: VambeError) -> bool:
    """Return whether the list cannot be had at all: it is refused, or its reply cannot be used."""
    if isinstance(error, VambeAuthError):
        return False
    unusable = isinstance(error, VambeReadError) and error.status is not None and 200 <= error.status < 300
    return isinstance(error, VambeRefusedError) or unusable


_polls: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[ConnectionSettings, Poll]] = WeakKeyDictionary()


def running_polls() -> Mapping[ConnectionSettings, Poll]:
    """Return the polls of this event loop."""
    return _polls.get(asyncio.get_running_loop(), {})


@asynccontextmanager
async def subscribed(settings: ConnectionSettings, subscription: Subscription) -> AsyncIterator[None]:
    """Take part in the poll of a connection for the length of an ``async with`` block.

    :param settings: the connection; equal settings share a poll.
    :param subscription: the wait.
    """
    here = _polls.setdefault(asyncio.get_running_loop(), {})
    poll = here[settings] if settings in here else here.setdefault(settings, Poll(settings))
    poll.add(subscription)
    try:
        yield
    finally:
        subscription.end()
        if poll.remove(subscription):
            del here[settings]
            await poll.stop()
