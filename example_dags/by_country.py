"""Every night, late orders of three countries: each person is messaged in the hours of their own country.

For whom: a warehouse that is ready at 2 a.m., and customers who are asleep then.

What to change: the query (this one runs on PostgreSQL and on SQLite), the hours, and for how long a row is worth
sending. ``windows="preset"`` would take hours that we know of each country and purpose; ``python -m vambe_provider
policy explain`` says what a policy decides for a number at a moment.

What is promised: where it is day, the ticket is sent; the other rows are postponed, and the task sleeps without a
worker slot until the first of them may be sent. A row that is not sent within three days is left out. A person who
must be reached at any hour, as in a recall of a product, needs a reason as ``window_override``, which the ledger keeps;
nothing overrides an opt-out.
"""

from __future__ import annotations

from datetime import UTC, datetime

from airflow.providers.common.compat.sdk import DAG, Param

from vambe_provider.contact_policy import ContactPolicy, ContactWindow
from vambe_provider.transfers.sql_to_vambe import SqlToVambeTicketsOperator

COUNTRIES = ("CL", "MX", "CO")
POLICY = ContactPolicy(
    purpose="service",
    windows=[
        ContactWindow(days="mon-sat", start="09:00", end="20:00", countries="CL"),
        ContactWindow(days="mon-sat", start="10:00", end="20:00", countries="MX"),
        ContactWindow(days="mon-fri", start="07:00", end="19:00", countries="CO"),
        ContactWindow(days="sat", start="08:00", end="15:00", countries="CO"),
    ],
    expires="3 days",
)

with DAG(
    dag_id="vambe_by_country",
    dag_display_name="Vambe: late orders: each country in its own hours",
    description="Late orders of three countries, each in the hours of its own country",
    schedule="0 5 * * *",  # UTC: 23:00 in Mexico City, midnight in Bogotá, 1:00 or 2:00 in Santiago
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    params={
        "window_override": Param(
            "",
            type="string",
            maxLength=200,
            title="Override",
            description="Why people are messaged although it is night where they are; empty for no override.",
        )
    },
    tags=["vambe"],
    doc_md=__doc__,
):
    SqlToVambeTicketsOperator(
        task_id="open_tickets",
        sql_conn_id="warehouse",
        sql=f"""
            SELECT DISTINCT o.order_id, c.name, c.phone
            FROM orders o JOIN contacts c ON c.customer_id = o.customer_id
            WHERE o.status = 'shipped' AND o.promised_on < CURRENT_DATE AND c.country IN {COUNTRIES}
            ORDER BY o.order_id
        """,  # noqa: S608 - the countries stand above
        key_columns=["order_id"],
        namespace="late-orders-by-country",
        ticket={
            "to_phone_number": "{phone}",
            "stage": "Orders / Late",
            "contact_name": "{name}",
            "ticket_metadata": {"order_id": "{order_id}"},
            "message": "Hola {name}, tu pedido {order_id} viene atrasado. ¿Te ayudamos?",
        },
        contact_policy=POLICY,
        window_override="{{ params.window_override }}",
        max_rejected="10%",
        deferrable=True,
    )
