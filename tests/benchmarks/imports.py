"""What a Dag file pays for importing the operators, in CPU milliseconds: ``python -m tests.benchmarks.imports``."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

MODULES = {
    "one ticket": "vambe_provider.operators.vambe",
    "many tickets": "vambe_provider.transfers.sql_to_vambe",
    "sensor": "vambe_provider.sensors.vambe",
    "all three": "vambe_provider.operators.vambe, vambe_provider.transfers.sql_to_vambe, vambe_provider.sensors.vambe",
}
# What a Dag file has imported anyhow; airflow.sdk itself loads these names only when they are asked for.
_CODE = """
from airflow.sdk import DAG, BaseHook, BaseOperator, BaseSensorOperator
import time
before = time.process_time()
import {modules}
print((time.process_time() - before) * 1000)
"""


def measure(times: int) -> dict[str, list[float]]:
    """Return the CPU milliseconds of each import, on top of ``airflow.sdk``, each in a fresh process."""
    found: dict[str, list[float]] = {name: [] for name in MODULES}
    for _ in range(times):
        for name, modules in MODULES.items():
            command = [sys.executable, "-c", _CODE.format(modules=modules)]
            output = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout
            found[name].append(float(output.split()[-1]))
    return found


if __name__ == "__main__":
    result: dict[str, Any] = measure(5)
    print(json.dumps(result))
