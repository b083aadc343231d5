"""Draws throughput and CPU over the number of workers."""

from __future__ import annotations

from pathlib import Path
from statistics import median
from typing import Any

from tests.benchmarks.results import Speed, cells, chosen, cpu, ideal, rate

_STYLES = {
    "bare": ("bare aiohttp, no ledger", "#8a8f98", "o"),
    "postgresql": ("this provider, PostgreSQL ledger", "#1f6feb", "s"),
    "sqlite": ("this provider, SQLite ledger", "#2da44e", "^"),
    "mariadb": ("this provider, MariaDB ledger", "#bf6f00", "v"),
}


def draw(found: dict[str, Any], target: Path) -> None:
    """Write an SVG: one picture for each latency, and one of the CPU."""
    import matplotlib as mpl

    mpl.use("svg")
    # Without these two, the same figures would give another file each time.
    mpl.rcParams["svg.hashsalt"] = "vambe"
    from matplotlib import pyplot as plt

    runs: list[Speed] = found["speed"]
    latencies = sorted({latency for latency, _ in cells(runs)})
    figure, axes = plt.subplots(1, len(latencies) + 1, figsize=(4.2 * (len(latencies) + 1), 3.8), squeeze=False)
    for axis, latency in zip(axes[0], latencies, strict=False):
        _throughput(axis, chosen(runs, latency_ms=latency), latency)
    _cpu(axes[0][-1], runs)
    handles, labels = axes[0][-2].get_legend_handles_labels()
    figure.legend(handles, labels, loc="lower center", ncols=3, frameon=False)
    figure.tight_layout(rect=(0, 0.14, 1, 1))
    figure.savefig(target, metadata={"Date": None})
    plt.close(figure)


def _throughput(axis: Any, runs: list[Speed], latency: int) -> None:
    several = [run for run in runs if run["what"] != "loop"]
    workers = sorted({run["workers"] for run in several})
    limits = [(run["workers"], limit) for run in several if (limit := ideal(run))]
    if limits:
        axis.plot(*zip(*sorted(set(limits)), strict=True), ":", color="#8a8f98", label="ideal: workers / latency")
    for what, (label, color, marker) in _STYLES.items():
        found = [(count, [rate(run) for run in chosen(several, what=what, workers=count)]) for count in workers]
        points = [(count, median(values)) for count, values in found if values]
        if points:
            axis.plot(*zip(*points, strict=True), color=color, marker=marker, label=label)
    loop = [rate(run) for run in chosen(runs, what="loop")]
    if loop:
        axis.axhline(median(loop), color="#cf222e", linestyle="--", label="a loop with requests")
    axis.set(title=f"server answers after {latency} ms", xlabel="workers", xscale="log", yscale="log")
    axis.set_xticks(workers, [str(count) for count in workers])
    axis.minorticks_off()
    axis.set_ylim(2, 20_000)  # the same in all pictures, so that they can be compared
    axis.set_ylabel("tickets a second")
    axis.grid(visible=True, alpha=0.3)


def _cpu(axis: Any, runs: list[Speed]) -> None:
    latency, workers = min(cells(runs), key=lambda cell: (cell != (50, 64), cell))
    runs = chosen(runs, latency_ms=latency, workers=workers) + chosen(runs, latency_ms=latency, what="loop")
    ways = [what for what in (*_STYLES, "loop") if chosen(runs, what=what)]
    names = {"bare": "bare\naiohttp", "postgresql": "Postgre-\nSQL", "sqlite": "SQLite", "mariadb": "MariaDB"}
    heights = [median(cpu(run) for run in chosen(runs, what=what)) for what in ways]
    colors = [_STYLES[what][1] if what in _STYLES else "#cf222e" for what in ways]
    axis.bar([names.get(what, "requests\nloop") for what in ways], heights, color=colors)
    axis.set(title=f"CPU of the client, {latency} ms, {workers} workers", ylabel="ms for each ticket")
    axis.grid(visible=True, axis="y", alpha=0.3)
