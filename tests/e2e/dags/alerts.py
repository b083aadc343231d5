"""What test_alerts.py runs: a Dag that waits for a decision and misses its deadline, and one that nobody remembers."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.sdk import DAG
from airflow.sdk.definitions.callback import AsyncCallback
from airflow.sdk.definitions.deadline import DeadlineAlert, DeadlineReference

from vambe_provider.notifications.vambe import VambeNotifier

ON_DUTY: dict[str, Any] = {"to_phone_number": "+56961230001", "stage": "Support / New"}
REMEMBERED = {**ON_DUTY, "ledger_conn_id": "warehouse"}


def missed_at_once(**arguments: Any) -> DeadlineAlert:
    return DeadlineAlert(
        reference=DeadlineReference.DAGRUN_QUEUED_AT,
        interval=timedelta(seconds=1),
        callback=AsyncCallback(VambeNotifier, kwargs=arguments),
    )


with DAG(dag_id="waits_for_a_decision", schedule=None, deadline=missed_at_once(**REMEMBERED)):
    ApprovalOperator(task_id="decide", subject="Send the tickets of tonight?", notifiers=[VambeNotifier(**REMEMBERED)])

with DAG(dag_id="remembers_nothing", schedule=None, deadline=missed_at_once(**ON_DUTY)):
    ApprovalOperator(task_id="decide", subject="Send the tickets of tonight?")
