"""Runs one measurement after the other, each in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.servers import MARIADB, POSTGRES, private_database, problem_with

ROOT = Path(__file__).resolve().parents[2]
LEDGERS = ("sqlite", "postgresql", "mariadb")
_SERVERS = {"postgresql": POSTGRES, "mariadb": MARIADB}


class UnmeasuredError(Exception):
    """A measurement did not end well."""


def usable_ledgers() -> tuple[str, ...]:
    """Return the kinds of database that are there, and say which are not."""
    usable = []
    for kind in LEDGERS:
        problem = problem_with(_SERVERS[kind]) if kind in _SERVERS else None
        if problem is None:
            usable.append(kind)
        else:
            print(f"not measured: {problem}")
    return tuple(usable)


@contextmanager
def ledger_url(kind: str) -> Iterator[str]:
    """Yield the address of an empty database."""
    if kind in _SERVERS:
        with private_database(_SERVERS[kind]) as url:
            yield url
    else:
        with tempfile.TemporaryDirectory() as folder:
            yield f"sqlite:///{folder}/ledger.sqlite"


@contextmanager
def server(latency_ms: int) -> Iterator[str]:
    """Start the endpoint in a process of its own and yield its address."""
    command = [sys.executable, "-m", "tests.benchmarks.server", str(latency_ms)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


def run(job: dict[str, Any], *, patience: float) -> dict[str, Any]:
    """Run one job of :mod:`tests.benchmarks.client` in a fresh process, and return its figures.

    :param patience: seconds until it is given up.
    :raises UnmeasuredError: when it failed or took too long.
    """
    command = [sys.executable, "-m", "tests.benchmarks.client", json.dumps(job)]
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=patience, check=False)
    except subprocess.TimeoutExpired:
        raise UnmeasuredError(f"{job} took more than {patience:.0f} s") from None
    if done.returncode != 0:
        raise UnmeasuredError(f"{job} failed: {done.stderr.strip()[-500:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def delivery(what: str, address: str, *, rows: int, workers: int, patience: float = 300) -> dict[str, Any]:
    """Measure one way to deliver rows: ``bare``, ``loop``, or the engine with the ledger in a kind of database."""
    job = {"what": what, "server": address, "rows": rows, "workers": workers}
    if what not in LEDGERS:
        return run(job, patience=patience)
    with ledger_url(what) as url:
        return run({**job, "what": "engine", "ledger": url}, patience=patience)


def known(kind: str, address: str, *, rows: int, new: int, workers: int, patience: float) -> dict[str, Any]:
    """Measure a run over rows of which all but a few have been opened by an earlier run."""
    with ledger_url(kind) as url:
        job = {"server": address, "rows": rows, "ledger": url, "workers": workers}
        run({**job, "what": "remember", "skip": rows // new}, patience=patience)
        return run({**job, "what": "engine"}, patience=patience)
