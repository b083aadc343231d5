from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from vambe_provider.api.retry import Retries
from vambe_provider.compat import (
    DAG,
    AirflowFailException,
    AirflowSensorTimeout,
    AirflowSkipException,
    BaseOperator,
    TaskDeferred,
)
from vambe_provider.exceptions import VambeDeliveryError, VambeReadError
from vambe_provider.sensors.vambe import VambeTicketSensor
from vambe_provider.triggers.vambe import VambeTicketTrigger
from vambe_provider.waiting import look

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.airflow_db import DagResult
    from tests.unit.conftest import Connect
    from vambe_provider.sandbox import Sandbox

OpenTickets = Callable[[int], list[str]]
NOBODY = "0f6e3a52-7a40-4a5b-9e0a-0f5f3e0d7c11"


class TaskInstance:
    """Remembers what a task pushed."""

    def __init__(self) -> None:
        self.pushed: dict[str, Any] = {}

    def xcom_push(self, *, key: str, value: Any) -> None:
        self.pushed[key] = value


def context(**fields: Any) -> Any:
    started = datetime.now(UTC) - timedelta(minutes=1)
    return {"ti": TaskInstance(), "dag_run": SimpleNamespace(start_date=started), **fields}


def sensor(contacts: Any, **arguments: Any) -> VambeTicketSensor:
    return VambeTicketSensor(task_id="wait", ai_contact_ids=contacts, **{"poke_interval": 0.05, **arguments})


@pytest.fixture(autouse=True)
def connection(connect: Connect) -> str:
    return connect()


@pytest.fixture
def one_try_each(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the client ask once, since its own pauses between tries take seconds."""
    monkeypatch.setattr(Retries, "wait", lambda *_, **__: None)


@contextmanager
def meanwhile(action: Callable[[], Any]) -> Iterator[None]:
    """Do something in a thread while the test waits; an error in it fails the test."""
    thread = threading.Thread(target=action)
    thread.start()
    try:
        yield
    finally:
        thread.join()


@pytest.mark.parametrize("deferrable", [False, True])
class TestAlreadyTrue:
    def test_it_is_done_at_once_and_says_what_was_seen(
        self, vambe_sandbox: Sandbox, open_tickets: OpenTickets, deferrable: bool
    ) -> None:
        contacts = open_tickets(2)
        for contact in contacts:
            vambe_sandbox.customer_replies(contact, "a private answer")
        found = sensor(contacts, deferrable=deferrable).execute(context())
        assert [item["ai_contact_id"] for item in found] == contacts
        reply = vambe_sandbox.messages(contacts[0])[-1]
        ticket = vambe_sandbox.tickets()[0]
        assert found[0] == {
            "ai_contact_id": contacts[0],
            "until": "replied",
            "done": True,
            "at": reply["created_at"],
            "seen_at": found[0]["seen_at"],
            "message_id": reply["id"],
            "ticket_id": ticket["id"],
            "ticket_known_by": "inferred",
            "stage_id": ticket["stage_id"],
            "chat_status": found[0]["chat_status"],
        }
        assert "private" not in json.dumps(found)

    @pytest.mark.parametrize("given", ["id", "list", "result", "report", "text"])
    def test_whatever_an_upstream_task_returned(
        self, vambe_sandbox: Sandbox, open_tickets: OpenTickets, deferrable: bool, given: str
    ) -> None:
        [contact] = open_tickets(1)
        vambe_sandbox.close_ticket(contact)
        forms = {
            "id": contact,
            "list": [contact],
            "result": {"ai_contact_id": contact, "outcome": "opened"},
            "report": {"ai_contact_ids": [contact], "counts": {}},
            "text": str([contact]),
        }
        [found] = sensor(forms[given], until="closed", deferrable=deferrable).execute(context())
        assert (found["ai_contact_id"], found["at"]) == (contact, vambe_sandbox.tickets()[0]["closed_at"])

    def test_a_batch_that_opened_nothing_has_nothing_to_wait_for(self, deferrable: bool) -> None:
        assert sensor({"ai_contact_ids": []}, deferrable=deferrable).execute(context()) == []

    def test_stages_go_by_name_or_id(self, vambe_sandbox: Sandbox, open_tickets: OpenTickets, deferrable: bool) -> None:
        [contact] = open_tickets(1)
        vambe_sandbox.move_ticket(contact, "Support / Human help")
        for stages in ("support / human help", [vambe_sandbox.stage_id("Support / Human help"), "Support / Solved"]):
            [found] = sensor(contact, until="stage", stages=stages, deferrable=deferrable).execute(context())
            assert found["done"]

    def test_one_of_many_is_enough_for_any(
        self, vambe_sandbox: Sandbox, open_tickets: OpenTickets, deferrable: bool
    ) -> None:
        contacts = open_tickets(3)
        vambe_sandbox.customer_replies(contacts[2], "Sí")
        found = sensor(contacts, mode_of="any", deferrable=deferrable).execute(context())
        assert [item["done"] for item in found] == [False, False, True]


@pytest.mark.parametrize("deferrable", [False, True])
class TestMistakes:
    @pytest.fixture(autouse=True)
    def _short(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(look, "LATE", (0.01, 0.01))

    @pytest.mark.parametrize(
        ("arguments", "text"),
        [
            ({"ai_contact_ids": ""}, "ai_contact_ids: the id is empty"),
            ({"ai_contact_ids": [".."]}, "ai_contact_ids[0]: this cannot be an id"),
            ({"until": "answered"}, "until: is not one of replied, closed, stage, chat_status"),
            ({"mode_of": "most"}, "mode_of: is not one of all, any"),
            ({"until": "stage"}, "stages: "),
            ({"stages": ["Support / New"]}, "stages: "),
            ({"until": "chat_status"}, "statuses: "),
            ({"until": "stage", "stages": "Support / Nowhere"}, "there is no stage with this name"),
            ({"since": "yesterday"}, "since: this is not an ISO 8601 time"),
            ({"since": "2026-03-01T10:00:00"}, "since: the time has no time zone"),
        ],
    )
    def test_a_wrong_argument_is_named(
        self, vambe_sandbox: Sandbox, deferrable: bool, arguments: dict[str, Any], text: str
    ) -> None:
        given = {"ai_contact_ids": NOBODY, "deferrable": deferrable, **arguments}
        with pytest.raises(AirflowFailException) as caught:
            sensor(given.pop("ai_contact_ids"), **given).execute(context())
        assert text in str(caught.value)
        assert vambe_sandbox.requests("get_contact") == []

    def test_a_contact_that_does_not_exist_is_an_error_at_once(
        self, open_tickets: OpenTickets, deferrable: bool
    ) -> None:
        with pytest.raises(AirflowFailException, match=f"There is no contact {NOBODY}.*merged"):
            sensor([*open_tickets(1), NOBODY], deferrable=deferrable).execute(context())

    def test_a_contact_that_was_created_a_moment_ago_is_waited_for(
        self, vambe_sandbox: Sandbox, open_tickets: OpenTickets, deferrable: bool
    ) -> None:
        vambe_sandbox.configure(visible_after_reads=2)
        task = sensor(open_tickets(1), until="chat_status", statuses="unattended", deferrable=deferrable)
        [found] = task.execute(context())
        assert found["done"]
        assert [request["status"] for request in vambe_sandbox.requests("get_contact")] == [404, 404, 200]

    def test_a_wrong_key_is_an_error_at_once(
        self, connect: Connect, open_tickets: OpenTickets, deferrable: bool
    ) -> None:
        contacts = open_tickets(1)
        connect(password="another-key")
        with pytest.raises(AirflowFailException, match="API key") as caught:
            sensor(contacts, deferrable=deferrable).execute(context())
        assert "another-key" not in str(caught.value)

    def test_soft_fail_does_not_hide_it(self, connect: Connect, open_tickets: OpenTickets, deferrable: bool) -> None:
        contacts = open_tickets(1)
        connect(password="another-key")
        with pytest.raises(AirflowFailException, match="API key"):
            sensor(contacts, deferrable=deferrable, soft_fail=True).execute(context())

    def test_never_fail_does(self, connect: Connect, open_tickets: OpenTickets, deferrable: bool) -> None:
        contacts = open_tickets(1)
        connect(password="another-key")
        with pytest.raises(AirflowSkipException):
            sensor(contacts, deferrable=deferrable, never_fail=True).execute(context())


class TestDeferral:
    def deferred(self, task: VambeTicketSensor) -> TaskDeferred:
        with pytest.raises(TaskDeferred) as caught:
            task.execute(context())
        return caught.value

    def test_the_deadline_is_absolute_and_airflows_own_comes_later(self, open_tickets: OpenTickets) -> None:
        before = datetime.now(UTC).timestamp()
        deferral = self.deferred(sensor(open_tickets(1), deferrable=True, timeout=100))
        assert isinstance(deferral.trigger, VambeTicketTrigger)
        assert before + 100 <= deferral.trigger.deadline <= datetime.now(UTC).timestamp() + 100
        assert deferral.timeout is not None
        assert deferral.timeout > timedelta(seconds=100)

    def test_names_are_looked_up_before_the_deferral(self, vambe_sandbox: Sandbox, open_tickets: OpenTickets) -> None:
        deferral = self.deferred(sensor(open_tickets(1), deferrable=True, until="stage", stages="Support / Solved"))
        assert deferral.trigger.serialize()[1]["stages"] == [vambe_sandbox.stage_id("Support / Solved")]

    def test_a_list_of_changes_that_misses_messages_is_not_relied_on(
        self, vambe_sandbox: Sandbox, open_tickets: OpenTickets
    ) -> None:
        contacts = open_tickets(1)
        vambe_sandbox.configure(ticket_bumps_updated_at=False, clock_skew_seconds=60)
        vambe_sandbox.customer_replies(contacts[0], "Sí")
        deferral = self.deferred(sensor(contacts, deferrable=True, until="closed"))
        assert deferral.trigger.serialize()[1]["shared_poll"] is False

    def test_the_link_is_there_before_the_deferral(self, vambe_sandbox: Sandbox, open_tickets: OpenTickets) -> None:
        [contact] = open_tickets(1)
        here = context()
        with pytest.raises(TaskDeferred):
            sensor(contact, deferrable=True).execute(here)
        pipeline = vambe_sandbox.tickets()[0]["pipeline_id"]
        [url] = here["ti"].pushed.values()
        assert url == f"https://app.vambeai.com/pipeline?id={pipeline}&chatContactId={contact}"

    def test_the_link_of_the_task_that_opened_the_ticket_is_kept(self, open_tickets: OpenTickets) -> None:
        [contact] = open_tickets(1)
        here = context()
        with pytest.raises(TaskDeferred):
            sensor({"ai_contact_id": contact, "link": "https://app.vambeai.com/x"}, deferrable=True).execute(here)
        assert list(here["ti"].pushed.values()) == ["https://app.vambeai.com/x"]

    @pytest.mark.parametrize(
        "link", ["javascript:alert(1)", "https://evil.example/x", "https://app.vambeai.com.evil.example/", 7]
    )
    def test_a_link_to_elsewhere_is_not_shown(self, open_tickets: OpenTickets, link: Any) -> None:
        [contact] = open_tickets(1)
        here = context()
        with pytest.raises(TaskDeferred):
            sensor({"ai_contact_id": contact, "link": link}, deferrable=True).execute(here)
        [shown] = here["ti"].pushed.values()
        assert shown.startswith("https://app.vambeai.com/pipeline?id=")

    def test_what_the_trigger_saw_counts_although_it_changed_again(
        self, vambe_sandbox: Sandbox, open_tickets: OpenTickets
    ) -> None:
        contacts = open_tickets(2)
        task = sensor(contacts, deferrable=True, until="stage", stages="Support / Solved")
        event = {"status": "success", "done": 2, "of": 2, "ai_contact_ids": []}
        assert [item["done"] for item in task.execute_complete(context(), event)] == [True, True]
        task = sensor(contacts, deferrable=True, until="stage", stages="Support / Solved", mode_of="any")
        event = {"status": "success", "done": 1, "of": 2, "ai_contact_ids": [contacts[1]]}
        assert [item["done"] for item in task.execute_complete(context(), event)] == [False, True]

    def test_the_last_look_decides_when_the_time_is_over(
        self, vambe_sandbox: Sandbox, open_tickets: OpenTickets
    ) -> None:
        contacts = open_tickets(2)
        task = sensor(contacts, deferrable=True, timeout=60)
        vambe_sandbox.customer_replies(contacts[0], "Sí")
        with pytest.raises(AirflowSensorTimeout) as caught:
            task.execute_complete(context(), {"status": "timeout", "of": 2})
        assert "After 60 s, 1 of 2 contacts are still waited for" in str(caught.value)
        assert contacts[1] in str(caught.value)
        vambe_sandbox.customer_replies(contacts[1], "Sí")
        assert all(item["done"] for item in task.execute_complete(context(), {"status": "timeout", "of": 2}))

    @pytest.mark.parametrize("event", [None, True, {}, {"status": "fine"}, "success"])
    def test_an_event_that_is_not_understood_fails(self, event: Any) -> None:
        with pytest.raises(VambeDeliveryError, match="does not know"):
            sensor(NOBODY).execute_complete(context(), event)

    def test_an_error_of_the_trigger_fails_the_task(self) -> None:
        event = {"status": "error", "kind": "auth_401", "message": "The key is refused.", "permanent": True}
        with pytest.raises(AirflowFailException, match="The key is refused"):
            sensor(NOBODY).execute_complete(context(), event)
        with pytest.raises(AirflowFailException):
            sensor(NOBODY, soft_fail=True).execute_complete(context(), event)
        with pytest.raises(VambeDeliveryError):
            sensor(NOBODY).execute_complete(context(), {**event, "permanent": False})


class TestPoking:
    def test_it_looks_again_until_it_happened(self, vambe_sandbox: Sandbox, open_tickets: OpenTickets) -> None:
        [contact] = open_tickets(1)

        def reply() -> None:
            vambe_sandbox.wait_for(lambda now: len(now.requests("get_contact")) >= 3)
            vambe_sandbox.customer_replies(contact, "Sí")

        with meanwhile(reply):
            [found] = sensor(contact).execute(context())
        assert found["done"]

    def test_when_the_time_is_over_it_fails_or_skips(self, open_tickets: OpenTickets) -> None:
        contacts = open_tickets(1)
        with pytest.raises(AirflowSensorTimeout):
            sensor(contacts, timeout=0).execute(context())
        with pytest.raises(AirflowSkipException):
            sensor(contacts, timeout=0, soft_fail=True).execute(context())

    def test_failures_of_the_moment_are_borne(
        self, vambe_sandbox: Sandbox, open_tickets: OpenTickets, one_try_each: None
    ) -> None:
        [contact] = open_tickets(1)
        fault = vambe_sandbox.fault("get_contact", kind="status", status=503, times=3)
        vambe_sandbox.customer_replies(contact, "Sí")
        [found] = sensor(contact).execute(context())
        assert (found["done"], fault.hits) == (True, 3)

    def test_too_many_in_a_row_are_for_a_task_retry(
        self, vambe_sandbox: Sandbox, open_tickets: OpenTickets, one_try_each: None
    ) -> None:
        contacts = open_tickets(1)
        vambe_sandbox.fault("get_contact", kind="truncated", times="forever")
        with pytest.raises(VambeReadError):
            sensor(contacts, max_failures=1).execute(context())


def test_everything_a_dag_author_would_template_is_templated() -> None:
    expected = {"ai_contact_ids", "until", "stages", "statuses", "since", "mode_of", "vambe_conn_id"}
    assert set(VambeTicketSensor.template_fields) == expected


class TestInADag:
    """What the user sees of a whole run, on every supported Airflow."""

    @pytest.mark.parametrize("how", [{"mode": "poke"}, {"deferrable": True}], ids=str)
    def test_the_answer_reaches_the_next_task(
        self,
        vambe_sandbox: Sandbox,
        open_tickets: OpenTickets,
        run_dag_test: Callable[..., DagResult],
        how: dict[str, Any],
    ) -> None:
        [contact] = open_tickets(1)

        def reply() -> None:
            vambe_sandbox.wait_for(lambda now: now.request_count >= 5, timeout=60)
            vambe_sandbox.customer_replies(contact, "Sí")

        dag = _dag(contact, **how)
        with meanwhile(reply):
            result = run_dag_test(dag)
        assert result.tasks == {"upstream": "success", "wait": "success"}
        [found] = result.xcom("wait")
        assert (found["ai_contact_id"], found["done"]) == (contact, True)

    def test_a_deferred_wait_finds_a_connection_of_the_metadata_database(
        self, vambe_sandbox: Sandbox, open_tickets: OpenTickets, airflow_db: Path, tmp_path: Path
    ) -> None:
        """``airflow dags test`` is a process of its own, in which the asynchronous way does not reach the database."""
        [contact] = open_tickets(1)
        (tmp_path / "waits.py").write_text(_DAG_FILE.format(contact=contact))

        def reply() -> None:
            vambe_sandbox.wait_for(lambda now: bool(now.requests("get_contact")), timeout=120)
            vambe_sandbox.customer_replies(contact, "Sí")

        command = [sys.executable, "-m", "airflow", "dags", "test", "waits"]
        env = os.environ | {"AIRFLOW__CORE__DAGS_FOLDER": str(tmp_path)}
        with _in_the_database("vambe_in_database", vambe_sandbox), meanwhile(reply):
            said = subprocess.run(command, capture_output=True, text=True, env=env, check=False)
        assert "state=success" in said.stdout + said.stderr, said.stdout[-3000:]

    @pytest.mark.parametrize("how", [{"mode": "poke"}, {"deferrable": True}], ids=str)
    @pytest.mark.parametrize(("soft_fail", "state"), [(False, "failed"), (True, "skipped")])
    def test_a_timeout(
        self,
        open_tickets: OpenTickets,
        run_dag_test: Callable[..., DagResult],
        how: dict[str, Any],
        soft_fail: bool,
        state: str,
    ) -> None:
        dag = _dag(open_tickets(1)[0], timeout=0, soft_fail=soft_fail, **how)
        assert run_dag_test(dag).tasks["wait"] == state


class _Upstream(BaseOperator):
    def __init__(self, *, returns: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.returns = returns

    def execute(self, context: Any) -> Any:
        return self.returns


_DAG_FILE = """
# Airflow reads only files in which its name stands.
from vambe_provider.compat import DAG
from vambe_provider.sensors.vambe import VambeTicketSensor

with DAG("waits", schedule=None):
    VambeTicketSensor(
        task_id="wait", ai_contact_ids="{contact}", since="2026-01-01T00:00:00+00:00", deferrable=True, timeout=60,
        poke_interval=1, vambe_conn_id="vambe_in_database",
    )
"""


@contextmanager
def _in_the_database(conn_id: str, sandbox: Sandbox) -> Iterator[None]:
    """Keep a connection in Airflow's metadata database for a while."""
    from airflow.models import Connection
    from airflow.utils.session import create_session

    with create_session() as session:
        session.add(Connection(conn_id=conn_id, conn_type="vambe", host=sandbox.url, password=sandbox.api_key))
    try:
        yield
    finally:
        with create_session() as session:
            session.query(Connection).filter(Connection.conn_id == conn_id).delete()


def _dag(contact: str, **arguments: Any) -> Any:
    given = {"poke_interval": 0.2, "timeout": 60, "since": datetime(2026, 1, 1, tzinfo=UTC), **arguments}
    with DAG(dag_id="wait", schedule=None) as dag:
        upstream = _Upstream(task_id="upstream", returns={"ai_contact_id": contact, "outcome": "opened"})
        VambeTicketSensor(task_id="wait", ai_contact_ids=upstream.output, **given)
    return dag
