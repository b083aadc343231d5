from __future__ import annotations

import subprocess
import sys
from datetime import timedelta
from typing import Any

import pytest

from vambe_provider import compat


@pytest.mark.parametrize("name", compat.__all__)
def test_every_name_is_found_on_this_airflow(name: str) -> None:
    assert getattr(compat, name) is not None


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError):
        getattr(compat, "NoSuchThing")  # noqa: B009


def test_version_flags_agree_with_airflow() -> None:
    from airflow import __version__

    major, minor = (int(part) for part in __version__.split(".")[:2])
    flags = {
        (3, 0): compat.AIRFLOW_V_3_0_PLUS,
        (3, 1): compat.AIRFLOW_V_3_1_PLUS,
        (3, 2): compat.AIRFLOW_V_3_2_PLUS,
        (3, 3): compat.AIRFLOW_V_3_3_PLUS,
    }
    assert flags == {version: (major, minor) >= version for version in flags}


def test_without_a_store_in_the_context_there_is_none() -> None:
    assert compat.task_state_store({}) is None


@pytest.mark.skipif(not compat.AIRFLOW_V_3_3_PLUS, reason="Airflow has a task state store from 3.3 on")
def test_what_a_task_keeps_is_not_forgotten_after_a_month() -> None:
    kept: dict[str, Any] = {}

    class Store:
        def get(self, key: str, default: Any = None) -> Any:
            return kept.get(key, default)

        def set(self, key: str, value: Any, *, retention: timedelta | None = None) -> None:
            kept.update({key: value, "retention": retention})

    store = compat.task_state_store({"task_state_store": Store()})
    assert store is not None
    store.set("ticket", {"state": "opened"})
    assert store.get("ticket") == {"state": "opened"}
    assert kept["retention"] == timedelta.max


@pytest.mark.parametrize(
    "module",
    [
        "vambe_provider.compat",
        "vambe_provider.provider_info",
        "vambe_provider.hooks.vambe",
        "vambe_provider.links.vambe",
        "vambe_provider.operators.vambe",
        "vambe_provider.transfers.sql_to_vambe",
        "vambe_provider.decorators.vambe",
    ],
)
def test_importing_an_edge_adds_no_heavy_library(module: str) -> None:
    heavy = ("httpx", "aiohttp", "pydantic", "phonenumbers", "sqlalchemy")
    script = f"""
import sys
from airflow.providers.common.compat.sdk import BaseOperator, BaseHook, BaseOperatorLink, XCom, DecoratedOperator
import airflow.providers.common.compat.sdk as sdk
before = set(sys.modules)
import {module}
print(sorted(name for name in set(sys.modules) - before if name.split(".")[0] in {heavy!r}))
"""
    found = subprocess.run([sys.executable, "-W", "ignore", "-c", script], capture_output=True, text=True, check=True)
    assert found.stdout.strip().splitlines()[-1] == "[]"
