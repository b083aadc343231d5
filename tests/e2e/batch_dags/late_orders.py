"""What test_batches.py and test_celery.py run: a night's late orders, in one task, in shards, and at a slow pace."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import DAG

from vambe_provider.transfers.sql_to_vambe import SqlToVambeTicketsOperator

ORDERS: dict[str, Any] = {
    "task_id": "open_tickets",
    "sql": "SELECT order_id, name, phone FROM late_orders ORDER BY order_id",
    "sql_conn_id": "warehouse",
    "key_columns": ["order_id"],
    "ticket": {
        "to_phone_number": "{phone}",
        "stage": "Orders / Late",
        "contact_name": "{name}",
        "message": "Hola {name}, tu pedido {order_id} va tarde",
        "ticket_metadata": {"order_id": "{order_id}"},
    },
}

with DAG("late_orders", schedule=None, is_paused_upon_creation=False):
    SqlToVambeTicketsOperator(namespace="{{ dag_run.conf.get('namespace', 'late') }}", **ORDERS)

with DAG("late_orders_in_shards", schedule=None, is_paused_upon_creation=False):
    SqlToVambeTicketsOperator.partial(
        namespace="late",
        max_concurrency=4,
        shard_count=4,
        retries=4,
        retry_delay=timedelta(seconds=1),
        **ORDERS,
    ).expand(shard_index=[0, 1, 2, 3])

with DAG("late_orders_slowly", schedule=None, is_paused_upon_creation=False):
    # Long enough that the task leaves its worker slot.
    slowly = {**ORDERS, "sql": "SELECT order_id, name, phone FROM late_orders ORDER BY order_id LIMIT 3"}
    SqlToVambeTicketsOperator(namespace="slow", rate="2/40 seconds", deferrable=True, **slowly)
