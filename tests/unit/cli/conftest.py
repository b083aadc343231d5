"""A ledger with tickets in every state, put there by real deliveries."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa

from tests.support.delivery import Deliveries, claim_of, connected, options, row, sql_ledger
from vambe_provider.cli import main
from vambe_provider.delivery.ledger.tables import ledger
from vambe_provider.delivery.model import Outcome, Result

if TYPE_CHECKING:
    from vambe_provider.sandbox import Sandbox

EARLIER, LATER = "2026-11-22", "2026-11-23"


@dataclass(frozen=True)
class Answer:
    """What a command printed, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()


Command = Callable[..., Answer]


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Command:
    """Return a function that runs a command line, and returns what its user sees."""

    def run(*arguments: str) -> Answer:
        capsys.readouterr()
        try:
            code = main([*arguments])
        except SystemExit as end:  # argparse
            code = int(end.code or 0)
        out, err = capsys.readouterr()
        return Answer(code, out, err)

    return run


class Nights:
    """Deliveries of tickets, of which each can be made to end as the test needs it."""

    def __init__(self, sandbox: Sandbox, url: str) -> None:
        self.url = url
        self._sandbox = sandbox
        self._deliveries = Deliveries(sandbox, url)

    def open(self, number: int, *, run: str = LATER, namespace: str = "late-orders", **changes: Any) -> Result:
        """Run a delivery of one row, as any night does."""
        work = self._deliveries.work(row(number, **changes), namespace=namespace)
        return self._deliveries.one(work, opts=options(run=run, polls=(), retry_budget=0.0))

    def unknown(self, number: int, **more: Any) -> None:
        self._with_fault(number, Outcome.UNKNOWN, kind="status", status=500, **more)

    def rejected(self, number: int, **more: Any) -> None:
        self._with_fault(number, Outcome.REJECTED, kind="status", status=422, says="not a valid number", **more)

    def failed(self, number: int, **more: Any) -> None:
        self._with_fault(number, Outcome.FAILED, kind="rate_limit", **more)

    def sending(self, number: int, *, lease: float) -> None:
        """Leave a ticket as a worker does that is sending it at this moment."""
        with sql_ledger(self.url) as used:
            claim_of(used, self._deliveries.work(row(number), namespace="late-orders"), lease=lease)

    def posts(self) -> int:
        return self._deliveries.posts()

    def tickets(self) -> dict[str, int]:
        return dict(self._deliveries.tickets())

    def marker(self, number: int) -> str:
        """Return the key as Vambe shows it."""
        [marker] = [
            ticket["ticket_metadata"]["airflow_ticket_key"]
            for ticket in self._sandbox.tickets()
            if ticket["ticket_metadata"]["order_id"] == str(number)
        ]
        return str(marker)

    def age(self, number: int, **ago: float) -> None:
        """Let a ticket's last change lie in the past."""
        moment = datetime.now(UTC).replace(tzinfo=None) - timedelta(**ago)
        with connected(self.url) as connection:
            changed = connection.execute(
                sa.update(ledger).where(ledger.c.key_text == f"id={number}").values(updated_at=moment)
            )
            assert changed.rowcount == 1

    def _with_fault(
        self,
        number: int,
        outcome: Outcome,
        *,
        kind: str,
        status: int | None = None,
        says: str | None = None,
        **more: Any,
    ) -> None:
        self._sandbox.fault(kind=kind, status=status, says=says)
        try:
            result = self.open(number, run=EARLIER, **more)
        finally:
            self._sandbox.clear_faults()
        assert result.outcome == outcome, result


@pytest.fixture
def nights(vambe_sandbox: Sandbox, ledger_url: str) -> Nights:
    """Deliveries with a ledger in each kind of database."""
    return Nights(vambe_sandbox, ledger_url)


@pytest.fixture
def lite_nights(vambe_sandbox: Sandbox, sqlite_url: str) -> Nights:
    """Deliveries with a ledger in SQLite, for what does not depend on the database."""
    return Nights(vambe_sandbox, sqlite_url)
