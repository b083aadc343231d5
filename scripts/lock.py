"""Write the pins in ``constraints/``: for development one file for each Python, for the matrix one for each Airflow.

Run by ``make lock``. The files hold names and versions only, so that they work with any package index.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CONSTRAINTS = ROOT / "constraints"
DEVELOPMENT_AIRFLOW = "3.3.2"
PYTHONS = ("3.11", "3.12", "3.13", "3.14")


@dataclass(frozen=True)
class Release:
    """One Airflow release of the matrix.

    :param version: the release.
    :param resolve_as_of: its day of release plus two weeks. What was published later is not used, because an old
        Airflow breaks with dependencies that did not exist when it was tested.
    :param newest_python: the newest Python that it supports.
    :param newer: packages that may be newer than that, with their own last day: this project needs a later one.
    """

    version: str
    resolve_as_of: str
    newest_python: tuple[int, int]
    newer: tuple[tuple[str, str], ...] = ()


RELEASES = (
    Release("2.11.2", "2026-03-28", (3, 12)),
    Release("3.0.6", "2025-09-12", (3, 12), newer=(("apache-airflow-providers-common-compat", "2026-03-28"),)),
    Release("3.1.8", "2026-03-25", (3, 13)),
    Release("3.2.2", "2026-06-12", (3, 14)),
    Release("3.3.2", "2026-10-01", (3, 14)),
)


def find_uv() -> str:
    """Return a uv binary: the one named in ``UV``, the one on the path, or the one next to this Python.

    :raises SystemExit: when there is none.
    """
    beside = Path(sys.prefix) / "bin" / "uv"
    found = os.environ.get("UV") or shutil.which("uv") or (str(beside) if beside.exists() else None)
    if found is None:
        raise SystemExit("error: uv not found; run `make install` once")
    return found


def compile_pins(*, airflow: str, python: str, extras: Sequence[str], options: Sequence[str], target: Path) -> None:
    """Resolve this project together with one Airflow release, and write the pins to ``target``."""
    command = [find_uv(), "pip", "compile", "pyproject.toml", "-", "--quiet", "--upgrade", "--python-version", python]
    command += ["--no-header", "--no-annotate", "--no-emit-index-url", "--no-emit-find-links"]
    command += [f"--extra={extra}" for extra in extras]
    wanted = f"apache-airflow=={airflow}\n"
    reply = subprocess.run([*command, *options], cwd=ROOT, input=wanted, stdout=subprocess.PIPE, text=True, check=True)
    target.write_text(reply.stdout)
    print(f"{target.relative_to(ROOT)}: {len(reply.stdout.splitlines())} pins", flush=True)


def main() -> None:
    """Write all files, or only the matrix files of the versions named on the command line."""
    only = set(sys.argv[1:])
    CONSTRAINTS.mkdir(exist_ok=True)
    for python in PYTHONS if not only else ():
        target = CONSTRAINTS / f"py{python}.txt"
        compile_pins(airflow=DEVELOPMENT_AIRFLOW, python=python, extras=("dev", "docs"), options=(), target=target)
    for release in RELEASES:
        if only and release.version not in only:
            continue
        options = [f"--exclude-newer={release.resolve_as_of}"]
        options += [f"--exclude-newer-package={name}={day}" for name, day in release.newer]
        target = CONSTRAINTS / f"airflow-{release.version}.txt"
        compile_pins(airflow=release.version, python="3.11", extras=("test",), options=options, target=target)


if __name__ == "__main__":
    main()
