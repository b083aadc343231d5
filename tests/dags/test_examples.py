"""Every example Dag, run to its end by ``dag.test()`` against the sandbox, on every supported Airflow."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from tests.dags.conftest import EXAMPLES, Shop

pytestmark = pytest.mark.dags

FILES = sorted(path.name for path in EXAMPLES.glob("*.py"))
METADATA = ("contact_metadata", "ticket_metadata", "integration_data")


def without_key(metadata: dict[str, str]) -> dict[str, str]:
    """Return ticket metadata without the key that every ticket of ours carries."""
    assert metadata["airflow_ticket_key"]
    return {name: value for name, value in metadata.items() if name != "airflow_ticket_key"}


@pytest.mark.parametrize("file", [name for name in FILES if name != "order_follow_up.py"])
def test_a_second_run_opens_nothing(shop: Shop, file: str) -> None:
    assert shop.run(file).state == "success"
    tickets, messages = len(shop.sandbox.tickets()), len(shop.sandbox.messages())
    assert tickets > 0
    assert shop.ledger()["opened"] == tickets

    assert shop.run(file).state == "success"
    assert len(shop.sandbox.tickets()) == tickets
    assert len(shop.sandbox.messages()) == messages
    assert len(shop.sandbox.requests("open_ticket")) == tickets


@pytest.mark.parametrize("file", FILES)
def test_an_example_tells_its_reader_what_it_is(shop: Shop, file: str) -> None:
    dag = shop.load(file)
    assert dag.doc_md
    assert "For whom:" in dag.doc_md
    assert "What to change:" in dag.doc_md
    assert dag.dag_id == f"vambe_{file.removesuffix('.py')}"


def test_a_form_is_greeted(shop: Shop) -> None:
    result = shop.run(
        "contact_form.py", submission_id="FORM-7", phone="56 9 8765 4321", name="Ana {{ ds }}", email=None
    )

    [body] = shop.bodies()
    assert without_key(body.pop("ticket_metadata")) == {
        "subject": "Factura",
        "message": "¿Me pueden enviar la factura de mi última compra?",
    }
    assert body == {
        "to_phone_number": "+56987654321",
        "stage_id": shop.sandbox.stage_id("Support / New"),
        "contact_name": "Ana {{ ds }}",
        "contact_metadata": {"form_source": "contact_page", "submission_date": "2026-11-20T14:05:00Z"},
        "integration_data": {},
        "message": {
            "content": "Hola Ana {{ ds }}! Hemos recibido tu mensaje y te responderemos pronto.",
            "ai_generated": False,
        },
    }
    returned = result.xcom("open_ticket")
    assert returned["outcome"] == "opened"
    assert returned["ai_contact_id"] == shop.sandbox.contacts()[0]["id"]


def test_a_form_that_is_sent_again_says_so(shop: Shop) -> None:
    shop.run("contact_form.py", submission_id="FORM-7")
    again = shop.run("contact_form.py", submission_id="FORM-7", phone="+56 9 1111 1111")
    other = shop.run("contact_form.py", submission_id="FORM-8")

    assert again.xcom("open_ticket")["outcome"] == "already_opened"
    assert other.xcom("open_ticket")["outcome"] == "opened"
    assert len(shop.sandbox.tickets()) == 2


def test_a_form_with_a_wrong_number_fails_and_sends_nothing(shop: Shop) -> None:
    assert shop.run("contact_form.py", phone="61234567").state == "failed"
    assert shop.sandbox.requests("open_ticket") == []


def test_the_newest_order_is_confirmed(shop: Shop) -> None:
    shop.run("order_confirmation.py")

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
    result = shop.run("support_escalation.py")

    stuck = shop.query("SELECT order_id FROM payments WHERE status = 'failed' GROUP BY order_id HAVING COUNT(*) >= 3")
    tickets = shop.sandbox.tickets()
    assert len(tickets) == len(stuck) == 4
    assert {ticket["stage"] for ticket in tickets} == {"Support / Human help"}
    assert {ticket["ticket_metadata"]["priority"] for ticket in tickets} == {"urgent"}
    assert [result.tasks[f"escalate[{index}]"] for index in range(4)] == ["success"] * 4


def test_the_assistant_gets_no_message_to_send(shop: Shop) -> None:
    shop.run("assistant_first.py", phone="573001234567")

    [body] = shop.bodies()
    assert body["to_phone_number"] == "+573001234567"
    assert "message" not in body
    assert [body[name] for name in METADATA if name != "ticket_metadata"] == [{}, {}]
    assert without_key(body["ticket_metadata"]) == {}


def test_failed_payments_are_followed_up_with_the_template(shop: Shop) -> None:
    report = shop.run("payment_reminder.py", template_id="failed_v9").xcom("remind")

    assert report["counts"]["opened"] == len(shop.bodies()) == 40
    names = {name for (name,) in shop.query("SELECT name FROM customers")}
    for body in shop.bodies():
        assert body["message"]["templateId"] == "failed_v9"
        assert body["message"]["content"] == body["contact_name"]
        assert body["contact_name"] in names
        assert body["message"]["ai_generated"] is False


def test_a_night_of_late_orders(shop: Shop) -> None:
    report = shop.run("late_orders.py").xcom("open_tickets")

    planted = shop.planted
    assert report["rows"] == planted.rows
    assert report["counts"]["opened"] == planted.sendable
    assert report["counts"]["rejected"] == planted.rejected.total()
    assert report["counts"]["duplicate"] == planted.repeated
    assert report["counts"]["conflict"] == planted.conflicting
    # A row without a key has no place in the ledger.
    assert shop.ledger() == {"opened": planted.sendable, "rejected": planted.rejected.total() - 1}

    tickets = shop.sandbox.tickets()
    assert len({ticket["ticket_metadata"]["airflow_ticket_key"] for ticket in tickets}) == planted.sendable
    assert len({ticket["ticket_metadata"]["order_id"] for ticket in tickets}) == planted.sendable == len(tickets)


def test_one_person_is_one_contact_however_the_number_is_spelled(shop: Shop) -> None:
    shop.run("late_orders.py")

    numbers = [contact["phone"] for contact in shop.sandbox.contacts()]
    assert len(numbers) == len(set(numbers)) < shop.planted.sendable
    assert all(len(number.lstrip("+")) in (11, 12, 13) for number in numbers)


def test_a_customer_name_is_never_rendered(shop: Shop) -> None:
    shop.run("late_orders.py")

    odd = [body for body in shop.bodies() if "{" in body.get("contact_name", "")]
    assert odd
    for body in odd:
        assert body["contact_name"] in ("{{ dag.dag_id }}", "{order_id}")
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


def test_silence_is_written_back_too(shop: Shop) -> None:
    dag = shop.load("order_follow_up.py")
    dag.get_task("reply").timeout = dag.get_task("reply").poke_interval = 0.5

    result = shop.run_dag(dag)
    assert result.state == "success"
    assert result.tasks["reply"] == "skipped"
    assert [outcome for _, _, outcome, _ in shop.query("SELECT * FROM order_outcomes")] == ["no answer"]


def test_a_follow_up_asks_once(shop: Shop) -> None:
    for _ in range(2):
        dag = shop.load("order_follow_up.py")
        dag.get_task("reply").timeout = dag.get_task("reply").poke_interval = 0.5
        assert shop.run_dag(dag).state == "success"
    assert len(shop.sandbox.tickets()) == len(shop.sandbox.messages()) == 1
