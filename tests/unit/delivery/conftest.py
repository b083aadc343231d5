"""What the tests of the delivery share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.support.delivery import Deliveries
    from vambe_provider.sandbox import Sandbox


@pytest.fixture
def deliveries(vambe_sandbox: Sandbox, sqlite_url: str) -> Deliveries:
    """Return deliveries with a ledger in SQLite, where the database makes no difference."""
    from tests.support.delivery import Deliveries

    return Deliveries(vambe_sandbox, sqlite_url)


@pytest.fixture
def everywhere(vambe_sandbox: Sandbox, ledger_url: str) -> Deliveries:
    """Return deliveries with a ledger in each kind of database."""
    from tests.support.delivery import Deliveries

    return Deliveries(vambe_sandbox, ledger_url)
