from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import attr
import pytest
import sqlalchemy as sa

from tests.unit.tasks import Ti, context
from vambe_provider.operators.vambe import VambeOpenTicketBatchOperator
from vambe_provider.transfers.sql_to_vambe import SqlToVambeTicketsOperator

pytest.importorskip("airflow.providers.openlineage.extractors")
from airflow.providers.openlineage.extractors.base import DefaultExtractor

if TYPE_CHECKING:
    from tests.unit.conftest import Connect
    from vambe_provider.sandbox import Sandbox

TASK: dict[str, Any] = {
    "task_id": "open",
    "key_columns": ["id"],
    "ticket": {"to_phone_number": "{phone}", "stage": "Support / New"},
}
PHONES = ["+56961234567", "+56961234502", "12"]


def told(task: Any) -> Any:
    """Return what OpenLineage's own extractor makes of a task that has ended, as it goes over the wire."""
    found = DefaultExtractor(task).extract_on_failure(Ti())
    assert found is not None
    as_sent = attr.asdict(found)
    return {**as_sent, "text": json.dumps(as_sent)}


@pytest.fixture
def warehouse(postgres_url: str, connect: Connect, monkeypatch: pytest.MonkeyPatch) -> sa.URL:
    connect()
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", re.sub(r"^postgresql[+a-z0-9]*", "postgresql", postgres_url))
    engine = sa.create_engine(postgres_url)
    with engine.begin() as session:
        session.execute(sa.text("CREATE TABLE orders (id int, phone text)"))
        for number, phone in enumerate(PHONES):
            session.execute(sa.text("INSERT INTO orders VALUES (:id, :phone)"), {"id": number, "phone": phone})
    engine.dispose()
    return sa.make_url(postgres_url)


def test_the_tables_of_a_query_lead_to_the_sender_with_the_counts(vambe_sandbox: Sandbox, warehouse: sa.URL) -> None:
    sql = "SELECT id, phone FROM orders WHERE phone <> '+56961234599'"
    task = SqlToVambeTicketsOperator(sql=sql, sql_conn_id="warehouse", **TASK)
    with pytest.raises(Exception, match="rejected"):
        task.execute(context())
    lineage = told(task)
    [table], [sender] = lineage["inputs"], lineage["outputs"]
    assert table["namespace"] == f"postgres://{warehouse.host}:{warehouse.port or 5432}"
    assert table["name"] == f"{warehouse.database}.public.orders"
    assert sender["namespace"] == f"vambe://{vambe_sandbox.url.removeprefix('http://')}"
    assert sender["name"].startswith("web-whatsapp/")
    assert sender["outputFacets"]["outputStatistics"]["rowCount"] == 2
    counts = lineage["run_facets"]["vambe_tickets"]["counts"]
    assert (counts["opened"], counts["rejected"]) == (2, 1)
    assert "6123" not in lineage["text"], "neither a row nor the text of the query is told"


def test_a_connection_that_is_gone_costs_the_tables_only(
    vambe_sandbox: Sandbox, warehouse: sa.URL, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = SqlToVambeTicketsOperator(sql="SELECT id, phone FROM orders WHERE id < 2", sql_conn_id="warehouse", **TASK)
    task.execute(context())
    monkeypatch.delenv("AIRFLOW_CONN_WAREHOUSE")
    lineage = told(task)
    assert lineage["inputs"] == []
    assert lineage["run_facets"]["vambe_tickets"]["counts"]["opened"] == 2


def test_a_list_of_rows_has_no_tables(
    vambe_sandbox: Sandbox, connect: Connect, sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect()
    monkeypatch.setenv("AIRFLOW_CONN_LEDGER", sqlite_url)
    rows = [{"id": 1, "phone": PHONES[0]}]
    task = VambeOpenTicketBatchOperator(rows=rows, ledger_conn_id="ledger", **TASK)
    task.execute(context())
    lineage = told(task)
    assert lineage["inputs"] == []
    assert lineage["outputs"][0]["outputFacets"]["outputStatistics"]["rowCount"] == 1
