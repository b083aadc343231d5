"""A customer whose payment failed three times gets a person instead of another reminder.

For whom: teams that find in their data who needs help, and want an agent to see it at once.

What to change: the query (this one runs on PostgreSQL and on SQLite), the stage and the text. The number of cases is
not known beforehand, so the tickets are mapped: one task, one ticket and one log for each case. That fits a handful
of cases; for hundreds of rows, see ``late_orders.py``.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.providers.common.compat.sdk import DAG, BaseHook, task

from vambe_provider.operators.vambe import VambeOpenTicketOperator

QUERY = """
    SELECT p.order_id, MAX(p.reason), c.name, c.phone, c.email
    FROM payments p
    JOIN orders o ON o.order_id = p.order_id
    JOIN contacts c ON c.customer_id = o.customer_id
    WHERE p.status = 'failed' AND p.tried_at >= {since}
    GROUP BY p.order_id, c.name, c.phone, c.email HAVING COUNT(*) >= 3
"""

with DAG(
    dag_id="vambe_support_escalation",
    dag_display_name="Vambe: stuck payment: a person",
    description="One urgent ticket for each payment that failed three times",
    schedule="15 * * * *",
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    tags=["vambe"],
    doc_md=__doc__,
):

    @task
    def stuck_payments() -> list[dict[str, Any]]:
        hook = BaseHook.get_hook("warehouse")
        since = (datetime.now(UTC) - timedelta(days=3)).strftime("%Y-%m-%d %H:%M:%S")
        return [
            {
                "ticket_key": f"payment-escalation/{order_id}",
                "ticket": {
                    "to_phone_number": phone,
                    "stage": "Support / Human help",
                    "contact_name": name,
                    "email": email,
                    "ticket_metadata": {
                        "escalation_reason": f"payment of {order_id} failed three times: {reason}",
                        "priority": "urgent",
                        "original_system": "warehouse",
                        "escalated_at": datetime.now(UTC).isoformat(timespec="seconds"),
                    },
                    "message": f"Hola {name}, hemos escalado tu caso. Un agente te contactará pronto.",
                },
            }
            for order_id, reason, name, phone, email in hook.get_records(
                QUERY.format(since=hook.placeholder), parameters=(since,)
            )
        ]

    VambeOpenTicketOperator.partial(
        task_id="escalate",
        ledger_conn_id="warehouse",
        max_active_tis_per_dag=4,
    ).expand_kwargs(stuck_payments())
