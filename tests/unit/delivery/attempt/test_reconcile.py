"""What is found out by reading, against the sandbox: one test for each way in which it was got wrong before."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.facts import POLLS, Scene, scene
from vambe_provider.api.models import OpenTicket
from vambe_provider.delivery.attempt import reconcile as module
from vambe_provider.delivery.model import Evidence, Reason, Sent

if TYPE_CHECKING:
    from vambe_provider.delivery.attempt.facts import Finding
    from vambe_provider.sandbox import Sandbox

PHONE, OTHER, THIRD = "+56912345678", "+56987654321", "+56955501234"
HIDDEN = {"metadata_visible": "no"}
UNREADABLE = ("national", "extension", "jid", "lid", "masked", "none")

Story = Callable[[Scene], Awaitable[Any]]


def tell(sandbox: Sandbox, story: Story) -> Any:
    """Return what comes of a story that is told with a scene."""

    async def run() -> Any:
        async with scene(sandbox) as now:
            return await story(now)

    return asyncio.run(run())


def said(finding: Finding) -> tuple[str, Evidence]:
    return finding.verdict, finding.evidence


async def seed(now: Scene, *phones: str) -> list[str]:
    """Have contacts without a ticket that are older than anything else."""
    async with now.long_ago():
        return [now.sandbox.seed_contact(phone) for phone in phones]


async def by_hand(now: Scene, phone: str, **fields: Any) -> str:
    """Open a ticket that no ledger knows."""
    ticket = OpenTicket(to_phone_number=phone, stage_id=now.sandbox.stage_id("Support / New"), **fields)
    return (await now.client.open_ticket(ticket)).ai_contact_id


# --- the number of the row changed after the attempt (D3) ---


@pytest.mark.parametrize(
    ("switches", "evidence"),
    [
        ({}, Evidence.MARK),
        ({"custom_field_filter": "refused"}, Evidence.MARK),
        ({"custom_field_filter": "ignored"}, Evidence.MARK),
        ({"ticket_bumps_updated_at": False}, Evidence.MARK),
        (HIDDEN, Evidence.MESSAGE),
    ],
)
def test_a_ticket_is_found_although_its_row_has_another_number_now(
    vambe_sandbox: Sandbox, switches: dict[str, Any], evidence: Evidence
) -> None:
    vambe_sandbox.configure(**switches)

    async def story(now: Scene) -> Finding:
        attempt = await now.post(PHONE, "1", fault="after")
        await by_hand(now, OTHER, message={"content": "Hello"})
        return await now.find(attempt, OTHER)

    finding = tell(vambe_sandbox, story)
    [contact] = [contact["id"] for contact in vambe_sandbox.contacts() if f"+{contact['phone']}" == PHONE]
    assert (said(finding), finding.ai_contact_id) == (("created", evidence), contact)


def test_a_ticket_to_the_number_of_today_is_not_taken_for_the_one_to_the_number_of_then(vambe_sandbox: Sandbox) -> None:
    async def story(now: Scene) -> Finding:
        attempt = await now.post(PHONE, "1", fault="before")
        await by_hand(now, OTHER, message={"content": "Hello"})
        return await now.find(attempt, OTHER)

    assert said(tell(vambe_sandbox, story)) == ("cannot_tell", Evidence.NO_WITNESS)


def test_without_the_number_absence_needs_a_ticket_that_was_opened_afterwards(vambe_sandbox: Sandbox) -> None:
    async def story(now: Scene) -> list[Finding]:
        await now.post(THIRD, "before", text="Hi")
        attempt = await now.post(PHONE, "1", fault="before")
        alone = await now.find(attempt, OTHER)
        await now.post("+56955501235", "after", text="Hi")
        return [alone, await now.find(attempt, None)]

    alone, seconded = tell(vambe_sandbox, story)
    assert said(alone) == ("cannot_tell", Evidence.NO_WITNESS)
    assert said(seconded) == ("not_created", Evidence.NO_CONTACT)


def test_without_the_number_a_contact_that_hides_its_own_is_not_ruled_out(vambe_sandbox: Sandbox) -> None:
    async def story(now: Scene) -> Finding:
        attempt = await now.post(PHONE, "1", fault="before")
        await now.post(THIRD, "after", text="Hi")
        vambe_sandbox.configure(phone_form="masked")
        return await now.find(attempt, None)

    assert said(tell(vambe_sandbox, story)) == ("cannot_tell", Evidence.UNREADABLE_CONTACT)


def test_without_the_number_the_contact_of_an_earlier_ticket_is_looked_at(vambe_sandbox: Sandbox) -> None:
    vambe_sandbox.configure(custom_field_filter="refused", ticket_bumps_updated_at=False)

    async def story(now: Scene) -> Finding:
        async with now.long_ago() as ago:
            await now.post(PHONE, "0", ago=ago)
        return await now.find(await now.post(PHONE, "1", fault="after"), None)

    assert said(tell(vambe_sandbox, story)) == ("created", Evidence.MARK)


def test_without_the_number_the_mark_is_asked_for_where_no_change_is_told(vambe_sandbox: Sandbox) -> None:
    vambe_sandbox.configure(ticket_bumps_updated_at=False)

    async def story(now: Scene) -> Finding:
        await seed(now, PHONE)
        return await now.find(await now.post(PHONE, "1", fault="after"), OTHER)

    assert said(tell(vambe_sandbox, story)) == ("created", Evidence.MARK)


def test_another_spelling_of_the_number_is_the_same_person(vambe_sandbox: Sandbox) -> None:
    vambe_sandbox.configure(whatsapp_spelling=True, **HIDDEN)

    async def story(now: Scene) -> Finding:
        return await now.find(await now.post("+525512345678", "1", fault="after"), "+525512345678")

    assert said(tell(vambe_sandbox, story)) == ("created", Evidence.MESSAGE)


# --- one generation is not the other (D3b) ---


@pytest.mark.parametrize("shows", ["yes", "no"])
def test_an_older_version_of_the_ticket_does_not_stand_for_the_newer_one(vambe_sandbox: Sandbox, shows: str) -> None:
    vambe_sandbox.configure(metadata_visible=shows)

    async def story(now: Scene) -> Finding:
        first = await now.post(PHONE, "1", text="Version 1")
        failed = await now.post(PHONE, "1", text="Version 2", fault="before")
        second = now.remember(failed, generation=1, reason=Reason.CHANGED)
        assert (first.mark, second.mark) == (first.ticket_key, f"{first.ticket_key}.1")
        await now.post(THIRD, "witness", text="Hi")
        return await now.find(second, PHONE)

    assert tell(vambe_sandbox, story).verdict != "created"


def test_the_version_that_was_sent_is_looked_for_whatever_the_row_says_now(vambe_sandbox: Sandbox) -> None:
    vambe_sandbox.configure(**HIDDEN)

    async def story(now: Scene) -> Finding:
        attempt = await now.post(PHONE, "1", text="Version 1", fault="after")
        now.sandbox.customer_replies(now.sandbox.contacts()[0]["id"], "Version 2")
        return await now.find(attempt, PHONE)

    assert said(tell(vambe_sandbox, story)) == ("created", Evidence.MESSAGE)


# --- a contact that was seen, or is known, is not absent (D5) ---


@pytest.mark.parametrize("readable", [True, False])
def test_a_contact_that_disappears_between_two_looks_is_not_absent(vambe_sandbox: Sandbox, readable: bool) -> None:
    vambe_sandbox.configure(assistant_writes=False, **({} if readable else HIDDEN))

    async def story(now: Scene) -> Finding:
        [into] = await seed(now, THIRD)
        contact, *_ = await seed(now, PHONE)
        attempt = await now.post(PHONE, "1", text=None, fault="after" if readable else "before")
        vambe_sandbox.configure(metadata_visible="no")
        looking = asyncio.create_task(now.find(attempt, PHONE, polls=(0.01, 0.01, 0.5, 0.01)))
        await vambe_sandbox.wait_for_async(lambda box: len(box.requests("get_contact")) >= 1)
        vambe_sandbox.merge_contacts(contact, into=into)
        vambe_sandbox.configure(metadata_visible="yes" if readable else "no")
        return await looking

    finding = tell(vambe_sandbox, story)
    merged = ("created", Evidence.MARK) if readable else ("cannot_tell", Evidence.CONTACT_KNOWN)
    assert said(finding) == merged


def test_a_contact_that_an_earlier_ticket_knows_is_not_absent(vambe_sandbox: Sandbox) -> None:
    vambe_sandbox.configure(**HIDDEN)

    async def story(now: Scene) -> Finding:
        [into] = await seed(now, THIRD)
        async with now.long_ago() as ago:
            earlier = await now.post(PHONE, "0", ago=ago)
        attempt = await now.post(PHONE, "1", fault="before")
        vambe_sandbox.merge_contacts(str(earlier.ai_contact_id), into=into)
        return await now.find(attempt, PHONE)

    finding = tell(vambe_sandbox, story)
    assert said(finding) == ("cannot_tell", Evidence.CONTACT_KNOWN)
    assert finding.ai_contact_id is not None


def test_absence_is_not_believed_where_what_surely_exists_is_not_found(vambe_sandbox: Sandbox) -> None:
    vambe_sandbox.configure(**HIDDEN)

    async def story(now: Scene) -> list[Finding]:
        await now.post(THIRD, "witness", text="Hi")
        attempt = await now.post(PHONE, "1", fault="before")
        found = await now.find(attempt, PHONE)
        vambe_sandbox.configure(search_after_seconds=3600.0)
        return [found, await now.find(attempt, PHONE)]

    found, missed = tell(vambe_sandbox, story)
    assert said(found) == ("not_created", Evidence.NO_CONTACT)
    assert said(missed) == ("cannot_tell", Evidence.NO_WITNESS)


def test_the_first_ticket_of_an_account_needs_no_witness(vambe_sandbox: Sandbox) -> None:
    async def story(now: Scene) -> Finding:
        return await now.find(await now.post(PHONE, "1", fault="before"), PHONE)

    assert said(tell(vambe_sandbox, story)) == ("not_created", Evidence.NO_CONTACT)


@pytest.mark.parametrize("known", [True, False])
def test_hours_later_absence_proves_nothing(vambe_sandbox: Sandbox, known: bool) -> None:
    async def story(now: Scene) -> Finding:
        if known:
            await seed(now, PHONE, THIRD)
        attempt = await now.post(PHONE, "1", fault="before")
        attempt = now.remember(attempt, started=attempt.started - 3601, ended=attempt.ended - 3601)
        await now.post(THIRD, "witness", text="Hi")
        return await now.find(attempt, PHONE, young=3600.0)

    assert said(tell(vambe_sandbox, story)) == ("cannot_tell", Evidence.TOO_OLD)


def test_a_look_that_failed_is_made_up_for(vambe_sandbox: Sandbox) -> None:
    async def story(now: Scene) -> list[Finding]:
        attempt = await now.post(PHONE, "1", fault="before")
        now.sandbox.fault("search_contacts", kind="status", status=503, nth=2)
        made_up = await now.find(attempt, PHONE)
        now.sandbox.fault("search_contacts", kind="status", status=503, times="forever")
        return [made_up, await now.find(attempt, PHONE)]

    made_up, failed = tell(vambe_sandbox, story)
    assert said(made_up) == ("not_created", Evidence.NO_CONTACT)
    assert said(failed) == ("cannot_tell", Evidence.LOOK_FAILED)
    assert len(vambe_sandbox.requests("search_contacts")) >= 2 * len(POLLS) + 1


@pytest.mark.parametrize("where", ["search_contacts", "get_contact", "get_messages", "list_contacts"])
def test_nothing_is_absent_while_one_endpoint_is_down(vambe_sandbox: Sandbox, where: str) -> None:
    async def story(now: Scene) -> Finding:
        await seed(now, PHONE, THIRD)
        await now.post(THIRD, "witness", text="Hi")
        attempt = await now.post(PHONE, "1", fault="before")
        now.sandbox.fault(where, kind="status", status=503, times="forever")
        return await now.find(attempt, PHONE)

    assert said(tell(vambe_sandbox, story)) == ("cannot_tell", Evidence.LOOK_FAILED)


def test_a_request_that_may_still_be_carried_out_has_created_nothing_yet(vambe_sandbox: Sandbox) -> None:
    async def story(now: Scene) -> Finding:
        attempt = await now.post(PHONE, "1", fault="before")
        attempt = now.remember(attempt, ended=time.time() + 3600)
        return await now.find(attempt, PHONE)

    assert tell(vambe_sandbox, story).verdict == "cannot_tell"


def test_the_looks_go_on_until_the_request_has_ended(vambe_sandbox: Sandbox) -> None:
    async def story(now: Scene) -> tuple[Finding, float]:
        attempt = await now.post(PHONE, "1", fault="before")
        attempt = now.remember(attempt, ended=time.time() + 1.0)
        finding = await now.find(attempt, PHONE)
        return finding, time.time() - attempt.ended

    finding, late = tell(vambe_sandbox, story)
    assert (finding.verdict, late > 0) == ("not_created", True)


# --- numbers that cannot be compared (D20) ---


@pytest.mark.parametrize("form", UNREADABLE)
def test_a_ticket_is_seen_on_a_contact_whose_number_cannot_be_read(vambe_sandbox: Sandbox, form: str) -> None:
    vambe_sandbox.configure(phone_form=form, custom_field_filter="refused")

    async def story(now: Scene) -> Finding:
        return await now.find(await now.post(PHONE, "1", fault="after"), PHONE)

    assert said(tell(vambe_sandbox, story)) == ("created", Evidence.MARK)


@pytest.mark.parametrize("form", UNREADABLE)
@pytest.mark.parametrize("fault", ["before", "after"])
def test_nothing_is_absent_beside_a_contact_whose_number_cannot_be_read(
    vambe_sandbox: Sandbox, form: str, fault: str
) -> None:
    vambe_sandbox.configure(phone_form=form, **HIDDEN)

    async def story(now: Scene) -> Finding:
        await seed(now, PHONE)
        attempt = await now.post(PHONE, "1", fault=fault)
        return await now.find(attempt, PHONE)

    assert said(tell(vambe_sandbox, story)) == ("cannot_tell", Evidence.UNREADABLE_CONTACT)


def test_a_new_contact_without_a_number_that_the_search_cannot_find_is_not_ruled_out(vambe_sandbox: Sandbox) -> None:
    vambe_sandbox.configure(phone_form="lid", search_after_seconds=3600.0, **HIDDEN)

    async def story(now: Scene) -> Finding:
        return await now.find(await now.post(PHONE, "1", fault="after"), PHONE)

    assert said(tell(vambe_sandbox, story)) == ("cannot_tell", Evidence.UNREADABLE_CONTACT)


def test_somebody_elsewhere_with_the_same_last_digits_is_ruled_out(vambe_sandbox: Sandbox) -> None:
    async def story(now: Scene) -> Finding:
        await seed(now, "+5491112345678")
        return await now.find(await now.post(PHONE, "1", fault="before"), PHONE)

    assert said(tell(vambe_sandbox, story)) == ("not_created", Evidence.NO_CONTACT)


# --- what the customer did proves nothing (L2) ---


@pytest.mark.parametrize("readable", [True, False])
@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("text", ["Hello", None])
def test_a_customer_who_writes_in_the_same_second_proves_nothing(
    vambe_sandbox: Sandbox, readable: bool, known: bool, text: str | None
) -> None:
    vambe_sandbox.configure(assistant_writes=False, **({} if readable else HIDDEN))

    async def story(now: Scene) -> Finding:
        await seed(now, *([PHONE, THIRD] if known else [THIRD]))
        await now.post(THIRD, "witness", text=text)
        attempt = await now.post(PHONE, "1", text=text, fault="before")
        contact = await by_hand(now, PHONE)
        now.sandbox.customer_replies(contact, "Hello?")
        return await now.find(attempt, PHONE)

    assert tell(vambe_sandbox, story).verdict != "created"


@pytest.mark.parametrize("shows", ["yes", "no"])
def test_what_was_created_hours_after_the_attempt_proves_nothing(vambe_sandbox: Sandbox, shows: str) -> None:
    vambe_sandbox.configure(metadata_visible=shows)

    async def story(now: Scene) -> Finding:
        attempt = await now.post(PHONE, "1", fault="before")
        attempt = now.remember(attempt, started=attempt.started - 72000, ended=attempt.ended - 72000)
        await by_hand(now, PHONE, message={"content": "Hello"})
        await now.post(THIRD, "witness", text="Hi")
        return await now.find(attempt, PHONE)

    assert tell(vambe_sandbox, story).verdict == "cannot_tell"


# --- clocks (L2b) ---


@pytest.mark.parametrize("existing", ["new_ticket", "move", "keep"])
@pytest.mark.parametrize(("text", "theirs"), [("Hello", "Hi"), ("Hello", "Hello"), (None, None)])
@pytest.mark.parametrize("skew", [300.0, -300.0])
@pytest.mark.parametrize("known", [True, False])
def test_tickets_of_another_ledger_are_not_taken_for_ours_by_a_wrong_clock(
    vambe_sandbox: Sandbox, existing: str, text: str | None, theirs: str | None, skew: float, known: bool
) -> None:
    """The times that the API stamps are off, so that what another ledger did falls into our attempt."""
    people = [PHONE, OTHER, THIRD]
    vambe_sandbox.configure(existing_ticket=existing, assistant_writes=False, **HIDDEN)
    message = {} if theirs is None else {"message": {"content": theirs}}

    async def story(now: Scene) -> list[Finding]:
        await seed(now, *(people if known else []))
        if skew > 0:  # the other ledger was 300 seconds earlier, and its tickets look new
            vambe_sandbox.configure(clock_skew_seconds=-skew, stamp_skew_seconds=skew)
            for person in people:
                await by_hand(now, person, **message)
        vambe_sandbox.configure(clock_skew_seconds=0.0, stamp_skew_seconds=skew)
        await now.post(THIRD, "witness", text=text)
        attempts = [await now.post(person, person, text=text, fault="before") for person in people[:2]]
        if skew < 0:  # it comes 300 seconds later, and its tickets look as old as our attempt
            vambe_sandbox.configure(clock_skew_seconds=-skew)
            for person in people:
                await by_hand(now, person, **message)
            vambe_sandbox.configure(clock_skew_seconds=0.0)
        return [await now.find(attempt, person) for attempt, person in zip(attempts, people[:2], strict=True)]

    for finding in tell(vambe_sandbox, story):
        assert finding.verdict == "cannot_tell", finding


@pytest.mark.parametrize("skew", [7200.0, -7200.0])
def test_a_clock_that_the_api_tells_does_not_matter(vambe_sandbox: Sandbox, skew: float) -> None:
    vambe_sandbox.configure(assistant_writes=False, **HIDDEN)

    async def story(now: Scene) -> list[Finding]:
        async with now.long_ago(seconds=20000.0):
            for phone in (PHONE, OTHER):
                now.sandbox.seed_contact(phone)
        vambe_sandbox.configure(clock_skew_seconds=skew)
        await now.post(THIRD, "witness", text=None)
        silent = await now.post(PHONE, "1", text=None, fault="after")
        spoken = await now.post(OTHER, "2", fault="after")
        return [await now.find(silent, PHONE), await now.find(spoken, OTHER)]

    silent, spoken = tell(vambe_sandbox, story)
    assert said(silent) == ("created", Evidence.TICKET)
    assert said(spoken) == ("created", Evidence.MESSAGE)


def test_a_new_ticket_proves_nothing_before_a_witness_shows_that_the_clocks_agree(vambe_sandbox: Sandbox) -> None:
    vambe_sandbox.configure(assistant_writes=False, **HIDDEN)

    async def story(now: Scene) -> list[Finding]:
        await seed(now, PHONE)
        attempt = await now.post(PHONE, "1", text=None, fault="after")
        alone = await now.find(attempt, PHONE)
        await now.post(THIRD, "witness", text=None)
        return [alone, await now.find(attempt, PHONE)]

    alone, seconded = tell(vambe_sandbox, story)
    assert said(alone) == ("cannot_tell", Evidence.NO_TRACE)
    assert said(seconded) == ("created", Evidence.TICKET)


# --- proof that a person need not look for (U1 to U3) ---


@pytest.mark.parametrize(
    "switches", [{}, {"metadata_form": "list"}, {"ticket_names": "camel", "snake_case_keys": True}]
)
def test_a_customer_who_came_back_is_told_by_a_witness(vambe_sandbox: Sandbox, switches: dict[str, Any]) -> None:
    vambe_sandbox.configure(**switches)

    async def story(now: Scene) -> list[Finding]:
        await seed(now, PHONE)
        attempt = await now.post(PHONE, "1", fault="before")
        alone = await now.find(attempt, PHONE)
        await now.post(THIRD, "witness", text="Hi")
        return [alone, await now.find(attempt, PHONE)]

    alone, seconded = tell(vambe_sandbox, story)
    assert said(alone) == ("cannot_tell", Evidence.NO_TRACE)
    assert said(seconded) == ("not_created", Evidence.WITNESS)


def test_a_witness_does_not_make_the_looks_shorter(vambe_sandbox: Sandbox) -> None:
    async def story(now: Scene) -> str:
        [contact] = await seed(now, PHONE)
        await now.post(THIRD, "witness", text="Hi")
        assert said(await now.find(await now.post(PHONE, "1", fault="before"), PHONE))[0] == "not_created"
        return contact

    contact = tell(vambe_sandbox, story)
    paths = [request["path"] for request in vambe_sandbox.requests("get_contact")]
    assert sum(contact in path for path in paths) >= len(POLLS)


@pytest.mark.parametrize(("kind", "told"), [("none", False), ("active", True), ("rare", True)])
def test_what_becomes_of_an_active_ticket_is_told_by_a_contact_that_had_one(
    vambe_sandbox: Sandbox, kind: str, told: bool
) -> None:
    vambe_sandbox.configure(assistant_writes=False)

    async def story(now: Scene) -> Finding:
        async with now.long_ago() as ago:
            await now.post(PHONE, "earlier", text=None, ago=ago)
            if kind != "none":
                await now.post(THIRD, "earlier witness", text=None, ago=ago)
        await now.post(THIRD, "witness", text=None)
        if kind == "rare":
            for number in range(20):
                await now.post(f"+569400000{number:02d}", f"another witness {number}", text=None)
        return await now.find(await now.post(PHONE, "1", text=None, fault="before"), PHONE)

    assert (tell(vambe_sandbox, story).verdict == "not_created") == told


def test_the_persons_own_tickets_tell_what_becomes_of_an_active_one(vambe_sandbox: Sandbox) -> None:
    vambe_sandbox.configure(assistant_writes=False)

    async def story(now: Scene) -> Finding:
        async with now.long_ago() as ago:
            await now.post(PHONE, "earlier", text=None, ago=ago)
            await now.post(PHONE, "later", text=None, ago=ago - 60)
        return await now.find(await now.post(PHONE, "1", text=None, fault="before"), PHONE)

    assert said(tell(vambe_sandbox, story)) == ("not_created", Evidence.WITNESS)


@pytest.mark.parametrize("existing", ["new_ticket", "move"])
def test_a_newer_ticket_to_the_same_person_may_hide_ours(vambe_sandbox: Sandbox, existing: str) -> None:
    vambe_sandbox.configure(existing_ticket=existing)

    async def story(now: Scene) -> Finding:
        await seed(now, PHONE, THIRD)
        attempt = await now.post(PHONE, "1", fault="after")
        await now.post(PHONE, "2", text="Something else")
        await now.post(THIRD, "witness", text="Hi")
        return await now.find(now.remember(attempt, message_hash=None), PHONE)

    assert said(tell(vambe_sandbox, story)) == ("cannot_tell", Evidence.NO_TRACE)


@pytest.mark.parametrize("existing", ["new_ticket", "move"])
def test_a_newer_ticket_of_another_ledger_may_hide_ours(vambe_sandbox: Sandbox, existing: str) -> None:
    vambe_sandbox.configure(existing_ticket=existing)

    async def story(now: Scene) -> Finding:
        await seed(now, PHONE, THIRD)
        attempt = await now.post(PHONE, "1", fault="after")
        await by_hand(now, PHONE, ticket_metadata={"airflow_ticket_key": "somebody else's"})
        await now.post(THIRD, "witness", text="Hi")
        return await now.find(now.remember(attempt, message_hash=None), PHONE)

    assert tell(vambe_sandbox, story).verdict == "cannot_tell"


def test_a_mark_proves_while_the_messages_are_down(vambe_sandbox: Sandbox) -> None:
    async def story(now: Scene) -> Finding:
        await seed(now, PHONE)
        attempt = await now.post(PHONE, "1", fault="after")
        now.sandbox.fault("get_messages", kind="status", status=503, times="forever")
        return await now.find(attempt, PHONE)

    finding = tell(vambe_sandbox, story)
    [ticket] = vambe_sandbox.tickets()
    assert said(finding) == ("created", Evidence.MARK)
    assert finding.evidence_id == ticket["id"]
    assert finding.created_at == pytest.approx(time.time(), abs=60)


@pytest.mark.parametrize("filters", ["works", "ignored", "refused"])
def test_a_mark_proves_while_the_search_is_down(vambe_sandbox: Sandbox, filters: str) -> None:
    vambe_sandbox.configure(custom_field_filter=filters)

    async def story(now: Scene) -> Finding:
        async with now.long_ago() as ago:
            await now.post(PHONE, "0", ago=ago)
        attempt = await now.post(PHONE, "1", fault="after")
        now.sandbox.fault("search_contacts", kind="status", status=503, times="forever")
        return await now.find(attempt, PHONE)

    assert said(tell(vambe_sandbox, story)) == ("created", Evidence.MARK)


def test_a_mark_proves_while_search_and_list_are_down(vambe_sandbox: Sandbox) -> None:
    async def story(now: Scene) -> Finding:
        async with now.long_ago() as ago:
            await now.post(PHONE, "0", ago=ago)
        attempt = await now.post(PHONE, "1", fault="after")
        for where in ("search_contacts", "list_contacts"):
            now.sandbox.fault(where, kind="status", status=503, times="forever")
        return await now.find(attempt, PHONE)

    assert said(tell(vambe_sandbox, story)) == ("created", Evidence.MARK)


def test_a_server_that_ignores_the_filter_names_nobody(vambe_sandbox: Sandbox) -> None:
    vambe_sandbox.configure(custom_field_filter="ignored")

    async def story(now: Scene) -> Finding:
        await now.post(THIRD, "witness", text="Hi")
        return await now.find(await now.post(PHONE, "1", fault="before"), PHONE)

    assert said(tell(vambe_sandbox, story)) == ("not_created", Evidence.NO_CONTACT)


def test_a_thing_explains_one_attempt_only(vambe_sandbox: Sandbox) -> None:
    vambe_sandbox.configure(**HIDDEN)

    async def story(now: Scene) -> list[Finding]:
        await seed(now, PHONE)
        created = await now.post(PHONE, "1", fault="after")
        found = await now.find(created, PHONE)
        now.remember(created, sent=Sent.YES, evidence_id=found.evidence_id, ai_contact_id=found.ai_contact_id)
        lost = await now.post(PHONE, "2", fault="before")
        return [found, await now.find(lost, PHONE)]

    found, lost = tell(vambe_sandbox, story)
    assert said(found) == ("created", Evidence.MESSAGE)
    assert lost.verdict == "cannot_tell"


def test_hundreds_of_tickets_to_one_person_cost_no_more_requests(vambe_sandbox: Sandbox) -> None:
    async def story(now: Scene) -> tuple[Finding, int]:
        async with now.long_ago() as ago:
            first = await now.post(PHONE, "0", ago=ago)
        for number in range(300):
            now.facts.attempts.append(replace(first, ticket_key=f"{number:032x}", started=first.started - number))
        attempt = await now.post(PHONE, "1", fault="after")
        before = now.sandbox.request_count
        return await now.find(attempt, PHONE), now.sandbox.request_count - before

    finding, count = tell(vambe_sandbox, story)
    assert (said(finding), count) == (("created", Evidence.MARK), 2)


# --- what the reader of the log sees (N6) ---


def test_a_long_look_says_what_it_waits_for_once(vambe_sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SAY_AFTER", 0.02)
    lines: list[str] = []

    async def story(now: Scene) -> str:
        attempt = await now.post(PHONE, "1", fault="before")
        await now.find(attempt, PHONE, log=lines.append, polls=(0.01, 0.3, 0.3))
        return attempt.ticket_key

    key = tell(vambe_sandbox, story)
    assert lines == [f"Looking whether ticket {key} exists, up to 2 s"]


def test_a_short_look_says_nothing(vambe_sandbox: Sandbox) -> None:
    lines: list[str] = []

    async def story(now: Scene) -> None:
        await now.find(await now.post(PHONE, "1", fault="after"), PHONE, log=lines.append)

    tell(vambe_sandbox, story)
    assert lines == []


def test_nothing_is_written_while_looking(vambe_sandbox: Sandbox) -> None:
    async def story(now: Scene) -> int:
        await now.post(THIRD, "witness", text="Hi")
        attempt = await now.post(PHONE, "1", fault="before")
        before = now.sandbox.request_count
        await now.find(attempt, PHONE)
        return before

    before = tell(vambe_sandbox, story)
    methods = {request["method"] for request in vambe_sandbox.requests()[before:]}
    assert methods == {"GET"}
