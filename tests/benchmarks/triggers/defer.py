"""Leave task instances behind as a worker does that has deferred them: ``python -m tests.benchmarks.triggers.defer``.

It reads a job as JSON from its standard input and writes into the metadata database of the Airflow that its environment
names. Two thousand tasks that defer by themselves would need an hour, and the triggerer could not tell the difference.
"""

from __future__ import annotations

import json
import sys
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa
from airflow.models.dagbag import DBDagBag
from airflow.models.taskinstance import TaskInstance
from airflow.models.trigger import Trigger
from airflow.utils.session import create_session
from airflow.utils.state import DagRunState, TaskInstanceState
from airflow.utils.types import DagRunTriggeredByType, DagRunType
from uuid6 import uuid7

from tests.benchmarks.triggers.probe import LoopProbe

DAG_ID = "bench_waits"
ARRIVE = 50
"""Tasks that defer in one second; a large Airflow may do as much."""


def vambe(job: dict[str, Any], contact: str) -> Any:
    """The trigger of VambeTicketSensor."""
    from vambe_provider.triggers.vambe import VambeTicketTrigger

    return VambeTicketTrigger(
        vambe_conn_id="vambe_default",
        ai_contact_ids=[contact],
        until="replied",
        looked_at=time.time(),  # the worker has looked just now, as it does before it defers
        deadline=time.time() + 3600,
        poll_interval=job["interval"],
    )


def http(job: dict[str, Any], contact: str) -> Any:
    """The trigger of HttpSensor(deferrable=True), which asks again while the answer is 404."""
    from airflow.providers.http.triggers.http import HttpSensorTrigger

    # As many different contacts as ours, none of which is there, so that it goes on waiting.
    endpoint = f"api/public/contact/{contact[:-1]}x/info"
    headers = {"x-api-key": job["key"]}
    return HttpSensorTrigger(
        endpoint=endpoint, http_conn_id="http_default", headers=headers, poke_interval=job["interval"]
    )


def sleep(job: dict[str, Any], contact: str) -> Any:
    """Airflow's own trigger, which does nothing but sleep."""
    from airflow.providers.standard.triggers.temporal import DateTimeTrigger

    return DateTimeTrigger(moment=datetime.now(UTC) + timedelta(days=3))


def main(job: dict[str, Any]) -> None:
    """Defer the probe and nothing else, or, without one, a wait for each contact, so many a second."""
    make = {"vambe": vambe, "http": http, "sleep": sleep}[job["what"]]
    probe = job["probe"]
    triggers = [LoopProbe(probe)] if probe else [make(job, contact) for contact in job["contacts"]]
    now = datetime.now(UTC)
    found = TaskInstance.__table__
    with create_session() as session:
        if probe:
            session.execute(sa.delete(found))  # those of the measurement before
            session.execute(sa.delete(Trigger))
        dag = DBDagBag().get_latest_version_of_dag(DAG_ID, session=session)
        assert dag is not None
        run = dag.create_dagrun(
            run_id=f"{job['what']}_{len(triggers)}_{now:%H%M%S_%f}",
            run_after=now,
            run_type=DagRunType.MANUAL,
            triggered_by=DagRunTriggeredByType.TEST,
            state=DagRunState.RUNNING,
            session=session,
        )
        session.flush()
        whose = sa.and_(found.c.dag_id == DAG_ID, found.c.run_id == run.run_id)
        pattern = dict(session.execute(sa.select(found).where(whose)).mappings().one())
        session.execute(sa.delete(found).where(whose))
    for begin in range(0, len(triggers), ARRIVE):
        _defer(pattern, triggers[begin : begin + ARRIVE], begin)
        time.sleep(1.0)


def _defer(pattern: dict[str, Any], triggers: list[Any], begin: int) -> None:
    deferred = {"state": TaskInstanceState.DEFERRED.value, "start_date": datetime.now(UTC), "try_number": 1}
    with create_session() as session:
        rows = [Trigger.from_object(trigger) for trigger in triggers]
        session.add_all(rows)
        session.flush()
        session.execute(
            sa.insert(TaskInstance.__table__),
            [
                {**pattern, **deferred, "id": uuid7(), "map_index": number, "trigger_id": row.id}
                for number, row in enumerate(rows, begin)
            ],
        )
        # Autovacuum does so; where it is off, the triggerer's queries take many seconds.
        session.execute(sa.text("ANALYZE trigger, task_instance"))


if __name__ == "__main__":
    main(json.load(sys.stdin))
