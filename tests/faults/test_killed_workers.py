"""Nights in which worker processes are killed, told to end or frozen at random moments, posts and ledger connections
break, and customers return: nobody is messaged twice, no row is lost, and no doubt is left about what was not created.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import random
import signal
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pytest

from tests.faults.worker import Job, main, work
from tests.support.delivery import Deliveries, row
from vambe_provider.delivery.key import METADATA_KEY, digest

if TYPE_CHECKING:
    from multiprocessing.context import ForkServerContext
    from multiprocessing.process import BaseProcess

    from vambe_provider.sandbox import Sandbox

SEEDS = int(os.environ.get("VAMBE_TEST_NIGHTS", "50"))
"""A hundred nights take six minutes; CI lives through half of them."""
ROWS = 60
AT_ONCE = 8
FROZEN = 5.0
"""Seconds for which a worker is frozen: longer than its lease, so that others take its rows over."""
THAWED = 1.0
"""Seconds after a frozen worker goes on in which a request may leave that had passed the last check of its lease."""
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
        self.thawed: list[float] = []
        # In every third night some persons have two rows; then a contact may exist before its row is looked for.
        persons = ROWS - 15 if seed % 3 == 0 else ROWS
        self.rows = tuple(row(number, phone=f"+569{seed:03d}{number % persons:05d}") for number in range(ROWS))
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

    def was_thawed_in_between(self, marker: str) -> bool:
        """Say whether one of a key's tickets came right after a frozen worker went on.

        Its request had passed the last check before the kernel: the one gap that no client can close.
        """
        times = [
            datetime.fromisoformat(ticket["created_at"]).timestamp()
            for ticket in self.sandbox.tickets()
            if ticket["ticket_metadata"][METADATA_KEY] == marker
        ]
        return any(0 <= moment - thawed < THAWED for moment in times for thawed in self.thawed)

    def pass_away(self) -> None:
        """Kill one or two workers, each at a moment of its own."""
        self._break_posts()
        for _ in range(self.random.choice([1, 1, 2])):
            self._kill(self._start(self.job))
        if self.random.random() < 0.3:
            # Another run has the same rows, and dies as well.
            rivals = [replace(self.job, run=f"{self.job.run}/{name}") for name in "ab"]
            for process in [self._start(job) for job in rivals]:
                self._kill(process)
            self.dead += rivals

    def _break_posts(self) -> None:
        """Let one post in ten of this night break, before or after it has opened its ticket."""
        for when in ("before", "after"):
            for fault in ({"kind": "drop"}, {"kind": "status", "status": 502, "body": "html"}):
                self.sandbox.fault(
                    "open_ticket", **fault, when=when, phone=f"569{self.seed:03d}", probability=0.025, seed=self.seed
                )

    def let_customers_return(self) -> None:
        """Let half of the persons be known already."""
        for phone in {data["phone"] for data in self.rows[::2]}:
            self.sandbox.seed_contact(phone)

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
        number = self.random.choice([signal.SIGKILL, signal.SIGTERM, signal.SIGSTOP])
        if process.pid is not None and process.is_alive():
            if number == signal.SIGSTOP:
                self._freeze(process.pid)
            # Each does nothing when the worker has come to its end meanwhile.
            process.kill() if number == signal.SIGKILL else process.terminate()
        process.join(30)
        assert process.exitcode is not None

    def _freeze(self, pid: int) -> None:
        """Freeze a worker while another one goes on with its rows, and let it go on afterwards."""
        try:
            os.kill(pid, signal.SIGSTOP)
        except ProcessLookupError:  # it came to its end at this moment
            return
        other = self._start(self.job)
        threading.Event().wait(FROZEN)
        self.thawed.append(time.time())
        os.kill(pid, signal.SIGCONT)
        other.join(60)
        assert other.exitcode is not None

    def finish(self, deliveries: Deliveries) -> None:
        """Retry every task that was killed, as Airflow does; what one of them holds is its own to finish.

        On a machine that stands still for seconds every search of a row may run into its timeout. Such a row is
        ``unknown``, and the next try looks for it again. So it is for a row that was looked for while the witnesses
        were still on their way.
        """
        for job in [*self.dead, self.job]:
            report = work(job)
            assert report["stopped"] is None
            assert report["counts"]["failed"] == 0
        assert report["counts"]["held"] == 0
        if any(entry["state"] == "unknown" for entry in self.entries(deliveries).values()):
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
    problems = [
        f"{count} tickets for {marker}"
        for marker, count in tickets.items()
        if count > 1 and not night.was_thawed_in_between(marker)
    ]
    for data in night.rows:
        name = str(data["id"])
        entry = entries.get(name)
        exists = tickets[digest(night.namespace, name)]
        state = entry["state"] if entry else "nothing"
        if state == "opened" and not exists:
            problems.append(f"row {name} is said to be open and is not ({entry})")
        elif state != "opened" and not (state == "unknown" and exists):
            problems.append(f"row {name} is {state} ({entry})")
    return problems


def test_nights_with_every_kind_of_trouble(
    deliveries: Deliveries, processes: ForkServerContext, request: pytest.FixtureRequest
) -> None:
    """A third of the seeds on each database; a failure names its seed."""
    kinds = ["sqlite", "postgres", "mariadb"]
    kind = kinds.index(request.node.callspec.params["database_url"])
    deliveries.sandbox.configure(latency_ms=15.0, latency_jitter_ms=25.0)

    nights = [Night(seed, deliveries, processes) for seed in range(kind, SEEDS, 3)]
    deliveries.sandbox.configure(clock_skew_seconds=-86400.0)
    for night in nights[::2]:
        night.let_customers_return()
    deliveries.sandbox.configure(clock_skew_seconds=0.0)

    def live_through(night: Night) -> str | None:
        try:
            night.pass_away()
            night.finish(deliveries)
        except Exception as error:
            return f"seed {night.seed}: {type(error).__name__}: {error}"
        problems = _problems(night, deliveries)
        return f"seed {night.seed}: {'; '.join(problems[:5])}" if problems else None

    with ThreadPoolExecutor(AT_ONCE) as pool:
        failures = [found for found in pool.map(live_through, nights) if found]
    assert not failures, "\n".join(failures)
