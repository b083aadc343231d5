"""Ask a customer about a late order, wait for the answer, and write what came of it back to the warehouse.

For whom: teams whose next step depends on the customer. The analysts find the outcome in the table
``order_outcomes``.

What to change: the query (this one runs on PostgreSQL and on SQLite), how long to wait (``PATIENCE``; hours or days
in real life) and how often to look. The waiting task is deferred: it takes no worker slot, and all waits of a
connection share their requests. A customer who does not answer is an outcome too, not a failure.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.providers.common.compat.sdk import DAG, BaseHook, Param, task

from vambe_provider.operators.vambe import VambeOpenTicketOperator
from vambe_provider.sensors.vambe import VambeTicketSensor

PATIENCE = timedelta(minutes=1)
COLUMNS = ["order_id", "ai_contact_id", "outcome", "noted_at"]
QUERY = """
    SELECT o.order_id, c.name, c.phone
    FROM orders o JOIN contacts c ON c.customer_id = o.customer_id
    WHERE o.status = 'shipped' AND o.promised_on < CURRENT_DATE
      AND o.order_id = COALESCE({order_id}, o.order_id)
    ORDER BY o.promised_on, o.order_id LIMIT 1
"""

with DAG(
    dag_id="vambe_order_follow_up",
    dag_display_name="Vambe: late order: ask, wait, write back",
    description="Ticket, wait for the customer, outcome back to the warehouse",
    schedule=None,
    params={
        "order_id": Param(
            None,
            type=["string", "null"],
            title="Order",
            description="The order to ask about; empty for the latest one.",
        )
    },
    tags=["vambe"],
    doc_md=__doc__,
):

    @task
    def late_order(params: dict[str, Any]) -> dict[str, Any]:
        hook = BaseHook.get_hook("warehouse")
        query = QUERY.format(order_id=hook.placeholder)
        order_id, name, phone = hook.get_first(query, parameters=(params["order_id"],))
        return {"order_id": order_id, "name": name, "phone": phone}

    @task(trigger_rule="none_failed")
    def write_outcome(order: dict[str, Any], ticket: dict[str, Any], answer: list[dict[str, Any]] | None) -> None:
        outcome = "replied" if answer else "no answer"
        row = (order["order_id"], ticket["ai_contact_id"], outcome, datetime.now(UTC).isoformat(" "))
        BaseHook.get_hook("warehouse").insert_rows(
            "order_outcomes", [row], target_fields=COLUMNS, replace=True, replace_index="order_id"
        )

    order = late_order()
    ask = VambeOpenTicketOperator(
        task_id="ask",
        to_phone_number="{{ ti.xcom_pull('late_order')['phone'] }}",
        stage="Orders / Late",
        contact_name="{{ ti.xcom_pull('late_order')['name'] }}",
        message="Hola {{ ti.xcom_pull('late_order')['name'] }}, tu pedido viene atrasado. ¿Todavía lo quieres?",
        ticket_key="order-follow-up/{{ ti.xcom_pull('late_order')['order_id'] }}",
        ledger_conn_id="warehouse",
    )
    reply = VambeTicketSensor(
        task_id="reply",
        ai_contact_ids=ask.output,
        until="replied",
        poke_interval=5,
        timeout=PATIENCE.total_seconds(),
        soft_fail=True,
        deferrable=True,
    )
    order >> ask
    write_outcome(order, ask.output, reply.output)
