"""One table of what servers do with their list of contacts: a wait and a watcher both have to see every change."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from tests.unit.triggers.conftest import some_looks
from vambe_provider.waiting import changes

if TYPE_CHECKING:
    from tests.unit.triggers.conftest import Triggers, Watchers
    from vambe_provider.sandbox import Sandbox

OpenTickets = Callable[[int], list[str]]
MANY = 50
"""More than two pages of the size that is set here."""


@pytest.fixture(autouse=True)
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(changes, "PAGE", 20)


BEHAVIOURS: dict[str, dict[str, Any]] = {
    "plain": {},
    "capped": {"contacts_page_cap": 12},
    "newest first": {"contacts_order": "descending"},
    "newest first and capped": {"contacts_order": "descending", "contacts_page_cap": 12},
    "in no order": {"contacts_order": "mixed"},
    "fat rows": {"contact_padding_bytes": 100_000},
    "rows of which two fill a page": {"contact_padding_bytes": 400_000},
    "late": {"visible_after_seconds": 0.3},
    "in an object": {"list_wrapper": "data"},
    "the clock of the API is behind": {"clock_skew_seconds": -20.0},
    "the clock of its records is another one": {"stamp_skew_seconds": -20.0},
}


@pytest.mark.parametrize("name", BEHAVIOURS)
async def test_every_change_is_seen_once(
    vambe_sandbox: Sandbox, triggers: Triggers, watchers: Watchers, open_tickets: OpenTickets, name: str
) -> None:
    vambe_sandbox.configure(**BEHAVIOURS[name])
    contacts = open_tickets(MANY)
    await asyncio.sleep(BEHAVIOURS[name].get("visible_after_seconds", 0.0))
    skew = BEHAVIOURS[name].get("clock_skew_seconds", 0.0)
    waiting = triggers.start(contacts, looked_at=datetime.now(UTC).timestamp() + skew)
    events = await watchers.watching(vambe_sandbox)
    assert events == []
    for contact in contacts:
        vambe_sandbox.customer_replies(contact, "Hola")
    assert await waiting == {"status": "success", "done": MANY, "of": MANY, "ai_contact_ids": []}
    await vambe_sandbox.wait_for_async(lambda _: len(events) >= MANY, timeout=60)
    await some_looks(vambe_sandbox, 12)
    assert Counter(event["ai_contact_id"] for event in events) == Counter(contacts)


async def many_at_one_moment(sandbox: Sandbox, contacts: list[str], *, moments: int = 1) -> None:
    """Change all contacts in one moment or a few, as a change in bulk does; the list is held up meanwhile."""
    sandbox.fault("list_contacts", kind="hang", times=2)
    await sandbox.wait_for_async(lambda now: now.hanging == 2, timeout=60)
    for contact in contacts:
        sandbox.move_ticket(contact, "Support / Solved")
    for number in range(moments):
        sandbox.stamp(*contacts[number::moments], updated_at=datetime.now(UTC) + timedelta(milliseconds=5 * number))
    sandbox.release()


@pytest.mark.parametrize("moments", [1, 2])
@pytest.mark.parametrize("order", ["ascending", "descending"])
async def test_many_changes_of_one_moment(
    vambe_sandbox: Sandbox, triggers: Triggers, watchers: Watchers, open_tickets: OpenTickets, order: str, moments: int
) -> None:
    vambe_sandbox.configure(contacts_order=order)
    contacts = open_tickets(MANY)
    waiting = triggers.start(contacts, until="stage", stages=[vambe_sandbox.stage_id("Support / Solved")])
    events = await watchers.watching(vambe_sandbox)
    await many_at_one_moment(vambe_sandbox, contacts, moments=moments)
    assert (await waiting)["done"] == MANY
    await vambe_sandbox.wait_for_async(lambda _: len(events) >= MANY, timeout=60)
    assert Counter(event["ai_contact_id"] for event in events) == Counter(contacts)


async def test_a_moment_from_which_contacts_move_on_while_it_is_read(
    vambe_sandbox: Sandbox, watchers: Watchers, open_tickets: OpenTickets
) -> None:
    contacts = open_tickets(MANY)
    events = await watchers.watching(vambe_sandbox)
    vambe_sandbox.fault("list_contacts", kind="hang")
    await vambe_sandbox.wait_for_async(lambda now: now.hanging == 1)
    vambe_sandbox.stamp(*contacts, updated_at=datetime.now(UTC))
    pages = len(vambe_sandbox.requests("list_contacts"))
    # The second page is held up while contacts of the first one change and so leave it.
    vambe_sandbox.fault("list_contacts", kind="hang", nth=2)
    vambe_sandbox.release()
    await vambe_sandbox.wait_for_async(lambda now: now.hanging == 1 and len(now.requests("list_contacts")) > pages)
    for contact in contacts[:5]:
        vambe_sandbox.customer_replies(contact, "Hola")
    vambe_sandbox.release()
    await vambe_sandbox.wait_for_async(lambda _: len(events) >= MANY + 5)
    assert {event["ai_contact_id"] for event in events} == set(contacts)


@pytest.mark.parametrize(
    "spoiled",
    [{"id": None}, {"updated_at": None}, {"updated_at": "soon"}, {"id": {"a": 1}}, {"active_ticket_v2": [3]}],
    ids=str,
)
async def test_one_odd_row_hides_no_other(
    vambe_sandbox: Sandbox,
    triggers: Triggers,
    watchers: Watchers,
    open_tickets: OpenTickets,
    spoiled: dict[str, Any],
    caplog: pytest.LogCaptureFixture,
) -> None:
    contacts = open_tickets(4)
    vambe_sandbox.spoil_row(contacts[1], **spoiled)
    waiting, events = triggers.start(contacts[2:]), await watchers.watching(vambe_sandbox)
    for contact in contacts:
        vambe_sandbox.customer_replies(contact, "Hola")
    assert (await waiting)["done"] == 2
    await vambe_sandbox.wait_for_async(lambda _: len(events) >= 3)
    assert {event["ai_contact_id"] for event in events} >= {contacts[0], *contacts[2:]}
    assert ("left out" in caplog.text) is ("active_ticket_v2" not in spoiled)


async def test_a_row_that_no_page_can_hold_is_left_out(
    vambe_sandbox: Sandbox, triggers: Triggers, watchers: Watchers, open_tickets: OpenTickets
) -> None:
    contacts = open_tickets(30)
    waiting, events = triggers.start(contacts[20:]), await watchers.watching(vambe_sandbox)
    vambe_sandbox.spoil_row(contacts[3], padding="x" * 1_100_000)
    for contact in contacts:
        vambe_sandbox.customer_replies(contact, "Hola")
    assert (await waiting)["done"] == 10
    await vambe_sandbox.wait_for_async(lambda _: len(events) >= 29)
    assert {event["ai_contact_id"] for event in events} == set(contacts) - {contacts[3]}


async def test_a_change_of_the_future_hides_none_of_today(
    vambe_sandbox: Sandbox, triggers: Triggers, watchers: Watchers, open_tickets: OpenTickets
) -> None:
    odd, one, two = open_tickets(3)
    waits, events = [triggers.start([one]), triggers.start([two])], await watchers.watching(vambe_sandbox)
    vambe_sandbox.stamp(odd, updated_at=datetime.now(UTC) + timedelta(days=1))
    await vambe_sandbox.wait_for_async(lambda _: len(events) == 1)
    for contact, wait in ((one, waits[0]), (two, waits[1])):
        vambe_sandbox.customer_replies(contact, "Hola")
        assert (await wait)["status"] == "success"
    await vambe_sandbox.wait_for_async(lambda _: len(events) >= 3)
    await some_looks(vambe_sandbox, 6)
    assert [event["ai_contact_id"] for event in events] == [odd, one, two]


async def test_a_server_that_knows_no_page_numbers_keeps_nobody_busy(
    vambe_sandbox: Sandbox, triggers: Triggers, watchers: Watchers, open_tickets: OpenTickets
) -> None:
    vambe_sandbox.configure(contacts_offset="ignored", contacts_order="mixed", contacts_page_cap=15)
    contacts = open_tickets(15)
    waiting, events = triggers.start(contacts), await watchers.watching(vambe_sandbox)
    for contact in contacts:
        vambe_sandbox.customer_replies(contact, "Hola")
    assert (await waiting)["done"] == 15
    await vambe_sandbox.wait_for_async(lambda _: len(events) >= 15)


async def test_a_list_that_is_sorted_otherwise_is_said(
    vambe_sandbox: Sandbox, triggers: Triggers, open_tickets: OpenTickets, caplog: pytest.LogCaptureFixture
) -> None:
    vambe_sandbox.configure(contacts_order="descending")
    contacts = open_tickets(3)
    triggers.start(contacts)
    await some_looks(vambe_sandbox, 6)
    for contact in contacts[1:]:
        vambe_sandbox.customer_replies(contact, "Hola")
    await some_looks(vambe_sandbox, 6)
    assert caplog.text.count("not sorted by the time of the change") == 1
