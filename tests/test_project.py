"""Promises about the project as a whole: its metadata, its imports, and what must not be in its files."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from importlib.metadata import distribution, entry_points
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "vambe_provider"
WITHOUT_AIRFLOW = ("api", "contact_policy", "delivery", "sandbox", "waiting")
EDGES = ("decorators", "hooks", "links", "notifications", "operators", "sensors", "transfers", "triggers")
HEAVY = ("aiohttp", "httpx", "pandas", "numpy", "phonenumbers", "pydantic", "sqlalchemy")


def modules_below(*names: str) -> list[str]:
    """Return the dotted names of all modules in some packages of the provider."""
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        if parts[1] in names:
            found.append(".".join(parts[:-1] if parts[-1] == "__init__" else parts))
    return found


def tracked_files() -> list[Path]:
    """Return the files that git knows; in an sdist, which has no git, there are none to ask for."""
    if not (ROOT / ".git").exists():
        pytest.skip("needs a git checkout")
    reply = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    files = [ROOT / name for name in reply.stdout.split("\0") if name]
    assert files
    return [path for path in files if path.is_file()]


def run_python(script: str) -> Any:
    """Run a script in a fresh Python, and return the JSON value of the last line that it prints."""
    command = [sys.executable, "-W", "ignore", "-c", script]
    reply = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert reply.returncode == 0, reply.stderr
    return json.loads(reply.stdout.splitlines()[-1])


def top_level_after(code: str) -> set[str]:
    """Run a statement in a fresh Python, and return every top-level package that is loaded afterwards."""
    modules = run_python(f"{code}\nimport json, sys\nprint(json.dumps(sorted(sys.modules)))")
    return {name.partition(".")[0] for name in modules}


# --- What Airflow reads ---------------------------------------------------------------------------------------------


@pytest.fixture
def provider_info() -> dict[str, Any]:
    (point,) = [
        point for point in entry_points(group="apache_airflow_provider") if point.value.startswith("vambe_provider.")
    ]
    info: dict[str, Any] = point.load()()
    return info


def test_airflow_accepts_the_provider_info(provider_info: dict[str, Any]) -> None:
    import airflow
    import jsonschema

    schema = json.loads((Path(airflow.__path__[0]) / "provider_info.schema.json").read_text())
    jsonschema.validate(provider_info, schema)
    assert provider_info["package-name"] == distribution("airflow-provider-vambe").metadata["Name"]


def test_every_class_named_in_the_provider_info_exists(provider_info: dict[str, Any]) -> None:
    from pydoc import locate

    names = [item["hook-class-name"] for item in provider_info["connection-types"]]
    names += [item["class-name"] for item in provider_info["task-decorators"]]
    names += provider_info.get("notifications", []) + provider_info.get("extra-links", [])
    for kind in ("operators", "hooks", "sensors", "triggers"):
        names += [module for item in provider_info.get(kind, []) for module in item["python-modules"]]
    names += [item["python-module"] for item in provider_info.get("transfers", [])]
    missing = [name for name in names if locate(name) is None]
    assert not missing


def test_the_installed_version_is_the_one_of_the_package() -> None:
    import vambe_provider

    assert distribution("airflow-provider-vambe").version == vambe_provider.__version__


# --- Imports --------------------------------------------------------------------------------------------------------


# The direction of the imports is checked by import-linter in `make lint`; its contracts stand in .importlinter.


@pytest.mark.parametrize("package", WITHOUT_AIRFLOW)
def test_the_core_runs_without_airflow(package: str) -> None:
    modules = [name for name in modules_below(package) if not name.endswith("__main__")]
    assert modules
    assert "airflow" not in top_level_after("\n".join(f"import {name}" for name in modules))


def test_the_package_itself_loads_nothing() -> None:
    assert not top_level_after("import vambe_provider") & {"airflow", *HEAVY}


def test_the_provider_info_loads_nothing() -> None:
    """Airflow calls it in every process, also in those that never use the provider."""
    code = "import vambe_provider.provider_info as p; p.get_provider_info()"
    assert not top_level_after(code) & {"airflow", *HEAVY}


IMPORT_EDGES = """
import importlib, json, sys
try:
    import airflow.sdk as sdk
    sdk.DAG, sdk.BaseOperator
except ImportError:  # Airflow 2
    from airflow import DAG
    from airflow.models import BaseOperator
seen, costs = set(sys.modules), {}
for name in {modules}:
    importlib.import_module(name)
    costs[name] = sorted(set(sys.modules) - seen)
    seen |= set(sys.modules)
print(json.dumps(costs))
"""


def test_a_dag_file_pays_nothing_for_the_edges() -> None:
    """What Airflow has loaded anyway is free; our models, the phone tables and HTTP clients wait until a task runs."""
    modules = modules_below(*EDGES)
    assert modules
    costs = run_python(IMPORT_EDGES.replace("{modules}", repr(modules)))
    ours = {"vambe_provider.api.models", "vambe_provider.api.client"}
    wrong = {
        module: expensive
        for module, added in costs.items()
        if (expensive := [name for name in added if name in ours or name in HEAVY])
    }
    assert not wrong


# --- Files ----------------------------------------------------------------------------------------------------------


def test_pins_hold_names_versions_and_markers_only() -> None:
    files = sorted((ROOT / "constraints").iterdir())
    assert "development.txt" in {path.name for path in files}
    pin = re.compile(r"[a-z0-9]+([.-][a-z0-9]+)*==[0-9a-z.+!]+( ; [a-zA-Z0-9_.<>=!*' ]+)?")
    lines = [(path.name, line) for path in files for line in path.read_text().splitlines()]
    assert not [(name, line) for name, line in lines if not pin.fullmatch(line)]


def test_no_file_names_a_machine_or_a_package_index() -> None:
    # Written in pieces, so that this file does not find itself.
    hosts = ["py" + "pi.org", "python" + "hosted.org", "registry." + "npmjs.org"]
    folders = ["/wo" + "rk/", "/ro" + "ot/", "/ho" + "me/", "/t" + "mp/"]
    # A folder at the start of a path, and not the end of another one or of an address.
    folder = r"(?<![\w.)}])(" + "|".join(folders) + ")"
    pattern = re.compile("|".join([folder, *map(re.escape, hosts)]))
    wrong = []
    for path in tracked_files():
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except UnicodeDecodeError:  # a picture
            continue
        wrong += [f"{path.relative_to(ROOT)}:{number}" for number, line in enumerate(lines, 1) if pattern.search(line)]
    assert not wrong
