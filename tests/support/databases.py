"""The databases of the tests: Airflow connections to them, and an empty ledger in each kind."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import sqlalchemy as sa

from tests import servers

SERVERS = {"postgres": servers.POSTGRES, "mariadb": servers.MARIADB}
_KINDS = {"postgresql": "postgres", "mysql": "mysql", "mariadb": "mysql"}


def connect_to(conn_id: str, url: str, **extra: Any) -> str:
    """Make an Airflow connection to the database of a SQLAlchemy URL, with these extras.

    Without Airflow's provider for it the test is skipped.
    """
    parts = urlsplit(url)
    kind = _KINDS.get(parts.scheme.partition("+")[0], "sqlite")
    pytest.importorskip(f"airflow.providers.{kind}")
    fields: dict[str, Any] = {"conn_type": kind, "extra": extra}
    if kind == "sqlite":
        fields["host"] = parts.path.removeprefix("/")
    else:
        fields |= {"host": parts.hostname, "port": parts.port, "login": parts.username}
        fields |= {"password": parts.password or "", "schema": parts.path.removeprefix("/")}
    os.environ[f"AIRFLOW_CONN_{conn_id.upper()}"] = json.dumps(fields)
    return conn_id


def connect_to_duckdb(conn_id: str, file: Path, **extra: Any) -> str:
    """Make an Airflow connection to a DuckDB file."""
    pytest.importorskip("airflow.providers.duckdb")
    os.environ[f"AIRFLOW_CONN_{conn_id.upper()}"] = json.dumps(
        {"conn_type": "duckdb", "host": str(file), "extra": extra}
    )
    return conn_id


@contextmanager
def connected(url: str) -> Iterator[sa.engine.Connection]:
    """Return a connection that is no part of any ledger; what is done with it is committed at the end."""
    engine = sa.create_engine(url, poolclass=sa.pool.NullPool)
    with engine.begin() as connection:
        yield connection


@contextmanager
def kept_databases() -> Iterator[dict[str, str]]:
    """Yield one database of each server that is there: making one takes longer than most of the tests."""
    with ExitStack() as stack:
        yield {
            kind: stack.enter_context(servers.private_database(server))
            for kind, server in SERVERS.items()
            if servers.problem_with(server) is None
        }


def with_an_empty_ledger(request: pytest.FixtureRequest, kept: dict[str, str]) -> str:
    """Return a database of the fixture's parameter whose ledger is empty, or not there.

    :param kept: from :func:`kept_databases`.
    """
    from vambe_provider.delivery.ledger.tables import metadata

    if request.param not in kept:
        # SQLite's is a file of the test; the others' fixture skips or fails, and says why.
        url: str = request.getfixturevalue(f"{request.param}_url")
        return url
    url = kept[request.param]
    with connected(url) as connection:
        there = set(sa.inspect(connection).get_table_names())
        for table in metadata.sorted_tables:
            if table.name in there:
                connection.execute(sa.delete(table))
    return url


def wait_for(condition: Callable[[], bool], *, patience: float = 30.0) -> None:
    """Wait until something is true; fail when it is not in time."""
    until = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < until, "it did not happen"
        time.sleep(0.02)


def free_port() -> int:
    """Return a port on which nothing listens."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return int(server.getsockname()[1])
