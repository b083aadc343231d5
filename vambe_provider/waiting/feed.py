"""The changes of all contacts of a connection, round after round, and which of them a watcher wants."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from vambe_provider.exceptions import VambeConfigError, VambeReadError
from vambe_provider.waiting.changes import Cursor, changed_since
from vambe_provider.waiting.clients import shared_client

if TYPE_CHECKING:
    from vambe_provider.api import AsyncVambeClient, ConnectionSettings, Contact, Stage

MAX_PAUSE = 300.0
_JITTER = (0.85, 1.15)


@dataclass(frozen=True, slots=True)
class Filter:
    """Which changes a watcher wants; what is empty or None lets everything pass."""

    pipeline_id: str | None = None
    stage_ids: frozenset[str] = frozenset()
    statuses: frozenset[str] = frozenset()

    def passes(self, payload: dict[str, Any]) -> bool:
        """Return whether a change is wanted."""
        if self.pipeline_id is not None and payload["pipeline_id"] != self.pipeline_id:
            return False
        if self.stage_ids and payload["stage_id"] not in self.stage_ids:
            return False
        return not self.statuses or str(payload["chat_status"]).lower() in self.statuses


@dataclass(slots=True)
class Round:
    """What one look showed.

    :param client: the client, to ask for more while the round is handled.
    :param began: when it began, by the API's clock, in seconds since 1970.
    :param rows: the contacts that changed; some may have been in an earlier round already.
    """

    client: AsyncVambeClient
    began: float
    rows: list[Contact]
    _afterwards: list[Callable[[], Awaitable[None]]] = field(default_factory=list)

    def when_stored(self, action: Callable[[], Awaitable[None]]) -> None:
        """Remember what to do when the events of this round are stored."""
        self._afterwards.append(action)

    async def stored(self) -> None:
        """Do what was waiting for the events to be stored."""
        actions, self._afterwards = self._afterwards, []
        for action in actions:
            await action()

    async def resolve(self, *, pipeline: str | None, stages: Sequence[str], statuses: Sequence[str]) -> Filter:
        """Return the filter that names and ids mean.

        :raises VambeConfigError: when there is no such pipeline or stage; lists what there is.
        """
        pipeline_id = None if pipeline is None else await self._pipeline(pipeline)
        ids = [(await self.client.find_stage(stage)).id for stage in stages]
        return Filter(pipeline_id, frozenset(ids), frozenset(status.lower() for status in statuses))

    async def _pipeline(self, name_or_id: str) -> str:
        pipelines = await self.client.get_pipelines()
        wanted = name_or_id.strip().casefold()
        found = [item for item in pipelines if wanted in (item.id.casefold(), (item.name or "").strip().casefold())]
        if len(found) == 1:
            return found[0].id
        there = ", ".join(f"{item.name} ({item.id})" for item in pipelines[:40])
        raise VambeConfigError(f"pipeline: {len(found) or 'none'} fits {name_or_id[:80]!r}", fix=f"There are: {there}.")

    async def payload(self, row: Contact) -> dict[str, Any]:
        """Return the event of a change; plain values, and nothing personal."""
        stage = await self._stage((row.active_ticket_v2 or {}).get("current_stage_id"))
        return {
            "ai_contact_id": row.id,
            "updated_at": row.updated_at,
            "chat_status": row.chat_status,
            "stage": stage.label if stage and stage.name else None,
            "stage_id": stage.id if stage else None,
            "pipeline_id": stage.pipeline_id if stage else None,
        }

    async def _stage(self, stage_id: str | None) -> Stage | None:
        from vambe_provider.api import Stage

        if not stage_id:
            return None
        try:
            return await self.client.find_stage(str(stage_id))
        except VambeConfigError:
            return Stage(id=str(stage_id))


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
            # The reply also tells the API's time.
            await client.get_pipelines()
            while True:
                began = time.time() + (client.server_clock_offset or 0.0)
                if self._cursor is None:
                    self._cursor = Cursor(began)
                rows = [row async for row in changed_since(client, self._cursor.floor)]
                if any(row.updated_at is None for row in rows):
                    raise VambeReadError("The list of contacts does not say when they changed")
                yield Round(client, began, self._cursor.news(rows))
                await asyncio.sleep(interval * random.uniform(*_JITTER))  # noqa: S311


def backoff_after(failures: int, interval: float) -> float:
    """Return the seconds to wait after some failures in a row."""
    return float(min(MAX_PAUSE, interval * 2 ** min(failures - 1, 10)))
