"""Run the tests on every supported Airflow, each in an environment of its own. Run by ``make matrix``.

::

    python scripts/matrix.py                   every release
    python scripts/matrix.py 2.11.2 3.0.6      only these
    python scripts/matrix.py newest            the newest of everything, pre-releases as well, without a pin
    python scripts/matrix.py --prepare 3.1.8   make and check the environment, run no test
    python scripts/matrix.py --pytest="-k phone"
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from lock import EXTRAS, RELEASES, ROOT, Release, find_uv

TESTS = ("tests", *(f"--ignore=tests/{folder}" for folder in ("benchmarks", "e2e", "faults", "project")))
"""What every Airflow has to pass; the rest starts processes of its own, or has nothing to do with Airflow."""
NOT_YET = {"2.11.2": ("tests/unit/triggers/",)}
"""What an old Airflow does not pass yet, by release: to be mended, not to be kept."""
STAMP = ".installed"
NEWEST = Release("newest", "", (3, 14))
"""What the index has today. Its environment is made anew each time."""


def find_python(release: Release) -> str:
    """Return an interpreter that the release supports: this one, or another one on the path.

    :raises SystemExit: when there is none.
    """
    if sys.version_info[:2] <= release.newest_python:
        return sys.executable
    for minor in range(release.newest_python[1], 10, -1):
        path = shutil.which(f"python3.{minor}")
        if path and subprocess.run([path, "-c", ""], capture_output=True, check=False).returncode == 0:
            return path
    newest = ".".join(map(str, release.newest_python))
    raise SystemExit(f"error: Airflow {release.version} needs Python 3.11 to {newest}, and none is on the path")


def prepare(release: Release) -> Path:
    """Make the environment of one release, unless an earlier call has, and return its folder."""
    venv = ROOT / f".venv-{release.version}"
    environment = {**os.environ, "PYTHON": find_python(release), "UV": find_uv()}
    project = [f".[{','.join(EXTRAS)}]", "--group", "test"]
    if release is NEWEST:
        shutil.rmtree(venv, ignore_errors=True)
        packages = ["--upgrade", "--prerelease=allow", "apache-airflow", "-e", *project]
        subprocess.run([ROOT / "scripts" / "venv.sh", venv, *packages], cwd=ROOT, env=environment, check=True)
        return venv
    if not release.pins.exists():
        raise SystemExit(f"error: {release.pins.name} is missing; run `make lock VERSIONS={release.version}`")
    state = hashlib.sha256((ROOT / "pyproject.toml").read_bytes() + release.pins.read_bytes()).hexdigest()
    stamp = venv / STAMP
    if stamp.exists() and stamp.read_text() == state:
        return venv
    packages = ["-c", str(release.pins), *release.requirements, "-e", *project]
    subprocess.run([ROOT / "scripts" / "venv.sh", venv, *packages], cwd=ROOT, env=environment, check=True)
    stamp.write_text(state)
    return venv


def clean_environment(venv: Path, home: str) -> dict[str, str]:
    """Return the process's environment without any Airflow setting but a fresh AIRFLOW_HOME."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("AIRFLOW_", "PYTHON"))}
    return {
        **kept,
        "AIRFLOW_HOME": home,
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "PATH": f"{venv / 'bin'}{os.pathsep}{kept.get('PATH', '')}",
        "VIRTUAL_ENV": str(venv),
    }


def check_installation(venv: Path, version: str, environment: dict[str, str]) -> None:
    """Ask Airflow itself whether it is the right one and whether it sees the provider.

    :raises SystemExit: when one of the two is not so.
    """
    airflow = venv / "bin" / "airflow"

    def ask(*words: str) -> str:
        reply = subprocess.run(
            [airflow, *words], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
        )
        if reply.returncode != 0:
            raise SystemExit(f"error: `airflow {' '.join(words)}` fails on {version}:\n{reply.stderr}")
        return reply.stdout

    found = ask("version").split()
    if version not in (*found, NEWEST.version):
        raise SystemExit(f"error: {venv.name} holds Airflow {' '.join(found)}, not {version}")
    if "airflow-provider-vambe" not in ask("providers", "list", "--output", "plain"):
        raise SystemExit(f"error: Airflow {version} does not list airflow-provider-vambe")


def run_tests(venv: Path, environment: dict[str, str], extra: list[str]) -> int:
    """Run the tests that every Airflow has to pass, and return pytest's exit code."""
    known = [f"--deselect={name}" for name in NOT_YET.get(venv.name.removeprefix(".venv-"), ())]
    command = [str(venv / "bin" / "python"), "-m", "pytest", "-q", *TESTS, *known, *extra]
    return subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode


def main() -> int:
    """Work through the releases; the exit code is 1 when one of them failed."""
    known = {release.version: release for release in (*RELEASES, NEWEST)}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("versions", nargs="*", metavar="VERSION", help=f"any of {', '.join(known)}; default: all")
    parser.add_argument("--prepare", action="store_true", help="make and check the environments, run no test")
    parser.add_argument("--pytest", default="", metavar="ARGUMENTS", help="handed on to pytest")
    arguments = parser.parse_args()
    unknown = [version for version in arguments.versions if version not in known]
    if unknown:
        parser.error(f"unknown version {', '.join(unknown)}; known are {', '.join(known)}")

    failed = []
    for version in arguments.versions or [release.version for release in RELEASES]:
        started = time.monotonic()
        print(f"== Airflow {version}", flush=True)
        venv = prepare(known[version])
        with tempfile.TemporaryDirectory(prefix="vambe-matrix-") as home:
            environment = clean_environment(venv, home)
            check_installation(venv, version, environment)
            print(f"   installed and listed after {time.monotonic() - started:.0f} s", flush=True)
            if not arguments.prepare and run_tests(venv, environment, shlex.split(arguments.pytest)) != 0:
                failed.append(version)
    if failed:
        print(f"failed on Airflow {', '.join(failed)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
