from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from tests.unit.triggers.conftest import Store, Watchers, looks, some_looks
from vambe_provider.compat import AIRFLOW_V_3_3_PLUS
from vambe_provider.triggers.vambe import VambeContactEventTrigger

if TYPE_CHECKING:
    from tests.unit.conftest import Connect
    from vambe_provider.sandbox import Sandbox

OpenTickets = Callable[[int], list[str]]


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

    @pytest.mark.parametrize("seed", range(3))
    async def test_nothing_is_lost_when_storing_takes_longer_than_a_round(
        self, vambe_sandbox: Sandbox, watchers: Watchers, open_tickets: OpenTickets, seed: int
    ) -> None:
        """The triggerer is killed while events of several rounds are on their way into the database."""
        chance, store, changed = random.Random(seed), Store(), []
        contacts = open_tickets(40)
        watchers.start(store)
        await vambe_sandbox.wait_for_async(lambda _: bool(store.values))
        watchers.storing_takes = 0.25
        for contact in contacts:
            vambe_sandbox.move_ticket(contact, "Support / Solved")
            changed.append(contact)
            await asyncio.sleep(chance.uniform(0.0, 0.05))
            if chance.random() < 0.2:
                await watchers.stop()
                watchers.start(store)
        await vambe_sandbox.wait_for_async(
            lambda _: {event["ai_contact_id"] for event in watchers.stored} >= set(changed), timeout=30
        )

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


async def test_a_stage_that_the_pipelines_do_not_list_is_asked_for_once_in_a_round(
    vambe_sandbox: Sandbox, watchers: Watchers, open_tickets: OpenTickets
) -> None:
    contacts = open_tickets(30)
    all_events = await watchers.watching(vambe_sandbox)
    filtered = await watchers.watching(vambe_sandbox, statuses="attended")
    before = len(vambe_sandbox.requests("get_pipelines"))
    rounds = looks(vambe_sandbox)
    for contact in contacts:
        vambe_sandbox.spoil_row(contact, active_ticket_v2={"id": "t", "current_stage_id": "new-stage"})
        vambe_sandbox.customer_replies(contact, "Hola")
    await vambe_sandbox.wait_for_async(lambda _: len(all_events) == 30)
    assert {event["stage_id"] for event in all_events} == {"new-stage"}
    assert {event["stage"] for event in all_events} == {None}
    assert filtered == []
    assert len(vambe_sandbox.requests("get_pipelines")) - before <= looks(vambe_sandbox) - rounds


async def test_it_never_writes(vambe_sandbox: Sandbox, watchers: Watchers, open_tickets: OpenTickets) -> None:
    contacts = open_tickets(1)
    before = vambe_sandbox.request_count
    watchers.start()
    await some_looks(vambe_sandbox)
    vambe_sandbox.close_ticket(contacts[0])
    await some_looks(vambe_sandbox)
    assert {request["method"] for request in vambe_sandbox.requests()[before:]} == {"GET"}
