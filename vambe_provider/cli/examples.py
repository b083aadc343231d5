"""The command that writes the example Dags out; they come with the package."""

from __future__ import annotations

import re
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from vambe_provider.cli.output import print_line
from vambe_provider.cli.run import DONE
from vambe_provider.exceptions import VambeConfigError

if TYPE_CHECKING:
    import argparse

_NEEDS = re.compile(r"^Needs Airflow (\d+)\.(\d+) or newer", re.MULTILINE)


def write(options: argparse.Namespace) -> int:
    """Write the example Dags into a folder, without touching what somebody has changed there."""
    folder = Path(options.folder)
    texts = {path.name: path.read_bytes() for path in runnable()}
    try:
        there = {name: (folder / name).read_bytes() for name in texts if (folder / name).exists()}
        changed = [name for name, text in there.items() if text != texts[name]]
        if changed and not options.force:
            raise VambeConfigError(
                f"{folder} holds other versions of {', '.join(changed)}.",
                fix="Nothing was written. Name another folder, or add --force to overwrite them.",
            )
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            (folder / name).write_bytes(text)
    except OSError as error:
        raise VambeConfigError(f"{folder} cannot be written: {error.strerror}.", fix="Name another folder.") from error
    print_line(f"{len(texts)} example Dags written to {folder}.")
    print_line("They need two connections: vambe_default, of the type vambe, and warehouse, a database.")
    return DONE


def runnable() -> list[Path]:
    """Return the example Dags that this Airflow can run; one that needs a newer one says so in its first lines."""
    here = tuple(int(part) for part in version("apache-airflow").split(".")[:2])
    found = [(path, _NEEDS.search(path.read_text(encoding="utf-8"))) for path in sorted(source().glob("*.py"))]
    return [path for path, needs in found if needs is None or (int(needs[1]), int(needs[2])) <= here]


def source() -> Path:
    """Return the folder with the example Dags: inside an installed package, and beside it in a checkout.

    :raises VambeConfigError: when there is none.
    """
    package = Path(__file__).resolve().parents[1]
    for folder in (package / "example_dags", package.parent / "example_dags"):
        if folder.is_dir():
            return folder
    raise VambeConfigError("This installation has no example Dags.", fix="Install the package from its wheel.")
