"""The shop of the example Dags: a warehouse, a sandbox, and the two connections that lead to them."""

from __future__ import annotations

import json
import shutil
import sqlite3
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa

from tests.support.databases import connect_to, connected

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts"))

from warehouse import SCHEMA, Planted, build  # noqa: E402

if TYPE_CHECKING:
    from tests.airflow_db import DagResult
    from vambe_provider.sandbox import Sandbox

EXAMPLES = ROOT / "example_dags"


def parse(path: Path) -> dict[str, Any]:
    """Return the Dags of a file or a folder, parsed as Airflow parses them."""
    try:
        from airflow.dag_processing.dagbag import DagBag
    except ImportError:  # before Airflow 3.2
        from airflow.models.dagbag import DagBag  # type: ignore[no-redef,attr-defined,unused-ignore]

    bag = DagBag(str(path))
    assert not bag.import_errors
    return dict(bag.dags)


@dataclass(frozen=True)
class Shop:
    """What an example Dag finds when it runs.

    :param warehouse: the SQLite file.
    :param planted: what the query for late orders has to find in it.
    :param postgres: the URL of the warehouse, when it is in PostgreSQL.
    """

    sandbox: Sandbox
    warehouse: Path
    planted: Planted
    run_dag: Callable[..., DagResult]
    postgres: str = ""

    def load(self, file: str) -> Any:
        """Return the Dag of an example file."""
        [dag] = parse(EXAMPLES / file).values()
        return dag

    def run(self, file: str, **conf: Any) -> DagResult:
        """Run an example to its end."""
        return self.run_dag(self.load(file), run_conf=conf)

    def run_twice(self, file: str, **conf: Any) -> DagResult:
        """Run an example to its end, and then once more, which must send nothing; return the first run."""
        first = self.run(file, **conf)
        assert first.state == "success"
        tickets, messages = len(self.sandbox.tickets()), len(self.sandbox.messages())
        assert self.ledger()["opened"] == len(self.sandbox.requests("open_ticket")) == tickets > 0

        assert self.run(file, **conf).state == "success"
        assert len(self.sandbox.requests("open_ticket")) == len(self.sandbox.tickets()) == tickets
        assert len(self.sandbox.messages()) == messages
        return first

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        """Return rows of the warehouse."""
        if self.postgres:
            with connected(self.postgres) as database:
                return [tuple(row) for row in database.exec_driver_sql(sql)]
        with closing(sqlite3.connect(self.warehouse)) as connection:
            return connection.execute(sql).fetchall()

    def ledger(self) -> dict[str, int]:
        """Return how many rows of the ledger are in which state."""
        return dict(self.query("SELECT state, COUNT(*) FROM vambe_ticket_ledger GROUP BY state"))

    def bodies(self) -> list[dict[str, Any]]:
        """Return the bodies of all requests to open a ticket."""
        return [request["body"] for request in self.sandbox.requests("open_ticket")]


@pytest.fixture(scope="session")
def built_warehouse(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Planted]:
    path = tmp_path_factory.mktemp("warehouse") / "warehouse.sqlite"
    return path, build(path)


@pytest.fixture
def shop(
    built_warehouse: tuple[Path, Planted],
    vambe_sandbox: Sandbox,
    run_dag_test: Callable[..., DagResult],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Shop:
    """Return a shop of this test's own, with nothing sent yet."""
    warehouse = tmp_path / "warehouse.sqlite"
    shutil.copy(built_warehouse[0], warehouse)
    vambe = {
        "conn_type": "vambe",
        "host": vambe_sandbox.url,
        "password": vambe_sandbox.api_key,
        "extra": {"phone_id": "qr-main", "rate": "none"},
    }
    monkeypatch.setenv("AIRFLOW_CONN_VAMBE_DEFAULT", json.dumps(vambe))
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps({"conn_type": "sqlite", "host": str(warehouse)}))
    return Shop(vambe_sandbox, warehouse, built_warehouse[1], run_dag_test)


@pytest.fixture
def postgres_shop(shop: Shop, postgres_url: str) -> Shop:
    """Return the same shop with its warehouse, and so its ledger, in PostgreSQL."""
    schema = SCHEMA.replace("PRAGMA journal_mode = WAL;", "").replace("%", "%%")
    with closing(sqlite3.connect(shop.warehouse)) as source, connected(postgres_url) as target:
        source.row_factory = sqlite3.Row
        target.exec_driver_sql(schema)
        for name in ("countries", "customers", "orders", "payments"):
            rows = [dict(row) for row in source.execute(f"SELECT * FROM {name}")]
            columns: list[sa.ColumnClause[Any]] = [sa.column(column) for column in rows[0]]
            target.execute(sa.table(name, *columns).insert(), rows)
    connect_to("warehouse", postgres_url)
    return replace(shop, postgres=postgres_url)
