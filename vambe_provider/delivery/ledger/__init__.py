"""Where a delivery remembers what it did: one protocol, three homes.

:class:`~vambe_provider.delivery.ledger.sql.SqlLedger` remembers for ever and between tasks,
:class:`~vambe_provider.delivery.ledger.single.StateStoreLedger` for one task instance (Airflow 3.3+),
:class:`~vambe_provider.delivery.ledger.single.NoLedger` not at all: it can only have a second try reconcile first.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from vambe_provider.delivery.model import Claim, Outcome, Settlement, Sibling, Unsendable, Work
    from vambe_provider.delivery.options import DeliveryOptions


class Ledger(Protocol):
    """What a delivery asks of its memory; every call is one transaction."""

    def look_up(self, works: Sequence[Work], options: DeliveryOptions) -> list[Claim]:
        """Say what would become of these tickets, and change nothing.

        The verdict ``send`` means that a claim is worth a try, not that it is yours.
        """
        ...

    def exchange(
        self, settle: Sequence[Settlement], claim: Sequence[Work], options: DeliveryOptions, lease: float
    ) -> list[Claim]:
        """Record what became of earlier claims, then claim these tickets for ``lease`` seconds.

        :return: one claim for each ticket, in their order.
        :raises VambeLedgerError: when nothing could be recorded; then nothing was claimed either.
        """
        ...

    def reject(self, rows: Sequence[Unsendable], options: DeliveryOptions) -> list[Outcome]:
        """Record rows that validation refused, and say what they are; a row whose ticket is open stays open."""
        ...

    def siblings(self, work: Work) -> list[Sibling]:
        """Return the other tickets to the same person."""
        ...
