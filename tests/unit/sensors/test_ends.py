"""How a wait ends: only the timeout skips, a success stays one, and an end without Vambe says so."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from vambe_provider.api.retry import Retries
from vambe_provider.compat import (
    AIRFLOW_V_3_0_PLUS,
    AirflowFailException,
    AirflowNotFoundException,
    AirflowSensorTimeout,
    AirflowSkipException,
)
from vambe_provider.exceptions import VambeDeliveryError, VambeError, VambeReadError
from vambe_provider.sensors.vambe import VambeTicketSensor
from vambe_provider.waiting import look

if TYPE_CHECKING:
    from tests.unit.conftest import Connect
    from vambe_provider.sandbox import Sandbox

OpenTickets = Callable[[int], list[str]]
SUCCESS = {"status": "success", "done": 2, "of": 2, "ai_contact_ids": []}
TIMEOUT = {"status": "timeout", "of": 2}
ERROR = {"status": "error", "kind": "read_503", "message": "Vambe is down.", "permanent": False}


@pytest.fixture(autouse=True)
def connection(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> str:
    """Make a connection, and have the client and the look ask once each, since their pauses take seconds."""
    monkeypatch.setattr(Retries, "wait", lambda *_, **__: None)
    monkeypatch.setattr(look, "LATE", (0.0, 0.0))
    return connect()


def context(**fields: Any) -> Any:
    started = datetime.now(UTC) - timedelta(minutes=1)
    return {"dag_run": SimpleNamespace(start_date=started, clear_number=0), **fields}


def sensor(contacts: Any, **arguments: Any) -> VambeTicketSensor:
    return VambeTicketSensor(task_id="wait", ai_contact_ids=contacts, **{"poke_interval": 0.05, **arguments})


def resumed(task: VambeTicketSensor, event: Any, method: str = "execute_complete") -> Any:
    """Go on after a deferral, as Airflow does."""
    kwargs = {"event": event} if method == "execute_complete" else event
    return task.resume_execution(method, kwargs, context())


def vambe_is_away(sandbox: Sandbox) -> None:
    sandbox.fault("*", kind="status", status=503, times="forever")


def connection_is_away(_: Sandbox) -> None:
    del os.environ["AIRFLOW_CONN_VAMBE_DEFAULT"]


AWAY = pytest.mark.parametrize("away", [vambe_is_away, connection_is_away])


class TestSoftFailIsTheTimeoutAlone:
    def test_a_timeout_skips_and_says_how_many_were_waited_for(self, open_tickets: OpenTickets) -> None:
        with pytest.raises(AirflowSkipException, match="2 of 2 contacts are still waited for"):
            resumed(sensor(open_tickets(2), soft_fail=True, deferrable=True), TIMEOUT)
        with pytest.raises(AirflowSkipException, match="2 of 2 contacts are still waited for"):
            sensor(open_tickets(2), soft_fail=True, timeout=0).execute(context())

    def test_without_it_a_timeout_says_the_same(self, open_tickets: OpenTickets) -> None:
        with pytest.raises(AirflowSensorTimeout, match=r"1 of 1 contacts.*no ticket|1 of 1 contacts.*in stage"):
            sensor(open_tickets(1), timeout=0).execute(context())

    def test_a_trigger_that_crashed_fails(self, open_tickets: OpenTickets) -> None:
        task = sensor(open_tickets(1), soft_fail=True, deferrable=True)
        with pytest.raises(Exception, match="Trigger failure") as caught:
            resumed(task, {"error": "Trigger failure", "traceback": None}, "__fail__")
        assert not isinstance(caught.value, AirflowSkipException)

    def test_a_connection_that_was_deleted_fails(self, vambe_sandbox: Sandbox, open_tickets: OpenTickets) -> None:
        task = sensor(open_tickets(1), soft_fail=True, deferrable=True)
        connection_is_away(vambe_sandbox)
        with pytest.raises(AirflowNotFoundException):
            task.execute(context())

    @pytest.mark.parametrize("permanent", [True, False])
    def test_an_error_of_the_trigger_fails(self, open_tickets: OpenTickets, permanent: bool) -> None:
        task = sensor(open_tickets(1), soft_fail=True, deferrable=True)
        with pytest.raises(AirflowFailException if permanent else VambeDeliveryError, match="Vambe is down"):
            resumed(task, {**ERROR, "permanent": permanent})

    def test_a_wrong_argument_fails(self, open_tickets: OpenTickets) -> None:
        for deferrable in (True, False):
            with pytest.raises(AirflowFailException, match="is not one of"):
                sensor(open_tickets(1), until="answered", soft_fail=True, deferrable=deferrable).execute(context())

    def test_too_many_failures_fail(self, vambe_sandbox: Sandbox, open_tickets: OpenTickets) -> None:
        task = sensor(open_tickets(1), soft_fail=True, max_failures=1)
        vambe_is_away(vambe_sandbox)
        with pytest.raises(VambeReadError):
            task.execute(context())

    @pytest.mark.parametrize("words", ["Trigger timeout", "Trigger/execution timeout"])
    def test_airflows_own_timeout_of_a_deferral_is_a_timeout_with_a_last_look(
        self, vambe_sandbox: Sandbox, open_tickets: OpenTickets, words: str
    ) -> None:
        """The triggerer was down for so long that Airflow gave the wait up, in the words of 3.x and of 2.11."""
        contacts = open_tickets(2)
        given_up = {"error": words}
        with pytest.raises(AirflowSkipException, match="2 of 2 contacts are still waited for"):
            resumed(sensor(contacts, soft_fail=True, deferrable=True), given_up, "__fail__")
        for contact in contacts:
            vambe_sandbox.customer_replies(contact, "Sí")
        found = resumed(sensor(contacts, soft_fail=True, deferrable=True), given_up, "__fail__")
        assert [item["done"] for item in found] == [True, True]


@AWAY
class TestAtTheEndVambeIsAway:
    def test_a_timeout_stays_one_and_says_so(
        self, vambe_sandbox: Sandbox, open_tickets: OpenTickets, away: Callable[[Sandbox], None]
    ) -> None:
        contacts = open_tickets(2)
        away(vambe_sandbox)
        with pytest.raises(AirflowSensorTimeout, match=r"the last look at Vambe failed.*is not known"):
            resumed(sensor(contacts, deferrable=True), TIMEOUT)
        with pytest.raises(AirflowSkipException, match="is not known"):
            resumed(sensor(contacts, deferrable=True, soft_fail=True), TIMEOUT)

    def test_a_success_stays_one(
        self, vambe_sandbox: Sandbox, open_tickets: OpenTickets, away: Callable[[Sandbox], None]
    ) -> None:
        contacts = open_tickets(2)
        away(vambe_sandbox)
        found = resumed(sensor(contacts, deferrable=True), SUCCESS)
        assert [(item["ai_contact_id"], item["done"], item["at"]) for item in found] == [
            (contact, True, None) for contact in contacts
        ]
        one = {**SUCCESS, "done": 1, "ai_contact_ids": [contacts[1].upper()]}
        found = resumed(sensor(contacts, deferrable=True, mode_of="any"), one)
        assert [item["done"] for item in found] == [False, True]


def test_a_timeout_after_looks_that_failed_says_so(open_tickets: OpenTickets) -> None:
    with pytest.raises(AirflowSensorTimeout, match=r"Before, Vambe could not be read \(read_503\)"):
        resumed(sensor(open_tickets(1), deferrable=True), {**TIMEOUT, "failing": "read_503"})


def test_poking_until_the_end_while_vambe_is_away_is_a_timeout_that_says_so(
    vambe_sandbox: Sandbox, open_tickets: OpenTickets
) -> None:
    contacts = open_tickets(1)
    vambe_is_away(vambe_sandbox)
    with pytest.raises(AirflowSensorTimeout, match=r"the last look at Vambe failed \(read_503\)"):
        sensor(contacts, timeout=0.2).execute(context())


def test_one_contact_that_cannot_be_read_at_the_end_is_named(vambe_sandbox: Sandbox, open_tickets: OpenTickets) -> None:
    contacts = open_tickets(2)
    vambe_sandbox.customer_replies(contacts[1], "Sí")
    vambe_sandbox.fault("get_contact", kind="status", status=500, contact=contacts[0], times="forever")
    unread = rf"1 of 2 .*last look at Vambe failed \(read_500\), so whether it has happened for {contacts[0]} is not"
    with pytest.raises(AirflowSensorTimeout, match=unread):
        resumed(sensor(contacts, deferrable=True), TIMEOUT)


class TestTheFirstLook:
    def test_what_fails_for_the_moment_is_left_to_the_triggerer(
        self, vambe_sandbox: Sandbox, open_tickets: OpenTickets
    ) -> None:
        from vambe_provider.compat import TaskDeferred

        one, two = open_tickets(2)
        vambe_sandbox.fault("get_contact", kind="status", status=500, contact=one, times="forever")
        with pytest.raises(TaskDeferred) as caught:
            sensor([one, two], deferrable=True).execute(context())
        assert list(caught.value.trigger.again) == [one]

    @pytest.mark.parametrize("status", [401, 403, 404])
    @pytest.mark.parametrize("deferrable", [True, False])
    def test_a_refusal_that_was_asked_for_twice_more_ends_it(
        self, vambe_sandbox: Sandbox, open_tickets: OpenTickets, status: int, deferrable: bool
    ) -> None:
        contacts = open_tickets(1)
        fault = vambe_sandbox.fault("get_contact", kind="status", status=status, times=2)
        vambe_sandbox.customer_replies(contacts[0], "Sí")
        assert sensor(contacts, deferrable=deferrable).execute(context())[0]["done"]
        assert fault.hits == 2
        vambe_sandbox.fault("get_contact", kind="status", status=status, times="forever")
        with pytest.raises(AirflowFailException):
            sensor(contacts, deferrable=deferrable).execute(context())


@pytest.mark.skipif(not AIRFLOW_V_3_0_PLUS, reason="2.11 asks its metadata database when the wait began")
class TestRescheduling:
    """Nothing is remembered between two looks, so only the timeout ends the wait."""

    def rescheduled(self, task: VambeTicketSensor) -> Any:
        ti = SimpleNamespace(
            start_date=datetime.now(UTC), get_first_reschedule_date=lambda _: datetime.now(UTC) - timedelta(seconds=5)
        )
        return task.execute(context(ti=ti, task_reschedule_count=3))

    def test_a_failed_look_is_followed_by_another_one(self, vambe_sandbox: Sandbox, open_tickets: OpenTickets) -> None:
        contacts = open_tickets(1)
        vambe_is_away(vambe_sandbox)
        with pytest.raises(Exception) as caught:
            self.rescheduled(sensor(contacts, mode="reschedule", max_failures=1))
        assert type(caught.value).__name__ == "AirflowRescheduleException"

    def test_the_timeout_ends_it(self, vambe_sandbox: Sandbox, open_tickets: OpenTickets) -> None:
        contacts = open_tickets(1)
        vambe_is_away(vambe_sandbox)
        with pytest.raises(AirflowSensorTimeout, match="is not known"):
            self.rescheduled(sensor(contacts, mode="reschedule", timeout=1))


def test_the_log_says_that_the_wait_is_over(
    vambe_sandbox: Sandbox, open_tickets: OpenTickets, logged: Callable[[], str]
) -> None:
    contacts = open_tickets(2)
    for contact in contacts:
        vambe_sandbox.customer_replies(contact, "private")
    for run in (
        lambda: sensor(contacts).execute(context()),
        lambda: sensor(contacts, deferrable=True).execute(context()),
        lambda: resumed(sensor(contacts, deferrable=True), SUCCESS),
    ):
        run()
        said = logged()
        assert "The wait is over: until replied, 2 of 2 contacts" in said
        assert "private" not in said


@pytest.mark.parametrize("failures", [0, -1, "many", None, 1.5])
def test_a_wrong_number_of_failures_is_named(open_tickets: OpenTickets, failures: Any) -> None:
    with pytest.raises(AirflowFailException, match="max_failures: "):
        sensor(open_tickets(1), max_failures=failures).execute(context())


def test_never_fail_skips_for_every_error(vambe_sandbox: Sandbox, open_tickets: OpenTickets) -> None:
    task = sensor(open_tickets(1), never_fail=True, deferrable=True)
    with pytest.raises(AirflowSkipException):
        resumed(task, ERROR)
    assert issubclass(VambeError, Exception)
