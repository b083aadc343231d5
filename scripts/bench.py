"""Measure what tickets cost, next to other ways to open them. Run by ``make bench``.

The figures go to ``.bench/results.json``; ``--write-docs`` puts them into ``docs/performance.md`` and
``docs/waiting.md`` too, and ``--docs-only`` does that with the figures of the last run.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.benchmarks import imports, policy, results  # noqa: E402 - found only now
from tests.benchmarks.measure import LEDGERS, UnmeasuredError, delivery, known, server, usable_ledgers  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable

FOLDER = ROOT / ".bench"
PAGE = ROOT / "docs" / "performance.md"
WAITING = ROOT / "docs" / "waiting.md"
PLOT = ROOT / "docs" / "performance.svg"

LATENCIES = (0, 50, 300)
WORKERS = (8, 64, 256)
MAIN_CELL = (50, 64)
PARTS = ("imports", "policy", "speed", "memory", "airflow", "waits")
SECONDS = 4.0
"""How long a measurement takes when nothing but the latency counts."""
FASTEST = 1500.0
"""Tickets a second that are expected at most; bounds the rows of a measurement."""


def rows_for(latency: int, workers: int) -> int:
    """Return how many rows are enough for a measurement of a few seconds."""
    limit = workers / latency * 1000 if latency else FASTEST
    return max(50, round(min(limit, FASTEST) * SECONDS))


def speed(
    ledgers: tuple[str, ...], *, cells: list[tuple[int, int]], rounds: int, main_rounds: int
) -> list[dict[str, Any]]:
    """Measure every way at each latency and number of workers, taking turns, so that a busy minute hits all alike.

    :param rounds: how often each cell is measured.
    :param main_rounds: how often the cell of the targets is.
    """
    found: list[dict[str, Any]] = []
    for latency in sorted({latency for latency, _ in cells}):
        with server(latency) as address:
            loop_rows = round(min(FASTEST, 1000 / latency if latency else FASTEST))
            for number in range(max(rounds, main_rounds)):
                turn = [
                    cell
                    for cell in cells
                    if cell[0] == latency and number < (main_rounds if cell == MAIN_CELL else rounds)
                ]
                for _, workers in turn:
                    count = rows_for(latency, workers)
                    found += [_measured(what, address, latency, workers, number, count) for what in ("bare", *ledgers)]
                if number < rounds:
                    found.append(_measured("loop", address, latency, 1, number, max(20, loop_rows * 2)))
    return found


def _measured(what: str, address: str, latency: int, workers: int, number: int, rows: int) -> dict[str, Any]:
    run = {"what": what, "latency_ms": latency, "workers": workers, "round": number, "rows": rows}
    run |= delivery(what, address, rows=rows, workers=workers)
    print(
        f"{latency:>4} ms {workers:>4} workers  {what:<11} {results.rate(run):>8,.1f}/s {results.cpu(run):6.2f} ms CPU"
    )
    return run


def memory(ledger: str, *, posted: list[int], known_rows: list[int]) -> list[dict[str, Any]]:
    """Measure the highest memory of runs that post all rows, and of runs that know all but 10,000 of them already."""
    found = []
    with server(0) as address:
        for rows in posted:
            found.append(
                {"rows": rows, "ledger": ledger, **delivery(ledger, address, rows=rows, workers=64, patience=3600)}
            )
            print(f"{rows:>10,} rows, all posted: {found[-1]['peak_mib']:.1f} MiB in {found[-1]['seconds']:.0f} s")
        for rows in known_rows:
            run = known(ledger, address, rows=rows, new=10_000, workers=64, patience=3600)
            found.append({"rows": rows, "ledger": ledger, **run})
            print(f"{rows:>10,} rows, {run['opened']:,} posted: {run['peak_mib']:.1f} MiB in {run['seconds']:.0f} s")
    return found


def in_airflow(ledger: str) -> dict[str, Any]:
    """Measure mapped tasks and the batch operator in a real Airflow."""
    from tests.benchmarks import mapped

    with tempfile.TemporaryDirectory(prefix="vambe-bench-") as folder:
        return mapped.measure(Path(folder), mapped=100, batch=10_000, latency_ms=50, ledger=ledger)


def deferred() -> list[dict[str, Any]]:
    """Measure deferred waits in a real triggerer."""
    from tests.benchmarks.triggers.measure import measure as waits

    with tempfile.TemporaryDirectory(prefix="vambe-bench-") as folder:
        return waits(Path(folder), waits=[1, 100, 2_000], interval=5.0, window=30.0, latency_ms=50)


def machine() -> dict[str, Any]:
    """Return what the figures depend on."""
    names = ("apache-airflow", "sqlalchemy", "aiohttp", "pydantic")
    return {
        "cpus": os.cpu_count(),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "load": os.getloadavg()[0],
        "when": datetime.now(UTC).strftime("%Y-%m-%d"),
        "versions": {name: version(name) for name in names},
    }


def measure(chosen: argparse.Namespace, found: dict[str, Any]) -> None:
    """Run the measurements that are wanted, and put their figures into ``found``."""
    ledgers = usable_ledgers()
    main = "postgresql" if "postgresql" in ledgers else LEDGERS[0]
    cells = [(late, many) for late in LATENCIES for many in WORKERS]
    posted = [1_000, 10_000, 100_000, *([1_000_000] if chosen.million else [])]
    if "imports" in chosen.only:
        found["imports"] = imports.measure(10)
    if "policy" in chosen.only:
        found["policy"] = policy.measure(20_000)
    if "speed" in chosen.only:
        found["speed"] = speed(ledgers, cells=cells, rounds=chosen.rounds, main_rounds=chosen.rounds + 4)
    if "memory" in chosen.only:
        found["memory"] = memory(main, posted=posted, known_rows=[1_000_000])
    if "airflow" in chosen.only:
        try:
            found["airflow"] = in_airflow(main)
        except (UnmeasuredError, RuntimeError) as error:
            print(f"not measured: {error}")
    if "waits" in chosen.only:
        found["waits"] = deferred()


def measure_quickly(found: dict[str, Any]) -> None:
    """Measure what shows a large step back."""
    ledgers = usable_ledgers()
    main = "postgresql" if "postgresql" in ledgers else LEDGERS[0]
    some = tuple(dict.fromkeys((LEDGERS[0], main)))
    found["imports"] = imports.measure(3)
    found["policy"] = policy.measure(5_000)
    found["speed"] = speed(some, cells=[MAIN_CELL, (0, 64)], rounds=1, main_rounds=2)
    found["memory"] = memory(main, posted=[1_000, 10_000], known_rows=[])


def sections(found: dict[str, Any]) -> dict[str, str]:
    """Return the tables of what was measured, by name."""
    told = found["machine"]
    versions = ", ".join(f"{name} {number}" for name, number in told["versions"].items())
    where = f"{told['cpus']} CPUs, {told['system']}, Python {told['python']}, {versions}"
    parts = {"machine": f"Measured on {told['when']}: {where}.", "targets": results.targets(found)}
    if "speed" in found:
        parts["throughput"] = results.speed_table(found["speed"], results.rate, "{:,.0f}")
        parts["ratios"] = results.ratio_table(found["speed"])
        parts["cpu"] = results.speed_table(found["speed"], results.cpu, "{:.2f}")
    tables: dict[str, Callable[[Any], str]]
    tables = {
        "airflow": results.airflow_table,
        "memory": results.memory_table,
        "imports": results.import_table,
        "waits": results.wait_table,
    }
    return parts | {name: table(found[name]) for name, table in tables.items() if found.get(name)}


def write_docs(found: dict[str, Any]) -> None:
    """Replace the tables in the pages, each between its two comments, and draw the plot."""
    from tests.benchmarks.plot import draw

    for name, part in sections(found).items():
        page = WAITING if name == "waits" else PAGE
        begin, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
        before, _, rest = page.read_text().partition(begin)
        _, _, after = rest.partition(end)
        if not after:
            raise SystemExit(f"{page} has no place for the table {name!r}")
        page.write_text(f"{before}{begin}\n{part}\n{end}{after}")
    draw(found, PLOT)
    print(f"\nwritten: {', '.join(str(path.relative_to(ROOT)) for path in (PAGE, WAITING, PLOT))}")


def main() -> None:
    """Measure, print and store."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="two minutes, and only what shows a large step back")
    parser.add_argument("--rounds", type=int, default=3, help="how often each cell is measured")
    parser.add_argument("--million", action="store_true", help="post a million rows too; takes up to half an hour")
    parser.add_argument("--write-docs", action="store_true", help="put the figures into the two pages too")
    parser.add_argument("--docs-only", action="store_true", help="the same with the figures of the last run")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, help="keep the last figures of the others")
    chosen = parser.parse_args()
    file = FOLDER / ("quick.json" if chosen.quick else "results.json")
    found: dict[str, Any] = {}
    if file.exists() and (chosen.docs_only or chosen.only != PARTS):
        found = json.loads(file.read_text())
    if not chosen.docs_only:
        began = time.monotonic()
        found["machine"] = machine()
        if chosen.quick:
            measure_quickly(found)
        else:
            measure(chosen, found)
        FOLDER.mkdir(exist_ok=True)
        file.write_text(json.dumps(found, indent=1))
        for name, part in sections(found).items():
            print(f"\n{name}\n{part}")
        print(f"\n{time.monotonic() - began:.0f} s")
    if chosen.docs_only or (chosen.write_docs and not chosen.quick):
        write_docs(found)


if __name__ == "__main__":
    main()
