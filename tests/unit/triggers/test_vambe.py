from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.common.compat import connection

from vambe_provider.triggers.vambe import VambeTicketTrigger
from vambe_provider.waiting import clients, poll, watched

if TYPE_CHECKING:
    from tests.unit.conftest import Connect
    from tests.unit.triggers.conftest import Triggers
    from vambe_provider.sandbox import Sandbox

OpenTickets = Callable[[int], list[str]]


def rounds(sandbox: Sandbox) -> int:
    return len(sandbox.requests("list_contacts"))


async def some_rounds(sandbox: Sandbox, count: int = 3) -> None:
    """Wait until so many more rounds have begun."""
    goal = rounds(sandbox) + count
    await sandbox.wait_for_async(lambda now: rounds(now) >= goal)


def test_its_arguments_are_plain_and_make_the_same_trigger_again() -> None:
    trigger = VambeTicketTrigger(
        vambe_conn_id="v", ai_contact_ids=("a",), until="stage", stages=("s",), looked_at=1.5, deadline=2.5
    )
    path, arguments = trigger.serialize()
    assert path == "vambe_provider.triggers.vambe.VambeTicketTrigger"
    assert json.loads(json.dumps(arguments)) == arguments
    assert VambeTicketTrigger(**arguments).serialize() == (path, arguments)


async def test_a_reply_ends_the_wait(vambe_sandbox: Sandbox, triggers: Triggers, open_tickets: OpenTickets) -> None:
    [contact] = open_tickets(1)
    waiting = triggers.start([contact])
    await some_rounds(vambe_sandbox)
    assert not waiting.done()
    vambe_sandbox.customer_replies(contact, "Sí")
    assert await waiting == {"status": "success", "done": 1, "of": 1, "ai_contact_ids": []}


async def test_a_closed_or_moved_ticket_ends_the_wait(
    vambe_sandbox: Sandbox, triggers: Triggers, open_tickets: OpenTickets
) -> None:
    closed, moved, attended = open_tickets(3)
    waits = [
        triggers.start([closed], until="closed"),
        triggers.start([moved], until="stage", stages=[vambe_sandbox.stage_id("Support / Solved")]),
        triggers.start([attended], until="chat_status", statuses=["unattended"]),
    ]
    await some_rounds(vambe_sandbox)
    vambe_sandbox.close_ticket(closed)
    vambe_sandbox.move_ticket(moved, "Support / Solved")
    vambe_sandbox.customer_replies(attended, "Hola")
    assert [(await wait)["status"] for wait in waits] == ["success"] * 3


async def test_all_and_any(vambe_sandbox: Sandbox, triggers: Triggers, open_tickets: OpenTickets) -> None:
    contacts = open_tickets(3)
    every, some = triggers.start(contacts), triggers.start(contacts, mode_of="any")
    vambe_sandbox.customer_replies(contacts[1], "Sí")
    assert (await some)["ai_contact_ids"] == [contacts[1]]
    await some_rounds(vambe_sandbox)
    assert not every.done()
    vambe_sandbox.customer_replies(contacts[0], "Sí")
    vambe_sandbox.customer_replies(contacts[2], "Sí")
    assert (await every)["done"] == 3


async def test_many_waits_share_one_poll_and_one_client(
    vambe_sandbox: Sandbox, triggers: Triggers, open_tickets: OpenTickets
) -> None:
    contacts = open_tickets(40)
    for contact in contacts:
        triggers.start([contact])
    await some_rounds(vambe_sandbox, 5)
    assert len(poll.running_polls()) == 1
    assert clients.open_clients() == 1

    before = vambe_sandbox.request_count
    lists = rounds(vambe_sandbox)
    await some_rounds(vambe_sandbox, 10)
    # Nothing changed, so nothing but the list is asked for.
    assert vambe_sandbox.request_count - before == rounds(vambe_sandbox) - lists

    vambe_sandbox.customer_replies(contacts[7], "Sí")
    await triggers.tasks[7]
    assert sum(task.done() for task in triggers.tasks) == 1
    infos = [request["path"] for request in vambe_sandbox.requests("get_contact")]
    assert sum(contacts[7] in path for path in infos) <= 2

    await triggers.stop()
    assert not poll.running_polls()
    assert clients.open_clients() == 0


async def test_a_wait_that_joins_later_sees_what_happened_since_its_own_look(
    vambe_sandbox: Sandbox, triggers: Triggers, open_tickets: OpenTickets
) -> None:
    first, second = open_tickets(2)
    looked_at = time.time()
    triggers.start([first])
    await some_rounds(vambe_sandbox)
    vambe_sandbox.customer_replies(second, "Sí")
    await some_rounds(vambe_sandbox)
    assert (await triggers.start([second], looked_at=looked_at))["status"] == "success"


async def test_a_restart_goes_on_where_it_was(
    vambe_sandbox: Sandbox, triggers: Triggers, open_tickets: OpenTickets, monkeypatch: pytest.MonkeyPatch
) -> None:
    contacts = open_tickets(2)
    trigger = triggers.make(contacts)
    _, arguments = trigger.serialize()
    running = triggers.start(contacts)
    await some_rounds(vambe_sandbox)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)

    monkeypatch.setattr("vambe_provider.waiting.poll.OVERLAP", 0.0)
    for contact in contacts:
        vambe_sandbox.customer_replies(contact, "while it was down")
    again = VambeTicketTrigger(**json.loads(json.dumps(arguments)))
    assert (await anext(aiter(again.run()))).payload["done"] == 2


async def test_the_deadline_travels_with_the_trigger(
    vambe_sandbox: Sandbox, triggers: Triggers, open_tickets: OpenTickets
) -> None:
    contacts = open_tickets(2)
    assert await triggers.start(contacts, deadline=time.time() - 1) == {"status": "timeout", "of": 2}
    assert await triggers.start(contacts, deadline=time.time() + 0.2) == {"status": "timeout", "of": 2}


async def test_a_wrong_key_ends_the_wait_when_its_patience_is_out(
    vambe_sandbox: Sandbox, triggers: Triggers, connect: Connect, open_tickets: OpenTickets
) -> None:
    contacts = open_tickets(1)
    connect(password="another-key")
    event = await triggers.start(contacts, max_failures=3)
    assert (event["status"], event["permanent"], event["kind"]) == ("error", True, "auth_401")
    assert event["message"].startswith("connection vambe_default: ")
    assert "another-key" not in json.dumps(event)


async def test_a_changed_key_does_not_end_the_wait(
    vambe_sandbox: Sandbox, triggers: Triggers, connect: Connect, open_tickets: OpenTickets
) -> None:
    [contact] = open_tickets(1)
    waiting = triggers.start([contact])
    await some_rounds(vambe_sandbox)
    connect(password="the-new-key")
    vambe_sandbox.configure(api_key="the-new-key")
    vambe_sandbox.customer_replies(contact, "Sí")
    assert (await waiting)["status"] == "success"


async def test_airflow_is_asked_for_the_connection_once(
    vambe_sandbox: Sandbox,
    triggers: Triggers,
    connect: Connect,
    open_tickets: OpenTickets,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The triggerer's supervisor answers one question at a time; two thousand waits would keep it busy for minutes."""
    asked: list[str] = []

    async def counted(conn_id: str) -> Any:
        asked.append(conn_id)
        return await real(conn_id)

    real = connection.get_async_connection
    monkeypatch.setattr(connection, "get_async_connection", counted)
    waits = [triggers.start([contact]) for contact in open_tickets(20)]
    await some_rounds(vambe_sandbox)
    assert len(asked) == 1
    connect(password="the-new-key")
    vambe_sandbox.configure(api_key="the-new-key")
    await some_rounds(vambe_sandbox)
    assert not any(wait.done() for wait in waits)
    # Once for the new key; all waits share the look, whether they ask while it is under way or after.
    assert len(asked) in (2, 3)


async def test_a_missing_connection_is_named(open_tickets: OpenTickets, triggers: Triggers) -> None:
    event = await triggers.start(open_tickets(1), vambe_conn_id="not_there", max_failures=2)
    assert (event["status"], event["permanent"]) == ("error", True)
    assert "not_there" in event["message"]


class TestWithoutTheList:
    @pytest.mark.parametrize("status", [400, 403, 404])
    async def test_a_list_that_is_refused_is_replaced_by_single_reads(
        self,
        vambe_sandbox: Sandbox,
        triggers: Triggers,
        open_tickets: OpenTickets,
        caplog: pytest.LogCaptureFixture,
        status: int,
    ) -> None:
        contacts = open_tickets(3)
        fault = vambe_sandbox.fault("list_contacts", kind="status", status=status, times="forever")
        with caplog.at_level(logging.WARNING):
            waiting = triggers.start(contacts)
            for contact in contacts:
                vambe_sandbox.customer_replies(contact, "Sí")
            assert (await waiting)["done"] == 3
        assert fault.hits == 3
        assert caplog.text.count("one by one") == 1

    async def test_a_list_that_does_not_see_messages_is_noticed(
        self, vambe_sandbox: Sandbox, triggers: Triggers, open_tickets: OpenTickets, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        vambe_sandbox.configure(ticket_bumps_updated_at=False)
        first, second = open_tickets(2)
        waiting = [triggers.start([first]), triggers.start([second])]
        await some_rounds(vambe_sandbox)
        # The clock goes on, since the sandbox would otherwise do all of this within a second.
        vambe_sandbox.configure(clock_skew_seconds=5)
        monkeypatch.setattr(poll, "SWEEP_AFTER", 0.0)
        monkeypatch.setattr(poll, "SWEEP_SIZE", 1)
        vambe_sandbox.customer_replies(first, "Sí")
        vambe_sandbox.customer_replies(second, "Sí")
        assert [(await wait)["status"] for wait in waiting] == ["success", "success"]

    async def test_the_user_can_do_without_it(
        self, vambe_sandbox: Sandbox, triggers: Triggers, open_tickets: OpenTickets
    ) -> None:
        vambe_sandbox.configure(ticket_bumps_updated_at=False)
        [contact] = open_tickets(1)
        waiting = triggers.start([contact], shared_poll=False)
        await vambe_sandbox.wait_for_async(lambda now: len(now.requests("get_contact")) >= 3)
        vambe_sandbox.customer_replies(contact, "Sí")
        assert (await waiting)["status"] == "success"
        assert vambe_sandbox.requests("list_contacts") == []


async def test_a_mistake_of_ours_leaves_nobody_waiting(
    triggers: Triggers, open_tickets: OpenTickets, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: object) -> str:
        raise RuntimeError("a mistake")

    monkeypatch.setattr(watched, "read_contact", broken)
    waits = [triggers.start(open_tickets(1)) for _ in range(2)]
    found = await asyncio.gather(*waits, return_exceptions=True)
    assert [str(error) for error in found] == ["a mistake", "a mistake"]


async def test_it_never_writes(vambe_sandbox: Sandbox, triggers: Triggers, open_tickets: OpenTickets) -> None:
    contacts = open_tickets(2)
    already = vambe_sandbox.request_count
    waiting = triggers.start(contacts)
    for contact in contacts:
        vambe_sandbox.customer_replies(contact, "Sí")
    await waiting
    assert {request["method"] for request in vambe_sandbox.requests()[already:]} == {"GET"}
