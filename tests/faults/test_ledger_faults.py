"""What goes wrong with the ledger's database, and workers that share it."""

from __future__ import annotations

import contextlib
import multiprocessing
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa

from tests.faults.worker import Job, main
from tests.support.delivery import ORIGIN, STAGE, Background, Deliveries, connected, rows, sql_ledger
from vambe_provider.delivery.batch import loop
from vambe_provider.delivery.model import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vambe_provider.sandbox import Sandbox

BATCH = 20


def _kill_all(url: str, own: sa.engine.Connection) -> int:
    """End every other session on this database, as an administrator or a failover does."""
    if own.dialect.name == "postgresql":
        query = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        ids = own.scalars(sa.text(query)).all()
        for number in ids:
            own.execute(sa.text(f"SELECT pg_terminate_backend({number})"))
    else:
        query = "SELECT id FROM information_schema.processlist WHERE db = database() AND id <> connection_id()"
        ids = own.scalars(sa.text(query)).all()
        for number in ids:
            with contextlib.suppress(sa.exc.OperationalError):
                own.execute(sa.text(f"KILL {number}"))
    return len(ids)


@contextlib.contextmanager
def _gone(deliveries: Deliveries, until: Any) -> Iterator[None]:
    """Take the database away: on a server by ending all sessions, in SQLite by locking the file."""
    with connected(deliveries.url) as connection:
        if connection.dialect.name == "sqlite":
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            yield
            until()
        else:
            assert _kill_all(deliveries.url, connection) >= 1
            yield
            until()


def test_single_while_the_ticket_is_on_its_way(deliveries: Deliveries) -> None:
    hanging = deliveries.sandbox.fault("open_ticket", kind="hang", when="after")
    with sql_ledger(deliveries.url) as ledger:
        run = Background(lambda: deliveries.one(1, ledger=ledger))
        deliveries.sandbox.wait_for(lambda _: hanging.hits == 1)
        with _gone(deliveries, until=lambda: None):
            deliveries.sandbox.clear_faults()
        assert run.result().outcome == Outcome.OPENED
    assert deliveries.states() == {"id=1": "opened"}
    assert deliveries.tickets() == {"1": 1}


def test_batch_while_tickets_are_on_their_way(deliveries: Deliveries) -> None:
    hanging = deliveries.sandbox.fault("open_ticket", kind="hang", when="after", times=4)
    with sql_ledger(deliveries.url) as ledger:
        run = Background(lambda: deliveries.many(rows(BATCH), ledger=ledger, max_concurrency=4))
        deliveries.sandbox.wait_for(lambda _: hanging.hits == 4)

        def more() -> None:
            # As many as were claimed; without the ledger nobody else may be sent.
            deliveries.sandbox.wait_for(lambda sandbox: sandbox.ticket_count >= 4)

        with _gone(deliveries, until=more):
            deliveries.sandbox.clear_faults()
        assert run.result().counts == {Outcome.OPENED: BATCH}
    assert set(deliveries.states().values()) == {"opened"}
    assert deliveries.tickets() == {str(number): 1 for number in range(1, BATCH + 1)}


def test_batch_whose_sessions_end_again_and_again(deliveries: Deliveries, monkeypatch: pytest.MonkeyPatch) -> None:
    if deliveries.url.startswith("sqlite"):
        pytest.skip("SQLite has no sessions")
    monkeypatch.setattr(loop, "TURN", 0.0)
    deliveries.sandbox.configure(latency_ms=20.0)
    run = Background(lambda: deliveries.many(rows(60), max_concurrency=2))
    for count in range(5, 60, 5):
        deliveries.sandbox.wait_for(lambda sandbox, count=count: sandbox.ticket_count >= count)  # type: ignore[misc]
        with connected(deliveries.url) as connection:
            _kill_all(deliveries.url, connection)
    assert run.result().counts == {Outcome.OPENED: 60}
    assert deliveries.tickets() == {str(number): 1 for number in range(1, 61)}


@pytest.mark.parametrize("same_run", [True, False])
def test_two_processes_on_the_same_rows(deliveries: Deliveries, same_run: bool) -> None:
    """One of two wins each row; afterwards each row is open once."""
    sandbox: Sandbox = deliveries.sandbox
    job = Job(
        ledger=deliveries.url,
        sandbox=sandbox.url,
        api_key=sandbox.api_key,
        stage=sandbox.stage_id(STAGE),
        namespace="tests.delivery",
        run=ORIGIN.run,
        rows=tuple(rows(80)),
        timeout=5.0,
    )
    other = Job(
        **{**{name: getattr(job, name) for name in Job.__dataclass_fields__}, "run": ORIGIN.run if same_run else "b"}
    )
    context = multiprocessing.get_context("forkserver")
    workers = [context.Process(target=main, args=(each,), daemon=True) for each in (job, other)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
        assert worker.exitcode == 0
    assert deliveries.tickets() == {str(number): 1 for number in range(1, 81)}
    assert set(deliveries.states().values()) == {"opened"}
    assert set(deliveries.bodies().values()) == {1}
