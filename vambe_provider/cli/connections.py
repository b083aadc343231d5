"""From a connection's id to what it leads to; the only part of the command line that loads Airflow."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from vambe_provider.exceptions import VambeConfigError

if TYPE_CHECKING:
    from sqlalchemy.engine import Engine

    from vambe_provider.delivery.person import Persons
    from vambe_provider.hooks.vambe import VambeHook


def ledger_engine_of(conn_id: str) -> Engine:
    """Return an engine for the ledger behind a connection."""
    with _airflow(conn_id):
        from vambe_provider.hooks.sql import ledger_engine

        return ledger_engine(conn_id, argument="--conn-id")


def persons() -> Persons:
    """Return what makes the hash of a person, with the secret of Airflow's configuration."""
    from vambe_provider.operators.arguments import persons as configured

    return configured()


@contextmanager
def vambe_hook(conn_id: str) -> Iterator[VambeHook]:
    """Give the hook of a connection."""
    with _airflow(conn_id):
        from vambe_provider.hooks.vambe import VambeHook

        with VambeHook(conn_id) as hook:
            yield hook


@contextmanager
def _airflow(conn_id: str) -> Iterator[None]:
    """Read connections as Airflow's own command line does, and say in one line when there is none."""
    from vambe_provider import compat

    compat.read_connections_outside_of_tasks()
    try:
        yield
    except compat.AirflowNotFoundException:
        raise VambeConfigError(
            f"--conn-id: Airflow has no connection {conn_id}",
            fix="`airflow connections list` shows those of this Airflow; AIRFLOW_HOME and AIRFLOW_CONN_… must be set "
            "here as they are for tasks.",
        ) from None
