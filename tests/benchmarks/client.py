"""One way to open many tickets, measured in a process of its own: ``python -m tests.benchmarks.client JSON``.

The time and the CPU are those of the delivery, without the imports; the memory is the highest that the process ever
had.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import resource
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

from tests.benchmarks.rows import API_KEY, PATH, PHONE_ID, TEMPLATE, body, rows

HEADERS = {"x-api-key": API_KEY}
NAMESPACE = "benchmark"
ACCOUNT = "benchmark"


def engine(job: dict[str, Any]) -> Callable[[], int]:
    """The batch operator's engine with its ledger."""
    import sqlalchemy as sa

    from vambe_provider.api import AsyncVambeClient, ConnectionSettings  # noqa: F401
    from vambe_provider.delivery.batch.deliver import deliver_many
    from vambe_provider.delivery.ledger.sql import SqlLedger
    from vambe_provider.delivery.model import Origin, Outcome
    from vambe_provider.delivery.options import DeliveryOptions
    from vambe_provider.delivery.person import Persons
    from vambe_provider.delivery.rows.mapping import compile_ticket
    from vambe_provider.delivery.rows.prepare import Preparer

    extra = {"phone_id": PHONE_ID, "rate": "none"}
    settings = ConnectionSettings.from_fields(host=job["server"], password=API_KEY, extra=extra)
    persons = Persons()
    prepare = Preparer(
        compile_ticket(TEMPLATE),
        key_columns=["order_id"],
        namespace=NAMESPACE,
        settings=settings,
        resolve_stage=lambda stage: stage,
        persons=persons,
    )
    prepare.bind(columns())
    for row in rows(4):  # imports the models, and the phone library with its countries
        prepare(tuple(row.values()))
    ledger = SqlLedger(sa.create_engine(job["ledger"]), persons)
    options = DeliveryOptions(origin=Origin("benchmark", "send", "run"), account=ACCOUNT)

    def deliver() -> int:
        report = deliver_many(
            lambda: contextlib.nullcontext(Streamed(job["rows"])),
            prepare=prepare,
            ledger=ledger,
            settings=settings,
            options=options,
            persons=persons,
            max_concurrency=job["workers"],
        )
        if report.verdict() is not None:
            raise SystemExit(f"not every row was delivered: {report.summary()}, {report.errors[:1]}")
        return report.counts[Outcome.OPENED]

    return deliver


class Streamed:
    """The rows as a cursor gives them: tuples, one by one."""

    def __init__(self, count: int) -> None:
        self.columns = columns()
        self._count = count

    @property
    def values(self) -> Iterator[tuple[Any, ...]]:
        return (tuple(row.values()) for row in rows(self._count))


def columns() -> tuple[str, ...]:
    """Return the columns of the rows."""
    return tuple(next(iter(rows(1))))


def remember(job: dict[str, Any]) -> Callable[[], int]:
    """Write rows into the ledger as opened by an earlier run, without the run; every ``skip``-th one is left out."""
    import sqlalchemy as sa

    from vambe_provider.delivery.key import ticket_key
    from vambe_provider.delivery.ledger.sql import SqlLedger
    from vambe_provider.delivery.ledger.tables import ledger
    from vambe_provider.delivery.model import State
    from vambe_provider.delivery.person import Persons

    engine = sa.create_engine(job["ledger"])
    SqlLedger(engine, Persons())
    now = datetime.now(UTC).replace(tzinfo=None)
    same: dict[str, Any] = {"state": State.OPENED.value, "dag_run": "benchmark/an earlier run", "account": ACCOUNT}
    same |= {"generation": 0, "opened": 0, "attempts": 1, "fingerprint": "0" * 32}
    same |= {"namespace": NAMESPACE, "created_at": now, "updated_at": now}

    def deliver() -> int:
        keys = (ticket_key(NAMESPACE, {"order_id": n}) for n in range(job["rows"]) if n % job["skip"])
        written = 0
        with engine.begin() as connection:
            while chunk := list(itertools.islice(keys, 1000)):
                values = [{"ticket_key": key.digest, "key_text": key.text, **same} for key in chunk]
                connection.execute(sa.insert(ledger), values)
                written += len(values)
        return written

    return deliver


def bare(job: dict[str, Any]) -> Callable[[], int]:
    """The same requests from bare aiohttp on an event loop of the same kind: no ledger, no checks, no errors."""
    import aiohttp
    import uvloop

    async def worker(session: aiohttp.ClientSession, source: Any) -> int:
        opened = 0
        for row in source:
            async with session.post(job["server"] + PATH, json=body(row), headers=HEADERS) as reply:
                opened += (await reply.json())["status"] == "ok"
        return opened

    async def deliver() -> int:
        connector = aiohttp.TCPConnector(limit=job["workers"])
        async with aiohttp.ClientSession(connector=connector) as session:
            source = rows(job["rows"])
            return sum(await asyncio.gather(*(worker(session, source) for _ in range(job["workers"]))))

    return lambda: int(uvloop.run(deliver()))


def loop(job: dict[str, Any]) -> Callable[[], int]:
    """The loop that a user would write in a PythonOperator."""
    import requests

    def deliver() -> int:
        opened = 0
        with requests.Session() as session:
            for row in rows(job["rows"]):
                reply = session.post(job["server"] + PATH, json=body(row), headers=HEADERS, timeout=30)
                reply.raise_for_status()
                opened += reply.json()["status"] == "ok"
        return opened

    return deliver


def main(job: dict[str, Any]) -> dict[str, Any]:
    """Run one job and return what it took."""
    deliver = {"engine": engine, "remember": remember, "bare": bare, "loop": loop}[job["what"]](job)
    wall, cpu = time.perf_counter(), time.process_time()
    opened = deliver()
    seconds, cpu_seconds = time.perf_counter() - wall, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 if sys.platform != "darwin" else 1024**2)
    return {"opened": opened, "seconds": seconds, "cpu_seconds": cpu_seconds, "peak_mib": peak}


if __name__ == "__main__":
    print(json.dumps(main(json.loads(sys.argv[1]))))
