"""A task run without Airflow: what an operator gets to see of it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any


class Ti(SimpleNamespace):
    """The part of a task instance that an operator uses."""

    def __init__(self, **fields: Any) -> None:
        defaults = {"dag_id": "dag", "task_id": "open", "run_id": "run-1", "map_index": -1, "try_number": 1}
        super().__init__(pushed={}, **{**defaults, **fields})

    def xcom_push(self, key: str, value: Any) -> None:
        self.pushed[key] = value


def context(**fields: Any) -> Any:
    """Return the context of a first try; arguments are added to it."""
    return {"ti": Ti(), **fields}
