"""The same tickets twice: mapped tasks of the http provider, and one task of this provider."""

from __future__ import annotations

import json
import os

from airflow.providers.http.operators.http import HttpOperator
from airflow.sdk import DAG

from tests.benchmarks.rows import API_KEY, PATH, TEMPLATE, body, rows
from vambe_provider.transfers.sql_to_vambe import SqlToVambeTicketsOperator

with DAG("bench_mapped", schedule=None, max_active_tasks=64):
    HttpOperator.partial(
        task_id="post",
        http_conn_id="bench_http",
        endpoint=PATH,
        method="POST",
        headers={"x-api-key": API_KEY, "Content-Type": "application/json"},
    ).expand(data=[json.dumps(body(row)) for row in rows(int(os.environ["BENCH_ROWS"]))])

with DAG("bench_batch", schedule=None):
    SqlToVambeTicketsOperator(
        task_id="send",
        sql="SELECT order_id, phone, name, total FROM orders",
        sql_conn_id="warehouse",
        ledger_conn_id="bench_ledger",
        key_columns=["order_id"],
        ticket=TEMPLATE,
        max_concurrency=64,
    )
