"""The files around the code: links that lead somewhere, workflows that call what exists, and facts that agree."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))

from commit_subject import problem_with
from lock import RELEASES

ROOT = Path(__file__).resolve().parents[2]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md"))]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

pytestmark = pytest.mark.skipif(not (ROOT / ".git").exists(), reason="needs a git checkout")


def targets() -> set[str]:
    return set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def steps(workflow: Path) -> list[dict[str, Any]]:
    jobs = yaml.safe_load(workflow.read_text())["jobs"].values()
    return [step for job in jobs for step in job["steps"]]


def slug(heading: str) -> str:
    """Return the anchor that GitHub and MyST give to a heading."""
    text = re.sub(r"[`*]|\[([^]]*)]\([^)]*\)", r"\1", heading).strip().lower()
    return re.sub(r"[^\w\- ]", "", text).replace(" ", "-")


def anchors(page: Path) -> set[str]:
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    return {slug(heading) for heading in re.findall(r"^#+ (.*)$", text, re.MULTILINE)}


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_to_a_file_leads_to_one(page: Path) -> None:
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    wrong = []
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        # Written at the build of the documentation, which checks them itself.
        if target.is_relative_to(ROOT / "docs" / "reference") or target.is_relative_to(ROOT / "docs" / "examples"):
            continue
        if not target.exists() or (anchor and anchor not in anchors(target)):
            wrong.append(link)
    assert not wrong


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_calls_make_and_every_target_exists(workflow: Path) -> None:
    commands = [step["run"] for step in steps(workflow) if "run" in step]
    called = [command.split()[1] for command in commands if command.startswith("make ")]
    assert called
    assert {target for target in called if not target.startswith('"$')} <= targets()
    assert [command for command in commands if not command.startswith(("make ", "gh release create "))] == []


def test_the_tests_workflow_runs_every_kind_of_test() -> None:
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "tests.yml").read_text())
    assert {"test-unit", "test-faults", "test-e2e", "package"} == set(
        workflow["jobs"]["tests"]["strategy"]["matrix"]["target"]
    )


def test_the_matrix_workflow_has_every_release() -> None:
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "matrix.yml").read_text())
    versions = workflow["jobs"]["pinned"]["strategy"]["matrix"]["airflow"]
    assert versions == [release.version for release in RELEASES]


@pytest.mark.parametrize("release", RELEASES, ids=lambda release: release.version)
def test_every_release_of_the_matrix_has_its_pins_and_is_named_to_users(release: Any) -> None:
    assert f"apache-airflow=={release.version}" in release.pins.read_text().splitlines()
    for page in ("README.md", "docs/compatibility.md"):
        assert release.version in (ROOT / page).read_text(), page


def test_the_registry_file_agrees_with_the_package() -> None:
    from pydoc import locate

    registry = yaml.safe_load((ROOT / ".airflow-registry.yaml").read_text())
    assert registry["package-name"] == PROJECT["name"]
    assert (registry["docs-url"], registry["source-url"]) == (
        PROJECT["urls"]["Documentation"],
        PROJECT["urls"]["Source"],
    )
    listed = [item["module"] for kind in ("operators", "sensors", "triggers", "hooks") for item in registry[kind]]
    assert listed
    assert [name for name in listed if locate(name) is None] == []


def test_every_control_endpoint_and_every_fault_of_the_sandbox_is_documented() -> None:
    from typing import get_args

    from vambe_provider.sandbox.app import Service
    from vambe_provider.sandbox.config import SandboxConfig
    from vambe_provider.sandbox.control import Control
    from vambe_provider.sandbox.faults import Kind
    from vambe_provider.sandbox.state import SandboxState

    page = (ROOT / "docs" / "sandbox.md").read_text()
    routes = Control(Service(SandboxState(SandboxConfig()))).routes()
    named = {f"`{route.method} {route.path.removeprefix('/__sandbox__/')}`" for route in routes}
    assert named
    assert {name for name in named if name not in page} == set()
    assert {kind for kind in get_args(Kind) if f"`{kind}`" not in page} == set()


def test_no_file_names_another_repository_than_the_metadata_does() -> None:
    source = PROJECT["urls"]["Source"].removeprefix("https://github.com/")
    reply = subprocess.run(
        ["git", "grep", "-h", "-I", "-o", "-E", f"github\\.com/[a-z-]+/{PROJECT['name']}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert set(reply.stdout.split()) == {f"github.com/{source}"}


@pytest.mark.parametrize(
    ("message", "problem"),
    [
        ("Add a thing\n\nBecause it was missing.\n# a comment\n", None),
        ("fixup! " + "x" * 100, None),
        ("x" * 73, "73 characters"),
        ("", "empty"),
        ("Add a thing.", "full stop"),
        ("Add a thing\nat once", "second line"),
    ],
)
def test_a_commit_says_what_it_does_in_one_short_line(message: str, problem: str | None) -> None:
    found = problem_with(message)
    assert (found is None) if problem is None else (found is not None and problem in found)
