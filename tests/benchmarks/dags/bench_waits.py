"""What the deferred waits of the triggers' benchmark belong to; no worker ever runs it."""

from __future__ import annotations

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG

with DAG("bench_waits", schedule=None):
    EmptyOperator(task_id="wait")
