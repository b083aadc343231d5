"""Some waits in one event loop, as a triggerer runs them, in a process of its own.

``python -m tests.benchmarks.triggers.waits`` reads a job as JSON from its standard input and prints one line of JSON. A
probe asks the loop for its turn every 10 ms, as the triggerer's own watchdog does, and notes how late it came.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import sys
import time
from typing import Any

import psutil

PROBE = 0.01


class Probe:
    """How late the loop was, at worst, since the last reset."""

    def __init__(self) -> None:
        self.worst = 0.0

    async def run(self) -> None:
        """Look at the clock until cancelled."""
        while True:
            began = time.perf_counter()
            await asyncio.sleep(PROBE)
            self.worst = max(self.worst, time.perf_counter() - began - PROBE)

    def take(self) -> float:
        """Return the worst delay in milliseconds, and start again."""
        worst, self.worst = self.worst, 0.0
        return worst * 1000


class Collector:
    """How long Python's garbage collector took, at worst: it goes through everything that Airflow has loaded."""

    def __init__(self) -> None:
        self.worst = 0.0
        self._began = 0.0
        gc.callbacks.append(self._note)

    def _note(self, phase: str, _info: dict[str, int]) -> None:
        if phase == "start":
            self._began = time.perf_counter()
        else:
            self.worst = max(self.worst, time.perf_counter() - self._began)


def vambe(job: dict[str, Any], contact: str) -> Any:
    """The trigger of VambeTicketSensor."""
    from vambe_provider.triggers.vambe import VambeTicketTrigger

    now = time.time()
    return VambeTicketTrigger(
        vambe_conn_id="vambe_default",
        ai_contact_ids=[contact],
        until="replied",
        looked_at=job["looked_at"],
        deadline=now + 3600,
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


async def first_event(trigger: Any) -> Any:
    """Run a trigger to its event."""
    async for event in trigger.run():
        return event
    return None


async def counted(session: Any, job: dict[str, Any]) -> int:
    """Return how many API requests came to the sandbox so far."""
    async with session.get(f"{job['server']}/__sandbox__/state?limit=1") as reply:
        return int((await reply.json())["counts"]["requests"])


async def main(job: dict[str, Any]) -> dict[str, Any]:
    """Start the waits, let them be, answer some of them, and return what it took."""
    import aiohttp

    make = {"vambe": vambe, "http": http}[job["what"]]
    process, probe = psutil.Process(), Probe()
    make(job, job["contacts"][0])  # the import of the trigger's module is the same for one wait and for all
    collector, watcher = Collector(), asyncio.create_task(probe.run())
    async with aiohttp.ClientSession() as session:
        before = process.memory_info().rss
        cpu, wall = time.process_time(), time.perf_counter()
        tasks = []
        for contact in job["contacts"]:
            await asyncio.sleep(0)
            tasks.append(asyncio.create_task(first_event(make(job, contact))))
        await asyncio.sleep(job["settle"])
        start_cpu, start_block, start_gc = time.process_time() - cpu, probe.take(), collector.worst * 1000

        requests, cpu, wall = await counted(session, job), time.process_time(), time.perf_counter()
        await asyncio.sleep(job["window"])
        seconds = time.perf_counter() - wall
        steady = {
            "requests_per_minute": (await counted(session, job) - requests) * 60 / seconds,
            "cpu_percent": (time.process_time() - cpu) * 100 / seconds,
            "block_ms": probe.take(),
            "rss_kib_per_wait": (process.memory_info().rss - before) / 1024 / len(tasks),
        }
        answered = 0
        if job["what"] == "vambe":
            chosen = job["contacts"][: job["answers"]]
            for contact in chosen:
                body = {"ai_contact_id": contact, "text": "Sí"}
                async with session.post(f"{job['server']}/__sandbox__/replies", json=body) as reply:
                    reply.raise_for_status()
            async with asyncio.timeout(60):
                for event in await asyncio.gather(*tasks[: len(chosen)]):
                    answered += event.payload["status"] == "success"
    watcher.cancel()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    ended = {"answered": answered, "answer_block_ms": probe.take()}
    started = {"start_block_ms": start_block, "start_gc_ms": start_gc, "start_cpu_seconds": start_cpu}
    return {**started, **steady, **ended}


if __name__ == "__main__":
    # The result is the only line on standard output.
    out = os.dup(1)
    os.dup2(2, 1)
    found = asyncio.run(main(json.load(sys.stdin)))
    os.write(out, json.dumps(found).encode() + b"\n")
