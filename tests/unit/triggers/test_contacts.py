from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Any

import pytest

from vambe_provider.compat import AIRFLOW_V_3_3_PLUS
from vambe_provider.triggers.vambe import VambeContactEventTrigger

if TYPE_CHECKING:
    from tests.unit.conftest import Connect
    from vambe_provider.sandbox import Sandbox

OpenTickets = Callable[[int], list[str]]


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
                    self._manager.confirm_persisted([seq])
        finally:
            await self._manager.unsubscribe(number, key)

    async def stop(self) -> None:
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
    await sandbox.wait_for_async(lambda now: looks(now) >= goal)


def test_its_arguments_are_plain_and_make_the_same_trigger_again() -> None:
    trigger = VambeContactEventTrigger(pipeline="Support", stages="Support / New", statuses=("ATTENDED",))
    path, arguments = trigger.serialize()
    assert path == "vambe_provider.triggers.vambe.VambeContactEventTrigger"
    assert json.loads(json.dumps(arguments)) == arguments
    assert VambeContactEventTrigger(**arguments).serialize() == (path, arguments)


async def test_a_change_fires_once(vambe_sandbox: Sandbox, watchers: Watchers, open_tickets: OpenTickets) -> None:
    [old] = open_tickets(1)
    events = watchers.start()
    await some_looks(vambe_sandbox)
    assert events == []

    vambe_sandbox.customer_replies(old, "a private answer")
    [new] = open_tickets(1)
    await some_looks(vambe_sandbox, 4)
    assert [event["ai_contact_id"] for event in events] == [old, new]
    ticket = vambe_sandbox.tickets()[0]
    assert events[0] == {
        "ai_contact_id": old,
        "updated_at": events[0]["updated_at"],
        "chat_status": events[0]["chat_status"],
        "stage": "Support / New",
        "stage_id": ticket["stage_id"],
        "pipeline_id": ticket["pipeline_id"],
    }
    assert "private" not in json.dumps(events)


async def test_filters(vambe_sandbox: Sandbox, watchers: Watchers, open_tickets: OpenTickets) -> None:
    contacts = open_tickets(3)
    solved = watchers.start(stages=["support / solved"])
    orders = watchers.start(pipeline="Orders")
    support = watchers.start(pipeline="support", statuses="unattended")
    await some_looks(vambe_sandbox)
    vambe_sandbox.move_ticket(contacts[0], "Support / Solved")
    vambe_sandbox.move_ticket(contacts[1], "Orders / Late")
    vambe_sandbox.customer_replies(contacts[2], "Hola")
    await some_looks(vambe_sandbox, 4 if AIRFLOW_V_3_3_PLUS else 12)
    assert {event["ai_contact_id"] for event in solved} == {contacts[0]}
    assert {event["ai_contact_id"] for event in orders} == {contacts[1]}
    assert contacts[2] in {event["ai_contact_id"] for event in support}


@pytest.mark.skipif(not AIRFLOW_V_3_3_PLUS, reason="older Airflow cannot share a poll")
async def test_several_watchers_share_one_poll(
    vambe_sandbox: Sandbox, watchers: Watchers, open_tickets: OpenTickets
) -> None:
    contacts = open_tickets(1)
    one = watchers.start()
    await some_looks(vambe_sandbox)
    others = [watchers.start(statuses=status) for status in ("attended", "unattended", "closed")]
    await some_looks(vambe_sandbox)
    assert len(vambe_sandbox.requests("get_pipelines")) <= 2
    vambe_sandbox.customer_replies(contacts[0], "Hola")
    await some_looks(vambe_sandbox)
    assert len(one) == 1
    assert sum(map(len, others)) == 1


@pytest.mark.skipif(not AIRFLOW_V_3_3_PLUS, reason="older Airflow keeps nothing for a watcher")
class TestRestart:
    async def test_it_neither_misses_nor_repeats(
        self, vambe_sandbox: Sandbox, watchers: Watchers, open_tickets: OpenTickets
    ) -> None:
        contacts, store = open_tickets(4), Store()
        first = watchers.start(store)
        await some_looks(vambe_sandbox)
        vambe_sandbox.customer_replies(contacts[0], "before")
        vambe_sandbox.customer_replies(contacts[1], "before")
        await some_looks(vambe_sandbox)
        await watchers.stop()
        assert [event["ai_contact_id"] for event in first] == contacts[:2]

        vambe_sandbox.customer_replies(contacts[2], "while it was down")
        second = watchers.start(store)
        await some_looks(vambe_sandbox)
        vambe_sandbox.customer_replies(contacts[3], "after")
        await some_looks(vambe_sandbox)
        assert [event["ai_contact_id"] for event in second] == contacts[2:]

    async def test_an_event_that_airflow_did_not_store_comes_again(
        self, vambe_sandbox: Sandbox, watchers: Watchers, open_tickets: OpenTickets
    ) -> None:
        contacts, store = open_tickets(1), Store()
        lost = watchers.start(store)
        await some_looks(vambe_sandbox)
        watchers.storing = False
        vambe_sandbox.customer_replies(contacts[0], "Hola")
        await some_looks(vambe_sandbox)
        assert len(lost) == 1
        await watchers.stop()

        watchers.storing = True
        again = watchers.start(store)
        await some_looks(vambe_sandbox)
        assert again == lost

    async def test_two_watchers_on_one_asset_keep_places_of_their_own(
        self, vambe_sandbox: Sandbox, watchers: Watchers, open_tickets: OpenTickets
    ) -> None:
        store = Store()
        watchers.start(store)
        watchers.start(store, pipeline="Support")
        await some_looks(vambe_sandbox)
        assert len(store.values) == 2


class TestFailures:
    async def test_they_never_end_it(
        self, vambe_sandbox: Sandbox, watchers: Watchers, open_tickets: OpenTickets, caplog: pytest.LogCaptureFixture
    ) -> None:
        contacts = open_tickets(2)
        events = watchers.start()
        await some_looks(vambe_sandbox)
        fault = vambe_sandbox.fault("list_contacts", kind="status", status=503, times=2)
        vambe_sandbox.customer_replies(contacts[0], "Hola")
        await vambe_sandbox.wait_for_async(lambda _: fault.hits == 2)
        vambe_sandbox.customer_replies(contacts[1], "Hola")
        await some_looks(vambe_sandbox)
        assert [event["ai_contact_id"] for event in events] == contacts
        assert "Cannot read the changes of Vambe contacts (read_503)" in caplog.text

    async def test_a_new_key_is_picked_up(
        self, vambe_sandbox: Sandbox, watchers: Watchers, connect: Connect, open_tickets: OpenTickets
    ) -> None:
        contacts = open_tickets(1)
        events = watchers.start()
        await some_looks(vambe_sandbox)
        vambe_sandbox.configure(api_key="the-new-key")
        await some_looks(vambe_sandbox, 1)
        connect(password="the-new-key")
        vambe_sandbox.customer_replies(contacts[0], "Hola")
        await some_looks(vambe_sandbox)
        assert [event["ai_contact_id"] for event in events] == contacts

    async def test_a_wrong_filter_is_named_in_the_log(
        self, vambe_sandbox: Sandbox, watchers: Watchers, caplog: pytest.LogCaptureFixture
    ) -> None:
        events = watchers.start(pipeline="Suport")
        await some_looks(vambe_sandbox)
        assert "pipeline: none fits 'Suport'" in caplog.text
        assert "There are: Support (" in caplog.text
        assert events == []


async def test_it_never_writes(vambe_sandbox: Sandbox, watchers: Watchers, open_tickets: OpenTickets) -> None:
    contacts = open_tickets(1)
    before = vambe_sandbox.request_count
    watchers.start()
    await some_looks(vambe_sandbox)
    vambe_sandbox.close_ticket(contacts[0])
    await some_looks(vambe_sandbox)
    assert {request["method"] for request in vambe_sandbox.requests()[before:]} == {"GET"}
