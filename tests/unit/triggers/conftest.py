"""What the tests of the triggers share: tickets in the sandbox, and triggers that run side by side in one loop."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Any

import pytest

from vambe_provider.api import ConnectionSettings, OpenTicket, VambeClient
from vambe_provider.compat import AIRFLOW_V_3_3_PLUS
from vambe_provider.triggers.vambe import VambeContactEventTrigger, VambeTicketTrigger

if TYPE_CHECKING:
    from tests.unit.conftest import Connect
    from vambe_provider.sandbox import Sandbox


@pytest.fixture
def open_tickets(vambe_sandbox: Sandbox) -> Callable[[int], list[str]]:
    """Return a function that opens some tickets and returns their contacts."""

    def open_some(count: int) -> list[str]:
        settings = ConnectionSettings.from_fields(
            host=vambe_sandbox.url, password=vambe_sandbox.api_key, extra={"phone_id": "qr-main"}
        )
        stage = vambe_sandbox.stage_id("Support / New")
        before = len(vambe_sandbox.contacts())
        with VambeClient(settings) as client:
            return [
                client.open_ticket(
                    OpenTicket(to_phone_number=f"+5696{before + number:07d}", stage_id=stage, message="Hola")
                ).ai_contact_id
                for number in range(count)
            ]

    return open_some


class Triggers:
    """Runs triggers as the triggerer does, each in a task of its own."""

    def __init__(self, conn_id: str) -> None:
        self._conn_id = conn_id
        self.tasks: list[asyncio.Task[dict[str, Any]]] = []

    def make(self, contacts: list[str], **arguments: Any) -> VambeTicketTrigger:
        defaults = {"until": "replied", "looked_at": time.time(), "deadline": time.time() + 60, "poll_interval": 0.05}
        return VambeTicketTrigger(
            **{"vambe_conn_id": self._conn_id, "ai_contact_ids": contacts, **defaults, **arguments}
        )

    def start(self, contacts: list[str], **arguments: Any) -> asyncio.Task[dict[str, Any]]:
        trigger = self.make(contacts, **arguments)

        async def first_event() -> dict[str, Any]:
            async for event in trigger.run():
                return event.payload
            raise AssertionError("the trigger ended without an event")

        task = asyncio.create_task(first_event())
        self.tasks.append(task)
        return task

    async def stop(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)


@pytest.fixture
async def triggers(vambe_sandbox: Sandbox, connect: Connect) -> AsyncIterator[Triggers]:
    running = Triggers(connect())
    yield running
    await running.stop()


class Store:
    """Stands in for Airflow's asset state store, which only a triggerer has."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}

    async def aget(self, key: str, default: Any = None) -> Any:
        return json.loads(self.values[key]) if key in self.values else default

    async def aset(self, key: str, value: Any) -> None:
        self.values[key] = json.dumps(value)


class Watchers:
    """Runs watchers as the triggerer does: in one shared poll where this Airflow has it, each on its own elsewhere."""

    def __init__(self, conn_id: str) -> None:
        self._conn_id = conn_id
        self._tasks: list[asyncio.Task[None]] = []
        self._manager: Any = None
        self.storing = True
        """Whether events reach the metadata database."""
        self.storing_takes = 0.0
        """Seconds until they do; those that are on their way when the watchers are stopped are lost."""
        self.stored: list[dict[str, Any]] = []
        self._on_their_way: set[asyncio.TimerHandle] = set()
        if AIRFLOW_V_3_3_PLUS:
            import structlog
            from airflow.triggers.shared_stream import SharedStreamManager

            self._manager = SharedStreamManager(log=structlog.get_logger())

    def start(self, store: Store | None = None, **arguments: Any) -> list[dict[str, Any]]:
        """Start a watcher and return the list that its events are added to."""
        trigger = VambeContactEventTrigger(vambe_conn_id=self._conn_id, poll_interval=0.05, **arguments)
        trigger.asset_state_store = store  # type: ignore[assignment]
        events: list[dict[str, Any]] = []
        self._tasks.append(asyncio.create_task(self._run(len(self._tasks) + 1, trigger, events)))
        return events

    async def _run(self, number: int, trigger: VambeContactEventTrigger, events: list[dict[str, Any]]) -> None:
        key = trigger.shared_stream_key()
        if key is None or self._manager is None:
            async for event in trigger.run():
                events += [event.payload]
            return
        stream = self._manager.subscribe(trigger_id=number, trigger=trigger, key=key)
        try:
            async for event in trigger.filter_shared_stream(stream):
                events.append(event.payload)
                seq = self._manager.bind_pending_event(trigger_id=number, key=key)
                if self.storing and seq is not None:
                    self._store(event.payload, seq)
        finally:
            await self._manager.unsubscribe(number, key)

    def _store(self, payload: dict[str, Any], seq: int) -> None:
        def store() -> None:
            self.stored.append(payload)
            self._manager.confirm_persisted([seq])

        if self.storing_takes:
            self._on_their_way.add(asyncio.get_running_loop().call_later(self.storing_takes, store))
        else:
            store()

    async def watching(self, sandbox: Sandbox, **arguments: Any) -> list[dict[str, Any]]:
        """Start a watcher, and return the list of its events when its first look is over, from which on they count."""
        store = Store()
        events = self.start(store, **arguments)
        if AIRFLOW_V_3_3_PLUS:
            await sandbox.wait_for_async(lambda _: bool(store.values), timeout=30)
        else:
            await some_looks(sandbox, 60)
        return events

    async def stop(self) -> None:
        for handle in self._on_their_way:
            handle.cancel()
        for task in self._tasks:
            task.cancel()
        results = await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()
        assert [result for result in results if not isinstance(result, asyncio.CancelledError)] == []


@pytest.fixture
async def watchers(vambe_sandbox: Sandbox, connect: Connect) -> AsyncIterator[Watchers]:
    running = Watchers(connect())
    yield running
    await running.stop()


def looks(sandbox: Sandbox) -> int:
    return len(sandbox.requests("list_contacts"))


async def some_looks(sandbox: Sandbox, count: int = 3) -> None:
    goal = looks(sandbox) + count
    await sandbox.wait_for_async(lambda now: looks(now) >= goal, timeout=60)
