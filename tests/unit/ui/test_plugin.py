"""What every process of Airflow gets to know about the page, and what that costs it."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import entry_points

import pytest

from tests.airflow_db import AIRFLOW
from tests.unit.ui.conftest import needs_page

HEAVY = ("fastapi.routing", "jinja2.environment", "vambe_provider.ui.app", "vambe_provider.delivery")


def test_airflow_finds_the_plugin_by_its_entry_point() -> None:
    [point] = entry_points(group="airflow.plugins", name="vambe")

    assert point.value == "vambe_provider.ui.plugin:VambePlugin"


def test_the_plugin_loads_no_module_but_its_own() -> None:
    code = (
        "import sys, airflow.plugins_manager; before = set(sys.modules)\n"
        "import vambe_provider.ui.plugin\n"
        "print(*sorted(set(sys.modules) - before))"
    )
    reply = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True)

    loaded = reply.stdout.splitlines()[-1].split()
    assert [name for name in loaded if not name.startswith("vambe_provider")] == []
    assert set(loaded) <= {"vambe_provider", "vambe_provider.ui", "vambe_provider.ui.plugin"}


@pytest.mark.skipif(AIRFLOW >= (3, 1), reason="Airflow has pages of plugins")
def test_before_3_1_the_plugin_adds_nothing() -> None:
    from vambe_provider.ui.plugin import VambePlugin

    assert not getattr(VambePlugin, "fastapi_apps", [])
    assert not getattr(VambePlugin, "external_views", [])


@needs_page
def test_the_menu_has_one_entry_whose_addresses_hold_below_a_path_prefix() -> None:
    from vambe_provider.ui.plugin import VambePlugin

    [view] = VambePlugin.external_views
    assert (view["destination"], view["category"], view["url_route"]) == ("nav", "browse", "vambe")
    for name in ("href", "icon", "icon_dark_mode"):
        assert view[name].startswith("vambe/")


@needs_page
def test_the_option_adds_a_tab_to_runs_and_to_tasks() -> None:
    from vambe_provider.ui.plugin import _views

    views = _views(task_tab=True)

    assert [view["destination"] for view in views] == ["nav", "dag_run", "task_instance"]
    assert len({view["url_route"] for view in views}) == 3
    assert {view["href"] for view in views[1:]} == {"vambe/tickets?dag={DAG_ID}&run={RUN_ID}"}
