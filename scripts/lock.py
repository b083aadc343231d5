"""Write the pins in ``constraints/``: one file for development, and one for each Airflow of the matrix.

Run by ``make lock``. The files hold names, versions and markers only, so that they work with any package index.
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
DEVELOPMENT = CONSTRAINTS / "development.txt"
DEVELOPMENT_AIRFLOW = "3.3.2"
OLDEST_PYTHON = "3.11"
EXTRAS = ("redis", "sandbox")
"""The extras that development and the tests use."""


@dataclass(frozen=True)
class Release:
    """One Airflow release of the matrix.

    :param version: the release.
    :param resolve_as_of: its day of release plus two weeks. What was published later is not used, because an old
        Airflow breaks with dependencies that did not exist when it was tested.
    :param newest_python: the newest Python that it supports.
    :param newer: packages that may be newer than that, with their own last day: this project needs a later one.
    :param parts: the exact versions of the packages that it consists of. A pre-release has to name them, because a
        resolver takes a pre-release only where it is asked for by name.
    """

    version: str
    resolve_as_of: str
    newest_python: tuple[int, int]
    newer: tuple[tuple[str, str], ...] = ()
    parts: tuple[str, ...] = ()

    @property
    def pins(self) -> Path:
        """The file with its pins."""
        return CONSTRAINTS / f"airflow-{self.version}.txt"

    @property
    def requirements(self) -> list[str]:
        """What a resolver has to be asked for."""
        return [f"apache-airflow=={self.version}", *self.parts]


_HOLIDAYS = ("holidays", "2026-11-20")
"""Laws do not wait for a release of Airflow."""

RELEASES = (
    Release("2.11.2", "2026-03-28", (3, 12), newer=(_HOLIDAYS,)),
    Release(
        "3.0.6", "2025-09-12", (3, 12), newer=(("apache-airflow-providers-common-compat", "2026-03-28"), _HOLIDAYS)
    ),
    Release("3.1.8", "2026-03-25", (3, 13), newer=(_HOLIDAYS,)),
    Release("3.2.2", "2026-06-12", (3, 14), newer=(_HOLIDAYS,)),
    Release("3.3.2", "2026-10-01", (3, 14), newer=(_HOLIDAYS,)),
    # The newest pre-release: what breaks here will break users next month.
    Release(
        "3.4.0b2",
        "2026-11-25",
        (3, 14),
        parts=("apache-airflow-core==3.4.0b2", "apache-airflow-task-sdk==1.4.0b2"),
    ),
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


def compile_pins(*, wanted: Sequence[str], groups: Sequence[str], options: Sequence[str], target: Path) -> None:
    """Resolve this project together with one Airflow release, and write the pins to ``target``.

    :param wanted: the requirements of the Airflow release.
    :param groups: the dependency groups of this project that are resolved as well.
    :param options: further options of ``uv pip compile``.
    :param target: the file.
    """
    command = [find_uv(), "pip", "compile", "pyproject.toml", "-", "--quiet", "--upgrade"]
    command += ["--python-version", OLDEST_PYTHON, *(f"--group={group}" for group in groups)]
    command += [f"--extra={extra}" for extra in EXTRAS]
    command += ["--no-header", "--no-annotate", "--no-emit-index-url", "--no-emit-find-links", *options]
    text = "\n".join(wanted)
    reply = subprocess.run(command, cwd=ROOT, input=text, stdout=subprocess.PIPE, text=True, check=True)
    target.write_text(reply.stdout)
    print(f"{target.relative_to(ROOT)}: {len(reply.stdout.splitlines())} pins", flush=True)


def main() -> None:
    """Write all files, or only the matrix files of the versions named on the command line."""
    only = set(sys.argv[1:])
    if unknown := only - {release.version for release in RELEASES}:
        raise SystemExit(f"error: scripts/lock.py knows no release {', '.join(sorted(unknown))}; add it to RELEASES")
    CONSTRAINTS.mkdir(exist_ok=True)
    if not only:
        wanted = [f"apache-airflow=={DEVELOPMENT_AIRFLOW}"]
        compile_pins(wanted=wanted, groups=("dev", "mysql"), options=["--universal"], target=DEVELOPMENT)
    for release in RELEASES:
        if only and release.version not in only:
            continue
        options = [f"--exclude-newer={release.resolve_as_of}"]
        options += [f"--exclude-newer-package={name}={day}" for name, day in release.newer]
        compile_pins(wanted=release.requirements, groups=("test",), options=options, target=release.pins)


if __name__ == "__main__":
    main()
