"""Run a whole Dag in this process, on any supported Airflow."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

AIRFLOW = tuple(int(part) for part in version("apache-airflow").split(".")[:2])


@dataclass(frozen=True)
class DagResult:
    """What a user sees of a finished run.

    :param state: ``success`` or ``failed``.
    :param tasks: the state of each task by its id; a mapped one as ``task[0]``.
    """

    state: str
    tasks: dict[str, str]
    run: Any

    def xcom(self, task_id: str, *, key: str = "return_value", map_index: int = -1) -> Any:
        """Return what a task pushed, or None."""
        any_task = self.run.get_task_instances()[0]
        return any_task.xcom_pull(task_ids=task_id, key=key, map_indexes=map_index)


def migrate() -> None:
    """Create the metadata database in AIRFLOW_HOME, in a process of its own because it changes the logging."""
    command = [sys.executable, "-m", "airflow", "db", "migrate"]
    reply = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
    if reply.returncode != 0:
        raise RuntimeError(f"airflow db migrate failed:\n{reply.stdout}\n{reply.stderr}")


def register(dag: Any) -> None:
    """Write a Dag to the metadata database; Airflow 3.1 and later run nothing that is not there."""
    if AIRFLOW < (3, 1):
        return
    from airflow.dag_processing.bundles.manager import DagBundlesManager

    if AIRFLOW == (3, 1):
        from airflow.models.dagbag import DagBag, sync_bag_to_db
    else:
        from airflow.dag_processing.dagbag import DagBag, sync_bag_to_db
    DagBundlesManager().sync_bundles_to_db()
    bag = DagBag(os.devnull)
    bag.bag_dag(dag)
    sync_bag_to_db(bag, "dags-folder", None)


def run_dag(dag: Any, **arguments: Any) -> DagResult:
    """Run a Dag to its end with ``dag.test()``, deferred tasks included.

    :param arguments: handed on to ``dag.test()``, as ``run_conf``.
    """
    register(dag)
    run = dag.test(**arguments)
    tasks = {}
    for task in run.get_task_instances():
        name = task.task_id if task.map_index < 0 else f"{task.task_id}[{task.map_index}]"
        tasks[name] = str(task.state)
    return DagResult(state=str(run.state), tasks=tasks, run=run)
