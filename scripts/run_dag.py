"""Run one Dag to its end, as ``airflow dags test`` does, and write what its tasks returned.

::

    python scripts/run_dag.py DAG_ID RESULT.json
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any


def load_dag(dag_id: str) -> Any:
    """Return a Dag from the folder that Airflow is configured with.

    :raises SystemExit: when a file in it cannot be parsed, or none has the Dag.
    """
    try:
        from airflow.dag_processing.dagbag import DagBag
    except ImportError:  # before Airflow 3.2
        from airflow.models.dagbag import DagBag  # type: ignore[no-redef,attr-defined,unused-ignore]

    bag = DagBag()
    if bag.import_errors:
        raise SystemExit("\n".join(f"{path}: {error}" for path, error in bag.import_errors.items()))
    if dag_id not in bag.dags:
        raise SystemExit(f"no Dag {dag_id}; there are {', '.join(sorted(bag.dags))}")
    return bag.dags[dag_id]


def main() -> None:
    """Run the Dag of the command line; the exit code is 1 when it failed."""
    dag_id, target = sys.argv[1:]
    run = load_dag(dag_id).test()
    tasks = run.get_task_instances()
    returned = {task.task_id: task.xcom_pull(task_ids=task.task_id) for task in tasks if task.map_index < 0}
    Path(target).write_text(json.dumps({"state": str(run.state), "returned": returned}))
    sys.exit(str(run.state) != "success")


if __name__ == "__main__":
    main()
