"""SIGTERM and SIGKILL of real worker processes at random moments: nobody is messaged twice, and no row is lost."""

from __future__ import annotations

import contextlib
import multiprocessing
import random
import signal
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from tests.faults.worker import Job, main, work
from tests.support.delivery import Deliveries, row
from vambe_provider.delivery.key import METADATA_KEY, digest

if TYPE_CHECKING:
    from multiprocessing.context import ForkServerContext
    from multiprocessing.process import BaseProcess

    from vambe_provider.sandbox import Sandbox

SEEDS = 50
ROWS = 60
AT_ONCE = 6
"""Seeds that run side by side; most of their time is waiting for leases to run out."""


@pytest.fixture(scope="module")
def processes() -> ForkServerContext:
    """Processes that are forked from one that has imported everything: fifty imports would take a minute."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.faults.worker"])
    return context


class Night:
    """One seeded night: workers that are killed, and further tries until everything is done."""

    def __init__(self, seed: int, deliveries: Deliveries, processes: ForkServerContext) -> None:
        self.seed, self.sandbox, self.processes = seed, deliveries.sandbox, processes
        self.random = random.Random(seed)
        self.namespace = f"night-{seed}"
        self.dead: list[Job] = []
        # In every third night some persons have two rows; then a contact may exist before its row is looked for.
        persons = ROWS - 15 if seed % 3 == 0 else ROWS
        self.rows = tuple(row(number, phone=f"+569{seed:03d}{number % persons:05d}") for number in range(ROWS))
        self.doubles = {str(data["id"]) for data in self.rows[: ROWS - persons]} | {
            str(data["id"]) for data in self.rows[persons:]
        }
        self.job = Job(
            ledger=deliveries.url,
            sandbox=self.sandbox.url,
            api_key=self.sandbox.api_key,
            stage=self.sandbox.stage_id("Support / New"),
            namespace=self.namespace,
            run=f"dag/task/{seed}",
            rows=self.rows,
            stops=self.random.choice(["stop", "raise"]),
        )

    def posted(self) -> int:
        """Return how many tickets of this night exist."""
        return sum(self.tickets().values())

    def tickets(self) -> Counter[str]:
        """Return how many tickets exist for each key."""
        prefix = f"569{self.seed:03d}"
        return Counter(
            ticket["ticket_metadata"][METADATA_KEY]
            for ticket in self.sandbox.tickets()
            if ticket["phone"].startswith(prefix)
        )

    def pass_away(self) -> None:
        """Kill one or two workers, each at a moment of its own."""
        for _ in range(self.random.choice([1, 1, 2])):
            self._kill(self._start(self.job))
        if self.random.random() < 0.3:
            # Another run has the same rows, and dies as well.
            rivals = [replace(self.job, run=f"{self.job.run}/{name}") for name in "ab"]
            for process in [self._start(job) for job in rivals]:
                self._kill(process)
            self.dead += rivals

    def _start(self, job: Job) -> BaseProcess:
        process = self.processes.Process(target=main, args=(job,), daemon=True)
        process.start()
        return process

    def _kill(self, process: BaseProcess) -> None:
        enough = self.posted() + self.random.randrange(0, ROWS // 2)
        done = threading.Event()

        def moment(_: Sandbox) -> bool:
            if not process.is_alive():
                done.set()
            return done.is_set() or self.posted() >= enough

        # When it waits for a lease or is done, that is a moment as good as any other.
        with contextlib.suppress(TimeoutError):
            self.sandbox.wait_for(moment, timeout=5.0)
        number = self.random.choice([signal.SIGKILL, signal.SIGTERM])
        if process.pid is not None and process.is_alive():
            process.kill() if number == signal.SIGKILL else process.terminate()
        process.join(30)
        assert process.exitcode is not None

    def finish(self, deliveries: Deliveries) -> None:
        """Retry every task that was killed, as Airflow does; what one of them holds is its own to finish.

        On a machine that stands still for seconds every search of a row may run into its timeout. Such a row is
        ``unknown``, and the next try looks for it again.
        """
        for job in [*self.dead, self.job]:
            report = work(job)
            assert report["stopped"] is None
            assert report["counts"]["failed"] == 0
        assert report["counts"]["held"] == 0
        if any(str(entry["evidence"]).startswith("search_failed") for entry in self.entries(deliveries).values()):
            work(self.job)

    def entries(self, deliveries: Deliveries) -> dict[str, dict[str, Any]]:
        """Return the ledger's rows of this night by the row's id."""
        return {
            entry["key_text"].removeprefix("id="): entry
            for entry in deliveries.all_ledger_rows()
            if entry["namespace"] == self.namespace
        }


def _problems(night: Night, deliveries: Deliveries) -> list[str]:
    entries = night.entries(deliveries)
    tickets = night.tickets()
    problems = [f"{count} tickets for {marker}" for marker, count in tickets.items() if count > 1]
    for data in night.rows:
        name = str(data["id"])
        entry = entries.get(name)
        exists = tickets[digest(night.namespace, name)]
        state = entry["state"] if entry else "nothing"
        if state == "opened" and not exists:
            problems.append(f"row {name} is said to be open and is not ({entry})")
        elif state != "opened" and not (state == "unknown" and name in night.doubles):
            problems.append(f"row {name} is {state} ({entry})")
    return problems


def test_fifty_nights(deliveries: Deliveries, processes: ForkServerContext, request: pytest.FixtureRequest) -> None:
    """A third of the seeds on each database; a failure names its seed."""
    kinds = ["sqlite", "postgres", "mariadb"]
    kind = kinds.index(request.node.callspec.params["database_url"])
    deliveries.sandbox.configure(latency_ms=15.0, latency_jitter_ms=25.0)

    def live_through(seed: int) -> str | None:
        night = Night(seed, deliveries, processes)
        try:
            night.pass_away()
            night.finish(deliveries)
        except Exception as error:
            return f"seed {seed}: {type(error).__name__}: {error}"
        problems = _problems(night, deliveries)
        return f"seed {seed}: {'; '.join(problems[:5])}" if problems else None

    with ThreadPoolExecutor(AT_ONCE) as pool:
        failures = [found for found in pool.map(live_through, range(kind, SEEDS, 3)) if found]
    assert not failures, "\n".join(failures)
    twice = {body: count for body, count in _messages_by_key(deliveries.sandbox).items() if count > 1}
    assert not twice


def _messages_by_key(sandbox: Sandbox) -> Counter[tuple[str, str]]:
    """Return how often each text went to each customer; the text has the row in it."""
    return Counter((message["ai_contact_id"], message["body"]) for message in sandbox.messages())
