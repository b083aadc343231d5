"""A real Airflow: mapped tasks of the http provider, and the batch operator, on the same endpoint."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import sys
import threading
import time
from datetime import datetime
from pathlib import Path
from typing import Any

from tests.benchmarks.measure import ROOT, UnmeasuredError, ledger_url, server
from tests.benchmarks.rows import API_KEY, PHONE_ID, rows

sys.path.insert(0, str(ROOT / "scripts"))

from local_airflow import ask, environment, free_port, migrate, processes, server_environment, start_standalone

TASKS_AT_ONCE = 6


def measure(folder: Path, *, mapped: int, batch: int, latency_ms: int, ledger: str) -> dict[str, Any]:
    """Run both Dags once in an ``airflow standalone`` and return their figures.

    :param folder: for the Airflow's files; empty.
    :param mapped: rows for the mapped tasks.
    :param batch: rows for the batch operator.
    :param ledger: the kind of database with the ledger of the batch operator.
    """
    warehouse, log = folder / "warehouse.sqlite", folder / "airflow.log"
    _fill(warehouse, batch)
    with server(latency_ms) as address, ledger_url(ledger) as url, processes() as children:
        env = environment(folder / "home", sandbox_url=address, warehouse=warehouse)
        host, _, port = address.rpartition(":")
        vambe = {"conn_type": "vambe", "host": host, "port": int(port), "password": API_KEY}
        env |= {
            "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "tests" / "benchmarks" / "dags"),
            "AIRFLOW_CONN_VAMBE_DEFAULT": json.dumps({**vambe, "extra": {"phone_id": PHONE_ID, "rate": "none"}}),
            "AIRFLOW_CONN_BENCH_HTTP": json.dumps({"conn_type": "http", "host": address}),
            "AIRFLOW_CONN_BENCH_LEDGER": _connection(url),
            "PYTHONPATH": str(ROOT),
            "BENCH_ROWS": str(mapped),
        }
        if migrate(children, env=env, log=log).wait() != 0:
            raise UnmeasuredError(f"airflow db migrate failed; the log is {log}")
        env |= server_environment(free_port()) | {"AIRFLOW__CORE__PARALLELISM": str(TASKS_AT_ONCE)}
        start_standalone(children, env=env, log=log)
        base = env["AIRFLOW__API__BASE_URL"]
        airflow = _Airflow(base, ask(f"{base}/auth/token")["access_token"], log)
        return {
            "latency_ms": latency_ms,
            "tasks_at_once": TASKS_AT_ONCE,
            "mapped": airflow.seconds("bench_mapped") | {"rows": mapped},
            "batch": airflow.seconds("bench_batch") | {"rows": batch, "ledger": ledger, "report": airflow.report()},
        }


def _fill(warehouse: Path, count: int) -> None:
    with contextlib.closing(sqlite3.connect(warehouse)) as connection, connection:
        connection.execute("CREATE TABLE orders (order_id INTEGER PRIMARY KEY, phone TEXT, name TEXT, total REAL)")
        connection.executemany("INSERT INTO orders VALUES (:order_id, :phone, :name, :total)", rows(count))


def _connection(url: str) -> str:
    """Return the Airflow connection of a database."""
    from sqlalchemy.engine import make_url

    parts = make_url(url)
    kind = parts.get_backend_name()
    if kind == "sqlite":
        return json.dumps({"conn_type": "sqlite", "host": parts.database})
    found = {"conn_type": "postgres", "host": parts.host, "port": parts.port, "schema": parts.database}
    return json.dumps({**found, "login": parts.username, "password": parts.password})


class _Airflow:
    def __init__(self, url: str, token: str, log: Path) -> None:
        self._url, self._token, self._log = url, token, log
        self._run = ""

    def seconds(self, dag_id: str, *, patience: float = 300) -> dict[str, Any]:
        """Run a Dag; return the seconds from the start of its first task to the end of its last one."""
        dag = f"{self._url}/api/v2/dags/{dag_id}"
        self._until(lambda: self._found(dag), patience)
        ask(dag, {"is_paused": False}, token=self._token, method="PATCH")
        self._run = ask(f"{dag}/dagRuns", {"logical_date": None, "conf": {}}, token=self._token)["dag_run_id"]
        run = f"{dag}/dagRuns/{self._run}"
        self._until(lambda: ask(run, token=self._token)["state"] in ("success", "failed"), patience)
        if ask(run, token=self._token)["state"] != "success":
            raise UnmeasuredError(f"{dag_id} failed; the log is {self._log}")
        tasks = ask(f"{run}/taskInstances?limit=100", token=self._token)["task_instances"]
        tasks += ask(f"{run}/taskInstances?limit=100&offset=100", token=self._token)["task_instances"]
        starts = [datetime.fromisoformat(task["start_date"]) for task in tasks]
        ends = [datetime.fromisoformat(task["end_date"]) for task in tasks]
        return {"tasks": len(tasks), "seconds": (max(ends) - min(starts)).total_seconds()}

    def report(self) -> Any:
        """Return what the batch operator returned."""
        path = f"{self._url}/api/v2/dags/bench_batch/dagRuns/{self._run}/taskInstances/send/xcomEntries/return_value"
        return ask(f"{path}?deserialize=true", token=self._token)["value"]

    def _found(self, dag: str) -> bool:
        try:
            ask(dag, token=self._token)
        except OSError:
            return False
        return True

    def _until(self, holds: Any, patience: float) -> None:
        deadline = time.monotonic() + patience
        while not holds():
            if time.monotonic() > deadline:
                raise UnmeasuredError(f"Airflow took more than {patience:.0f} s; the log is {self._log}")
            threading.Event().wait(0.5)
