"""The changes of all contacts of a connection, round after round, and which of them a watcher wants."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from vambe_provider.api.contact_info import read_contact
from vambe_provider.exceptions import VambeConfigError
from vambe_provider.waiting.changes import OVERLAP, ContactList, Cursor, Row, api_now
from vambe_provider.waiting.clients import shared_client

if TYPE_CHECKING:
    from vambe_provider.api import AsyncVambeClient, ConnectionSettings, Stage

MAX_PAUSE = 300.0
_JITTER = (0.85, 1.15)

Keep = Callable[[], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Filter:
    """Which changes a watcher wants; what is empty or None lets everything pass.

    :param stage_ids: in small letters.
    :param statuses: in small letters.
    """

    pipeline_id: str | None = None
    stage_ids: frozenset[str] = frozenset()
    statuses: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Round:
    """What one look showed.

    :param contacts: the list, to read what changed before.
    :param stages: the stages of the account.
    :param rows: the contacts that changed, each state of a contact once.
    :param cursor: how far the list is read with this round.
    :param began: when it began, by the monotonic clock.
    :param newest: the newest change that it showed, not counting those of the future.
    """

    contacts: ContactList
    stages: Stages
    rows: list[Row]
    cursor: Cursor
    began: float
    newest: float | None
    _afterwards: dict[Hashable, Keep] = field(default_factory=dict)

    def when_stored(self, reader: Hashable, action: Keep) -> None:
        """Remember what a reader does when its events of this round are stored."""
        self._afterwards[reader] = action

    def places(self) -> dict[Hashable, Keep]:
        """Return what each reader does now that the events of this round are stored."""
        return dict(self._afterwards)

    async def resolve(self, *, pipeline: str | None, stages: Sequence[str], statuses: Sequence[str]) -> Filter:
        """Return the filter that names and ids mean.

        :raises VambeConfigError: when there is no such pipeline or stage; lists what there is.
        """
        pipeline_id = None if pipeline is None else await self.stages.pipeline(pipeline)
        ids = [(await self.stages.client.find_stage(stage)).id.lower() for stage in stages]
        return Filter(pipeline_id, frozenset(ids), frozenset(status.strip().lower() for status in statuses))

    async def payload(self, row: Row, wanted: Filter) -> dict[str, Any] | None:
        """Return the event of a change, or None when it is not wanted; plain values, and nothing personal."""
        info = read_contact(row.fields)
        stage_id = next((ticket.stage_id for ticket in info.tickets if ticket.is_active), None)
        if wanted.statuses and (info.chat_status or "").strip().lower() not in wanted.statuses:
            return None
        if wanted.stage_ids and (stage_id or "").lower() not in wanted.stage_ids:
            return None
        stage = await self.stages.find(stage_id) if stage_id else None
        if wanted.pipeline_id is not None and (stage is None or stage.pipeline_id != wanted.pipeline_id):
            return None
        return {
            "ai_contact_id": row.id,
            "updated_at": row.fields.get("updated_at"),
            "chat_status": info.chat_status,
            "stage": stage.label if stage and stage.name else None,
            "stage_id": stage.id if stage else stage_id,
            "pipeline_id": stage.pipeline_id if stage else None,
        }


class Stages:
    """The stages of an account; for an unknown one the pipelines are read again, once in a round.

    :param client: asks.
    """

    def __init__(self, client: AsyncVambeClient) -> None:
        self.client = client
        self._known: dict[str, Stage] = {}
        self._asked = False
        self._one_asks = asyncio.Lock()

    def next_round(self) -> None:
        """Let an unknown stage be asked for again."""
        self._asked = False

    async def find(self, stage_id: str) -> Stage | None:
        """Return a stage by its id, or None when the pipelines do not list it."""
        async with self._one_asks:
            if stage_id.lower() not in self._known and not self._asked:
                pipelines = await self.client.get_pipelines()
                self._known = {stage.id.lower(): stage for pipeline in pipelines for stage in pipeline.stages}
                self._asked = True
        return self._known.get(stage_id.lower())

    async def pipeline(self, name_or_id: str) -> str:
        """Return the id of a pipeline.

        :raises VambeConfigError: when none or more than one fits; lists what there is.
        """
        pipelines = await self.client.get_pipelines()
        wanted = name_or_id.strip().casefold()
        found = [item for item in pipelines if wanted in (item.id.casefold(), (item.name or "").strip().casefold())]
        if len(found) == 1:
            return found[0].id
        there = ", ".join(f"{item.name} ({item.id})" for item in pipelines[:40])
        raise VambeConfigError(f"pipeline: {len(found) or 'none'} fits {name_or_id[:80]!r}", fix=f"There are: {there}.")


class Feed:
    """The rounds of a connection; it goes on where it was when it is started again after a failure."""

    def __init__(self) -> None:
        self._cursor: Cursor | None = None

    async def rounds(self, settings: ConnectionSettings, interval: float) -> AsyncIterator[Round]:
        """Yield a round now and after each interval.

        :param settings: the connection.
        :param interval: seconds.
        :raises VambeError: when a look fails.
        """
        async with shared_client(settings) as client:
            contacts, stages = ContactList(client), Stages(client)
            # The reply also tells the API's time.
            await client.get_pipelines()
            while True:
                began = time.monotonic()
                stages.next_round()
                # What changed before the first round is not news, also when it shows up late.
                cursor = self._cursor or Cursor(api_now(client) - OVERLAP)
                rows = [row async for page in contacts.since(cursor.place.begin()) for row in page]
                newest = max((row.at for row in rows if not row.is_of_the_future(api_now(client))), default=None)
                news = cursor.news(rows)
                cursor.end(began=began, newest=newest)
                first, self._cursor = self._cursor is None, cursor
                yield Round(contacts, stages, [] if first else news, cursor.copy(), began, newest)
                await asyncio.sleep(interval * random.uniform(*_JITTER))  # noqa: S311


def backoff_after(failures: int, interval: float) -> float:
    """Return the seconds to wait after some failures in a row."""
    return float(min(MAX_PAUSE, interval * 2 ** min(failures - 1, 10)))
