"""What the tests of the ledger share: an empty ledger in each kind of database."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from tests.support.databases import kept_databases, with_an_empty_ledger
from tests.support.ledger import sql_ledger

if TYPE_CHECKING:
    from vambe_provider.delivery.ledger.sql import SqlLedger


@pytest.fixture(scope="session")
def _databases() -> Iterator[dict[str, str]]:
    with kept_databases() as kept:
        yield kept


@pytest.fixture(params=["sqlite", "postgres", "mariadb"])
def ledger_url(request: pytest.FixtureRequest, _databases: dict[str, str]) -> str:
    """Return a database of each kind whose ledger is empty, or not there."""
    return with_an_empty_ledger(request, _databases)


@pytest.fixture
def ledger(ledger_url: str) -> Iterator[SqlLedger]:
    """Return a ledger in each kind of database."""
    with sql_ledger(ledger_url) as made:
        yield made
