"""One poll for everybody in an event loop who waits on the same connection.

A round asks for the contacts that changed, with one request however many wait, and reads only those that somebody
waits for and whose row does not tell enough. Since it is not documented that everything marks a contact as changed, a
few contacts that were not read for long are read in every round as well.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import random
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from vambe_provider.exceptions import VambeError
from vambe_provider.waiting.changes import OVERLAP, ContactList, Place, api_now
from vambe_provider.waiting.clients import MAX_CONNECTIONS, shared_client
from vambe_provider.waiting.conditions import hides_messages
from vambe_provider.waiting.look import Ask, Seen, see
from vambe_provider.waiting.patience import FINAL_LOOKS, is_refusal, refuses_the_key
from vambe_provider.waiting.watched import Round, Watched, is_no_list

if TYPE_CHECKING:
    from vambe_provider.api import AsyncVambeClient, ConnectionSettings
    from vambe_provider.waiting.subscription import Subscription

log = logging.getLogger(__name__)

SWEEP_AFTER = 900.0
"""Seconds after which a contact is read although the list did not name it."""
SWEEP_SIZE = 5
"""Contacts that are read for this reason in one round; with more of them, each has to wait longer."""
LIST_AGAIN_AFTER = 900.0
"""Seconds after which a list that was refused is asked for again."""
READS_PER_SECOND = 40
READ_FOR = 10.0
"""Seconds for which one round reads contacts, at least; the others are read after the next look at the list."""
_JITTER = (0.85, 1.15)


class Poll:
    """The rounds of one connection in one event loop.

    :param settings: the connection.
    """

    def __init__(self, settings: ConnectionSettings) -> None:
        self._settings = settings
        self._subscriptions: set[Subscription] = set()
        self._watched: dict[str, Watched] = {}
        self._place = Place(float("inf"))
        self._no_list_until = 0.0
        self._list_refusals = 0
        self._unreliable = False
        self._task: asyncio.Task[None] | None = None
        self._woken = asyncio.Event()

    def add(self, subscription: Subscription) -> None:
        """Take part in the rounds; the first one starts them."""
        self._subscriptions.add(subscription)
        for key in subscription.targets:
            again = subscription.again.get(key)
            after = None if again is None else again - time.time()
            self._watched.setdefault(key, Watched()).add(subscription, again_after=after)
        self._place.back_to(subscription.since - OVERLAP)
        self._woken.set()
        if self._task is None:
            # In a context of its own: what it logs belongs to no single task.
            self._task = asyncio.get_running_loop().create_task(
                self._run(), name="vambe-poll", context=contextvars.Context()
            )

    def remove(self, subscription: Subscription) -> bool:
        """Leave the rounds, and return whether nobody is left."""
        self._subscriptions.discard(subscription)
        for key in subscription.targets:
            if self._watched[key].remove(subscription):
                del self._watched[key]
        return not self._subscriptions

    async def stop(self) -> None:
        """End the rounds."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _run(self) -> None:
        try:
            async with shared_client(self._settings) as client:
                contacts = ContactList(client)
                # After a restart many join within a moment; the first round should be for all of them.
                pause, at_least = random.uniform(0.0, min(1.0, self._interval())), 0.0  # noqa: S311
                while True:
                    await self._sleep(pause, at_least=at_least)
                    began = time.monotonic()
                    at_least = await self._round(client, contacts)
                    pause = self._interval() * random.uniform(*_JITTER) - (time.monotonic() - began)  # noqa: S311
        except Exception as error:
            # A mistake in this file must not leave anybody waiting for ever.
            log.exception("The poll of %s broke", self._settings.host)
            self._task = None
            for subscription in self._subscriptions:
                subscription.stop(error)

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

    async def _round(self, client: AsyncVambeClient, contacts: ContactList) -> float:
        """Look once, and return the seconds that Vambe asked to wait, or 0."""
        now = Round()
        everything = self._unreliable or now.began < self._no_list_until
        if not everything and any(not subscription.each for subscription in self._subscriptions):
            everything = not await self._list(client, contacts, now)
        if not now.wait_for and not (now.list_error and refuses_the_key(now.list_error)):
            await self._read(client, self._due(everything=everything), now, whole=everything)
        if now.errors and not now.answered and now.list_error is None:
            await self._ask_something_else(client, now)
        self._settle(now)
        return now.wait_for

    async def _list(self, client: AsyncVambeClient, contacts: ContactList, now: Round) -> bool:
        """Note what the list tells; return False when Vambe refuses it, so that contacts are read one by one."""
        newest: list[float] = []
        try:
            async for rows in contacts.since(self._place.begin()):
                at = api_now(client)
                newest += [row.at for row in rows if not row.is_of_the_future(at)]
                for row in rows:
                    if watched := self._watched.get(row.key):
                        watched.note(row, at=at)
        except VambeError as error:
            now.note(error)
            self._list_refusals = self._list_refusals + 1 if is_no_list(error) else 0
            if self._list_refusals < FINAL_LOOKS:
                now.list_error = error
                log.warning("Could not look at what is waited for on %s (%s)", self._settings.host, error.kind)
                return True
            log.warning("%s does not list changes (%s); contacts are read one by one", self._settings.host, error.kind)
            self._no_list_until = time.monotonic() + LIST_AGAIN_AFTER
            return False
        now.answered, self._list_refusals = True, 0
        self._place.end(began=now.began, newest=max(newest, default=None))
        return True

    def _due(self, *, everything: bool) -> list[str]:
        """Return the contacts to read in this round, those that changed coming first."""
        now = time.monotonic()
        due = dict.fromkeys(key for key, watched in self._watched.items() if watched.due(now))
        for key, watched in self._watched.items():
            if everything or any(subscription.each for subscription in watched.by):
                due[key] = None
        old = sorted((watched.read_at, key) for key, watched in self._watched.items() if key not in due)
        due.update(dict.fromkeys(key for read_at, key in old[:SWEEP_SIZE] if read_at < now - SWEEP_AFTER))
        return list(due)

    async def _read(self, client: AsyncVambeClient, due: list[str], now: Round, *, whole: bool) -> None:
        """Read contacts, in small groups, not faster than is polite, and not for so long that the list gets old."""
        until = time.monotonic() + max(READ_FOR, self._interval())
        for start in range(0, len(due), MAX_CONNECTIONS):
            began, group = time.monotonic(), due[start : start + MAX_CONNECTIONS]
            if began > until or now.wait_for:
                for key in due[start:]:
                    if watched := self._watched.get(key):
                        watched.read_again()
                return
            costs = await asyncio.gather(*(self._read_one(client, key, now, whole=whole) for key in group))
            if start + MAX_CONNECTIONS < len(due):
                await asyncio.sleep(max(0.0, sum(costs) / READS_PER_SECOND - (time.monotonic() - began)))

    async def _read_one(self, client: AsyncVambeClient, key: str, now: Round, *, whole: bool) -> int:
        """Read a contact and tell those who wait for it; return how many requests that may have taken."""
        watched = self._watched.get(key)
        if watched is None:
            return 0
        interested, row = watched.to_read(key, whole=whole)
        asks: list[Ask] = [(by.wait, target) for by in interested for target in by.targets[key]]
        if not asks:
            watched.skip()
            return 0
        try:
            seen = await see(client, asks, row=row)
        except VambeError as error:
            now.errors[key] = error
            now.note(error)
            watched.read_again()
            return 1
        now.answered = True
        now.good.add(key)
        at = api_now(client)
        self._note_silence(seen, at)
        watched.was_read(seen, later={by: by.saw(key, seen, now=at) for by in interested}, at=at)
        return 1 if seen.info is row else 2

    async def _ask_something_else(self, client: AsyncVambeClient, now: Round) -> None:
        """Find out whether it is the API that does not answer, or whether it has nothing to say about a contact."""
        try:
            await client.get_pipelines()
        except VambeError as error:
            now.note(error)
        else:
            now.answered = True

    def _note_silence(self, seen: Seen, at: float) -> None:
        if self._unreliable or not hides_messages(seen.info, now=at):
            return
        self._unreliable = True
        log.warning(
            "%s does not mark a contact as changed by a message; contacts are read one by one", self._settings.host
        )

    def _settle(self, now: Round) -> None:
        """Tell every wait whether this look was a good one for it."""
        at = time.monotonic()
        key_error = next((error for error in now.all_errors() if refuses_the_key(error)), None)
        for key, error in now.errors.items() if now.answered else ():
            # A gateway may refuse in place of the API, so this counts only where the API answered something else.
            if (watched := self._watched.get(key)) and (is_refusal(error) or refuses_the_key(error)):
                watched.refusals.add(error, now=at)
        for subscription in list(self._subscriptions):
            if key_error is not None and not now.answered:
                subscription.stop(key_error)
                continue
            self._judge_look(subscription, now, at)
        log.debug("%d of %d contacts that are waited for were read", len(now.good), len(self._watched))

    def _judge_look(self, subscription: Subscription, now: Round, at: float) -> None:
        failed = [key for key in subscription.targets if key in now.errors and subscription.wants(key)]
        if now.answered:
            for key in failed:
                refusals = self._watched[key].refusals
                if refusals.error is not None and refusals.final(subscription.interval, now=at):
                    subscription.gone(key, refusals.error)
        read = any(key in now.good for key in subscription.targets)
        wanted = [key for key in subscription.targets if subscription.wants(key)]
        if now.list_error is not None and not subscription.each and not read:
            subscription.failed(now.list_error, now=at)
        elif failed and len(failed) == len(wanted):
            subscription.failed(now.errors[failed[0]], now=at)
        elif not failed:
            subscription.patience.good()
            if not any(self._watched[key].due(at) for key in subscription.targets):
                # Should it join another poll, it goes on from here.
                subscription.since = max(subscription.since, min(self._place.at + OVERLAP, time.time()))


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
