"""Run a test command under coverage, and fail when the core of the provider is not covered well enough.

::

    python scripts/coverage_gate.py --run -m pytest tests     run, then judge
    python scripts/coverage_gate.py                           judge what an earlier run left
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
REQUIRED = {"vambe_provider/api": 95.0, "vambe_provider/delivery": 95.0}
"""Branch coverage in percent that each package has to reach."""


def coverage(*words: str) -> int:
    """Run one coverage command in the project's folder, and return its exit code."""
    return subprocess.run([sys.executable, "-m", "coverage", *words], cwd=ROOT, check=False).returncode


def read_report() -> dict[str, Any]:
    """Combine the data of all processes, and return coverage's own JSON report."""
    coverage("combine", "--quiet")
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "coverage.json"
        if coverage("json", "--quiet", "-o", str(target)) != 0:
            raise SystemExit("error: no coverage data; run the tests first")
        report: dict[str, Any] = json.loads(target.read_text())
        return report


def branch_coverage(report: dict[str, Any], package: str) -> tuple[int, int]:
    """Return how many branches of a package were taken, and how many there are."""
    files = [file["summary"] for path, file in report["files"].items() if Path(path).is_relative_to(package)]
    if not files:
        raise SystemExit(f"error: no file of {package} was measured")
    return sum(file["covered_branches"] for file in files), sum(file["num_branches"] for file in files)


def judge(report: dict[str, Any]) -> bool:
    """Print one line for each package, and return whether all reach what is required."""
    good = True
    for package, required in REQUIRED.items():
        covered, total = branch_coverage(report, package)
        percent = 100.0 * covered / total if total else 100.0
        good = good and percent >= required
        verdict = "" if percent >= required else "  <- too low"
        print(
            f"branch coverage of {package}: {percent:.1f} % ({covered} of {total}, required {required:.0f} %){verdict}"
        )
    return good


def main() -> int:
    """Return 0 when the tests pass and the coverage is high enough."""
    if sys.argv[1:2] == ["--run"]:
        coverage("erase")
        code = coverage("run", *sys.argv[2:])
        if code != 0:
            return code
    if judge(read_report()):
        return 0
    coverage("report", "--include", ",".join(f"{package}/*" for package in REQUIRED))
    return 1


if __name__ == "__main__":
    sys.exit(main())
