"""Every day at noon, each late order becomes one ticket: the nightly warehouse query.

For whom: a data team with a table in which some rows mean "somebody should be told".

What to change: the query (this one runs on PostgreSQL and on SQLite), the columns that make a row unique, and the
mapping. ``{column}`` stands for the row's value. A value that is nothing but ``{column}`` may be null and is then
left out; a null inside a text rejects the row, so nobody reads "Hola None". The view ``contacts`` puts the country
code in front of numbers that lack it.

What is promised: an order is a ticket once, whatever crashes in between and however often this runs. A row that
cannot be sent is rejected with the reason and stops no other; the task fails at the end when more than one row in ten
was rejected. It runs when it is day in every country of the table, because every row may reach a person.
"""

from __future__ import annotations

from datetime import UTC, datetime

from airflow.providers.common.compat.sdk import DAG

from vambe_provider.transfers.sql_to_vambe import SqlToVambeTicketsOperator

with DAG(
    dag_id="vambe_late_orders",
    dag_display_name="Vambe: late orders: a ticket each",
    description="One ticket for each order that is late",
    schedule="0 16 * * *",  # UTC: 10:00 in Mexico City, 13:00 in Buenos Aires, 12:00 or 13:00 in Santiago
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    tags=["vambe"],
    doc_md=__doc__,
):
    SqlToVambeTicketsOperator(
        task_id="open_tickets",
        sql_conn_id="warehouse",
        sql="""
            SELECT o.order_id, o.total, o.currency, o.promised_on, o.shop_order_id, o.tracking_number,
                   c.name, c.phone, c.email, c.country
            FROM orders o JOIN contacts c ON c.customer_id = o.customer_id
            WHERE o.status = 'shipped' AND o.promised_on < CURRENT_DATE
            ORDER BY o.promised_on, o.order_id
        """,
        key_columns=["order_id"],
        namespace="late-orders",
        ticket={
            "to_phone_number": "{phone}",
            "stage": "Orders / Late",
            "contact_name": "{name}",
            "email": "{email}",
            "contact_metadata": {"country": "{country}"},
            "ticket_metadata": {"order_id": "{order_id}", "promised_on": "{promised_on}"},
            "integration_data": {"shop_order_id": "{shop_order_id}", "tracking_number": "{tracking_number}"},
            "message": "Hola {name}, tu pedido {order_id} por {currency} {total:,.0f} viene atrasado. ¿Te ayudamos?",
        },
        max_rejected="10%",
    )
