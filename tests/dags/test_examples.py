"""Every example Dag, run to its end by ``dag.test()`` against the sandbox, on every supported Airflow."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from types import SimpleNamespace
from typing import Any

import pytest

from tests.airflow_db import AIRFLOW
from tests.dags.conftest import Shop, parse
from vambe_provider.cli.examples import runnable

pytestmark = pytest.mark.dags


def without_key(metadata: dict[str, str]) -> dict[str, str]:
    """Return ticket metadata without the key that every ticket of ours carries."""
    assert metadata["airflow_ticket_key"]
    return {name: value for name, value in metadata.items() if name != "airflow_ticket_key"}


def examples_parsed() -> dict[str, Any]:
    """Return the Dags of the files that this Airflow can run."""
    return {name: dag for path in runnable() for name, dag in parse(path).items()}


def with_little_patience(dag: Any) -> Any:
    """Let the follow-up give up after a second."""
    dag.get_task("reply").timeout = dag.get_task("reply").poke_interval = 1
    return dag


def test_the_examples_parse_and_tell_their_reader_what_they_are() -> None:
    """No connection exists here, so this also holds that parsing needs none."""
    dags = examples_parsed()
    assert set(dags) == {f"vambe_{path.stem}" for path in runnable()}
    for dag in dags.values():
        assert "For whom:" in dag.doc_md
        assert "What to change:" in dag.doc_md


def test_every_example_has_a_name_for_people_and_says_what_its_parameters_are() -> None:
    for dag in examples_parsed().values():
        assert dag.dag_display_name.startswith("Vambe: ")
        for name in dag.params:
            param = dag.params.get_param(name)
            assert param.schema["title"], (dag.dag_id, name)
            assert param.description.endswith("."), (dag.dag_id, name)


@pytest.mark.parametrize(
    ("file", "tickets"),
    [
        ("late_orders.py", None),
        ("order_confirmation.py", 1),
        ("order_follow_up.py", 1),
        ("payment_reminder.py", 40),
        ("support_escalation.py", 4),
    ],
)
def test_the_queries_find_the_same_in_postgresql(postgres_shop: Shop, file: str, tickets: int | None) -> None:
    dag = postgres_shop.load(file)
    if file == "order_follow_up.py":
        with_little_patience(dag)

    assert postgres_shop.run_dag(dag).state == "success"
    expected = tickets or postgres_shop.planted.sendable
    assert len(postgres_shop.sandbox.tickets()) == postgres_shop.ledger()["opened"] == expected
    if file == "order_follow_up.py":
        assert postgres_shop.query("SELECT outcome FROM order_outcomes") == [("no answer",)]


def test_a_form_is_greeted(shop: Shop) -> None:
    result = shop.run_twice(
        "contact_form.py", submission_id="FORM-7", phone="56 9 8765 4321", name="Ana María", email=None
    )

    [body] = shop.bodies()
    assert without_key(body.pop("ticket_metadata")) == {
        "subject": "Factura",
        "message": "¿Me pueden enviar la factura de mi última compra?",
    }
    assert body == {
        "to_phone_number": "+56987654321",
        "stage_id": shop.sandbox.stage_id("Support / New"),
        "contact_name": "Ana María",
        "contact_metadata": {"form_source": "contact_page", "submission_date": "2026-11-20T14:05:00Z"},
        "integration_data": {},
        "message": {
            "content": "Hola Ana María! Hemos recibido tu mensaje y te responderemos pronto.",
            "ai_generated": False,
        },
    }
    returned = result.xcom("open_ticket")
    assert returned["outcome"] == "opened"
    assert returned["ai_contact_id"] == shop.sandbox.contacts()[0]["id"]


def test_the_number_of_the_form_decides_what_is_the_same_form(shop: Shop) -> None:
    shop.run("contact_form.py", submission_id="FORM-7")
    again = shop.run("contact_form.py", submission_id="FORM-7")
    somebody_else = shop.run("contact_form.py", submission_id="FORM-7", phone="+56 9 8111 1111")
    other = shop.run("contact_form.py", submission_id="FORM-8")

    assert again.xcom("open_ticket")["outcome"] == "already_opened"
    assert somebody_else.state == "failed"
    assert other.xcom("open_ticket")["outcome"] == "opened"
    assert len(shop.sandbox.tickets()) == 2


def test_a_form_with_a_wrong_number_fails_and_sends_nothing(shop: Shop) -> None:
    assert shop.run("contact_form.py", phone="61234567").state == "failed"
    assert shop.sandbox.requests("open_ticket") == []


def test_the_newest_order_is_confirmed(shop: Shop) -> None:
    shop.run_twice("order_confirmation.py")

    newest = "SELECT * FROM orders WHERE status = 'confirmed' ORDER BY order_id DESC LIMIT 1"
    [(order_id, _, _, total, _, items, payment_method, shop_order_id, *_)] = shop.query(newest)
    [body] = shop.bodies()
    assert without_key(body["ticket_metadata"]) == {
        "order_id": order_id,
        "order_total": str(total),
        "items": str(items),
        "payment_method": payment_method,
    }
    assert body["integration_data"]["shopify_order_id"] == shop_order_id
    assert set(body["contact_metadata"]) == {"customer_since", "lifetime_value"}
    assert f"#{order_id}" in body["message"]["content"]
    assert body["message"]["ai_generated"] is False


def test_every_stuck_payment_gets_a_person(shop: Shop) -> None:
    result = shop.run_twice("support_escalation.py")

    stuck = shop.query("SELECT order_id FROM payments WHERE status = 'failed' GROUP BY order_id HAVING COUNT(*) >= 3")
    tickets = shop.sandbox.tickets()
    assert len(tickets) == len(stuck) == 4
    assert {ticket["stage"] for ticket in tickets} == {"Support / Human help"}
    assert {ticket["ticket_metadata"]["priority"] for ticket in tickets} == {"urgent"}
    assert [result.tasks[f"escalate[{index}]"] for index in range(4)] == ["success"] * 4


def test_the_assistant_gets_no_message_to_send(shop: Shop) -> None:
    shop.run_twice("assistant_first.py", phone="573001234567")

    [body] = shop.bodies()
    assert without_key(body.pop("ticket_metadata")) == {}
    assert body == {
        "to_phone_number": "+573001234567",
        "stage_id": shop.sandbox.stage_id("Support / New"),
        "contact_metadata": {},
        "integration_data": {},
    }


def test_failed_payments_are_followed_up_with_the_template(shop: Shop) -> None:
    report = shop.run_twice("payment_reminder.py", template_id="failed_v9").xcom("remind")

    assert report["counts"]["opened"] == len(shop.bodies()) == 40
    names = {name for (name,) in shop.query("SELECT name FROM customers")}
    for body in shop.bodies():
        assert body["message"] == {
            "templateId": "failed_v9",
            "content": body["contact_name"],
            "ai_generated": False,
        }
        assert body["contact_name"] in names


@pytest.mark.parametrize("database", ["shop", "postgres_shop"])
def test_late_orders_of_three_countries_at_any_hour_with_a_reason(
    database: str, request: pytest.FixtureRequest
) -> None:
    """Without the reason, it depends on the hour of this test who is messaged; the end-to-end test sees to that."""
    shop: Shop = request.getfixturevalue(database)
    report = shop.run_twice("by_country.py", window_override="the test runs at any hour").xcom("open_tickets")

    assert report["counts"]["postponed"] == 0
    assert report["counts"]["opened"] == len(shop.bodies()) > 0
    assert {body["to_phone_number"][:3] for body in shop.bodies()} == {"+56", "+52", "+57"}
    reasons = shop.query("SELECT DISTINCT error FROM vambe_ticket_attempts WHERE error_kind = 'window_overridden'")
    assert set(reasons) <= {("the test runs at any hour",)}


def test_a_night_of_late_orders(shop: Shop) -> None:
    report = shop.run_twice("late_orders.py").xcom("open_tickets")

    planted = shop.planted
    assert report["rows"] == planted.rows
    assert report["counts"]["opened"] == planted.sendable
    assert report["counts"]["rejected"] == planted.rejected.total()
    assert report["counts"]["duplicate"] == planted.repeated
    assert report["counts"]["conflict"] == planted.conflicting
    # A row without a key has no place in the ledger.
    assert shop.ledger() == {"opened": planted.sendable, "rejected": planted.rejected.total() - 1}

    metadata = [ticket["ticket_metadata"] for ticket in shop.sandbox.tickets()]
    assert len({item["order_id"] for item in metadata}) == planted.sendable == len(metadata)
    assert len({item["airflow_ticket_key"] for item in metadata}) == planted.sendable

    # One person is one contact, however often and in whichever spelling the number is in the warehouse.
    numbers = [contact["phone"] for contact in shop.sandbox.contacts()]
    assert len(numbers) == len(set(numbers)) < planted.sendable

    # A customer's name is data: it is neither rendered by Jinja nor formatted.
    odd = [body for body in shop.bodies() if "{" in body.get("contact_name", "")]
    assert odd
    for body in odd:
        assert body["contact_name"] in ("{{ dag.dag_id }}", "{order_id}", "{{ DAG.DAG_ID }}", "{ORDER_ID}")
        assert body["message"]["content"].startswith(f"Hola {body['contact_name']}, tu pedido ORD-")


def test_an_answer_is_written_back(shop: Shop) -> None:
    dag = shop.load("order_follow_up.py")

    def answer(context: Mapping[str, Any]) -> None:
        shop.sandbox.customer_replies(context["ti"].xcom_pull("ask")["ai_contact_id"], "Sí, todavía lo quiero")

    dag.get_task("ask").on_success_callback = [answer]

    assert shop.run_dag(dag).state == "success"
    [(order_id, contact, outcome)] = shop.query("SELECT order_id, ai_contact_id, outcome FROM order_outcomes")
    assert outcome == "replied"
    [ticket] = shop.sandbox.tickets()
    assert contact == ticket["ai_contact_id"]
    late = "SELECT order_id FROM orders WHERE status = 'shipped' AND promised_on < date('now')"
    assert order_id == shop.query(f"{late} ORDER BY promised_on, order_id")[0][0]


def test_silence_is_written_back_too_and_nobody_is_asked_again(shop: Shop) -> None:
    for _ in range(2):
        result = shop.run_dag(with_little_patience(shop.load("order_follow_up.py")))
        assert result.state == "success"
        assert result.tasks["reply"] == "skipped"

    assert shop.query("SELECT outcome FROM order_outcomes") == [("no answer",)]
    assert len(shop.sandbox.tickets()) == len(shop.sandbox.messages()) == 1


def test_a_failed_load_is_one_ticket_and_a_later_success_closes_it(shop: Shop) -> None:
    assert shop.run("nightly_alert.py", fail=True).state == "failed"
    [ticket] = shop.sandbox.tickets()
    assert "vambe_nightly_alert failed in the run" in ticket["message"]["content"]
    assert ticket["closed_at"] is None

    assert shop.run("nightly_alert.py").state == "success"
    [ticket] = shop.sandbox.tickets()
    assert ticket["closed_at"] is not None
    assert len(shop.sandbox.requests("open_ticket")) == 1


def test_the_ledger_is_counted_and_a_person_is_told_of_what_is_unknown_only(shop: Shop) -> None:
    shop.run("contact_form.py")
    quiet = shop.run("ledger_maintenance.py")
    assert quiet.tasks == {"count": "success", "forget": "success", "tell": "skipped"}
    assert quiet.xcom("count") == {"opened": 1}

    with closing(sqlite3.connect(shop.warehouse)) as connection, connection:
        connection.execute("UPDATE vambe_ticket_ledger SET state = 'unknown'")
    assert shop.run("ledger_maintenance.py").tasks["tell"] == "success"
    assert "1 tickets may or may not exist" in shop.bodies()[-1]["message"]["content"]


def test_an_answer_from_before_the_question_does_not_count(shop: Shop) -> None:
    [(phone,)] = shop.query("SELECT phone FROM contacts JOIN orders USING (customer_id) WHERE order_id = 'ORD-100016'")
    contact = shop.sandbox.seed_contact(phone)
    shop.sandbox.customer_replies(contact, "¿Dónde está mi pedido?")

    result = shop.run_dag(with_little_patience(shop.load("order_follow_up.py")), run_conf={"order_id": "ORD-100016"})
    assert result.xcom("ask")["ai_contact_id"] == contact
    assert result.tasks["reply"] == "skipped"


@pytest.mark.skipif(AIRFLOW < (3, 0), reason="no asset is watched before Airflow 3")
def test_a_recovered_order_is_written_back(shop: Shop) -> None:
    for order in ("ORD-100016", "ORD-100017"):
        shop.run_dag(with_little_patience(shop.load("order_follow_up.py")), run_conf={"order_id": order})
    [first, second] = [
        contact for (contact,) in shop.query("SELECT ai_contact_id FROM order_outcomes ORDER BY order_id")
    ]
    written = "SELECT outcome FROM order_outcomes ORDER BY order_id"
    assert shop.query(written) == [("no answer",), ("no answer",)]

    result = shop.run("order_recovered.py", ai_contact_id=first)
    assert result.xcom("write_outcome") == [first]
    assert shop.query(written) == [("recovered",), ("no answer",)]

    # What the events of a watcher make of it: one comes twice when somebody writes to the ticket again.
    note = shop.load("order_recovered.py").get_task("write_outcome").python_callable
    event = SimpleNamespace(extra={"payload": {"ai_contact_id": second}})
    written_back = note(params={}, triggering_asset_events={note.__globals__["RECOVERED"]: [event, event]})
    assert written_back == [second]
    assert shop.query(written) == [("recovered",), ("recovered",)]
    assert len(shop.sandbox.requests("open_ticket")) == 2
