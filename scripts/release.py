"""Prepare a release: set the version and cut the changelog. The steps around it stand in RELEASING.md.

::

    python scripts/release.py 1.2.3
"""

from __future__ import annotations

import re
import sys
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VERSION = re.compile(r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)((a|b|rc)[1-9]\d*)?")
HEAD = "## Unreleased\n"


def cut(changelog: str, version: str, day: str) -> str:
    """Return the changelog with what is unreleased under the name of a version.

    :param changelog: the text of the file.
    :param version: the new version.
    :param day: the day of the release, such as ``2026-11-26``.
    :raises SystemExit: when there is nothing to release, or the version is there already.
    """
    before, head, after = changelog.partition(HEAD)
    unreleased = after.partition("\n## ")[0]
    if not head or not unreleased.strip():
        raise SystemExit("error: CHANGELOG.md has nothing under '## Unreleased'")
    if re.search(rf"^## {re.escape(version)} ", changelog, re.MULTILINE):
        raise SystemExit(f"error: CHANGELOG.md already has a version {version}")
    return f"{before}{head}\n## {version} ({day})\n{after}"


def set_version(source: str, version: str) -> str:
    """Return the text of a module with another ``__version__``."""
    changed, count = re.subn(r'^__version__ = ".*"$', f'__version__ = "{version}"', source, flags=re.MULTILINE)
    if count != 1:
        raise SystemExit("error: vambe_provider/__init__.py has no line with __version__")
    return changed


def main(arguments: list[str]) -> None:
    """Change the two files.

    :param arguments: the version alone.
    """
    if len(arguments) != 1 or not VERSION.fullmatch(arguments[0]):
        raise SystemExit("usage: python scripts/release.py VERSION, as 1.2.3 or 1.2.3rc1")
    version, module, changelog = arguments[0], ROOT / "vambe_provider" / "__init__.py", ROOT / "CHANGELOG.md"
    texts = {
        module: set_version(module.read_text(), version),
        changelog: cut(changelog.read_text(), version, f"{datetime.now(UTC):%Y-%m-%d}"),
    }
    for path, text in texts.items():
        path.write_text(text)
        print(f"{path.relative_to(ROOT)}: {version}")


if __name__ == "__main__":
    main(sys.argv[1:])
