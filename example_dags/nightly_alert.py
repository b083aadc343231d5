"""A nightly load that tells the person on duty when it fails, once, and closes the ticket when it works again.

For whom: teams whose Dags have to run, and who read WhatsApp sooner than mail.

What to change: the number, the stage, and the task itself; here it counts late orders, and fails when the run's
conf has ``{"fail": true}``. ``warehouse`` keeps the ledger, which remembers the ticket from one run to the next.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from airflow.providers.common.compat.sdk import DAG, BaseHook, task

from vambe_provider.notifications.vambe import VambeNotifier

ON_DUTY = "+56961234567"

with DAG(
    dag_id="vambe_nightly_alert",
    dag_display_name="Vambe: nightly load: tell who is on duty",
    description="A ticket for the person on duty when the load fails, closed when it recovers",
    schedule="0 5 * * *",
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    tags=["vambe"],
    doc_md=__doc__,
):

    @task(
        on_failure_callback=VambeNotifier(
            to_phone_number=ON_DUTY,
            stage="Support / Human help",
            ledger_conn_id="warehouse",
        ),
        on_success_callback=VambeNotifier(action="close", ledger_conn_id="warehouse"),
    )
    def load(dag_run: Any = None) -> int:
        if (dag_run.conf or {}).get("fail"):
            raise ValueError("the load has failed, as it was asked to")
        [count] = BaseHook.get_hook("warehouse").get_first("SELECT COUNT(*) FROM orders WHERE status = 'shipped'")
        return int(count)

    load()
