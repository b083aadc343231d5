"""Try the measurement of deferred waits alone: ``python -m tests.benchmarks.triggers``."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from tests.benchmarks.results import wait_table
from tests.benchmarks.triggers.measure import measure

parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.triggers", description=__doc__)
parser.add_argument("--waits", type=int, nargs="+", default=[1, 100, 2000])
parser.add_argument("--interval", type=float, default=5.0, help="seconds between two looks of a wait")
parser.add_argument("--window", type=float, default=30.0, help="seconds that are measured")
chosen = parser.parse_args()
folder = Path(tempfile.mkdtemp(prefix="vambe-bench-"))
print(f"the logs are in {folder}")
print(wait_table(measure(folder, waits=chosen.waits, interval=chosen.interval, window=chosen.window, latency_ms=50)))
