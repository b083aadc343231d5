"""What the figures say: ratios of runs that were measured side by side, and tables of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from statistics import median
from typing import Any

from tests.benchmarks.measure import LEDGERS

Speed = dict[str, Any]
"""One delivery: ``what`` was measured in which ``round``, with ``latency_ms`` and ``workers``, and what it took."""

NAMES = {
    "bare": "bare aiohttp",
    "loop": "`requests` loop",
    "sqlite": "SQLite",
    "postgresql": "PostgreSQL",
    "mariadb": "MariaDB",
}


def rate(run: Speed) -> float:
    """Tickets a second."""
    return float(run["rows"] / run["seconds"])


def cpu(run: Speed) -> float:
    """CPU milliseconds of the process for each ticket."""
    return float(run["cpu_seconds"] / run["rows"] * 1000)


def ideal(run: Speed) -> float | None:
    """Tickets a second when only the server's latency counts."""
    return run["workers"] / run["latency_ms"] * 1000 if run["latency_ms"] else None


def chosen(runs: Iterable[Speed], **fields: Any) -> list[Speed]:
    """Return the runs with these values."""
    return [run for run in runs if all(run[name] == value for name, value in fields.items())]


def cells(runs: Iterable[Speed]) -> list[tuple[int, int]]:
    """Return each latency with each number of workers that was measured."""
    return sorted({(run["latency_ms"], run["workers"]) for run in runs if run["what"] != "loop"})


def spread(values: Iterable[float], shape: str = "{:,.0f}") -> str:
    """Return the median, and the least and the greatest when there are several."""
    found = sorted(values)
    if not found:
        return "-"
    middle = shape.format(median(found))
    return middle if len(found) == 1 else f"{middle} ({shape.format(found[0])} to {shape.format(found[-1])})"


def ratios(runs: list[Speed], what: str, other: str, value: Callable[[Speed], float] = rate) -> list[float]:
    """Return how the figures of one way compare to those of another, round by round."""
    others = {run["round"]: value(run) for run in chosen(runs, what=other)}
    return [value(run) / others[run["round"]] for run in chosen(runs, what=what) if run["round"] in others]


def table(head: list[str], rows: Iterable[list[str]]) -> str:
    """Return a table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def speed_table(runs: list[Speed], value: Callable[[Speed], float], shape: str) -> str:
    """Return one line for each latency and number of workers, with one column for each way."""
    ways = [what for what in NAMES if chosen(runs, what=what)]
    lines = []
    for latency, workers in cells(runs):
        cell = chosen(runs, latency_ms=latency, workers=workers)
        # One loop knows no workers, so its figure is the same in all lines of a latency.
        cell += [run for run in chosen(runs, latency_ms=latency, what="loop") if run["workers"] != workers]
        figures = [spread(map(value, chosen(cell, what=what)), shape) for what in ways]
        lines.append([f"{latency} ms", str(workers), *figures])
    return table(["latency", "workers", *(NAMES[what] for what in ways)], lines)


def ratio_table(runs: list[Speed]) -> str:
    """Return the engine's throughput as shares of that of bare aiohttp and of the ideal, and its CPU as a multiple."""
    lines = []
    for latency, workers in cells(runs):
        cell = chosen(runs, latency_ms=latency, workers=workers)
        for what in LEDGERS:
            mine = chosen(cell, what=what)
            if not mine:
                continue
            shares = [rate(run) / limit for run in mine if (limit := ideal(run))]
            times = spread(ratios(cell, what, "bare", cpu), "{:.1f}x")
            of_bare = spread(ratios(cell, what, "bare"), "{:.0%}")
            lines.append([f"{latency} ms", str(workers), NAMES[what], of_bare, spread(shares, "{:.0%}"), times])
    return table(
        ["latency", "workers", "ledger", "of bare aiohttp", "of workers / latency", "CPU of bare aiohttp"], lines
    )


def wait_table(runs: list[dict[str, Any]]) -> str:
    """Return what deferred waits cost a triggerer; the memory of one wait is what many need more than one."""
    alone = {run["what"]: run["rss_kib"] for run in runs if run["waits"] == 1}
    names = {"vambe": "VambeTicketSensor", "http": "HttpSensor", "sleep": "a trigger that sleeps"}
    lines = [
        [
            f"{run['waits']:,}",
            names[run["what"]],
            f"{run['requests_per_minute']:,.0f}",
            *("" if run[name] is None else f"{run[name]:,.0f}" for name in _BLOCKS),
            f"{run['blocked_warnings']}",
            f"{run['cpu_percent']:.1f}",
            f"{(run['rss_kib'] - alone[run['what']]) / (run['waits'] - 1):,.0f}" if alone and run["waits"] > 1 else "",
        ]
        for run in sorted(runs, key=lambda run: (run["waits"], list(names).index(run["what"])))
    ]
    blocks = ["loop blocked, ms: while they come", "waiting", "at answers", "after a restart"]
    titles = [*blocks, "warnings", "CPU, %", "KiB per wait"]
    return table(["deferred waits", "sensor", "requests/min", *titles], lines)


_BLOCKS = ("arrival_block_ms", "block_ms", "answer_block_ms", "restart_block_ms")


def memory_table(runs: list[dict[str, Any]]) -> str:
    """Return the highest memory of each run."""
    lines = [
        [
            f"{run['rows']:,}",
            f"{run['opened']:,}",
            NAMES[run["ledger"]],
            f"{run['peak_mib']:.1f}",
            f"{run['seconds']:,.0f}",
        ]
        for run in runs
    ]
    return table(["rows", "of which posted", "ledger", "peak MiB", "seconds"], lines)


def import_table(found: dict[str, list[float]]) -> str:
    """Return what the imports cost."""
    lines = [[name, f"{min(values):.1f}", f"{median(values):.1f}"] for name, values in found.items()]
    return table(["what a Dag file imports", "least CPU ms", "median"], lines)


def airflow_table(found: dict[str, Any]) -> str:
    """Return what the same rows cost as mapped tasks and as one task."""
    mapped, batch = found["mapped"], found["batch"]
    lines = [
        [
            f"mapped `HttpOperator`, {found['tasks_at_once']} tasks at once",
            f"{mapped['rows']:,}",
            f"{mapped['seconds']:.1f}",
            f"{mapped['rows'] / mapped['seconds']:.2f}",
        ],
        [
            "`SqlToVambeTicketsOperator`, the whole task",
            f"{batch['rows']:,}",
            f"{batch['seconds']:.1f}",
            f"{batch['rows'] / batch['seconds']:,.0f}",
        ],
        [
            "the same, without the start of the task",
            f"{batch['rows']:,}",
            f"{batch['report']['elapsed_seconds']:.1f}",
            f"{batch['report']['tickets_per_second']:,.0f}",
        ],
    ]
    return table(["in `airflow standalone`", "rows", "seconds", "tickets a second"], lines)


def targets(found: dict[str, Any]) -> str:
    """Return what was to be reached, and what was."""
    lines: list[list[str]] = []
    cell = chosen(found.get("speed", []), latency_ms=50, workers=64)
    mine = chosen(cell, what="postgresql")
    if mine:
        of_bare = ratios(cell, "postgresql", "bare")
        lines.append(["50 ms, 64 workers, PostgreSQL ledger, of bare aiohttp", "70 %", spread(of_bare, "{:.0%}")])
        of_ideal = [rate(run) / (ideal(run) or 1.0) for run in mine]
        lines.append(["the same, of the ideal 64 / 50 ms = 1,280/s", "70 %", spread(of_ideal, "{:.0%}")])
    if mine and found.get("airflow"):
        mapped = found["airflow"]["mapped"]
        per_second = mapped["rows"] / mapped["seconds"]
        lines.append(
            ["the same, of mapped tasks", "200x", spread((rate(run) / per_second for run in mine), "{:,.0f}x")]
        )
    memory: dict[int, float] = {}
    for run in found.get("memory", []):
        memory[run["rows"]] = max(memory.get(run["rows"], 0.0), run["peak_mib"])
    if 10_000 in memory and max(memory) > 10_000:
        most = max(memory)
        lines.append([f"memory at {most:,} rows, of that at 10,000", "1.2x", f"{memory[most] / memory[10_000]:.2f}x"])
    if found.get("imports"):
        worst = min(found["imports"]["all three"])
        lines.append(["import on top of `airflow.sdk`", "20 ms CPU", f"{worst:.1f} ms"])
    if found.get("policy"):
        costs = [cost["number and policy"] for cost in found["policy"].values()]
        lines.append(["number and contact policy of a fresh row", "60 µs CPU", spread(costs, "{:.0f} µs")])
    return table(["", "to reach", "reached: median (least to greatest)"], lines)
