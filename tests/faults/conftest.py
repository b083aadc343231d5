"""What every test of this folder has: a sandbox, a database of each kind, and the mark ``faults``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.databases import kept_databases, with_an_empty_ledger

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.delivery import Deliveries
    from vambe_provider.sandbox import Sandbox


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "tests/faults/" in item.path.as_posix():
            item.add_marker(pytest.mark.faults)


@pytest.fixture(scope="session")
def _databases() -> Iterator[dict[str, str]]:
    with kept_databases() as kept:
        yield kept


@pytest.fixture(params=["sqlite", "postgres", "mariadb"])
def database_url(request: pytest.FixtureRequest, _databases: dict[str, str]) -> str:
    """Return a database of each kind whose ledger is empty, or not there."""
    return with_an_empty_ledger(request, _databases)


@pytest.fixture
def deliveries(vambe_sandbox: Sandbox, database_url: str) -> Deliveries:
    from tests.support.delivery import Deliveries

    return Deliveries(vambe_sandbox, database_url)
