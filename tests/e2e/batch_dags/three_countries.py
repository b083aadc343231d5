"""What test_batches.py runs: people in three countries, for two of whom it is night when the batch starts."""

from __future__ import annotations

from airflow.sdk import DAG

from vambe_provider.transfers.sql_to_vambe import SqlToVambeTicketsOperator

with DAG("three_countries", schedule=None, is_paused_upon_creation=False):
    SqlToVambeTicketsOperator(
        task_id="open_tickets",
        sql="SELECT order_id, name, phone FROM travellers ORDER BY order_id",
        sql_conn_id="warehouse",
        key_columns=["order_id"],
        namespace="three-countries",
        ticket={
            "to_phone_number": "{phone}",
            "stage": "Orders / Late",
            "contact_name": "{name}",
            "message": "Hola {name}, tu pedido {order_id} va tarde",
            "ticket_metadata": {"order_id": "{order_id}"},
        },
        contact_policy="{{ dag_run.conf['policy'] }}",
        deferrable=True,
    )
