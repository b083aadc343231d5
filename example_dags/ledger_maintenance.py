"""Look after the ledger: count its tickets, forget old ones, and tell a person about those that nobody can decide.

For whom: whoever operates the pipelines, once for each ledger.

What to change: the connection, the ages, and the number of the person on duty; with ``ON_DUTY = None`` nobody is told.
A ticket that is forgotten is new for the next run whose query returns it, so what was opened is kept here.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.providers.common.compat.sdk import DAG, task

LEDGER = "warehouse"
ON_DUTY: str | None = "+56961234567"
FORGET = {"rejected": timedelta(days=90), "failed": timedelta(days=90)}

with DAG(
    dag_id="vambe_ledger_maintenance",
    dag_display_name="Vambe: ledger: count, forget, tell",
    description="Counts the tickets of a ledger, forgets old ones, and tells about unknown ones",
    schedule="0 7 * * *",
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    tags=["vambe"],
    doc_md=__doc__,
):

    @task
    def count() -> dict[str, int]:
        from vambe_provider.delivery.ledger.admin import LedgerAdmin
        from vambe_provider.hooks.sql import ledger_engine

        engine = ledger_engine(LEDGER)
        try:
            counts: dict[str, int] = {}
            for found in LedgerAdmin(engine, LEDGER).counts():
                counts[found.state] = counts.get(found.state, 0) + found.tickets
            return counts
        finally:
            engine.dispose()

    @task
    def forget() -> dict[str, int]:
        from vambe_provider.delivery.ledger.admin import LedgerAdmin
        from vambe_provider.delivery.model import State
        from vambe_provider.hooks.sql import ledger_engine

        engine = ledger_engine(LEDGER)
        try:
            ledger = LedgerAdmin(engine, LEDGER)
            return {name: ledger.prune(state=State(name), older_than=age) for name, age in FORGET.items()}
        finally:
            engine.dispose()

    @task.vambe_open_ticket(stage="Support / Human help", ledger_conn_id=LEDGER, ticket_key="unknown/{{ run_id }}")
    def tell(counts: dict[str, int]) -> dict[str, Any] | None:
        unknown = counts.get("unknown", 0)
        if not unknown or ON_DUTY is None:
            return None
        return {
            "to_phone_number": ON_DUTY,
            "message": f"Vambe: {unknown} tickets may or may not exist. Decide on the ledger page, or with "
            f"`python -m vambe_provider ledger list --conn-id {LEDGER} --state unknown`.",
        }

    counted = count()
    tell(counted)
    counted >> forget()
