"""The trigger behind an ``AssetWatcher``: a Dag runs when a contact or its ticket changed in Vambe."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import time
from collections.abc import AsyncIterator, Hashable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from vambe_provider.compat import AirflowNotFoundException, BaseEventTrigger, SharedStreamProducer, TriggerEvent
from vambe_provider.exceptions import VambeError
from vambe_provider.triggers.connections import prepare

if TYPE_CHECKING:
    from vambe_provider.waiting.changes import Cursor
    from vambe_provider.waiting.feed import Filter, Keep, Round

log = logging.getLogger(__name__)


class VambeContactEventTrigger(BaseEventTrigger):
    """Fire once for each change of a contact or its active ticket that passes the filters.

    Give it to an ``AssetWatcher``, on Airflow 3.0 and newer. All watchers on one connection with one ``poll_interval``
    share a poll from Airflow 3.3 on. There, how far they have read is also kept in the asset's state store, and only
    moved on when Airflow has stored the events: a restart misses nothing, and repeats nothing unless the triggerer is
    killed in the moment between the two. Before 3.3, changes during a restart are missed.

    A failure never ends it: it is logged, and the next look comes later, at most after 5 minutes. It only reads.

    The payload: ``{"ai_contact_id", "updated_at", "chat_status", "stage", "stage_id", "pipeline_id"}``; the last three
    are null when there is no active ticket.

    :param vambe_conn_id: the connection.
    :param pipeline: only contacts with an active ticket in this pipeline; a name or an id.
    :param stages: only contacts with an active ticket in one of these stages; names as ``Support / New``, or ids.
    :param statuses: only conversations with one of these chat statuses; upper and lower case are the same.
    :param poll_interval: seconds between two looks.
    """

    def __init__(
        self,
        *,
        vambe_conn_id: str = "vambe_default",
        pipeline: str | None = None,
        stages: str | Sequence[str] | None = None,
        statuses: str | Sequence[str] | None = None,
        poll_interval: float = 60.0,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.vambe_conn_id = vambe_conn_id
        self.pipeline = pipeline
        self.stages = _listed(stages)
        self.statuses = _listed(statuses)
        self.poll_interval = poll_interval

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class and the arguments, from which Airflow makes the trigger anew."""
        names = ("vambe_conn_id", "pipeline", "stages", "statuses", "poll_interval")
        return "vambe_provider.triggers.vambe.VambeContactEventTrigger", {name: getattr(self, name) for name in names}

    def shared_stream_key(self) -> Hashable | None:
        """Return what watchers that share a poll have in common, or None where Airflow cannot share one."""
        if SharedStreamProducer is object:
            return None
        return ("vambe_contacts", self.vambe_conn_id, self.poll_interval)

    @classmethod
    def create_shared_stream_producer(cls, kwargs: dict[str, Any]) -> ContactStream:
        """Return the poll that several watchers share."""
        return ContactStream(kwargs["vambe_conn_id"], kwargs["poll_interval"])

    async def filter_shared_stream(self, shared_stream: AsyncIterator[Round]) -> AsyncIterator[TriggerEvent]:
        """Fire for the changes of a shared poll that are news to this watcher and pass its filters."""
        reader = _Reader(self)
        async for latest in shared_stream:
            for event in await reader.events(latest):
                yield event
            reader.keep_when_stored(latest)

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Fire for the changes of a poll of its own, where Airflow cannot share one; it keeps no place either."""
        stream, reader = ContactStream(self.vambe_conn_id, self.poll_interval), _Reader(self)
        async for latest, _ in stream.open_stream():
            for event in await reader.events(latest):
                yield event


class _Reader:
    """One watcher's place in the changes.

    :param trigger: the watcher.
    """

    def __init__(self, trigger: VambeContactEventTrigger) -> None:
        self._trigger = trigger
        self._cursor: Cursor | None = None
        self._filter: Filter | None = None
        self._behind = False
        self._kept: dict[str, Any] | None = None
        kwargs = json.dumps(trigger.serialize()[1], sort_keys=True)
        self._key = f"vambe_changes_{hashlib.sha256(kwargs.encode()).hexdigest()[:12]}"

    async def events(self, latest: Round) -> list[TriggerEvent]:
        """Return what is news in a round; after a start or a failure also what happened before it."""
        try:
            if self._cursor is None:
                self._cursor = await self._start(latest)
            found = await self._news(latest)
        except VambeError as error:
            self._behind = True
            log.error("A watcher of Vambe contacts cannot go on (%s): %s", error.kind, error)  # noqa: TRY400
            return []
        return [TriggerEvent(payload) for payload in found]  # type: ignore[no-untyped-call]

    def keep_when_stored(self, latest: Round) -> None:
        """Keep the place when the events of a round are stored: the place of that round, not one of a later round."""
        if self._cursor is not None and not self._behind and getattr(self._trigger, "asset_state_store", None):
            latest.when_stored(self, partial(self._keep, self._cursor.to_json()))

    async def _start(self, latest: Round) -> Cursor:
        """Return the place that was kept; the very first time, that of this round: changes count from now on."""
        from vambe_provider.waiting.changes import Cursor

        kept = Cursor.from_json(await self._stored())
        self._behind = kept is not None
        return kept or latest.cursor.copy()

    async def _news(self, latest: Round) -> list[dict[str, Any]]:
        trigger = self._trigger
        if self._filter is None:
            self._filter = await latest.resolve(
                pipeline=trigger.pipeline, stages=trigger.stages, statuses=trigger.statuses
            )
        assert self._cursor is not None  # noqa: S101 - set by whoever calls this
        cursor, rows = self._cursor.copy(), latest.rows
        if self._behind:
            rows = [*rows, *[row async for page in latest.contacts.since(cursor.place.at) for row in page]]
        payloads = [await latest.payload(row, self._filter) for row in cursor.news(rows)]
        cursor.end(began=latest.began, newest=latest.newest)
        self._cursor, self._behind = cursor, False
        return [payload for payload in payloads if payload is not None]

    async def _keep(self, place: dict[str, Any]) -> None:
        if place == self._kept:
            return
        store: Any = getattr(self._trigger, "asset_state_store", None)
        if store is None:
            return
        try:
            await store.aset(self._key, place)
        except Exception as error:  # noqa: BLE001 - an older place repeats events, a dead watcher misses them
            log.warning("The place in the changes of Vambe contacts could not be kept (%s)", type(error).__name__)
        else:
            self._kept = place

    async def _stored(self) -> Any:
        store = getattr(self._trigger, "asset_state_store", None)
        if store is None:
            return None
        try:
            return await store.aget(self._key)
        except ValueError:
            log.warning("Several assets share a watcher, so its place is not kept: give each another poll_interval")
            self._trigger.asset_state_store = None
            return None


class ContactStream(SharedStreamProducer):
    """The poll that the watchers on a connection share.

    :param vambe_conn_id: the connection.
    :param interval: seconds between two looks.
    """

    def __init__(self, vambe_conn_id: str, interval: float) -> None:
        self._vambe_conn_id = vambe_conn_id
        self._interval = interval

    async def open_stream(self) -> AsyncIterator[tuple[Round, Round]]:
        """Yield one round after the other, each also as what Airflow hands back when its events are stored."""
        from vambe_provider.hooks.vambe import VambeHook

        await prepare()
        from vambe_provider.waiting.feed import Feed, backoff_after

        feed, failures = Feed(), 0
        while True:
            began = time.monotonic()
            try:
                settings = await VambeHook(self._vambe_conn_id).asettings()
                async for latest in feed.rounds(settings, self._interval):
                    failures, began = 0, time.monotonic()
                    yield latest, latest
            except Exception as error:  # noqa: BLE001 - a secrets backend that is away raises whatever it likes
                failures += 1
                kind, text = _described(error)
                log.error("Cannot read the changes of Vambe contacts (%s): %s", kind, text)  # noqa: TRY400
                pause = max(getattr(error, "retry_after", None) or 0.0, backoff_after(failures, self._interval))
                await asyncio.sleep(max(0.0, pause - (time.monotonic() - began)))

    async def advance(self, batch: Sequence[Any]) -> None:
        """Let the watchers keep their place, now that Airflow has stored their events."""
        places: dict[Hashable, Keep] = {}
        for item in batch:
            if item.outcome.failed == 0:
                places |= item.broker_payload.places()
        for keep in places.values():
            await keep()


def _described(error: Exception) -> tuple[str, str]:
    """Return the kind and the text of an error; that of another library may hold anything, so it is not shown."""
    if isinstance(error, (VambeError, AirflowNotFoundException)):
        return getattr(error, "kind", "connection"), str(error)
    return type(error).__name__, "the connection cannot be read now"


def _listed(value: str | Sequence[str] | None) -> list[str]:
    return [] if value is None else [value] if isinstance(value, str) else list(value)
