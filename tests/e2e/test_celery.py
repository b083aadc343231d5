"""Several workers, and one of them dies: every row is still opened exactly once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa

from tests import servers
from tests.e2e.batch_airflow import make_orders, rows_of
from tests.e2e.celery_airflow import cluster, kill

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(600)]

ROWS = 800


def test_a_worker_that_is_killed_while_it_posts_neither_loses_nor_doubles_a_row(
    tmp_path: Path, postgres_url: str, redis_url: str
) -> None:
    with servers.private_database(servers.POSTGRES) as warehouse:
        engine = sa.create_engine(warehouse, poolclass=sa.pool.NullPool)
        make_orders(engine, ROWS)
        with cluster(tmp_path, metadata=postgres_url, broker=redis_url, warehouse=warehouse) as airflow:
            run = airflow.start("late_orders_in_shards")
            victim = airflow.workers[0]
            # A quarter of the rows is open, so every task is far from its end.
            airflow.wait_for(lambda: airflow.ticket_count() >= ROWS // 4, patience=120)
            dying = {task["map_index"] for task in airflow.tasks_of(victim, run)}
            kill(victim.pid)
            assert airflow.ticket_count() < ROWS
            sending = rows_of(engine, "SELECT map_index FROM vambe_ticket_attempts WHERE in_flight IS NOT NULL")
            torn = [index for (index,) in sending if index in dying]
            assert torn, "nothing was on its way when the worker died"

            assert airflow.state_in_the_end(run) == "success", f"the logs are in {airflow.folder}"
            assert airflow.orders() == dict.fromkeys(range(ROWS), 1)
            states = rows_of(engine, "SELECT state, count(*) FROM vambe_ticket_ledger GROUP BY state")
            assert states == [("opened", ROWS)]
            assert dying <= {task["map_index"] for task in airflow.tasks(run) if task["try_number"] > 1}
