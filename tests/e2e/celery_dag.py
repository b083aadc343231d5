"""A night's late orders in four shards; the test puts this file into a Dag folder of its own."""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG

from vambe_provider.transfers.sql_to_vambe import SqlToVambeTicketsOperator

with DAG(
    "late_orders_in_shards",
    schedule=None,
    is_paused_upon_creation=False,
    default_args={"retries": 4, "retry_delay": timedelta(seconds=1)},
):
    SqlToVambeTicketsOperator.partial(
        task_id="open_tickets",
        sql="SELECT order_id, name, phone FROM late_orders ORDER BY order_id",
        sql_conn_id="warehouse",
        key_columns=["order_id"],
        namespace="late_orders",
        ticket={
            "to_phone_number": "{phone}",
            "stage": "Orders / Late",
            "contact_name": "{name}",
            "message": "Hola {name}, tu pedido {order_id} va tarde",
            "ticket_metadata": {"order_id": "{order_id}"},
        },
        max_concurrency=4,
        shard_count=4,
    ).expand(shard_index=[0, 1, 2, 3])
