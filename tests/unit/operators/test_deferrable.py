"""A task that would wait long leaves its worker slot, and goes on where it was."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.delivery import PERSON_SECRET, claim_of, made_of, options, preparer, settings, sql_ledger
from tests.unit.tasks import context
from vambe_provider.compat import DAG, AirflowFailException, TaskDeferred
from vambe_provider.delivery.batch.report import Report
from vambe_provider.exceptions import VambeDeliveryError
from vambe_provider.operators import batch as module
from vambe_provider.operators.vambe import VambeOpenTicketBatchOperator
from vambe_provider.transfers.sql_to_vambe import SqlToVambeTicketsOperator

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.unit.conftest import Connect
    from vambe_provider.sandbox import Sandbox

TICKET = {"to_phone_number": "{phone}", "stage": "Orders / Late", "ticket_metadata": {"order": "{id}"}}


@pytest.fixture(autouse=True)
def ledger_url(connect: Connect, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URL of the ledger behind the connection `ledger`."""
    connect(extra={"rate": "3/minute"})
    url = f"sqlite:///{tmp_path / 'ledger.sqlite'}"
    monkeypatch.setenv("AIRFLOW_CONN_LEDGER", url)
    return url


def orders(*numbers: int) -> list[dict[str, Any]]:
    return [{"id": number, "phone": f"+569612345{number:02d}"} for number in numbers]


def batch(rows: Any, **fields: Any) -> VambeOpenTicketBatchOperator:
    arguments = {"key_columns": ["id"], "ticket": TICKET, "namespace": "late", "ledger_conn_id": "ledger", **fields}
    return VambeOpenTicketBatchOperator(task_id="open", rows=rows, **{"deferrable": True, **arguments})


def next_part(task: Any, before: TaskDeferred | None = None) -> Any:
    """Run a task as Airflow does, but at once: in a new operator after each deferral, with what the old one left it.

    :return: the deferral, or what the task returned.
    """
    try:
        if before is None:
            return task.execute(context())
        kwargs = json.loads(json.dumps(before.kwargs))
        return getattr(task, before.method_name)(context(), event={}, **kwargs)
    except TaskDeferred as deferred:
        return deferred


def seconds_until(deferred: TaskDeferred) -> float:
    """Return when a task wants to go on."""
    moment: datetime = deferred.trigger.serialize()[1]["moment"]
    return (moment - datetime.now(UTC)).total_seconds()


def opened(sandbox: Sandbox) -> list[str]:
    """Return the orders that have a ticket; those of one moment are on their way together, and any may be the first."""
    return sorted(ticket["ticket_metadata"]["order"] for ticket in sandbox.tickets())


def test_a_period_of_tickets_is_sent_at_once_and_the_next_one_after_a_deferral(vambe_sandbox: Sandbox) -> None:
    rows = orders(*range(1, 9))
    first = next_part(batch(rows))
    assert isinstance(first, TaskDeferred)
    assert opened(vambe_sandbox) == ["1", "2", "3"]
    assert 30 < seconds_until(first) <= 60
    second = next_part(batch(rows), first)
    assert isinstance(second, TaskDeferred)
    assert opened(vambe_sandbox) == ["1", "2", "3", "4", "5", "6"]
    report = next_part(batch(rows), second)
    assert opened(vambe_sandbox) == [str(number) for number in range(1, 9)]
    assert (report["rows"], report["counts"]["opened"], report["counts"]["already_opened"]) == (8, 8, 0)
    assert sorted(report["ai_contact_ids"]) == sorted(ticket["ai_contact_id"] for ticket in vambe_sandbox.tickets())
    assert report["stopped"] is None


def test_every_row_is_counted_once_whatever_became_of_it(vambe_sandbox: Sandbox) -> None:
    next_part(batch(orders(1, 2), deferrable=False, rate="none"))
    unusable = {"id": 90, "phone": "12"}
    refused = orders(91)
    copy, other = orders(3), [{**orders(4)[0], "phone": "+56961234599"}]
    rows = [*orders(1, 2), unusable, *refused, *orders(3), *copy, *orders(4), *other, *orders(5, 6, 7, 8)]
    vambe_sandbox.fault(kind="status", status=422, says="not a valid number", phone=refused[0]["phone"])
    deferred, parts = next_part(batch(rows, max_rejected=3)), 1
    while isinstance(deferred, TaskDeferred):
        deferred, parts = next_part(batch(rows, max_rejected=3), deferred), parts + 1
    report, counts = deferred, {name: count for name, count in deferred["counts"].items() if count}
    assert parts == 3
    assert opened(vambe_sandbox) == [str(number) for number in range(1, 9)]
    assert counts == {"already_opened": 2, "opened": 6, "rejected": 2, "duplicate": 1, "conflict": 1}
    assert report["rows"] == sum(counts.values()) == len(rows)
    # The reason is that of the answer, not that the row was refused before.
    [error] = [error for error in report["errors"] if error["key"] == "id=91"]
    assert error["kind"] == "refused_422"


def test_a_task_that_is_not_deferrable_keeps_its_slot(vambe_sandbox: Sandbox) -> None:
    report = next_part(batch(orders(1, 2, 3), deferrable=False, rate="20/second"))
    assert report["counts"]["opened"] == 3


def test_it_leaves_its_slot_until_the_lease_of_a_killed_try_is_over(
    vambe_sandbox: Sandbox, ledger_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__VAMBE__PERSON_SECRET", PERSON_SECRET)
    connection = settings(vambe_sandbox)
    work: Any = made_of(preparer(connection, vambe_sandbox.stage_id, TICKET, namespace="late"), orders(1)[0])
    with sql_ledger(ledger_url) as ledger:
        claim_of(ledger, work, options(account=connection.account), lease=500)
    deferred = next_part(batch(orders(1, 2), rate="none"))
    assert isinstance(deferred, TaskDeferred)
    assert opened(vambe_sandbox) == ["2"]
    assert 400 < seconds_until(deferred) <= 500


def test_it_leaves_its_slot_while_a_429_asks_it_to_rest(vambe_sandbox: Sandbox) -> None:
    vambe_sandbox.fault(kind="rate_limit", retry_after=200, times=1)
    deferred = next_part(batch(orders(1), rate="none"))
    assert isinstance(deferred, TaskDeferred)
    assert 150 < seconds_until(deferred) <= 200
    assert next_part(batch(orders(1), rate="none"), deferred)["counts"]["opened"] == 1


def test_it_does_not_rest_for_ever(vambe_sandbox: Sandbox) -> None:
    vambe_sandbox.fault(kind="rate_limit", retry_after=200, times="forever")
    deferred = next_part(batch(orders(1)))
    for _ in range(module.MAX_IDLE - 2):
        deferred = next_part(batch(orders(1)), deferred)
    with pytest.raises(VambeDeliveryError, match=r"nothing could be sent 5 times in a row .* Nothing is lost"):
        next_part(batch(orders(1)), deferred)
    assert len(vambe_sandbox.requests("open_ticket")) == module.MAX_IDLE
    vambe_sandbox.clear_faults()
    assert next_part(batch(orders(1)))["counts"]["opened"] == 1


def test_it_sleeps_until_a_window_opens_as_often_as_it_has_to(
    vambe_sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    start, end = (datetime.now(UTC) + timedelta(hours=hours) for hours in (2, 3))
    window = {"days": "daily", "start": f"{start:%H:%M}", "end": f"{end:%H:%M}", "holidays": True, "countries": "MX"}
    always = {"days": "daily", "start": "00:00", "end": "24:00", "holidays": True}
    closed = {"windows": [window, always], "timezone": "UTC"}
    rows = [*orders(1, 2), {"id": 3, "phone": "+525512345678"}]
    deferred = next_part(batch(rows, contact_policy=closed))
    assert opened(vambe_sandbox) == ["1", "2"]
    for _ in range(module.MAX_IDLE + 1):
        assert isinstance(deferred, TaskDeferred)
        assert 7000 < seconds_until(deferred) <= 7200
        deferred = next_part(batch(rows, contact_policy=closed), deferred)
    assert opened(vambe_sandbox) == ["1", "2"]
    report = next_part(batch(rows, contact_policy={"windows": [always]}), deferred)
    assert opened(vambe_sandbox) == ["1", "2", "3"]
    assert (report["rows"], report["counts"]["opened"], report["counts"]["postponed"]) == (3, 3, 0)
    assert (report["policy"], report["next_due"]) == ({}, None)


def test_a_partly_used_period_is_not_begun_anew(vambe_sandbox: Sandbox) -> None:
    """Nothing but a 429 makes the task wait, for 40 seconds; a new process would begin with three tickets at once."""
    vambe_sandbox.fault(kind="rate_limit", retry_after=40, nth=3, times=1)
    deferred = next_part(batch(orders(1, 2, 3), max_concurrency=1))
    assert isinstance(deferred, TaskDeferred)
    assert seconds_until(deferred) > 50


def test_what_it_leaves_for_its_next_part_stays_small(vambe_sandbox: Sandbox, connect: Connect) -> None:
    connect(extra={"rate": "2500/minute"})
    rows = [{"id": number, "phone": f"+5696{number:07d}"} for number in range(2600)]
    deferred = next_part(batch(rows, max_concurrency=64))
    assert isinstance(deferred, TaskDeferred)
    assert deferred.kwargs
    assert deferred.kwargs["earlier"]["counts"]["opened"] == 2500
    assert len(json.dumps(deferred.kwargs)) < 50_000


def test_the_rate_is_explained_only_once(logged: Callable[[], str], caplog: pytest.LogCaptureFixture) -> None:
    rows = [{"id": number, "phone": f"+569612345{number:02d}"} for number in range(5)]
    deferred = next_part(batch(rows))
    assert isinstance(deferred, TaskDeferred)
    assert "5 rows at 3/minute take 1 min 40 s" in logged()
    caplog.clear()
    assert next_part(batch(rows), deferred)["counts"]["opened"] == 5
    assert "5 rows at" not in logged()


def test_keys_are_checked_only_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps({"conn_type": "sqlite", "host": str(tmp_path / "w.db")}))

    def query(*numbers: int) -> SqlToVambeTicketsOperator:
        sql = " UNION ALL ".join(f"SELECT {n} AS id, '+569612345{n:02d}' AS phone" for n in numbers)
        return SqlToVambeTicketsOperator(
            task_id="open", sql=sql, sql_conn_id="warehouse", key_columns=["id"], ticket=TICKET, namespace="late",
            check_keys=True, deferrable=True,
        )  # fmt: skip

    with pytest.raises(AirflowFailException, match="check_keys"):
        next_part(query(1, 1))
    deferred = next_part(query(1, 2, 3, 4, 5))
    assert isinstance(deferred, TaskDeferred)
    # Rows that are double since then are reported one by one.
    report = next_part(query(1, 2, 3, 4, 5, 5), deferred)
    assert (report["counts"]["opened"], report["counts"]["duplicate"]) == (5, 1)


def test_a_dag_with_such_a_task_runs_to_its_end(
    vambe_sandbox: Sandbox, run_dag_test: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "DEFER_AFTER", 0.2)
    with DAG("deferrable", schedule=None) as dag:
        batch(orders(1, 2, 3, 4, 5), rate="2/second")
    result = run_dag_test(dag)
    assert result.tasks == {"open": "success"}
    counts = result.xcom("open")["counts"]
    # dag.test() may lose what a task hands to its next part, so what an earlier part opened counts as opened already.
    assert counts["opened"] + counts["already_opened"] == 5
    assert opened(vambe_sandbox) == ["1", "2", "3", "4", "5"]


def test_a_row_that_the_query_no_longer_returns_is_counted_all_the_same(vambe_sandbox: Sandbox) -> None:
    deferred = next_part(batch(orders(1, 2, 3, 4)))
    assert isinstance(deferred, TaskDeferred)
    report = next_part(batch(orders(3, 4)), deferred)
    assert (report["rows"], report["counts"]["opened"], report["counts"]["already_opened"]) == (4, 4, 0)


def test_the_seconds_are_those_of_all_parts() -> None:
    earlier = Report(rows=1, elapsed=2.5).to_json()
    report = Report(rows=1, elapsed=1.5)
    report.merge(earlier)
    assert report.to_json()["elapsed_seconds"] == 4.0


def test_sending_again_on_purpose_happens_once_in_all_parts(vambe_sandbox: Sandbox) -> None:
    deferred = next_part(batch(orders(1, 2, 3, 4), resend=True))
    assert isinstance(deferred, TaskDeferred)
    report = next_part(batch(orders(1, 2, 3, 4), resend=True), deferred)
    assert report["counts"]["opened"] == 4
    assert len(vambe_sandbox.tickets()) == 4
