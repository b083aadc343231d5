"""Deferred waits in a real triggerer of a real Airflow."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import psutil

from tests.benchmarks.measure import ROOT, UnmeasuredError
from tests.servers import POSTGRES, private_database

sys.path.insert(0, str(ROOT / "scripts"))

from local_airflow import SANDBOX_KEY, ask, environment, migrate, processes, start_sandbox

BLOCKED = "async thread was blocked"
"""What the triggerer itself logs when its loop could not run for 200 ms."""
ANSWERS = 100
KINDS = ("http", "sleep", "vambe")
"""What waits: the peer, Airflow's own trigger that only sleeps, which shows what the triggerer itself takes, and ours.

The peer first: by the time of ours, nobody has been written to for a while, as in a wait of hours.
"""


@dataclass(frozen=True)
class Bench:
    """What all measurements have in common.

    :param contacts: for whom to wait, by how many they are; nobody is in two of them, since some will have answered.
    """

    server: str
    folder: Path
    env: dict[str, str]
    contacts: dict[int, list[str]]
    interval: float
    window: float

    @property
    def requests(self) -> int:
        """How many API requests came to the sandbox so far."""
        return int(ask(f"{self.server}/__sandbox__/state?limit=1")["counts"]["requests"])


class Triggerer:
    """One triggerer with its waits.

    :param bench: what all have in common.
    :param what: one of ``KINDS``.
    :param waits: how many.
    """

    def __init__(self, bench: Bench, what: str, waits: int) -> None:
        self._bench, self._what, self._waits = bench, what, waits
        self._probe, self.log = bench.folder / f"{what}-{waits}.jsonl", bench.folder / f"{what}-{waits}.log"
        self._seen = 0

    def measure(self, children: Any) -> dict[str, Any]:
        """Run it, and return what it took."""
        self._defer(probe=str(self._probe))
        supervisor = self._start(children)
        self._until(lambda: self._last()["waits"] == 0)
        self._take()
        self._defer(contacts=self._bench.contacts[self._waits])
        self._until(lambda: self._last()["waits"] == self._waits)
        arrival = self._take()
        _pass(2 * self._bench.interval)
        self._take()
        before, asked, began = self._cpu(supervisor), self._bench.requests, time.perf_counter()
        _pass(self._bench.window)
        seconds = time.perf_counter() - began
        requests, cpu = self._bench.requests - asked, self._cpu(supervisor) - before
        steady = self._take()
        answered = self._answer() if self._what == "vambe" else None
        warnings = self.log.read_text().count(BLOCKED)
        return {
            "requests_per_minute": requests * 60 / seconds,
            "arrival_block_ms": arrival["worst_ms"],
            "block_ms": steady["worst_ms"],
            "answer_block_ms": answered and answered["worst_ms"],
            "blocked_warnings": warnings,
            "restart_block_ms": self._restart(children, supervisor),
            "gc_ms": max(arrival["gc_ms"], steady["gc_ms"]),
            "cpu_percent": cpu * 100 / seconds,
            "rss_kib": steady["rss_kib"],
        }

    def _start(self, children: Any) -> psutil.Process:
        command = [sys.executable, "-m", "airflow", "triggerer", "--capacity", "5000", "--skip-serve-logs"]
        return psutil.Process(children.start(command, env=self._bench.env, log=self.log).pid)

    def _restart(self, children: Any, supervisor: psutil.Process) -> float:
        """Stop it, start it with all waits at once, and return for how long its loop was blocked meanwhile."""
        waits = self._last()["waits"]
        supervisor.terminate()
        supervisor.wait(60)
        self._take()
        written = len(self._lines())
        self._start(children)
        self._until(lambda: len(self._lines()) > written and self._last()["waits"] == waits)
        return self._take()["worst_ms"]

    def _defer(self, *, probe: str | None = None, contacts: Sequence[str] = ()) -> None:
        job = {"what": self._what, "key": SANDBOX_KEY, "interval": self._bench.interval}
        done = subprocess.run(
            [sys.executable, "-m", "tests.benchmarks.triggers.defer"],
            input=json.dumps({**job, "probe": probe, "contacts": contacts}),
            env=self._bench.env, cwd=ROOT, capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode != 0:
            raise UnmeasuredError(f"the waits could not be deferred:\n{done.stderr[-2000:]}")

    def _lines(self) -> list[dict[str, Any]]:
        text = self._probe.read_text() if self._probe.exists() else ""
        return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]

    def _last(self) -> dict[str, Any]:
        return (self._lines() or [{"waits": -1}])[-1]

    def _take(self) -> dict[str, float]:
        """Return the worst of what the probe has written since the last time."""
        lines = self._lines()[self._seen :] or self._lines()[-1:]
        self._seen += len(lines)
        return {name: max(line[name] for line in lines) for name in ("worst_ms", "gc_ms", "rss_kib")}

    def _cpu(self, supervisor: psutil.Process) -> float:
        """Return the CPU seconds of the triggerer's processes."""
        times = [process.cpu_times() for process in (supervisor, *supervisor.children(recursive=True))]
        return sum(used.user + used.system for used in times)

    def _answer(self) -> dict[str, float]:
        chosen = self._bench.contacts[self._waits][:ANSWERS]
        for contact in chosen:
            body = json.dumps({"ai_contact_id": contact, "text": "Sí"}).encode()
            headers = {"Content-Type": "application/json"}
            request = urllib.request.Request(f"{self._bench.server}/__sandbox__/replies", body, headers)
            urllib.request.urlopen(request).close()
        self._until(lambda: self._last()["waits"] == self._waits - len(chosen))
        return self._take()

    def _until(self, holds: Callable[[], bool], *, patience: float = 300) -> None:
        deadline = time.monotonic() + patience
        while not holds():
            if time.monotonic() > deadline:
                raise UnmeasuredError(f"the triggerer took more than {patience:.0f} s; its log is {self.log}")
            _pass(0.25)


def _pass(seconds: float) -> None:
    threading.Event().wait(seconds)


async def _opened(server: str, count: int) -> list[str]:
    """Open tickets for so many people and return their contacts."""
    from vambe_provider.api import AsyncVambeClient, ConnectionSettings, OpenTicket

    settings = ConnectionSettings.from_fields(host=server, password=SANDBOX_KEY, extra={"phone_id": "qr-main"})
    gate = asyncio.Semaphore(64)
    async with AsyncVambeClient(settings) as client:
        stage = (await client.find_stage("Support / New")).id

        async def one(number: int) -> str:
            async with gate:
                ticket = OpenTicket(to_phone_number=f"+5692{number:07d}", stage_id=stage, message="Hola")
                return (await client.open_ticket(ticket)).ai_contact_id

        return list(await asyncio.gather(*map(one, range(count))))


def measure(folder: Path, *, waits: list[int], interval: float, window: float, latency_ms: int) -> list[dict[str, Any]]:
    """Measure each number of waits of each kind, each in a triggerer of its own.

    :param folder: for the Airflow's files; empty.
    :param waits: the numbers.
    :param interval: seconds between two looks of a wait.
    :param window: seconds that are measured.
    :param latency_ms: milliseconds after which the API answers.
    """
    with processes() as children, private_database(POSTGRES) as metadata:
        server = start_sandbox(children, folder=folder, latency_ms=latency_ms)
        env = environment(folder / "home", sandbox_url=server, warehouse=folder / "warehouse.sqlite") | {
            # On SQLite the triggerer's supervisor does nothing but wait for its queries.
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": metadata,
            "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "tests" / "benchmarks" / "dags"),
            "AIRFLOW_CONN_HTTP_DEFAULT": json.dumps({"conn_type": "http", "host": server}),
            "PYTHONPATH": str(ROOT),
            "BENCH_ROWS": "1",
        }
        log = folder / "airflow.log"
        reserialize = [sys.executable, "-m", "airflow", "dags", "reserialize"]
        if migrate(children, env=env, log=log).wait() or children.start(reserialize, env=env, log=log).wait():
            raise UnmeasuredError(f"there is no metadata database; the log is {log}")
        opened = iter(asyncio.run(_opened(server, sum(waits))))
        contacts = {count: list(islice(opened, count)) for count in waits}
        bench = Bench(server, folder, env, contacts, interval, window)
        found = []
        for what in KINDS:
            for count in waits:
                with processes() as own:
                    found.append({"what": what, "waits": count, **Triggerer(bench, what, count).measure(own)})
                print(found[-1])
        return found
