"""Batches in a real Airflow: one that is stopped, one that is cleared, one that leaves its worker slot."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import psutil
import pytest
import sqlalchemy as sa
from local_airflow import (
    ask,
    environment,
    free_port,
    migrate,
    processes,
    server_environment,
    start_sandbox,
    start_standalone,
)

from tests.e2e.batch_airflow import DAGS, DONE, TASK, RealAirflow, make_orders, rows_of

if TYPE_CHECKING:
    from collections import Counter
    from pathlib import Path

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

ROWS = 500
COUNTRIES = {"MX": "America/Mexico_City", "CO": "America/Bogota"}
LATENCY_MS = 200
"""Long enough that posts are on their way at every moment of a run, which takes some ten seconds."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("batches")


@pytest.fixture(scope="module")
def warehouse(folder: Path) -> Iterator[sa.engine.Engine]:
    engine = sa.create_engine(f"sqlite:///{folder / 'warehouse.sqlite'}", poolclass=sa.pool.NullPool)
    make_orders(engine, ROWS)
    yield engine
    engine.dispose()


@pytest.fixture(scope="module")
def airflow(folder: Path, warehouse: sa.engine.Engine) -> Iterator[RealAirflow]:
    log = folder / "airflow.log"
    with processes() as children:
        sandbox = start_sandbox(children, folder=folder, latency_ms=LATENCY_MS)
        env = environment(folder / "home", sandbox_url=sandbox, warehouse=folder / "warehouse.sqlite")
        assert migrate(children, env=env, log=log).wait() == 0, log.read_text()
        env |= server_environment(free_port()) | {
            "AIRFLOW__CORE__DAGS_FOLDER": str(DAGS),
            # How soon a task learns that it was stopped.
            "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "1",
            "VAMBE_TEST_PEOPLE": str(folder / "people.json"),
        }
        start_standalone(children, env=env, log=log)
        url = env["AIRFLOW__API__BASE_URL"]
        yield RealAirflow(url, sandbox, folder, ask(f"{url}/auth/token")["access_token"])


def stop_in_the_middle(airflow: RealAirflow, run: str, stop: Any) -> None:
    """Wait until a quarter of the rows is open, stop the task, and wait until its process is gone."""
    before = airflow.ticket_count()
    airflow.wait_for(lambda: airflow.ticket_count() >= before + ROWS // 4)
    [task] = airflow.tasks(run)
    stop()
    airflow.wait_for(lambda: not psutil.pid_exists(task["pid"]))


def test_a_task_that_is_marked_as_failed_settles_what_is_on_its_way(
    airflow: RealAirflow, warehouse: sa.engine.Engine
) -> None:
    run = airflow.start("late_orders", namespace="failed")
    path = f"{run}/taskInstances/{TASK}"
    stop_in_the_middle(airflow, run, lambda: airflow.api(path, {"new_state": "failed"}, method="PATCH"))

    states = dict(rows_of(warehouse, "SELECT state, count(*) FROM vambe_ticket_ledger GROUP BY state"))
    opened = airflow.ticket_count()
    assert ROWS // 4 <= opened < ROWS
    assert states["opened"] == opened
    assert set(states) <= {"opened", "failed"}
    assert airflow.state_in_the_end(run) == "failed"

    again = airflow.start("late_orders", namespace="failed")
    assert airflow.state_in_the_end(again) == "success"
    assert airflow.orders() == dict.fromkeys(range(ROWS), 1)
    counts = airflow.report(again)["counts"]
    assert (counts["opened"], counts["already_opened"]) == (ROWS - opened, opened)


def test_a_task_that_is_cleared_while_it_runs_goes_on_where_it_was(airflow: RealAirflow) -> None:
    before: Counter[int] = airflow.orders()
    run = airflow.start("late_orders", namespace="cleared")
    dag_id, run_id = run.split("/")[2::2]
    order = {"dry_run": False, "dag_run_id": run_id, "task_ids": [TASK], "only_failed": False}
    stop_in_the_middle(airflow, run, lambda: airflow.api(f"/dags/{dag_id}/clearTaskInstances", order))

    assert airflow.state_in_the_end(run) == "success"
    [task] = airflow.tasks(run)
    assert task["try_number"] == 2
    assert airflow.orders() - before == dict.fromkeys(range(ROWS), 1)


def test_a_mapped_list_that_changes_and_is_cleared_messages_each_person_once(
    airflow: RealAirflow, folder: Path
) -> None:
    """The default key holds the person and not the position; a cleared run that resends does it once."""

    def mapped() -> dict[str, int]:
        tickets = ask(f"{airflow.sandbox}/__sandbox__/tickets?limit=1000000")
        names = [ticket["contact_name"] for ticket in tickets if str(ticket["contact_name"]).startswith("Mapped")]
        return {name: names.count(name) for name in names}

    def clear(run: str) -> None:
        dag_id, run_id = run.split("/")[2::2]
        order = {"dry_run": False, "dag_run_id": run_id, "only_failed": False}
        airflow.api(f"/dags/{dag_id}/clearTaskInstances", order)
        airflow.wait_for(lambda: airflow.api(run)["state"] not in DONE)
        assert airflow.state_in_the_end(run) == "success"

    (folder / "people.json").write_text("[1, 2]")
    first = airflow.start("mapped_people")
    assert airflow.state_in_the_end(first) == "success"
    (folder / "people.json").write_text("[3, 1, 2]")
    clear(first)
    assert mapped() == {"Mapped 1": 1, "Mapped 2": 1, "Mapped 3": 1}

    again = airflow.start("mapped_people", resend="true")
    assert airflow.state_in_the_end(again) == "success"
    clear(again)
    assert mapped() == {"Mapped 1": 2, "Mapped 2": 2, "Mapped 3": 2}


def test_a_batch_that_starts_at_night_sends_what_is_open_sleeps_and_sends_the_rest(
    airflow: RealAirflow, warehouse: sa.engine.Engine
) -> None:
    """It is day in Chile; in Mexico and Colombia the day begins in a minute or two."""
    chile, mexico, colombia = "+5697{}", "+5255{}", "+57300{}"
    people = [
        *((9000 + n, chile.format(1000000 + n)) for n in range(5)),
        *((9100 + n, mexico.format(12340000 + n)) for n in range(4)),
        *((9200 + n, colombia.format(1234000 + n)) for n in range(3)),
    ]
    stopped = 9201
    with warehouse.begin() as connection:
        connection.execute(sa.text("CREATE TABLE travellers (order_id INTEGER, name TEXT, phone TEXT)"))
        connection.execute(sa.text("CREATE TABLE stop (phone TEXT)"))
        connection.execute(
            sa.text("INSERT INTO travellers VALUES (:order_id, 'Ana', :phone)"),
            [{"order_id": order, "phone": phone} for order, phone in people],
        )
    opens = datetime.now(UTC).replace(second=0, microsecond=0) + timedelta(minutes=2)
    policy = {
        "windows": [
            {"days": "daily", "start": "00:00", "end": "24:00", "holidays": True, "countries": "CL"},
            *(_opening(opens, country, zone) for country, zone in COUNTRIES.items()),
        ],
        "suppression": {"sql": "SELECT phone FROM stop", "max_age": "10s"},
    }
    run = airflow.start("three_countries", policy=json.dumps(policy))
    airflow.wait_for(lambda: [task["state"] for task in airflow.tasks(run)] == ["deferred"])
    by_night = {order for order, _ in people if order in airflow.orders()}
    assert datetime.now(UTC) < opens, "the test was too slow to see the night"
    assert by_night == set(range(9000, 9005))
    states = "SELECT state, COUNT(*) FROM vambe_ticket_ledger WHERE namespace = 'three-countries' GROUP BY state"
    assert sorted(rows_of(warehouse, states)) == [("opened", 5), ("postponed", 7)]
    due = "SELECT DISTINCT due_at FROM vambe_ticket_ledger WHERE state = 'postponed'"
    [(moment,)] = rows_of(warehouse, due)
    assert abs(datetime.fromisoformat(moment).replace(tzinfo=UTC) - opens) < timedelta(seconds=5)
    with warehouse.begin() as connection:  # somebody writes STOP while the batch sleeps
        connection.execute(sa.text("INSERT INTO stop VALUES (:phone)"), {"phone": dict(people)[stopped][1:]})

    assert airflow.state_in_the_end(run) == "success"
    sent = airflow.orders()
    assert {order: sent[order] for order, _ in people} == {order: int(order != stopped) for order, _ in people}
    report = airflow.report(run)
    counts = {name: count for name, count in report["counts"].items() if count}
    assert counts == {"opened": 11, "suppressed": 1}
    assert (report["rows"], report["policy"], report["next_due"]) == (12, {"opted_out": 1}, None)


def _opening(moment: datetime, country: str, zone: str) -> dict[str, Any]:
    """Return a window of twelve hours that opens at a moment, in a country's own time."""
    start, end = (at.astimezone(ZoneInfo(zone)) for at in (moment, moment + timedelta(hours=12)))
    window = {"days": "daily", "start": f"{start:%H:%M}", "end": f"{end:%H:%M}", "holidays": True}
    return {**window, "countries": country}


def test_a_slow_task_leaves_its_worker_slot(airflow: RealAirflow) -> None:
    before = airflow.ticket_count()
    run = airflow.start("late_orders_slowly")
    airflow.wait_for(lambda: airflow.tasks(run)[0]["state"] == "deferred")
    assert airflow.ticket_count() == before + 2

    assert airflow.state_in_the_end(run) == "success"
    assert airflow.ticket_count() == before + 3
    report = airflow.report(run)
    assert (report["rows"], report["counts"]["opened"], report["counts"]["already_opened"]) == (3, 3, 0)
    assert len(report["ai_contact_ids"]) == 3
