"""One worker process: a batch, on a ledger and a sandbox that it shares with others, until it is done or killed."""

from __future__ import annotations

import os
import signal
import threading
from dataclasses import dataclass
from typing import Any

# Some are only imported so that the server that forks the workers has them, and no worker has to do it.
import vambe_provider.api.client
import vambe_provider.contact_policy.reading  # noqa: F401
from tests.support.delivery import PERSONS, opened, options, preparer, sql_ledger
from vambe_provider.api import ConnectionSettings
from vambe_provider.delivery.batch.deliver import deliver_many


@dataclass(frozen=True)
class Job:
    """What a worker is told; plain values, because they travel to another process.

    :param stops: what SIGTERM does: ``stop`` tells the batch to end in order, as Airflow 3 does, and ``raise`` raises
        in the main thread, as Airflow 2 does.
    """

    ledger: str
    sandbox: str
    api_key: str
    stage: str
    namespace: str
    run: str
    rows: tuple[dict[str, Any], ...]
    timeout: float = 1.0
    lease: float = 0.5
    concurrency: int = 4
    stops: str = "stop"


class ToldToStopError(Exception):
    """What Airflow 2 raises in the middle of a task."""


def work(job: Job) -> dict[str, Any]:
    """Deliver the rows of a job and return the report."""
    stop = threading.Event()
    if threading.current_thread() is threading.main_thread():
        _listen(job, stop)
    settings = ConnectionSettings(
        api_key=job.api_key, base_url=job.sandbox, phone_id="qr-main", rate=None, timeout=job.timeout
    )
    with sql_ledger(job.ledger) as ledger:
        report = deliver_many(
            opened(job.rows),
            prepare=preparer(settings, lambda name: job.stage, namespace=job.namespace),
            ledger=ledger,
            settings=settings,
            options=options(run=job.run, lease=job.lease, polls=(0.05, 0.2)),
            persons=PERSONS,
            max_concurrency=job.concurrency,
            stop=stop,
        )
    return report.to_json()


def _listen(job: Job, stop: threading.Event) -> None:
    def told(*_: object) -> None:
        if job.stops == "raise":
            raise ToldToStopError
        stop.set()

    signal.signal(signal.SIGTERM, told)


def main(job: Job) -> None:
    """Be a worker process; its exit code says whether it came to its end."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        work(job)
    except ToldToStopError:
        os._exit(3)
