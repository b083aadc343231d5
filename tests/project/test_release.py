"""The release, rehearsed up to the upload in a copy of the repository."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))

from package import check_tag
from release import cut

ROOT = Path(__file__).resolve().parents[2]
VERSION = "9.9.9"

pytestmark = pytest.mark.skipif(not (ROOT / ".git").exists(), reason="needs a git checkout")


def run(*command: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """Return a clone of the repository with the files as they are now, committed or not."""
    clone = tmp_path / "clone"
    assert run("git", "clone", "--quiet", "--shared", ROOT, clone, cwd=tmp_path).returncode == 0
    for name in ("user.name", "user.email"):
        run("git", "config", name, "rehearsal@example.com", cwd=clone)
    changed = run("git", "diff", "--binary", "HEAD", cwd=ROOT).stdout
    if changed:
        subprocess.run(["git", "apply", "--index"], cwd=clone, input=changed, text=True, check=True)
    return clone


def test_a_release_is_cut_tagged_built_and_checked(copy: Path) -> None:
    done = run(sys.executable, "scripts/release.py", VERSION, cwd=copy)
    assert done.returncode == 0, done.stderr
    assert run("git", "commit", "--quiet", "--no-verify", "-am", f"Release {VERSION}", cwd=copy).returncode == 0
    built = run(sys.executable, "scripts/package.py", "--tag", f"v{VERSION}", cwd=copy)
    assert built.returncode == 0, built.stderr
    assert {path.name for path in (copy / "dist").iterdir()} == {
        f"airflow_provider_vambe-{VERSION}.tar.gz",
        f"airflow_provider_vambe-{VERSION}-py3-none-any.whl",
    }


@pytest.mark.parametrize(
    ("tag", "wheel", "said"),
    [
        ("v0.0.1", "airflow_provider_vambe-1.0.0-py3-none-any.whl", "the tag v0.0.1 is not v1.0.0"),
        ("v9.9.9", "airflow_provider_vambe-9.9.9-py3-none-any.whl", "no line '## 9.9.9"),
    ],
)
def test_a_tag_without_its_version_or_its_changelog_is_refused(tag: str, wheel: str, said: str) -> None:
    with pytest.raises(SystemExit, match=said):
        check_tag(tag, Path(wheel))


def test_cutting_leaves_an_empty_head_and_moves_the_rest_below_the_version() -> None:
    before = "# Changelog\n\n## Unreleased\n\n- new\n\n## 1.0.0 (2026-01-01)\n\n- old\n"
    assert cut(before, "1.1.0", "2026-11-26") == (
        "# Changelog\n\n## Unreleased\n\n## 1.1.0 (2026-11-26)\n\n- new\n\n## 1.0.0 (2026-01-01)\n\n- old\n"
    )


@pytest.mark.parametrize(
    ("changelog", "said"),
    [("## Unreleased\n\n## 1.0.0 (x)\n- old\n", "nothing under"), ("## Unreleased\n- a\n\n## 1.1.0 (x)\n", "already")],
)
def test_nothing_to_release_and_a_version_that_exists_are_refused(changelog: str, said: str) -> None:
    with pytest.raises(SystemExit, match=said):
        cut(changelog, "1.1.0", "2026-11-26")
