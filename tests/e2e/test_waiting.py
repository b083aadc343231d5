"""Waits in a real triggerer, which is killed in the middle of them and started again."""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import sys
import threading
import time
import urllib.error
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest
from local_airflow import (
    Processes,
    ask,
    environment,
    free_port,
    migrate,
    processes,
    server_environment,
    start_sandbox,
    start_standalone,
)

from vambe_provider.api import ConnectionSettings, OpenTicket, VambeClient
from vambe_provider.waiting.conditions import moment

pytestmark = pytest.mark.e2e

KILLS = int(os.environ.get("VAMBE_TEST_KILLS", "5"))
"""How often the triggerer is killed in the test of lost events; 50 takes a quarter of an hour."""
DAGS = Path(__file__).resolve().parent / "dags"


@dataclass
class Airflow:
    """A running ``airflow standalone`` whose triggerer can be killed and started again."""

    url: str
    sandbox: str
    env: dict[str, str]
    log: Path
    children: Processes
    standalone: int
    token: str
    triggerers: list[int] = field(default_factory=list)

    def api(self, path: str, body: dict[str, Any] | None = None, *, method: str | None = None) -> Any:
        return ask(f"{self.url}/api/v2/{path}", body, token=self.token, method=method)

    def vambe(self, path: str, body: dict[str, Any] | None = None) -> Any:
        return ask(f"{self.sandbox}/__sandbox__/{path}", body)

    def until(self, what: str, found: Callable[[], Any], *, patience: float = 120) -> Any:
        """Return what a function returns as soon as it is something."""
        deadline, pause = time.monotonic() + patience, threading.Event()
        while True:
            # Airflow answers 500 while somebody else writes to its SQLite file.
            with contextlib.suppress(urllib.error.HTTPError):
                if result := found():
                    return result
            assert time.monotonic() < deadline, f"{what} did not happen; the log is {self.log}"
            pause.wait(0.3)

    def switch_on(self, dag_id: str) -> None:
        self.until(f"Airflow saw {dag_id}", lambda: dag_id in {dag["dag_id"] for dag in self.api("dags")["dags"]})
        self.api(f"dags/{dag_id}", {"is_paused": False}, method="PATCH")

    def start(self, dag_id: str, **conf: Any) -> str:
        self.switch_on(dag_id)
        run: str = self.api(f"dags/{dag_id}/dagRuns", {"logical_date": None, "conf": conf})["dag_run_id"]
        return run

    def wait_for_state(self, dag_id: str, run: str, task: str, *states: str) -> str:
        path = f"dags/{dag_id}/dagRuns/{run}/taskInstances/{task}"
        ended = (*states, "failed")
        state: str = self.until(f"{task} became {states}", lambda: (now := self.api(path)["state"]) in ended and now)
        assert state in states, f"{task} is {state}; the log is {self.log}"
        return state

    def returned(self, dag_id: str, run: str, task: str) -> Any:
        path = f"dags/{dag_id}/dagRuns/{run}/taskInstances/{task}/xcomEntries/return_value?deserialize=true"
        return self.api(path)["value"]

    def kill_triggerer(self) -> None:
        """Kill every triggerer of this Airflow without a chance to say goodbye."""
        mine = psutil.Process(self.standalone).children(recursive=True)
        mine += [psutil.Process(pid) for pid in self.triggerers if psutil.pid_exists(pid)]
        found = [process for process in mine if "triggerer" in " ".join(_command(process))]
        assert found
        for process in found:
            doomed = [process, *process.children(recursive=True)] if process.is_running() else []
            for each in doomed:
                each.kill()
            psutil.wait_procs(doomed, timeout=10)

    def start_triggerer(self) -> None:
        command = [sys.executable, "-m", "airflow", "triggerer"]
        self.triggerers.append(self.children.start(command, env=self.env, log=self.log).pid)

    def events(self) -> list[dict[str, Any]]:
        """Return the payloads of all events of the watched asset, the oldest first."""
        found: list[dict[str, Any]] = []
        while page := self.api(f"assets/events?order_by=timestamp&limit=100&offset={len(found)}")["asset_events"]:
            found += page
        return [event["extra"]["payload"] for event in found if event["extra"].get("from_trigger")]

    def try_number(self, dag_id: str, run: str, task: str) -> int:
        number: int = self.api(f"dags/{dag_id}/dagRuns/{run}/taskInstances/{task}")["try_number"]
        return number


def _command(process: psutil.Process) -> list[str]:
    try:
        command: list[str] = process.cmdline()
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return []
    return command


@pytest.fixture(scope="module")
def airflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Airflow]:
    folder = tmp_path_factory.mktemp("waiting")
    log = folder / "airflow.log"
    with processes() as children:
        sandbox = start_sandbox(children, folder=folder)
        env = (
            environment(folder / "home", sandbox_url=sandbox, warehouse=folder / "warehouse.sqlite")
            | server_environment(free_port())
            | {
                "AIRFLOW__CORE__DAGS_FOLDER": str(DAGS),
                # A killed triggerer is given up for dead after seconds, not after half a minute.
                "AIRFLOW__TRIGGERER__JOB_HEARTBEAT_SEC": "2",
                "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "6",
            }
        )
        assert migrate(children, env=env, log=log).wait() == 0, log.read_text()
        standalone = start_standalone(children, env=env, log=log)
        url = env["AIRFLOW__API__BASE_URL"]
        token = ask(f"{url}/auth/token")["access_token"]
        yield Airflow(url, sandbox, env, log, children, standalone.pid, token)


def test_a_wait_survives_the_death_of_the_triggerer(airflow: Airflow) -> None:
    dag = "ticket_and_wait"
    replied = airflow.start(dag, phone="+56961111111")
    closed = airflow.start(dag, phone="+56962222222", until="closed")
    for run in (replied, closed):
        airflow.wait_for_state(dag, run, "wait", "deferred")
    contacts = {run: airflow.returned(dag, run, "ask")["ai_contact_id"] for run in (replied, closed)}
    asked = _reads(airflow)
    airflow.until("the triggerer looked", lambda: _reads(airflow) > asked)

    airflow.kill_triggerer()
    airflow.vambe("replies", {"ai_contact_id": contacts[replied], "text": "a private answer"})
    airflow.start_triggerer()
    airflow.wait_for_state(dag, replied, "wait", "success")
    [found] = airflow.returned(dag, replied, "wait")
    assert (found["ai_contact_id"], found["done"], found["until"]) == (contacts[replied], True, "replied")

    # The other wait goes on in the new triggerer, with the same poll.
    airflow.wait_for_state(dag, closed, "wait", "deferred")
    airflow.vambe("close", {"ai_contact_id": contacts[closed]})
    airflow.wait_for_state(dag, closed, "wait", "success")
    [found] = airflow.returned(dag, closed, "wait")
    assert found["at"] == next(
        ticket["closed_at"] for ticket in airflow.vambe("tickets") if ticket["ai_contact_id"] == contacts[closed]
    )

    writes = [item for item in airflow.vambe("requests?limit=100000") if item["method"] == "POST"]
    assert [item["endpoint"] for item in writes] == ["open_ticket", "open_ticket"]
    text = "".join(path.read_text(errors="replace") for path in (airflow.log.parent / "home" / "logs").rglob("*.log"))
    assert "Trigger fired event" in text
    for secret in ("private answer", "56961111111", "sandbox-key"):
        assert secret not in text


def test_the_link_is_there_while_the_task_is_deferred(airflow: Airflow) -> None:
    dag = "ticket_and_wait"
    run = airflow.start(dag, phone="+56963333333")
    airflow.wait_for_state(dag, run, "wait", "deferred")
    contact = airflow.returned(dag, run, "ask")["ai_contact_id"]
    links = airflow.api(f"dags/{dag}/dagRuns/{run}/taskInstances/wait/links")["extra_links"]
    assert f"chatContactId={contact}" in links["Vambe conversation"]
    airflow.vambe("replies", {"ai_contact_id": contact, "text": "Sí"})
    airflow.wait_for_state(dag, run, "wait", "success")


def test_a_change_starts_a_dag_once_across_a_restart(airflow: Airflow) -> None:
    phones = [f"+5696444444{number}" for number in range(3)]
    runs = [airflow.start("ticket_and_wait", phone=phone, until="closed") for phone in phones]
    for run in runs:
        airflow.wait_for_state("ticket_and_wait", run, "wait", "deferred")
    contacts = [airflow.returned("ticket_and_wait", run, "ask")["ai_contact_id"] for run in runs]
    airflow.switch_on("on_solved")
    # The very first look only says from where on changes count, so it has to have been.
    airflow.until("the watcher kept its place", lambda: _place(airflow))

    airflow.vambe("move", {"ai_contact_id": contacts[0], "stage": "Support / Solved"})
    airflow.until("the first event came", lambda: len(airflow.events()) == 1)
    changed = moment(airflow.events()[0]["updated_at"]) or 0.0
    airflow.until("the place was kept", lambda: _kept_until(airflow) >= changed)

    airflow.kill_triggerer()
    airflow.vambe("move", {"ai_contact_id": contacts[1], "stage": "Support / Solved"})
    airflow.start_triggerer()
    airflow.until("the event of the pause came", lambda: len(airflow.events()) >= 2)
    airflow.vambe("move", {"ai_contact_id": contacts[2], "stage": "Support / Solved"})
    airflow.until("the last event came", lambda: len(airflow.events()) >= 3)

    assert [event["ai_contact_id"] for event in airflow.events()] == contacts
    airflow.until(
        "the Dag ran",
        lambda: any(run["state"] == "success" for run in airflow.api("dags/on_solved/dagRuns")["dag_runs"]),
    )


def test_a_bad_gateway_a_new_key_and_a_clear_end_no_wait(airflow: Airflow) -> None:
    """The looks come every second instead of every minute, so ten minutes of trouble are ten seconds."""
    connection = {"connection_id": "rotating", "conn_type": "vambe", "host": airflow.sandbox, "password": "sandbox-key"}
    extra = json.dumps({"phone_id": "qr-main", "rate": "none"})
    airflow.api("connections", {**connection, "extra": extra})
    dag = "ticket_and_wait"
    runs = [airflow.start(dag, phone=f"+5696555555{number}", conn="rotating") for number in range(3)]
    for run in runs:
        airflow.wait_for_state(dag, run, "wait", "deferred")
    contacts = [airflow.returned(dag, run, "ask")["ai_contact_id"] for run in runs]

    for status in (502, 404, 403):
        fault = {"where": "*", "kind": "status", "status": status, "body": "html", "times": "forever"}
        before = len(airflow.vambe("requests?limit=100000"))
        airflow.vambe("faults", fault)
        airflow.until("the gateway was asked", lambda: len(airflow.vambe("requests?limit=100000")) >= before + 4)  # noqa: B023
        ask(f"{airflow.sandbox}/__sandbox__/faults", {}, method="DELETE")
    airflow.vambe("configure", {"api_key": "the-new-key"})
    try:
        refused = len(airflow.vambe("requests?limit=100000"))
        airflow.until("the old key was refused", lambda: len(airflow.vambe("requests?limit=100000")) >= refused + 3)
        airflow.api(
            "connections/rotating?update_mask=password", {**connection, "password": "the-new-key"}, method="PATCH"
        )
        airflow.vambe("replies", {"ai_contact_id": contacts[0], "text": "Sí"})
        airflow.wait_for_state(dag, runs[0], "wait", "success")
    finally:
        airflow.vambe("configure", {"api_key": "sandbox-key"})
        airflow.api("connections/rotating?update_mask=password", connection, method="PATCH")

    body = {"dag_run_id": runs[0], "task_ids": ["wait"], "dry_run": False, "only_failed": False}
    for text, run in (("a finished run", runs[0]), ("a wait that is deferred", runs[1])):
        airflow.api(f"dags/{dag}/clearTaskInstances", {**body, "dag_run_id": run})
        airflow.until(f"{text} was cleared", lambda: airflow.try_number(dag, run, "wait") == 2)  # noqa: B023
    airflow.wait_for_state(dag, runs[0], "wait", "success")
    for contact in contacts[1:]:
        airflow.vambe("replies", {"ai_contact_id": contact, "text": "Sí"})
    for run in runs[1:]:
        airflow.wait_for_state(dag, run, "wait", "success")


@pytest.mark.timeout(600 + 90 * KILLS)
def test_no_event_is_lost_when_the_triggerer_is_killed_again_and_again(airflow: Airflow) -> None:
    """Killed at any moment, also between an event and its storing; some events may come twice."""
    chance, changed = random.Random(14), []
    airflow.switch_on("on_solved")
    airflow.until("the watcher kept its place", lambda: _place(airflow))
    settings = ConnectionSettings.from_fields(
        host=airflow.sandbox, password="sandbox-key", extra={"phone_id": "qr-main"}
    )
    phones = (f"+5696666{number:04d}" for number in range(10_000))

    def change() -> None:
        with VambeClient(settings) as client:
            stage = client.find_stage("Support / New").id
            ticket = OpenTicket(to_phone_number=next(phones), stage_id=stage, message="Hola")
            changed.append(client.open_ticket(ticket).ai_contact_id)
        airflow.vambe("move", {"ai_contact_id": changed[-1], "stage": "Support / Solved"})

    for _ in range(KILLS):
        looks = _reads(airflow)
        for _ in range(chance.randint(2, 6)):
            change()
            threading.Event().wait(chance.uniform(0.0, 0.6))
        airflow.until("the triggerer looks again", lambda: _reads(airflow) > looks)  # noqa: B023
        threading.Event().wait(chance.uniform(0.0, 1.5))
        airflow.kill_triggerer()
        change()
        airflow.start_triggerer()
    airflow.until("all events came", lambda: set(changed) <= {event["ai_contact_id"] for event in airflow.events()})


def _reads(airflow: Airflow) -> int:
    return sum(item["endpoint"] == "list_contacts" for item in airflow.vambe("requests?limit=100000"))


def _kept_until(airflow: Airflow) -> float:
    """Return the time of the newest change that the kept place knows."""
    return max(float(number) for number in re.findall(r"['\"]until['\"]: ([0-9.]+)", str(_place(airflow))))


def _place(airflow: Airflow) -> Any:
    """Return what the asset's state store holds."""
    [asset] = [item for item in airflow.api("assets")["assets"] if item["name"] == "solved_tickets"]
    return airflow.api(f"assets/{asset['id']}/state-store").get("asset_state_store")
