"""A batch whose main thread is interrupted, as by Airflow 2 on SIGTERM, and by every Airflow after its timeout."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.delivery import ledger_rows
from tests.unit.tasks import Ti, context
from vambe_provider.delivery.background import run_to_the_end
from vambe_provider.operators.vambe import VambeOpenTicketBatchOperator

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.unit.conftest import Connect
    from vambe_provider.sandbox import Sandbox

ROWS = [{"id": number, "phone": f"+569612345{number:02d}"} for number in range(60)]
TICKET = {"to_phone_number": "{phone}", "stage": "Orders / Late", "ticket_metadata": {"order": "{id}"}}


class Interrupted(BaseException):
    """What Airflow raises in the middle of the main thread."""


def batch() -> VambeOpenTicketBatchOperator:
    return VambeOpenTicketBatchOperator(
        task_id="open", rows=ROWS, key_columns=["id"], ticket=TICKET, namespace="late", ledger_conn_id="ledger",
        max_concurrency=4,
    )  # fmt: skip


@contextmanager
def on_sigterm(action: Callable[[], None]) -> Iterator[None]:
    before = signal.signal(signal.SIGTERM, lambda _number, _frame: action())
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@pytest.mark.parametrize("told", [True, False], ids=["killed", "timed-out"])
def test_what_is_on_its_way_is_recorded_before_the_task_ends(
    vambe_sandbox: Sandbox, connect: Connect, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: bool
) -> None:
    connect()
    url = f"sqlite:///{tmp_path / 'ledger.sqlite'}"
    monkeypatch.setenv("AIRFLOW_CONN_LEDGER", url)
    task, arrived = batch(), itertools.count(1)

    def interrupt() -> None:
        if told:
            task.on_kill()
        raise Interrupted

    def at_the_ninth(_: Any) -> bool:
        if next(arrived) == 9:
            os.kill(os.getpid(), signal.SIGTERM)
        return False

    # No request is struck; the rule only sees each of them arrive, before it is answered.
    vambe_sandbox.fault(kind="status", status=500, phone=at_the_ninth, times="forever")
    with on_sigterm(interrupt), pytest.raises(Interrupted):
        task.execute(context())

    known = ledger_rows(url)
    sent = {ticket["ticket_metadata"]["order"] for ticket in vambe_sandbox.tickets()}
    assert 9 <= len(sent) < len(ROWS)
    assert {name.removeprefix("id=") for name, row in known.items() if row["state"] == "opened"} == sent
    assert {row["state"] for row in known.values()} <= {"opened", "failed"}

    report = batch().execute(context(ti=Ti(try_number=2)))
    assert (report["counts"]["opened"], report["counts"]["already_opened"]) == (len(ROWS) - len(sent), len(sent))
    assert len(vambe_sandbox.tickets()) == len(ROWS)


def test_further_signals_do_not_tear_what_the_first_one_lets_end() -> None:
    told, ended = threading.Event(), threading.Event()

    def interrupt() -> None:
        raise Interrupted

    async def main() -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.to_thread(told.wait)
        for _ in range(3):
            os.kill(os.getpid(), signal.SIGTERM)
            await asyncio.sleep(0.05)
        ended.set()

    with on_sigterm(interrupt), pytest.raises(Interrupted):
        run_to_the_end(main, stop=told.set)
    assert ended.is_set()


def test_a_signal_that_does_not_wake_the_main_thread_is_heard() -> None:
    """It may come between the last look at the signals and the wait, or the kernel gives it to another thread."""
    told = threading.Event()

    def interrupt() -> None:
        raise Interrupted

    async def main() -> bool:
        signal.pthread_kill(threading.get_ident(), signal.SIGTERM)
        return await asyncio.to_thread(told.wait, 60.0)

    with on_sigterm(interrupt), pytest.raises(Interrupted):
        run_to_the_end(main, stop=told.set)
    assert told.is_set()
