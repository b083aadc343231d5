"""What every test of this folder has: a sandbox, a database of each kind, and the mark ``faults``."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa

from tests import servers
from tests.support.delivery import Deliveries, connected

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vambe_provider.sandbox import Sandbox

_SERVERS = {"postgres": servers.POSTGRES, "mariadb": servers.MARIADB}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "tests/faults/" in item.path.as_posix():
            item.add_marker(pytest.mark.faults)


@pytest.fixture(scope="session")
def _databases() -> Iterator[dict[str, str]]:
    """One database of each server for all tests of this folder: making one takes longer than most of the tests."""
    with contextlib.ExitStack() as stack:
        yield {
            kind: stack.enter_context(servers.private_database(server))
            for kind, server in _SERVERS.items()
            if servers.problem_with(server) is None
        }


@pytest.fixture(params=["sqlite", "postgres", "mariadb"])
def database_url(request: pytest.FixtureRequest, _databases: dict[str, str]) -> str:
    """Return a database of each kind whose ledger is empty, or not there."""
    if request.param not in _databases:
        # SQLite's is a file of the test; the others' fixture skips or fails, and says why.
        url: str = request.getfixturevalue(f"{request.param}_url")
        return url
    url = _databases[request.param]
    with connected(url) as connection:
        if sa.inspect(connection).has_table("vambe_ticket_ledger"):
            connection.execute(sa.text("DELETE FROM vambe_ticket_ledger"))
    return url


@pytest.fixture
def deliveries(vambe_sandbox: Sandbox, database_url: str) -> Deliveries:
    return Deliveries(vambe_sandbox, database_url)
