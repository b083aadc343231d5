"""Several workers, and one of them dies: every row is still opened exactly once."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa

from tests import servers

if TYPE_CHECKING:
    from pathlib import Path


pytest.importorskip("airflow.providers.celery")
pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(600)]

ROWS = 800
DAG_ID = "late_orders_in_shards"


def test_a_worker_that_is_killed_while_it_posts_neither_loses_nor_doubles_a_row(
    tmp_path: Path, postgres_url: str, redis_url: str
) -> None:
    from tests.e2e.celery_airflow import cluster, kill

    with servers.private_database(servers.POSTGRES) as warehouse:
        engine = sa.create_engine(warehouse, poolclass=sa.pool.NullPool)
        with engine.begin() as connection:
            connection.execute(sa.text("CREATE TABLE late_orders (order_id INTEGER, name TEXT, phone TEXT)"))
            connection.execute(
                sa.text("INSERT INTO late_orders VALUES (:order_id, :name, :phone)"),
                [{"order_id": n, "name": f"Persona {n}", "phone": f"+5696{n:07d}"} for n in range(ROWS)],
            )
        with cluster(tmp_path, metadata=postgres_url, broker=redis_url, warehouse=warehouse) as airflow:
            airflow.wait_for(lambda: DAG_ID in {dag["dag_id"] for dag in airflow.api("/dags")["dags"]})
            run_id = airflow.api(f"/dags/{DAG_ID}/dagRuns", {"logical_date": None})["dag_run_id"]
            victim = airflow.workers[0]
            # A quarter of the rows is open, so every task is far from its end.
            airflow.wait_for(lambda: airflow.ticket_count() >= ROWS // 4, patience=120)
            dying = {task["map_index"] for task in airflow.tasks_of(victim, DAG_ID, run_id)}
            kill(victim.pid)
            assert airflow.ticket_count() < ROWS
            torn = rows_of(engine, "SELECT run, ticket_key FROM vambe_ticket_ledger WHERE state = 'sending'")
            torn = [(run, key) for run, key in torn if int(run.rpartition("/")[2]) in dying]
            assert torn, "nothing was on its way when the worker died"

            path = f"/dags/{DAG_ID}/dagRuns/{run_id}"
            airflow.wait_for(lambda: airflow.api(path)["state"] in ("success", "failed"), patience=180)
            assert airflow.api(path)["state"] == "success", f"the logs are in {airflow.folder}"

            opened = Counter(ticket["ticket_metadata"]["order_id"] for ticket in airflow.tickets())
            assert opened == {str(number): 1 for number in range(ROWS)}
            assert rows_of(engine, "SELECT state, count(*) FROM vambe_ticket_ledger GROUP BY state") == [
                ("opened", ROWS)
            ]
            tasks = airflow.api(f"{path}/taskInstances")["task_instances"]
            assert dying <= {task["map_index"] for task in tasks if task["try_number"] > 1}


def rows_of(engine: sa.engine.Engine, query: str) -> list[tuple[Any, ...]]:
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(sa.text(query))]
