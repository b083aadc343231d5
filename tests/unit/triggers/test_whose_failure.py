"""Patience belongs to each wait, a contact's error to that contact, and only the API itself says no for good."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from vambe_provider.hooks.vambe import VambeHook
from vambe_provider.waiting import poll
from vambe_provider.waiting.conditions import moment

if TYPE_CHECKING:
    from tests.unit.conftest import Connect
    from tests.unit.triggers.conftest import Triggers, Watchers
    from vambe_provider.sandbox import Sandbox

OpenTickets = Callable[[int], list[str]]
ENDPOINTS = ["list_contacts", "get_contact", "get_messages"]
FOR_A_WHILE: list[dict[str, Any]] = [
    {"kind": "status", "status": 503},
    {"kind": "status", "status": 502, "body": "html"},
    {"kind": "status", "status": 404, "body": "html"},
    {"kind": "status", "status": 400, "body": "html"},
    {"kind": "status", "status": 403, "body": "html"},
    {"kind": "status", "status": 401},
    {"kind": "status", "status": 403},
    {"kind": "status", "status": 404},
    {"kind": "redirect", "status": 302},
    {"kind": "drop"},
    {"kind": "truncated"},
    {"kind": "malformed"},
    {"kind": "huge"},
]


def rounds(sandbox: Sandbox) -> int:
    return len(sandbox.requests("list_contacts"))


async def some_rounds(sandbox: Sandbox, count: int = 3) -> None:
    goal = rounds(sandbox) + count
    await sandbox.wait_for_async(lambda now: rounds(now) >= goal)


@pytest.mark.parametrize("failure", FOR_A_WHILE, ids=str)
@pytest.mark.parametrize("endpoint", ["*", *ENDPOINTS])
async def test_a_moment_of_trouble_ends_no_wait(
    vambe_sandbox: Sandbox, triggers: Triggers, open_tickets: OpenTickets, endpoint: str, failure: dict[str, Any]
) -> None:
    contacts = open_tickets(3)
    waits = [triggers.start([contact], max_failures=6) for contact in contacts]
    await some_rounds(vambe_sandbox)
    fault = vambe_sandbox.fault(endpoint, times=2, **failure)
    for contact in contacts:
        vambe_sandbox.customer_replies(contact, "Sí")
    assert [(await wait)["status"] for wait in waits] == ["success"] * 3
    assert fault.hits == 2


async def test_patience_is_each_waits_own(
    vambe_sandbox: Sandbox, triggers: Triggers, open_tickets: OpenTickets
) -> None:
    """A wait with a short interval beside them makes a hundred others look often, and fail none of them."""
    contacts = open_tickets(21)
    patient = [triggers.start([contact], poll_interval=60.0, max_failures=3) for contact in contacts[:-1]]
    hasty = triggers.start(contacts[-1:], poll_interval=0.05, max_failures=5)
    await some_rounds(vambe_sandbox)
    vambe_sandbox.fault("*", kind="status", status=503, times="forever")
    assert (await hasty)["status"] == "error"
    assert not any(wait.done() for wait in patient)


@pytest.mark.parametrize("header", ["seconds", "date", "none"])
async def test_being_asked_to_wait_costs_no_patience(
    vambe_sandbox: Sandbox, triggers: Triggers, open_tickets: OpenTickets, header: str
) -> None:
    [contact] = open_tickets(1)
    waiting = triggers.start([contact], max_failures=1)
    await some_rounds(vambe_sandbox)
    fault = vambe_sandbox.fault("*", kind="rate_limit", retry_after=0.2, retry_after_form=header, times=3)
    vambe_sandbox.customer_replies(contact, "Sí")
    assert (await waiting)["status"] == "success"
    assert fault.hits == 3


async def test_vambe_says_how_long_to_wait(
    vambe_sandbox: Sandbox, triggers: Triggers, open_tickets: OpenTickets
) -> None:
    [contact] = open_tickets(1)
    vambe_sandbox.fault("list_contacts", kind="rate_limit", retry_after=1)
    waiting = triggers.start([contact])
    await vambe_sandbox.wait_for_async(lambda now: rounds(now) >= 1)
    vambe_sandbox.customer_replies(contact, "Sí")
    # A newcomer must not end the pause either.
    triggers.start([contact])
    await waiting
    first, second = (moment(request["time"]) or 0.0 for request in vambe_sandbox.requests("list_contacts")[:2])
    assert second - first >= 1.0


@pytest.mark.parametrize("endpoint", ["list_contacts", "get_contact"])
async def test_too_many_failures_in_a_row_are_for_a_task_retry(
    vambe_sandbox: Sandbox, triggers: Triggers, open_tickets: OpenTickets, endpoint: str
) -> None:
    contacts = open_tickets(1)
    vambe_sandbox.fault(endpoint, kind="status", status=503, times="forever")
    event = await triggers.start(contacts, max_failures=3)
    assert (event["status"], event["kind"], event["permanent"]) == ("error", "read_503", False)


async def test_a_wait_goes_on_for_the_contacts_that_can_be_read(
    vambe_sandbox: Sandbox, triggers: Triggers, open_tickets: OpenTickets
) -> None:
    contacts = open_tickets(5)
    waiting = triggers.start(contacts, max_failures=2)
    await some_rounds(vambe_sandbox)
    broken = vambe_sandbox.fault("get_messages", kind="status", status=500, contact=contacts[0], times=8)
    vambe_sandbox.customer_replies(contacts[0], "Sí")
    await vambe_sandbox.wait_for_async(lambda _: broken.hits == 8)
    for contact in contacts[1:]:
        vambe_sandbox.customer_replies(contact, "Sí")
    assert (await waiting)["done"] == 5


class TestWhatIsFinal:
    @pytest.mark.parametrize("shared", [True, False])
    async def test_a_contact_that_the_api_does_not_know_any_more_ends_its_wait_only(
        self,
        vambe_sandbox: Sandbox,
        triggers: Triggers,
        open_tickets: OpenTickets,
        monkeypatch: pytest.MonkeyPatch,
        shared: bool,
    ) -> None:
        monkeypatch.setattr(poll, "SWEEP_AFTER", 0.0)
        gone, kept = open_tickets(2)
        lost = triggers.start([gone], shared_poll=shared)
        other = triggers.start([kept], shared_poll=shared)
        await vambe_sandbox.wait_for_async(lambda now: len(now.requests("get_contact")) >= 4)
        vambe_sandbox.merge_contacts(gone, into=kept)
        event = await lost
        assert (event["status"], event["permanent"]) == ("error", True)
        assert f"There is no contact {gone}" in event["message"]
        # Of the contact or of its messages, whichever was asked for when it was merged.
        refused = [item for item in vambe_sandbox.requests() if item["status"] == 404]
        assert len(refused) >= 3
        assert not other.done()

    async def test_alone_it_is_told_by_something_else_that_the_api_answers(
        self, vambe_sandbox: Sandbox, triggers: Triggers, open_tickets: OpenTickets
    ) -> None:
        [gone] = open_tickets(1)
        waiting = triggers.start([gone], shared_poll=False)
        await vambe_sandbox.wait_for_async(lambda now: len(now.requests("get_contact")) >= 2)
        vambe_sandbox.merge_contacts(gone, into=vambe_sandbox.seed_contact("+56961111111"))
        assert (await waiting)["permanent"] is True

    async def test_a_gateway_that_refuses_everything_is_not_the_api(
        self, vambe_sandbox: Sandbox, triggers: Triggers, open_tickets: OpenTickets
    ) -> None:
        [contact] = open_tickets(1)
        waiting = triggers.start([contact], shared_poll=False, max_failures=500)
        await vambe_sandbox.wait_for_async(lambda now: len(now.requests("get_contact")) >= 2)
        fault = vambe_sandbox.fault("*", kind="status", status=404, times=40)
        vambe_sandbox.customer_replies(contact, "Sí")
        assert (await waiting)["status"] == "success"
        assert fault.hits == 40

    async def test_what_a_gateway_refused_is_not_counted_when_the_api_is_back(
        self, vambe_sandbox: Sandbox, triggers: Triggers, open_tickets: OpenTickets
    ) -> None:
        [contact] = open_tickets(1)
        vambe_sandbox.customer_replies(contact, "Sí")
        vambe_sandbox.fault("list_contacts", kind="status", status=503, times=10)
        fault = vambe_sandbox.fault("get_contact", kind="status", status=404, times=12)
        # It has to be read in every round, also in those in which the list cannot be had.
        event = await triggers.start([contact], max_failures=500, again={contact: time.time()})
        assert (event["status"], fault.hits) == ("success", 12)

    async def test_with_any_the_others_may_still_answer(
        self, vambe_sandbox: Sandbox, triggers: Triggers, open_tickets: OpenTickets, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(poll, "SWEEP_AFTER", 0.0)
        gone, kept, witness = open_tickets(3)
        waiting = triggers.start([gone, kept], mode_of="any")
        triggers.start([witness])
        await some_rounds(vambe_sandbox)
        vambe_sandbox.merge_contacts(gone, into=witness)
        await vambe_sandbox.wait_for_async(
            lambda now: sum(item["status"] == 404 for item in now.requests("get_contact")) >= 8
        )
        vambe_sandbox.customer_replies(kept, "Sí")
        assert (await waiting)["ai_contact_ids"] == [kept]

    async def test_a_merged_contact_is_followed_to_the_ticket_of_the_wait(
        self, vambe_sandbox: Sandbox, triggers: Triggers, open_tickets: OpenTickets, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(poll, "SWEEP_AFTER", 0.0)
        vambe_sandbox.configure(merged_contacts="followed")
        gone, kept = open_tickets(2)
        ticket = vambe_sandbox.tickets()[0]
        known = {"opened_at": moment(ticket["created_at"]), "ticket_id": ticket["id"]}
        waiting = triggers.start([gone], until="replied", tickets=[known])
        await some_rounds(vambe_sandbox)
        vambe_sandbox.close_ticket(kept)
        vambe_sandbox.merge_contacts(gone, into=kept)
        vambe_sandbox.customer_replies(kept, "Sí")
        assert (await waiting)["status"] == "success"


class TestTheConnection:
    """The key, and the place where Airflow keeps it, may be away for a moment."""

    @pytest.mark.parametrize("error", [RuntimeError("secret://vault"), OSError("no route"), KeyError("vambe")], ids=str)
    async def test_a_secrets_backend_that_is_away_is_a_failed_look(
        self,
        vambe_sandbox: Sandbox,
        triggers: Triggers,
        open_tickets: OpenTickets,
        monkeypatch: pytest.MonkeyPatch,
        error: Exception,
    ) -> None:
        monkeypatch.setattr("vambe_provider.triggers.connections.MAX_AGE_FAILED", 0.0)
        away = iter(range(3))
        real = VambeHook.asettings

        async def asettings(hook: VambeHook) -> Any:
            if next(away, None) is not None:
                raise error
            return await real(hook)

        monkeypatch.setattr(VambeHook, "asettings", asettings)
        [contact] = open_tickets(1)
        vambe_sandbox.customer_replies(contact, "Sí")
        assert (await triggers.start([contact], max_failures=5))["status"] == "success"

    async def test_one_that_stays_away_is_for_a_task_retry_and_quotes_nothing(
        self, triggers: Triggers, open_tickets: OpenTickets, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def asettings(_: VambeHook) -> Any:
            raise RuntimeError("secret://vault")

        monkeypatch.setattr(VambeHook, "asettings", asettings)
        event = await triggers.start(open_tickets(1), max_failures=2)
        assert (event["status"], event["kind"], event["permanent"]) == ("error", "connection", False)
        assert "vault" not in json.dumps(event)

    async def test_a_key_that_is_changed_at_vambe_first_ends_no_wait(
        self, vambe_sandbox: Sandbox, triggers: Triggers, connect: Connect, open_tickets: OpenTickets
    ) -> None:
        contacts = open_tickets(5)
        waits = [triggers.start([contact], max_failures=200) for contact in contacts]
        await some_rounds(vambe_sandbox)
        vambe_sandbox.configure(api_key="the-new-key")
        await some_rounds(vambe_sandbox, 8)
        for contact in contacts:
            vambe_sandbox.customer_replies(contact, "Sí")
        connect(password="the-new-key")
        assert [(await wait)["status"] for wait in waits] == ["success"] * 5

    async def test_a_watcher_goes_on(
        self,
        vambe_sandbox: Sandbox,
        watchers: Watchers,
        open_tickets: OpenTickets,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        [contact] = open_tickets(1)
        events = await watchers.watching(vambe_sandbox)
        away = iter(range(2))
        real = VambeHook.asettings

        async def asettings(hook: VambeHook) -> Any:
            if next(away, None) is not None:
                raise RuntimeError("secret://vault")
            return await real(hook)

        monkeypatch.setattr(VambeHook, "asettings", asettings)
        vambe_sandbox.fault("list_contacts", kind="status", status=401)
        vambe_sandbox.customer_replies(contact, "Sí")
        await vambe_sandbox.wait_for_async(lambda _: bool(events))
        assert [event["ai_contact_id"] for event in events] == [contact]
        assert "the connection cannot be read now" in caplog.text
        assert "vault" not in caplog.text


async def test_a_timeout_while_vambe_is_down_says_so(
    vambe_sandbox: Sandbox, triggers: Triggers, open_tickets: OpenTickets
) -> None:
    contacts = open_tickets(2)
    waiting = triggers.start(contacts, deadline=time.time() + 2, max_failures=1000)
    await some_rounds(vambe_sandbox)
    vambe_sandbox.fault("*", kind="status", status=503, times="forever")
    assert await waiting == {"status": "timeout", "of": 2, "failing": "read_503"}


async def test_two_thousand_answers_within_a_minute_are_noticed_at_the_pace_that_is_polite(
    vambe_sandbox: Sandbox, triggers: Triggers, open_tickets: OpenTickets
) -> None:
    """An answer costs one request for the messages; where the list shows enough, it costs none."""
    contacts = open_tickets(60)
    opened = [{"opened_at": time.time() - 5} for _ in contacts]
    replies = [triggers.start([contact], tickets=[known]) for contact, known in zip(contacts, opened, strict=True)]
    statuses = [triggers.start([contact], until="chat_status", statuses=["CLOSED"]) for contact in contacts]
    await some_rounds(vambe_sandbox, 5)
    await vambe_sandbox.wait_for_async(lambda now: len(now.requests("get_messages")) == 60)
    infos, messages = (len(vambe_sandbox.requests(name)) for name in ("get_contact", "get_messages"))
    for contact in contacts:
        vambe_sandbox.customer_replies(contact, "Sí")
    await asyncio.gather(*replies)
    assert len(vambe_sandbox.requests("get_messages")) - messages == 60
    for contact in contacts:
        vambe_sandbox.close_ticket(contact)
    await asyncio.gather(*statuses)
    assert len(vambe_sandbox.requests("get_contact")) - infos <= 5  # the contacts that were not read for long
