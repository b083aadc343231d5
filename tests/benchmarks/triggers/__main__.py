"""Measure waits, print a table, and write ``.bench/triggers.json``: ``python -m tests.benchmarks.triggers``.

It takes about three minutes. The sandbox answers after 50 ms, in a process of its own; every measurement has a fresh
process, too.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[3]
COLUMNS = {
    "requests_per_minute": ("requests/min", "{:,.0f}"),
    "block_ms": ("loop blocked, ms", "{:,.0f}"),
    "start_block_ms": ("at the start, ms", "{:,.0f}"),
    "start_gc_ms": ("of it one garbage collection, ms", "{:,.0f}"),
    "answer_block_ms": ("at answers, ms", "{:,.0f}"),
    "cpu_percent": ("CPU, %", "{:,.1f}"),
    "rss_kib_per_wait": ("memory per wait, KiB", "{:,.0f}"),
}


async def opened(server: str, key: str, count: int) -> list[str]:
    """Open tickets for so many people and return their contacts."""
    from vambe_provider.api import AsyncVambeClient, ConnectionSettings, OpenTicket

    settings = ConnectionSettings.from_fields(host=server, password=key, extra={"phone_id": "qr-main"})
    gate = asyncio.Semaphore(64)
    async with AsyncVambeClient(settings) as client:
        stage = (await client.find_stage("Support / New")).id

        async def one(number: int) -> str:
            async with gate:
                ticket = OpenTicket(to_phone_number=f"+5692{number:07d}", stage_id=stage, message="Hola")
                return (await client.open_ticket(ticket)).ai_contact_id

        return list(await asyncio.gather(*map(one, range(count))))


def environment(server: str, key: str, home: str) -> dict[str, str]:
    """Return the environment of a measurement: a fresh AIRFLOW_HOME and the two connections."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW_")}
    vambe = {"conn_type": "vambe", "host": server, "password": key, "extra": {"phone_id": "qr-main", "rate": "none"}}
    return kept | {
        "AIRFLOW_HOME": home,
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__LOGGING__LOGGING_LEVEL": "ERROR",
        "AIRFLOW_CONN_VAMBE_DEFAULT": json.dumps(vambe),
        "AIRFLOW_CONN_HTTP_DEFAULT": json.dumps({"conn_type": "http", "host": server}),
    }


def measure(what: str, waits: int, *, job: dict[str, Any], env: dict[str, str]) -> dict[str, Any]:
    """Run one measurement in a process of its own."""
    # The worker has looked just now, as it does before it defers.
    job = {**job, "what": what, "contacts": job["contacts"][:waits], "looked_at": time.time()}
    reply = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "tests.benchmarks.triggers.waits"],
        input=json.dumps({**job, "answers": min(waits, 100)}),
        env=env,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if reply.returncode != 0:
        raise SystemExit(f"{what} with {waits} waits failed:\n{reply.stderr[-2000:]}")
    return {"what": what, "waits": waits, **json.loads(reply.stdout)}


def table(results: list[dict[str, Any]]) -> str:
    """Return the results as a Markdown table."""
    names = {"vambe": "VambeTicketSensor", "http": "HttpSensor"}
    lines = [
        f"| deferred waits | sensor | {' | '.join(title for title, _ in COLUMNS.values())} |",
        f"|---:|---|{'---:|' * len(COLUMNS)}",
    ]
    for found in sorted(results, key=lambda item: (item["waits"], item["what"] != "vambe")):
        cells = [
            "" if name == "answer_block_ms" and found["what"] == "http" else form.format(found[name])
            for name, (_, form) in COLUMNS.items()
        ]
        lines.append(f"| {found['waits']:,} | {names[found['what']]} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.triggers", description=__doc__)
    parser.add_argument("--waits", type=int, nargs="*", default=[1, 100, 2000])
    parser.add_argument("--interval", type=float, default=5.0, help="seconds between two looks of a wait")
    parser.add_argument("--window", type=float, default=15.0, help="seconds that are measured")
    parser.add_argument("--what", nargs="*", default=["http", "vambe"], choices=["http", "vambe"])
    parser.add_argument("--latency-ms", type=int, default=50)
    arguments = parser.parse_args()
    command = [sys.executable, "-m", "vambe_provider.sandbox", "--port", "0", "--latency-ms", str(arguments.latency_ms)]
    sandbox = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    results = []
    try:
        assert sandbox.stdout is not None
        server = next(word for word in sandbox.stdout.readline().split() if word.startswith("http://"))
        key = "sandbox-key"
        contacts = asyncio.run(opened(server, key, max(arguments.waits)))
        job = {
            "server": server,
            "key": key,
            "contacts": contacts,
            "interval": arguments.interval,
            "window": arguments.window,
        }
        with tempfile.TemporaryDirectory(prefix="vambe-bench-") as home:
            env = environment(server, key, home)
            # The peer first: by the time of ours, nobody has been written to for half a minute, as in a wait of hours.
            for what in arguments.what:
                for waits in arguments.waits:
                    # Until every wait has looked for the first time.
                    settle = 10.0 if waits < 1000 else 20.0
                    results.append(measure(what, waits, job={**job, "settle": settle}, env=env))
                    print(f"{what} {waits}: {results[-1]}", file=sys.stderr)
    finally:
        sandbox.terminate()
        sandbox.wait()
    print(table(results))
    described = {
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "airflow": version("apache-airflow"),
        "http": version("apache-airflow-providers-http"),
        "interval": arguments.interval,
        "latency_ms": arguments.latency_ms,
        "results": results,
    }
    target = ROOT / ".bench" / "triggers.json"
    target.parent.mkdir(exist_ok=True)
    target.write_text(json.dumps(described, indent=2) + "\n")


if __name__ == "__main__":
    main()
