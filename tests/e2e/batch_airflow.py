"""What the tests of batches in a real Airflow share: how to look at it, and a table of late orders."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from local_airflow import ask

DAGS = Path(__file__).with_name("batch_dags")
TASK = "open_tickets"
DONE = ("success", "failed")


def make_orders(engine: sa.engine.Engine, count: int) -> None:
    """Make the table that the Dags query, with as many customers as orders."""
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE late_orders (order_id INTEGER, name TEXT, phone TEXT)"))
        connection.execute(
            sa.text("INSERT INTO late_orders VALUES (:order_id, :name, :phone)"),
            [{"order_id": n, "name": f"Persona {n}", "phone": f"+5696{n:07d}"} for n in range(count)],
        )


def rows_of(engine: sa.engine.Engine, query: str) -> list[tuple[Any, ...]]:
    """Return what a query finds now."""
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(sa.text(query))]


@dataclass(frozen=True)
class RealAirflow:
    """A running Airflow with the Dags of ``batch_dags``.

    :param url: the address of its API server.
    :param sandbox: the address of the local Vambe.
    :param folder: where all logs are.
    """

    url: str
    sandbox: str
    folder: Path
    token: str = field(repr=False)

    def api(self, path: str, body: dict[str, Any] | None = None, *, method: str | None = None) -> Any:
        """Return the answer of Airflow's REST API."""
        return ask(f"{self.url}/api/v2{path}", body, token=self.token, method=method)

    def start(self, dag_id: str, **conf: str) -> str:
        """Trigger a Dag as soon as Airflow knows it, and return the path of its run."""
        self.wait_for(lambda: dag_id in {dag["dag_id"] for dag in self.api("/dags")["dags"]})
        run = self.api(f"/dags/{dag_id}/dagRuns", {"logical_date": None, "conf": conf})
        return f"/dags/{dag_id}/dagRuns/{run['dag_run_id']}"

    def state_in_the_end(self, run: str) -> str:
        """Wait until a run is over."""
        self.wait_for(lambda: self.api(run)["state"] in DONE, patience=180)
        state: str = self.api(run)["state"]
        return state

    def tasks(self, run: str) -> list[dict[str, Any]]:
        """Return the task instances of a run."""
        found: list[dict[str, Any]] = self.api(f"{run}/taskInstances")["task_instances"]
        return found

    def report(self, run: str) -> dict[str, Any]:
        """Return what the task returned."""
        path = f"{run}/taskInstances/{TASK}/xcomEntries/return_value?deserialize=true"
        found: dict[str, Any] = self.api(path)["value"]
        return found

    def ticket_count(self) -> int:
        """Return how many tickets were ever opened."""
        count: int = ask(f"{self.sandbox}/__sandbox__/state?limit=1")["counts"]["tickets"]
        return count

    def orders(self) -> Counter[int]:
        """Return how many tickets there are for each order; tickets of Dags without orders do not count."""
        tickets = ask(f"{self.sandbox}/__sandbox__/tickets?limit=1000000")
        orders = (ticket["ticket_metadata"].get("order_id") for ticket in tickets)
        return Counter(int(order) for order in orders if order is not None)

    def wait_for(self, look: Callable[[], Any], *, patience: float = 90.0) -> Any:
        """Look until there is something to see, and return it."""
        return wait_for(look, patience=patience, logs=self.folder)


def wait_for(look: Callable[[], Any], *, patience: float, logs: Path) -> Any:
    """Look until there is something to see, and return it.

    :raises AssertionError: when there was nothing in time; names the logs.
    """
    deadline = time.monotonic() + patience
    while not (seen := look()):
        assert time.monotonic() < deadline, f"waited {patience} s in vain; the logs are in {logs}"
        threading.Event().wait(0.2)
    return seen
