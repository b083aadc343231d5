from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from tests.unit.tasks import Ti, context
from vambe_provider.compat import DAG, AirflowFailException, AirflowSkipException
from vambe_provider.exceptions import VambeConfigError, VambeDeliveryError
from vambe_provider.operators.vambe import VambeOpenTicketBatchOperator

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.unit.conftest import Connect
    from vambe_provider.sandbox import Sandbox

ROWS = [
    {"id": 1, "name": "Ana", "phone": "+56961234567", "total": 1500.5},
    {"id": 2, "name": "Bea", "phone": "+56987654321", "total": 20},
]
TICKET = {
    "to_phone_number": "{phone}",
    "stage": "Orders / Late",
    "contact_name": "{name}",
    "ticket_metadata": {"order": "{id}"},
    "message": "Hola {name}, {total:,.0f}",
}


@pytest.fixture(autouse=True)
def _connections(connect: Connect, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    connect()
    monkeypatch.setenv("AIRFLOW_CONN_LEDGER", f"sqlite:///{tmp_path / 'ledger.sqlite'}")


def batch(rows: Any = ROWS, **fields: Any) -> VambeOpenTicketBatchOperator:
    arguments = {"key_columns": ["id"], "ticket": TICKET, "namespace": "late", "ledger_conn_id": "ledger", **fields}
    return VambeOpenTicketBatchOperator(task_id="open", rows=rows, **arguments)


def test_each_row_becomes_one_ticket_and_the_report_is_plain_json(vambe_sandbox: Sandbox) -> None:
    report = batch().execute(context())
    assert (report["rows"], report["counts"]["opened"], report["errors"]) == (2, 2, [])
    sent = {ticket["contact_name"]: ticket["message"] for ticket in vambe_sandbox.tickets()}
    assert [text["content"] if isinstance(text, dict) else text for text in sent.values()] == [
        "Hola Ana, 1,500",
        "Hola Bea, 20",
    ]
    assert set(report["ai_contact_ids"]) == {ticket["ai_contact_id"] for ticket in vambe_sandbox.tickets()}


def test_a_second_run_sends_nothing(vambe_sandbox: Sandbox) -> None:
    batch().execute(context())
    again = batch([*ROWS, {"id": 3, "name": "Caro", "phone": "+56922222222", "total": 1}])
    report = again.execute(context(ti=Ti(run_id="run-2")))
    assert (report["counts"]["already_opened"], report["counts"]["opened"]) == (2, 1)
    assert len(vambe_sandbox.tickets()) == 3


def test_a_retry_names_the_contacts_of_its_earlier_try_and_another_run_does_not(vambe_sandbox: Sandbox) -> None:
    first = batch().execute(context())
    retry = batch().execute(context(ti=Ti(try_number=2)))
    assert (retry["counts"]["already_opened"], retry["ai_contact_ids"]) == (2, first["ai_contact_ids"])
    assert batch().execute(context(ti=Ti(run_id="run-2")))["ai_contact_ids"] == []
    assert len(vambe_sandbox.tickets()) == 2


def test_a_dry_run_sends_nothing_and_a_real_one_follows(vambe_sandbox: Sandbox) -> None:
    assert batch(dry_run="true").execute(context())["counts"]["dry_run"] == 2
    assert vambe_sandbox.tickets() == []
    assert batch().execute(context())["counts"]["opened"] == 2


def test_a_function_can_make_the_request_and_skip_rows(vambe_sandbox: Sandbox) -> None:
    def request(row: dict[str, Any]) -> dict[str, Any] | None:
        return None if row["id"] == 1 else {"to_phone_number": row["phone"], "stage": "Support / New"}

    report = batch(ticket=request).execute(context())
    assert (report["counts"]["skipped"], report["counts"]["opened"]) == (1, 1)


def test_a_function_is_no_template_field() -> None:
    assert "ticket" not in batch(ticket=lambda row: row).template_fields
    assert "ticket" in batch().template_fields


@pytest.mark.parametrize("native", [True, False])
def test_rows_and_arguments_survive_templating(vambe_sandbox: Sandbox, native: bool) -> None:
    with DAG("templated", schedule=None, render_template_as_native_obj=native):
        task = batch(
            "{{ upstream }}",
            shard_index="{{ shard }}",
            shard_count="{{ 1 }}",
            dry_run="{{ dry }}",
            ticket={**TICKET, "message": "{{ greeting }} {name}"},
        )
    run = context(upstream=ROWS, shard=0, dry=False, greeting="Hola")
    task.render_template_fields(run)
    assert task.execute(run)["counts"]["opened"] == 2
    assert {ticket["contact_name"] for ticket in vambe_sandbox.tickets()} == {"Ana", "Bea"}


def test_what_is_in_a_row_is_never_a_template(vambe_sandbox: Sandbox, run_dag_test: Any) -> None:
    from airflow.providers.common.compat.sdk import task

    with DAG("rows", schedule=None) as dag:

        @task
        def rows() -> list[dict[str, Any]]:
            return [{"id": 1, "name": "{{ ds }} {phone}", "phone": "+56961234567", "total": 1}]

        VambeOpenTicketBatchOperator(
            task_id="open", rows=rows(), key_columns=["id"], ticket=TICKET, ledger_conn_id="ledger"
        )
    result = run_dag_test(dag)
    assert result.tasks == {"rows": "success", "open": "success"}
    [ticket] = vambe_sandbox.tickets()
    assert ticket["contact_name"] == "{{ ds }} {phone}"
    assert result.xcom("open")["counts"]["opened"] == 1


class TestBadRows:
    def test_the_others_are_sent_and_the_task_fails_with_the_reason(
        self, vambe_sandbox: Sandbox, logged: Callable[[], str]
    ) -> None:
        run = context()
        rows = [{"id": 7, "name": None, "phone": "+56911111111", "total": 1}, *ROWS]
        with pytest.raises(AirflowFailException, match="1 rows were rejected or in conflict"):
            batch(rows).execute(run)
        assert len(vambe_sandbox.tickets()) == 2
        assert run["ti"].pushed["return_value"]["counts"]["opened"] == 2
        text = logged()
        assert "rejected id=7: " in text
        assert "column name is null" in text
        assert "56911111111" not in text

    def test_some_may_be_rejected(self) -> None:
        rows = [*ROWS, {"id": 7, "name": "Dora", "phone": "12", "total": 1}]
        report = batch(rows, max_rejected="40%").execute(context())
        assert (report["counts"]["rejected"], report["counts"]["opened"]) == (1, 2)

    def test_a_column_that_one_row_lacks_is_null_in_it(self) -> None:
        rows = [*ROWS, {"id": 7, "phone": "+56911111111", "total": 1}]
        report = batch(rows, max_rejected=1).execute(context())
        assert "name is null" in report["errors"][0]["reason"]

    def test_a_row_without_a_key_is_rejected(self) -> None:
        report = batch([{**ROWS[0], "id": None}, ROWS[1]], max_rejected=1).execute(context())
        assert "key column id: is null" in report["errors"][0]["reason"]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"ticket": {**TICKET, "message": "{surname}"}}, "returns no column surname"),
        ({"ticket": {**TICKET, "stage": "Orders / Latte"}}, "Did you mean Orders / Late"),
        ({"ticket": {**TICKET, "phone": "{phone}"}}, "unknown fields phone"),
        ({"ticket": "a text"}, "ticket: must be a dict or a function"),
        ({"key_columns": []}, "key_columns: at least one column"),
        ({"key_columns": "number"}, "returns no column number"),
        ({"ledger_conn_id": None}, "ledger_conn_id: is missing"),
        ({"namespace": " late"}, "namespace: must have"),
        ({"namespace": "None"}, "namespace: is given, and its template gave nothing"),
        ({"namespace": ""}, "namespace: is given, and its template gave nothing"),
        ({"ledger_conn_id": " "}, "ledger_conn_id: is given, and its template gave nothing"),
        ({"rate": "often"}, "rate"),
        ({"max_rejected": "some"}, "max_rejected"),
        ({"max_concurrency": 0}, "max_concurrency: is not a whole number from 1 on"),
        ({"shard_index": 2, "shard_count": 2}, "shard_index 2 is not below shard_count 2"),
        ({"on_empty": "ignore"}, "on_empty: is not one of skip, succeed, fail"),
        ({"on_unknown": "ask"}, "on_unknown: is not one of fail, resend"),
        ({"on_change": "ask"}, "on_change: is not one of ignore, open_again"),
        ({"contact_policy": "no {{ body }}"}, "contact_policy.preset: there is no preset of that name"),
        ({"contact_policy": {"timezone": "zone"}}, "zone"),
        ({"window_override": "recall"}, "window_override: there is no contact policy to override"),
        ({"window_override": "x" * 201, "contact_policy": "service"}, "window_override: is not a text of up to 200"),
        ({"rows": {"id": 1}}, "rows: a list of dicts is needed, not dict"),
        ({"rows": ["x"]}, "rows: item 0 is a str, not a dict"),
        ({"rows": "<Order 7>"}, "rows: this text is not a list of dicts"),
    ],
)
def test_a_wrong_argument_is_named_before_anything_is_sent(
    vambe_sandbox: Sandbox, arguments: dict[str, Any], expected: str
) -> None:
    with pytest.raises(AirflowFailException) as caught:
        batch(**arguments).execute(context())
    assert expected in str(caught.value)
    assert vambe_sandbox.requests("open_ticket") == []


def closed(**more: Any) -> dict[str, Any]:
    """Return a policy whose window opens in two hours."""
    start, end = (datetime.now(UTC) + timedelta(hours=hours) for hours in (2, 3))
    window = {"days": "daily", "start": f"{start:%H:%M}", "end": f"{end:%H:%M}", "holidays": True}
    return {"windows": [window], "timezone": "UTC", **more}


class TestPolicy:
    def test_the_connections_policy_holds_for_a_task_without_one(
        self, connect: Connect, vambe_sandbox: Sandbox, logged: Callable[[], str]
    ) -> None:
        connect(extra={"contact_policy": json.dumps(closed())})
        report = batch().execute(context())
        assert report["counts"]["postponed"] == report["rows"] > 0
        assert report["policy"] == {"outside_window": report["rows"]}
        assert "the first may be sent at" in logged()
        assert vambe_sandbox.requests("open_ticket") == []

    def test_the_tasks_policy_wins(self, connect: Connect, vambe_sandbox: Sandbox) -> None:
        connect(extra={"contact_policy": json.dumps(closed())})
        report = batch(contact_policy={"windows": "any"}).execute(context())
        assert report["counts"]["opened"] == report["rows"] == vambe_sandbox.ticket_count

    def test_a_wrong_policy_of_the_connection_is_named(self, connect: Connect, vambe_sandbox: Sandbox) -> None:
        connect(extra={"contact_policy": "nobody"})
        with pytest.raises(AirflowFailException, match=r"extra contact_policy\.preset: there is no preset"):
            batch().execute(context())
        assert vambe_sandbox.requests("open_ticket") == []

    @pytest.mark.parametrize("policy", ["nobody", {"window": []}, {"caps": [{"n": 0}]}, "{'windows': 1", 7])
    def test_an_invalid_policy_fails_when_the_dag_is_parsed(self, policy: Any) -> None:
        with pytest.raises(VambeConfigError, match="contact_policy"):
            batch(contact_policy=policy)

    def test_a_query_of_opt_outs_runs_on_its_own_connection_or_on_the_ledgers(
        self, vambe_sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("AIRFLOW_CONN_CRM", f"sqlite:///{tmp_path / 'crm.sqlite'}")
        with closing(sqlite3.connect(tmp_path / "crm.sqlite")) as crm:
            crm.execute("CREATE TABLE stop (phone TEXT, since TEXT)")
            crm.execute("INSERT INTO stop VALUES ('56 9 8765 4321', '2026-01-01')")
            crm.commit()
        lists = {"sql": "SELECT phone, since FROM stop", "conn_id": "crm"}
        with pytest.raises(VambeDeliveryError, match="the query of opt-outs failed"):
            batch(contact_policy={"suppression": {**lists, "conn_id": None}}).execute(context())
        assert vambe_sandbox.requests("open_ticket") == []
        report = batch(contact_policy={"suppression": lists}).execute(context())
        assert (report["counts"]["opened"], report["counts"]["suppressed"]) == (1, 1)
        [ticket] = vambe_sandbox.tickets()
        assert ticket["ticket_metadata"]["order"] == "1"

    def test_a_cap_of_the_sender_leaves_the_rest_for_later(self, vambe_sandbox: Sandbox) -> None:
        caps = [{"n": 1, "per": "sender", "period": "1 day"}]
        report = batch(contact_policy={"caps": caps}).execute(context())
        assert report["counts"]["opened"] == vambe_sandbox.ticket_count == 1
        assert report["policy"] == {"sender_cap_reached": report["rows"] - 1}
        assert report["counts"]["postponed"] == report["rows"] - 1 > 0

    def test_an_override_is_rendered_and_opens_a_window(self, vambe_sandbox: Sandbox) -> None:
        report = batch(contact_policy=closed(), window_override="recall").execute(context())
        assert report["counts"]["opened"] == vambe_sandbox.ticket_count > 0
        assert {"contact_policy", "window_override"} <= set(VambeOpenTicketBatchOperator.template_fields)


class TestNoRows:
    def test_the_task_is_skipped(self) -> None:
        with pytest.raises(AirflowSkipException):
            batch([]).execute(context())

    def test_or_succeeds(self) -> None:
        assert batch([], on_empty="succeed").execute(context())["rows"] == 0

    def test_or_fails_and_may_be_retried(self) -> None:
        with pytest.raises(VambeDeliveryError, match="There are no rows"):
            batch([], on_empty="fail").execute(context())

    def test_a_shard_without_rows_of_its_own_is_not_empty(self, vambe_sandbox: Sandbox) -> None:
        reports = [batch(ROWS[:1], shard_index=shard, shard_count=2).execute(context()) for shard in range(2)]
        assert sorted(report["rows"] for report in reports) == [0, 1]
        assert len(vambe_sandbox.tickets()) == 1


def test_a_killed_task_begins_nothing_new_and_loses_nothing(vambe_sandbox: Sandbox) -> None:
    rows = [{**ROWS[0], "id": number, "phone": f"+569612345{number:02d}"} for number in range(40)]
    task = batch(rows, max_concurrency=1)

    def killing(_: Any) -> bool:
        task.on_kill()
        return True

    vambe_sandbox.fault(kind="status", status=429, phone=killing, nth=5)
    with pytest.raises(VambeDeliveryError, match="told to stop"):
        task.execute(context())
    assert len(vambe_sandbox.tickets()) < 40
    batch(rows).execute(context(ti=Ti(try_number=2)))
    assert sorted(ticket["ticket_metadata"]["order"] for ticket in vambe_sandbox.tickets()) == sorted(
        map(str, range(40))
    )


def test_a_paced_run_says_first_how_long_it_takes(connect: Connect, logged: Callable[[], str]) -> None:
    connect(extra={"rate": "1/second"})
    batch(ROWS).execute(context())
    assert "2 rows at 1/second take 2 s" in logged()


def test_nothing_is_expected_of_a_context_of_ones_own() -> None:
    assert batch().execute({})["counts"]["opened"] == 2
