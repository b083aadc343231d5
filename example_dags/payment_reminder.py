"""Yesterday's failed payments are followed up with a smart template.

For whom: teams whose texts are approved templates in Vambe; the official WhatsApp channel needs one for a first
message.

What to change: the id of your template, the query (this one runs on PostgreSQL and on SQLite), and the key. The key
holds the day of the failure: a payment that fails again tomorrow is reminded again, and one that failed once is not
reminded twice. ``content`` is the one variable of the template.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.providers.common.compat.sdk import DAG, BaseHook, Param, task

from vambe_provider.operators.vambe import VambeOpenTicketBatchOperator

COLUMNS = ("order_id", "failed_on", "name", "phone")
QUERY = """
    SELECT p.order_id, date(MAX(p.tried_at)), c.name, c.phone
    FROM payments p
    JOIN orders o ON o.order_id = p.order_id
    JOIN contacts c ON c.customer_id = o.customer_id
    WHERE p.status = 'failed' AND date(p.tried_at) = {day}
    GROUP BY p.order_id, c.name, c.phone HAVING COUNT(*) < 3
"""

with DAG(
    dag_id="vambe_payment_reminder",
    dag_display_name="Vambe: failed payment: a reminder",
    description="One reminder for each payment that failed yesterday",
    schedule="0 10 * * *",
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    params={
        "template_id": Param(
            "payment_failed_v2", type="string", title="Template", description="The id of the smart template in Vambe."
        )
    },
    tags=["vambe"],
    doc_md=__doc__,
):

    @task
    def failed_payments() -> list[dict[str, Any]]:
        hook = BaseHook.get_hook("warehouse")
        yesterday = (datetime.now(UTC) - timedelta(days=1)).date().isoformat()
        records = hook.get_records(QUERY.format(day=hook.placeholder), parameters=(yesterday,))
        return [dict(zip(COLUMNS, record, strict=True)) for record in records]

    VambeOpenTicketBatchOperator(
        task_id="remind",
        rows=failed_payments(),
        key_columns=["order_id", "failed_on"],
        ticket={
            "to_phone_number": "{phone}",
            "stage": "Payments / Failed",
            "contact_name": "{name}",
            "message": {"templateId": "{{ params.template_id }}", "content": "{name}", "ai_generated": False},
        },
        namespace="payment-reminder",
        ledger_conn_id="warehouse",
    )
