"""A trigger that watches the event loop in which it runs, next to the waits that are measured."""

from __future__ import annotations

import asyncio
import gc
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import psutil
from airflow.triggers.base import BaseTrigger, TriggerEvent

PAUSE = 0.01
REPORT_EVERY = 1.0


class LoopProbe(BaseTrigger):
    """Ask the loop for a turn every 10 ms, and note how late it came; the triggerer's own watchdog asks every 100 ms.

    Once a second it adds a line of JSON to a file: ``worst_ms`` since the line before, ``gc_ms`` of the longest
    garbage collection in it, ``waits`` that run in this loop, and the ``rss_kib`` of the process.

    :param path: the file.
    """

    def __init__(self, path: str) -> None:
        super().__init__()
        self.path = path

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class and its argument."""
        return "tests.benchmarks.triggers.probe.LoopProbe", {"path": self.path}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Watch until cancelled."""
        collector = _Collector()
        gc.callbacks.append(collector)
        try:
            while True:
                worst = await _worst()
                waits = sum("/wait/" in task.get_name() for task in asyncio.all_tasks()) - 1
                self._note({"worst_ms": worst * 1000, "gc_ms": collector.take() * 1000, "waits": waits})
        finally:
            gc.callbacks.remove(collector)
        yield TriggerEvent(None)  # makes a generator of it

    def _note(self, line: dict[str, float]) -> None:
        with Path(self.path).open("a") as file:
            file.write(json.dumps({**line, "rss_kib": psutil.Process().memory_info().rss // 1024}) + "\n")


async def _worst() -> float:
    """Return how many seconds too late the loop was at worst."""
    worst, end = 0.0, time.perf_counter() + REPORT_EVERY
    while (began := time.perf_counter()) < end:
        await asyncio.sleep(PAUSE)
        worst = max(worst, time.perf_counter() - began - PAUSE)
    return worst


class _Collector:
    """How long Python's garbage collector took at worst: it goes through everything that Airflow has loaded."""

    def __init__(self) -> None:
        self._worst = self._began = 0.0

    def __call__(self, phase: str, _info: dict[str, int]) -> None:
        if phase == "start":
            self._began = time.perf_counter()
        else:
            self._worst = max(self._worst, time.perf_counter() - self._began)

    def take(self) -> float:
        worst, self._worst = self._worst, 0.0
        return worst
