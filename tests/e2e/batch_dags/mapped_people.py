"""What test_batches.py runs: a mapped ticket for each person of a list that may change between two tries."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from airflow.sdk import DAG, task

from vambe_provider.operators.vambe import VambeOpenTicketOperator

with DAG("mapped_people", schedule=None, is_paused_upon_creation=False):

    @task
    def people() -> list[dict[str, Any]]:
        numbers: list[int] = json.loads(Path(os.environ["VAMBE_TEST_PEOPLE"]).read_text())
        return [{"to_phone_number": f"+5697{number:07d}", "contact_name": f"Mapped {number}"} for number in numbers]

    VambeOpenTicketOperator.partial(
        task_id="open_ticket",
        stage="Support / New",
        message="Hola",
        ledger_conn_id="warehouse",
        resend="{{ dag_run.conf.get('resend', False) }}",
    ).expand(ticket=people())
