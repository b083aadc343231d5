"""Build the sdist, the wheel from it, and check both as a package index and a user would. Run by ``make package``.

::

    python scripts/package.py            build into dist/ and check
    python scripts/package.py --tag v1.2.3   as well: is this commit what the tag says?

Needs git, because what git knows is compared with what the sdist holds.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DIST = ROOT / "dist"
NOT_IN_THE_SDIST = re.compile(r"\..*|RELEASING\.md")
"""What only the repository needs."""
EXAMPLES = ROOT / "example_dags"


def run(*command: str | Path, cwd: Path = ROOT, env: dict[str, str] | None = None) -> str:
    """Run a command and return its standard output.

    :raises SystemExit: when it fails, with what it has said.
    """
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | (env or {})
    reply = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    if reply.returncode:
        raise SystemExit(f"error: {' '.join(map(str, command))} failed\n{reply.stdout}{reply.stderr}")
    return reply.stdout


def fail(text: str) -> None:
    """Leave with an error.

    :raises SystemExit: always.
    """
    raise SystemExit(f"error: {text}")


def build() -> tuple[Path, Path]:
    """Build the sdist and, from its content alone, the wheel; return both."""
    shutil.rmtree(DIST, ignore_errors=True)
    # No isolation: the build backend is one of the pinned tools of .venv.
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", DIST)
    (sdist,), (wheel,) = DIST.glob("*.tar.gz"), DIST.glob("*.whl")
    return sdist, wheel


def check_metadata(sdist: Path, wheel: Path) -> None:
    """Check what an index shows and what a wheel must not hold."""
    run(sys.executable, "-m", "twine", "check", "--strict", sdist, wheel)
    run(Path(sys.executable).with_name("check-wheel-contents"), wheel)


def check_sdist(sdist: Path, folder: Path) -> None:
    """Unpack the sdist into a folder, and check that nothing is missing and that its tests run without git.

    :raises SystemExit: naming what is missing.
    """
    with tarfile.open(sdist) as archive:
        # Python before 3.11.4 has no filters.
        if hasattr(tarfile, "data_filter"):
            archive.extraction_filter = tarfile.data_filter
        archive.extractall(folder)  # noqa: S202 - made by this script
    (content,) = folder.iterdir()
    known = {name for name in run("git", "ls-files", "-z").split("\0") if name and (ROOT / name).is_file()}
    inside = {str(path.relative_to(content)) for path in content.rglob("*") if path.is_file()}
    if missing := sorted(name for name in known - inside if not NOT_IN_THE_SDIST.fullmatch(name)):
        fail(f"the sdist lacks {', '.join(missing)}")
    if strange := sorted(inside - known - {"PKG-INFO", ".gitignore"}):
        fail(f"the sdist holds {', '.join(strange)}, which git does not know; add or remove them")
    some = ("tests/unit/api/test_settings.py", "tests/sandbox/test_index.py")
    passed = run(sys.executable, "-m", "pytest", "-q", *some, cwd=content)
    if not re.search(r"\d+ passed", passed):
        fail(f"the tests of the sdist do not run\n{passed}")


def check_wheel(wheel: Path, folder: Path) -> None:
    """Install the wheel alone into a folder, and use it from there.

    :raises SystemExit: when what a user gets does not work.
    """
    python, site, examples = sys.executable, folder / "site", folder / "dags"
    run(ROOT / "scripts" / "venv.sh", Path(sys.prefix), "--no-deps", "--target", site, wheel)
    env = {"PYTHONPATH": str(site)}
    where = run(python, "-c", "import vambe_provider; print(vambe_provider.__file__)", cwd=folder, env=env).strip()
    if not Path(where).is_relative_to(site):
        fail(f"{where} was imported instead of the wheel")
    run(python, "-m", "vambe_provider", "examples", examples, cwd=folder, env=env)
    expected = {path.name: path.read_bytes() for path in EXAMPLES.glob("*.py")}
    if {path.name: path.read_bytes() for path in examples.iterdir()} != expected:
        fail("the examples of the wheel are not those of the repository")
    for name in ("py.typed", "sandbox/static/page.css", "sandbox/static/page.js"):
        if not (site / "vambe_provider" / name).exists():
            fail(f"the wheel lacks vambe_provider/{name}")


def check_tag(tag: str, wheel: Path) -> None:
    """Check that the version, the changelog and the tag agree.

    :raises SystemExit: naming what does not.
    """
    version = wheel.name.split("-")[1]
    if tag != f"v{version}":
        fail(f"the tag {tag} is not v{version}; the version stands in vambe_provider/__init__.py")
    if not re.search(
        rf"^## {re.escape(version)} \(\d{{4}}-\d\d-\d\d\)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE
    ):
        fail(f"CHANGELOG.md has no line '## {version} (YYYY-MM-DD)'; run `python scripts/release.py {version}`")


def main() -> None:
    """Build and check, and say what was built."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tag", metavar="TAG", help="the tag that this commit has, as v1.2.3")
    options = parser.parse_args()
    sdist, wheel = build()
    check_metadata(sdist, wheel)
    with tempfile.TemporaryDirectory(prefix="vambe-package-") as folder:
        check_sdist(sdist, Path(folder) / "sdist")
        check_wheel(wheel, Path(folder) / "wheel")
    if options.tag:
        check_tag(options.tag, wheel)
    for path in (sdist, wheel):
        print(f"{path.relative_to(ROOT)}  {path.stat().st_size / 1024:,.0f} KiB")


if __name__ == "__main__":
    main()
