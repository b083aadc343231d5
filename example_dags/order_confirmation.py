"""A confirmed order becomes a ticket, with everything that an agent needs to know about it.

For whom: a shop whose loader updates the asset ``warehouse://shop/orders`` after it has written new orders.

What to change: the query (this one runs on PostgreSQL and on SQLite), the stage and the text. The task
``newest_order`` builds the whole request, in the words of the API; the operator checks it before anything is sent.
For all new orders at once, see ``late_orders.py``.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from airflow.providers.common.compat.sdk import DAG, Asset, BaseHook, Param, task

from vambe_provider.operators.vambe import VambeOpenTicketOperator

QUERY = """
    SELECT o.order_id, o.total, o.items, o.payment_method, o.shop_order_id, o.tracking_number,
           c.name, c.phone, c.email, c.created_on, c.lifetime_value
    FROM orders o JOIN contacts c ON c.customer_id = o.customer_id
    WHERE o.status = 'confirmed' AND o.order_id = COALESCE({order_id}, o.order_id)
    ORDER BY o.order_id DESC LIMIT 1
"""

with DAG(
    dag_id="vambe_order_confirmation",
    dag_display_name="Vambe: order: confirm it",
    description="One ticket for the newest confirmed order",
    schedule=[Asset("warehouse://shop/orders")],
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    params={
        "order_id": Param(
            None, type=["string", "null"], title="Order", description="The order to confirm; empty for the newest one."
        )
    },
    tags=["vambe"],
    doc_md=__doc__,
):

    @task
    def newest_order(params: dict[str, Any]) -> dict[str, Any]:
        hook = BaseHook.get_hook("warehouse")
        row = hook.get_first(QUERY.format(order_id=hook.placeholder), parameters=(params["order_id"],))
        order_id, total, items, payment_method, shop_order_id, tracking, name, phone, email, since, value = row
        return {
            "to_phone_number": phone,
            "stage": "Orders / New",
            "contact_name": name,
            "email": email,
            "contact_metadata": {"customer_since": since, "lifetime_value": value},
            "ticket_metadata": {
                "order_id": order_id,
                "order_total": total,
                "items": items,
                "payment_method": payment_method,
            },
            "integration_data": {"shopify_order_id": shop_order_id, "tracking_number": tracking or "pending"},
            "message": {
                "content": f"¡Hola {name}! Tu pedido #{order_id} ha sido confirmado. Total: ${total}",
                "ai_generated": False,
            },
        }

    order = newest_order()
    VambeOpenTicketOperator(
        task_id="open_ticket",
        ticket=order,
        ticket_key="order-confirmed/{{ ti.xcom_pull('newest_order')['ticket_metadata']['order_id'] }}",
        ledger_conn_id="warehouse",
    )
