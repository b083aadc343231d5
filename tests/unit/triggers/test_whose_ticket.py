"""A wait is for this run's ticket: nothing from before answers it, and what hides it for a moment does not either."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from vambe_provider.api import ConnectionSettings, OpenTicket, VambeClient
from vambe_provider.compat import TaskDeferred
from vambe_provider.sensors.vambe import VambeTicketSensor
from vambe_provider.waiting import conditions, tickets

if TYPE_CHECKING:
    from tests.unit.conftest import Connect
    from tests.unit.triggers.conftest import Triggers
    from vambe_provider.sandbox import Sandbox

PHONE = "+56961234567"
STAGE = "Support / New"


@pytest.fixture(autouse=True)
def short_lag(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reads have a second to show what was opened; in earnest it is a minute."""
    monkeypatch.setattr(conditions, "LAG", 1.0)


def iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()


def open_ticket(sandbox: Sandbox, *, mark: str = "d" * 32, stage: str = STAGE) -> dict[str, Any]:
    """Open a ticket as the operator does, and return what it hands on."""
    settings = ConnectionSettings.from_fields(host=sandbox.url, password=sandbox.api_key, extra={"phone_id": "qr-main"})
    with VambeClient(settings) as client:
        client.get_pipelines()
        began = time.time() + (client.server_clock_offset or 0.0)
        ticket = OpenTicket(
            to_phone_number=PHONE,
            stage_id=sandbox.stage_id(stage),
            message="Hola",
            ticket_metadata={"airflow_ticket_key": mark},
        )
        contact = client.open_ticket(ticket).ai_contact_id
        ended = time.time() + (client.server_clock_offset or 0.0)
    return {"ai_contact_id": contact, "mark": mark, "opened_at": iso(began), "opened_until": iso(ended)}


def last_week(sandbox: Sandbox, *, close: bool = True) -> str:
    """Open a ticket a week ago, on which the customer answered; return the contact."""
    skew = sandbox.config.clock_skew_seconds
    sandbox.configure(clock_skew_seconds=-7 * 86400.0)
    contact: str = open_ticket(sandbox, mark="e" * 32, stage="Support / Solved")["ai_contact_id"]
    sandbox.customer_replies(contact, "thank you")
    if close:
        sandbox.close_ticket(contact)
    sandbox.configure(clock_skew_seconds=skew)
    return contact


WAITS: list[dict[str, Any]] = [
    {"until": "replied"},
    {"until": "closed"},
    {"until": "stage", "stages": "Support / Solved"},
    {"until": "chat_status", "statuses": "closed"},
]


def happens(sandbox: Sandbox, contact: str, until: str) -> None:
    """Do what is waited for."""
    if until == "replied":
        sandbox.customer_replies(contact, "Sí")
    elif until == "stage":
        sandbox.move_ticket(contact, "Support / Solved")
    else:
        sandbox.close_ticket(contact)


def started(seconds_ago: float = 5.0) -> Any:
    when = datetime.now(UTC) - timedelta(seconds=seconds_ago)
    return {"dag_run": SimpleNamespace(start_date=when, clear_number=0, run_after=when)}


async def deferred(given: Any, wait: dict[str, Any], context: Any = None) -> Any:
    """Return the trigger that the sensor defers to; it fails when the sensor is done at once."""
    sensor = VambeTicketSensor(task_id="wait", ai_contact_ids=given, deferrable=True, **wait)
    with pytest.raises(TaskDeferred) as caught:
        await asyncio.to_thread(sensor.execute, context or started())
    return caught.value.trigger


async def run(triggers: Triggers, trigger: Any) -> Any:
    arguments = trigger.serialize()[1] | {"poll_interval": 0.05}
    contacts = arguments.pop("ai_contact_ids")
    return triggers.start(contacts, **arguments)


async def some_rounds(sandbox: Sandbox, count: int = 4) -> None:
    goal = len(sandbox.requests("list_contacts")) + count
    await sandbox.wait_for_async(lambda now: len(now.requests("list_contacts")) >= goal)


@pytest.mark.parametrize("wait", WAITS, ids=str)
@pytest.mark.parametrize(
    ("old", "existing", "known"),
    [
        ("closed", "new_ticket", True),
        ("closed", "new_ticket", False),
        ("open", "new_ticket", True),
        ("open", "move", True),
        ("open", "ignore", False),
    ],
)
async def test_what_was_so_before_the_run_does_not_answer(
    vambe_sandbox: Sandbox, triggers: Triggers, wait: Any, known: bool, existing: str, old: str
) -> None:
    contact = last_week(vambe_sandbox, close=old == "closed")
    vambe_sandbox.configure(existing_ticket=existing, visible_after_seconds=0.5)
    result = open_ticket(vambe_sandbox)
    assert result["ai_contact_id"] == contact
    trigger = await deferred(result if known else contact, wait)
    waiting = await run(triggers, trigger)
    if wait["until"] == "stage" and existing == "ignore":
        # The API has used the old ticket again, so its stage is that of the run's ticket; said when that is sure.
        assert (await waiting)["status"] == "success"
        assert time.time() >= trigger.looked_at + 0.9
        return
    await vambe_sandbox.wait_for_async(lambda _: time.time() > trigger.looked_at + 1.5)
    await some_rounds(vambe_sandbox)
    assert not waiting.done()
    happens(vambe_sandbox, contact, wait["until"])
    assert (await waiting)["status"] == "success"


@pytest.mark.parametrize("wait", WAITS[:2], ids=str)
@pytest.mark.parametrize("known", [True, False], ids=["result", "id"])
@pytest.mark.parametrize("skew", [-20.0, -300.0, 20.0])
async def test_clocks_may_differ(
    vambe_sandbox: Sandbox, triggers: Triggers, wait: Any, known: bool, skew: float
) -> None:
    vambe_sandbox.configure(clock_skew_seconds=skew)
    contact = last_week(vambe_sandbox)
    result = open_ticket(vambe_sandbox)
    waiting = await run(triggers, await deferred(result if known else contact, wait))
    await some_rounds(vambe_sandbox)
    assert not waiting.done()
    happens(vambe_sandbox, contact, wait["until"])
    assert (await waiting)["status"] == "success"


async def test_a_clock_of_the_records_that_differs_from_that_of_the_replies(
    vambe_sandbox: Sandbox, triggers: Triggers
) -> None:
    vambe_sandbox.configure(clock_skew_seconds=60.0, stamp_skew_seconds=-60.0)
    result = open_ticket(vambe_sandbox)
    waiting = await run(triggers, await deferred(result, {"until": "replied"}))
    await some_rounds(vambe_sandbox)
    vambe_sandbox.customer_replies(result["ai_contact_id"], "at once")
    assert (await waiting)["status"] == "success"


async def test_a_later_ticket_of_somebody_else_is_not_the_runs(vambe_sandbox: Sandbox, triggers: Triggers) -> None:
    ours = open_ticket(vambe_sandbox)
    waiting = await run(triggers, await deferred(ours, {"until": "stage", "stages": "Support / Solved"}))
    await some_rounds(vambe_sandbox)
    vambe_sandbox.close_ticket(ours["ai_contact_id"])
    open_ticket(vambe_sandbox, mark="f" * 32, stage="Support / Solved")
    await some_rounds(vambe_sandbox)
    assert not waiting.done()


async def test_an_id_in_capitals_is_the_same_contact(vambe_sandbox: Sandbox, triggers: Triggers) -> None:
    contact: str = open_ticket(vambe_sandbox)["ai_contact_id"]
    waiting = await run(triggers, await deferred([contact.upper()], {"until": "replied", "mode_of": "any"}))
    await some_rounds(vambe_sandbox)
    vambe_sandbox.customer_replies(contact, "Sí")
    assert await waiting == {"status": "success", "done": 1, "of": 1, "ai_contact_ids": [contact]}


async def test_a_trigger_in_capitals_matches_the_list(
    vambe_sandbox: Sandbox, triggers: Triggers, open_tickets: Callable[[int], list[str]]
) -> None:
    [contact] = open_tickets(1)
    waiting = triggers.start([contact.upper()], until="chat_status", statuses=["CLOSED"])
    await some_rounds(vambe_sandbox)
    vambe_sandbox.close_ticket(contact)
    assert (await waiting)["status"] == "success"


async def test_words_that_are_not_documented_are_not_the_customer(vambe_sandbox: Sandbox, triggers: Triggers) -> None:
    result = open_ticket(vambe_sandbox)
    contact = result["ai_contact_id"]
    waiting = await run(triggers, await deferred(result, {"until": "replied"}))
    await some_rounds(vambe_sandbox)
    for word in ("INTERNAL", "IN_REVIEW", "OUTBOUND"):
        vambe_sandbox.write_message(contact, "a note", direction=word)
    await some_rounds(vambe_sandbox)
    assert not waiting.done()
    vambe_sandbox.customer_replies(contact, "Sí")
    assert (await waiting)["status"] == "success"


@pytest.mark.parametrize("known", [True, False], ids=["result", "id"])
async def test_messages_that_are_behind_their_contact_are_waited_for(
    vambe_sandbox: Sandbox, triggers: Triggers, known: bool
) -> None:
    result = open_ticket(vambe_sandbox)
    contact = result["ai_contact_id"]
    waiting = await run(triggers, await deferred(result if known else contact, {"until": "replied"}))
    await some_rounds(vambe_sandbox)
    vambe_sandbox.configure(messages_after_seconds=0.7)
    vambe_sandbox.customer_replies(contact, "Sí")
    assert (await waiting)["status"] == "success"


async def test_a_wait_that_joins_while_the_list_is_read_misses_nothing(
    vambe_sandbox: Sandbox, triggers: Triggers, open_tickets: Callable[[int], list[str]]
) -> None:
    first, second = open_tickets(2)
    triggers.start([first])
    await some_rounds(vambe_sandbox)
    looked_at = time.time()
    vambe_sandbox.customer_replies(second, "Sí")
    hanging = vambe_sandbox.fault("list_contacts", kind="hang", when="after")
    await vambe_sandbox.wait_for_async(lambda now: now.hanging == 1 and hanging.hits == 1)
    joined = triggers.start([second], looked_at=looked_at)
    await some_rounds(vambe_sandbox, 0)
    vambe_sandbox.release()
    assert (await joined)["status"] == "success"


class TestWhatIsInferred:
    """For a bare id, the run says from when on things count."""

    @pytest.fixture(autouse=True)
    def connection(self, connect: Connect) -> None:
        connect()

    async def trigger(self, sandbox: Sandbox, **run: Any) -> Any:
        contact = sandbox.seed_contact(PHONE)
        return await deferred(contact, {"until": "replied"}, {"dag_run": SimpleNamespace(**run)})

    async def test_a_run_counts_from_its_first_start_also_when_it_was_cleared(self, vambe_sandbox: Sandbox) -> None:
        first = datetime.now(UTC) - timedelta(hours=3)
        cleared = {"start_date": datetime.now(UTC), "clear_number": 1, "run_after": first}
        assert (await self.trigger(vambe_sandbox, **cleared)).started == pytest.approx(first.timestamp(), abs=2)

    async def test_a_run_that_was_not_cleared_counts_from_its_start(self, vambe_sandbox: Sandbox) -> None:
        planned, start = datetime.now(UTC) - timedelta(days=30), datetime.now(UTC) - timedelta(minutes=1)
        found = await self.trigger(vambe_sandbox, start_date=start, clear_number=0, run_after=planned)
        assert found.started == pytest.approx(start.timestamp(), abs=2)

    async def test_the_sensor_of_a_finished_run_that_is_cleared_finds_the_reply(
        self, vambe_sandbox: Sandbox, triggers: Triggers
    ) -> None:
        result = open_ticket(vambe_sandbox)
        vambe_sandbox.customer_replies(result["ai_contact_id"], "Sí")
        hour_later = datetime.now(UTC) + timedelta(hours=1)
        context: Any = {"dag_run": SimpleNamespace(start_date=hour_later, clear_number=1, run_after=hour_later)}
        sensor = VambeTicketSensor(task_id="wait", ai_contact_ids=result, deferrable=True)
        assert [item["done"] for item in await asyncio.to_thread(sensor.execute, context)] == [True]


async def test_what_is_known_travels_in_the_trigger_as_plain_values(vambe_sandbox: Sandbox, triggers: Triggers) -> None:
    result = open_ticket(vambe_sandbox)
    [known] = (await deferred(result, {"until": "closed"})).tickets
    ticket = vambe_sandbox.tickets()[0]
    assert (known["mark"], known["ticket_id"]) == ("d" * 32, ticket["id"])
    assert known["opened_at"] <= known["created_at"] + tickets.CLOCK_ERROR
    assert {type(value) for value in known.values()} <= {str, float}


async def test_a_wait_beside_it_on_the_same_contact_takes_nothing_away(
    vambe_sandbox: Sandbox, triggers: Triggers
) -> None:
    contact = last_week(vambe_sandbox, close=False)
    vambe_sandbox.configure(existing_ticket="ignore")
    result = open_ticket(vambe_sandbox)
    in_stage = await run(triggers, await deferred(result, {"until": "stage", "stages": "Support / Solved"}))
    replied = await run(triggers, await deferred(result, {"until": "replied"}))
    vambe_sandbox.customer_replies(contact, "Sí")
    assert (await replied)["status"] == "success"
    assert (await in_stage)["status"] == "success"


async def test_what_the_list_told_once_is_not_relied_on_for_ever(
    vambe_sandbox: Sandbox, triggers: Triggers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vambe_provider.waiting.poll.SWEEP_AFTER", 0.0)
    result = open_ticket(vambe_sandbox)
    waiting = await run(triggers, await deferred(result, {"until": "closed"}))
    await some_rounds(vambe_sandbox)
    vambe_sandbox.customer_replies(result["ai_contact_id"], "Sí")
    await some_rounds(vambe_sandbox)
    vambe_sandbox.configure(ticket_bumps_updated_at=False)
    vambe_sandbox.close_ticket(result["ai_contact_id"])
    assert (await waiting)["status"] == "success"
