"""A real Airflow with all of its parts, next to a sandbox, for a few tests."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))

from local_airflow import (
    EXAMPLE_DAGS,
    ask,
    environment,
    free_port,
    log_in,
    migrate,
    people_environment,
    processes,
    server_environment,
    start_sandbox,
    start_standalone,
)
from warehouse import Planted, build


@dataclass(frozen=True)
class Standalone:
    """A running ``airflow standalone`` with the example Dags.

    :param url: its address.
    :param sandbox: the address of the local Vambe.
    :param log: the file with its output.
    :param env: the environment of its processes.
    """

    url: str
    sandbox: str
    log: Path
    warehouse: Path
    planted: Planted
    env: dict[str, str] = field(repr=False)
    token: str = field(repr=False)

    def get(self, path: str) -> Any:
        """Return the JSON answer to a GET."""
        return ask(f"{self.url}{path}", token=self.token)

    def post(self, path: str, body: dict[str, Any], *, method: str = "POST") -> Any:
        """Return the JSON answer to a request with a body."""
        return ask(f"{self.url}{path}", body, token=self.token, method=method)

    def run(self, dag_id: str, conf: dict[str, Any] | None = None, *, patience: float = 120) -> str:
        """Trigger a Dag over REST, wait until its run has ended well, and return the run's id."""
        run_id = self.start(dag_id, conf)
        self.wait(dag_id, run_id, patience=patience)
        return run_id

    def start(self, dag_id: str, conf: dict[str, Any] | None = None) -> str:
        """Trigger a Dag over REST, and return the run's id."""
        self.wait_for(lambda: dag_id in {dag["dag_id"] for dag in self.get("/api/v2/dags")["dags"]})
        self.post(f"/api/v2/dags/{dag_id}", {"is_paused": False}, method="PATCH")
        run = self.post(f"/api/v2/dags/{dag_id}/dagRuns", {"logical_date": None, "conf": conf or {}})
        run_id: str = run["dag_run_id"]
        return run_id

    def wait(self, dag_id: str, run_id: str, *, patience: float = 120) -> None:
        """Wait until a run has ended well."""
        path = f"/api/v2/dags/{dag_id}/dagRuns/{run_id}"
        self.wait_for(lambda: self.get(path)["state"] in ("success", "failed"), patience=patience)
        assert self.get(path)["state"] == "success", f"{dag_id} failed; the log is {self.log}"

    def wait_for(self, look: Callable[[], Any], *, patience: float = 60) -> Any:
        """Look until there is something to see, and return it."""
        return wait_for(look, log=self.log, patience=patience)

    def reply(self, ai_contact_id: str, text: str) -> None:
        """Answer as the customer."""
        ask(f"{self.sandbox}/__sandbox__/replies", {"ai_contact_id": ai_contact_id, "text": text})

    def returned(self, dag_id: str, run_id: str, task_id: str) -> Any:
        """Return what a task returned."""
        path = f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/xcomEntries/return_value"
        return self.get(f"{path}?deserialize=true")["value"]

    def tickets(self) -> list[dict[str, Any]]:
        """Return every ticket in the sandbox."""
        found: list[dict[str, Any]] = ask(f"{self.sandbox}/__sandbox__/tickets?limit=1000000")
        return found


def wait_for(look: Callable[[], Any], *, log: Path, patience: float = 60) -> Any:
    """Look until there is something to see, and return it.

    :param look: returns what is waited for, or something false.
    :param log: the file that is named when nothing comes.
    :param patience: seconds.
    :raises AssertionError: when there was nothing in time.
    """
    deadline = time.monotonic() + patience
    while not (seen := look()):
        assert time.monotonic() < deadline, f"waited {patience} s in vain; the log is {log}"
        threading.Event().wait(0.5)
    return seen


@pytest.fixture(scope="module")
def dags_folder() -> Path:
    """Return where the Dags are; a module that wants others overrides it."""
    return EXAMPLE_DAGS


@pytest.fixture(scope="module")
def standalone(tmp_path_factory: pytest.TempPathFactory, dags_folder: Path) -> Iterator[Standalone]:
    folder = tmp_path_factory.mktemp("standalone")
    warehouse, log = folder / "warehouse.sqlite", folder / "airflow.log"
    planted = build(warehouse)
    with processes() as children:
        sandbox = start_sandbox(children, folder=folder)
        env = environment(folder / "home", sandbox_url=sandbox, warehouse=warehouse)
        assert migrate(children, env=env, log=log).wait() == 0, log.read_text()
        env |= server_environment(free_port()) | {"AIRFLOW__CORE__DAGS_FOLDER": str(dags_folder)}
        env |= people_environment(folder / "home")
        start_standalone(children, env=env, log=log)
        url = env["AIRFLOW__API__BASE_URL"]
        token = log_in(url, "admin")
        yield Standalone(url, sandbox, log, warehouse, planted, env, token)
