"""An Airflow in parts as it runs on several machines: every part a process group, two Celery workers."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from local_airflow import (
    SANDBOX_KEY,
    Processes,
    ask,
    free_port,
    migrate,
    plain_environment,
    processes,
    server_environment,
    start_sandbox,
)
from sqlalchemy.engine import make_url

from tests.e2e.batch_airflow import DAGS, RealAirflow, wait_for

LATENCY_MS = 100
"""Long enough that posts are on their way at every moment of a run."""


@dataclass(frozen=True)
class Cluster(RealAirflow):
    """A running Airflow in parts.

    :param workers: the two workers, each the leader of a session.
    """

    workers: tuple[subprocess.Popen[str], subprocess.Popen[str]]

    def tasks_of(self, worker: subprocess.Popen[str], run: str) -> list[dict[str, Any]]:
        """Return the task instances that a worker is running."""
        inside = session(worker.pid)
        return [task for task in self.tasks(run) if task["state"] == "running" and task["pid"] in inside]


def session(leader: int) -> set[int]:
    """Return the ids of all processes that a session leader has begotten; a task of Airflow leaves its group."""
    members = set()
    for pid in psutil.pids():
        with suppress(ProcessLookupError, PermissionError):
            if os.getsid(pid) == leader:
                members.add(pid)
    return members


def kill(leader: int) -> None:
    """Let a session vanish as if its machine had lost power."""
    while members := {pid for pid in session(leader) if _is_alive(pid)}:
        for pid in members:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def _is_alive(pid: int) -> bool:
    with suppress(psutil.NoSuchProcess):
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    return False


@contextmanager
def cluster(folder: Path, *, metadata: str, broker: str, warehouse: str) -> Iterator[Cluster]:
    """Start a whole Airflow and a local Vambe, and end all of it with the block.

    :param folder: for the home of Airflow and the logs.
    :param metadata: SQLAlchemy URL of an empty PostgreSQL database for Airflow itself.
    :param broker: URL of an empty Redis database.
    :param warehouse: SQLAlchemy URL of the PostgreSQL database behind the connection ``warehouse``.
    """
    with processes() as children:
        sandbox = start_sandbox(children, folder=folder, latency_ms=LATENCY_MS)
        env = _environment(folder, sandbox, metadata=metadata, broker=broker, warehouse=warehouse)
        log = folder / "migrate.log"
        assert migrate(children, env=env, log=log).wait() == 0, log.read_text()
        for part in ("api-server", "scheduler", "dag-processor"):
            _start(children, part, env=env, log=folder / f"{part}.log")
        workers = _start_worker(children, "one", env, folder), _start_worker(children, "two", env, folder)
        try:
            url = env["AIRFLOW__API__BASE_URL"]
            wait_for(lambda: _is_healthy(url), patience=180, logs=folder)
            outputs = [folder / f"worker-{name}.log" for name in ("one", "two")]
            wait_for(lambda: all("ready." in _text(output) for output in outputs), patience=120, logs=folder)
            yield Cluster(url, sandbox, folder, ask(f"{url}/auth/token")["access_token"], workers)
        finally:
            for worker in workers:
                kill(worker.pid)


def _start(children: Processes, *command: str, env: dict[str, str], log: Path) -> subprocess.Popen[str]:
    return children.start([sys.executable, "-m", "airflow", *command], env=env, log=log)


def _start_worker(children: Processes, name: str, env: dict[str, str], folder: Path) -> subprocess.Popen[str]:
    # Two workers of one machine would fight for the port of the log server and for the file with the process id.
    options = ["--concurrency", "2", "--celery-hostname", f"{name}@vambe-test", "--skip-serve-logs"]
    options += ["--pid", str(folder / f"worker-{name}.pid")]
    return _start(children, "celery", "worker", *options, env=env, log=folder / f"worker-{name}.log")


def _environment(folder: Path, sandbox: str, *, metadata: str, broker: str, warehouse: str) -> dict[str, str]:
    host, _, port = sandbox.rpartition(":")
    # A short request timeout and lease: what a dead worker held is free after 5 + 2 x 2 seconds.
    vambe = {"conn_type": "vambe", "host": host, "port": int(port), "password": SANDBOX_KEY}
    vambe["extra"] = {"phone_id": "qr-main", "rate": "none", "timeout": 2}
    database = make_url(warehouse)
    postgres = {
        "conn_type": "postgres",
        "host": database.host,
        "port": database.port or 5432,
        "login": database.username,
        "password": database.password or "",
        "schema": database.database,
    }
    return (
        plain_environment()
        | server_environment(free_port())
        | {
            "AIRFLOW_HOME": str(folder / "home"),
            "AIRFLOW_CONN_VAMBE_DEFAULT": json.dumps(vambe),
            "AIRFLOW_CONN_WAREHOUSE": json.dumps(postgres),
            "AIRFLOW__CORE__DAGS_FOLDER": str(DAGS),
            "AIRFLOW__CORE__EXECUTOR": "CeleryExecutor",
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": metadata,
            "AIRFLOW__CELERY__BROKER_URL": broker,
            "AIRFLOW__CELERY__RESULT_BACKEND": f"db+{metadata}",
            "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
            # A task whose worker is gone is noticed after seconds instead of minutes.
            "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "1",
            "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "15",
            "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "2",
            "AIRFLOW__VAMBE__LEASE": "5",
            "AIRFLOW__VAMBE__RECONCILE_POLLS": "0.2,0.5,1",
        }
    )


def _is_healthy(url: str) -> bool:
    try:
        health = ask(f"{url}/api/v2/monitor/health")
    except OSError:
        return False
    return all(health[part]["status"] == "healthy" for part in ("metadatabase", "scheduler", "dag_processor"))


def _text(path: Path) -> str:
    return path.read_text(errors="replace") if path.exists() else ""
