"""Where a delivery remembers what it did: one protocol, three homes.

:class:`~vambe_provider.delivery.ledger.sql.SqlLedger` remembers for ever and between tasks,
:class:`~vambe_provider.delivery.ledger.single.StateStoreLedger` for one task instance (Airflow 3.3+),
:class:`~vambe_provider.delivery.ledger.single.NoLedger` not at all: it can only have a second try reconcile first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from vambe_provider.delivery.key import TicketKey
    from vambe_provider.delivery.model import Attempt, Claim, Settlement, Unsendable, Verdict, Withheld, Work
    from vambe_provider.delivery.options import DeliveryOptions
    from vambe_provider.delivery.rules import Glimpse


class Ledger(Protocol):
    """What a delivery asks of its memory; every call is one transaction."""

    @property
    def me(self) -> str:
        """The beginning of every ``owner`` that this try writes."""
        ...

    @property
    def epoch(self) -> int:
        """Counts the jumps of the ledger's clock; a claim of an earlier epoch must not be posted."""
        ...

    def glimpses(self, namespace: str, digests: Sequence[str]) -> Mapping[str, Sequence[Glimpse]]:
        """Return what is known of these keys, in every account; unknown keys are left out."""
        ...

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

    def reject(self, rows: Sequence[Unsendable], options: DeliveryOptions) -> list[Verdict]:
        """Record rows that validation refused, and say what they are: ``rejected``, ``still_rejected``, ``opened`` for
        a row whose ticket an earlier run opened, ``conflict`` when this try opened it, ``duplicate`` when this try
        refused it already, ``held`` while it is undecided, ``suppressed`` when a person ruled it out.

        A row that was refused before and did not change is not written again.
        """
        ...

    def withhold(self, items: Sequence[Withheld], options: DeliveryOptions) -> list[bool]:
        """Record tickets that a contact policy does not let go now, with their due times, and say of each whether this
        try did so for the first time.

        What is open, undecided, or ruled out by a person stays as it is.
        """
        ...

    def first_seen(self, digests: Sequence[str], options: DeliveryOptions) -> Mapping[str, float]:
        """Return when tickets came into this account's ledger, in seconds of this machine's UTC clock."""
        ...

    def seed(self, keys: Sequence[TicketKey], options: DeliveryOptions) -> int:
        """Record tickets as open that this account does not know, send nothing, and return how many.

        :raises VambeConfigError: when this memory does not outlive the task.
        """
        ...

    def opened(self, key: TicketKey, options: DeliveryOptions) -> Attempt | None:
        """Return the attempt that opened the open generation of a ticket in this account; None when it is not known."""
        ...

    def contacts(self, namespace: str, digests: Sequence[str], options: DeliveryOptions) -> list[str]:
        """Return the contacts of open tickets in this account, as far as they are known."""
        ...

    def siblings(self, attempt: Attempt) -> list[Attempt]:
        """Return the attempts in the attempt's account at other tickets or generations that were addressed to its
        person and surely or maybe sent: all from shortly before it until now, and the last ones before that.
        """
        ...

    def witnesses(self, attempt: Attempt) -> list[Attempt]:
        """Return some of the newest attempts in the attempt's account that were surely sent by themselves (Vambe's
        reply is their evidence) to other persons whose contact is known; newest first, some dozens.
        """
        ...

    def earlier(self, attempt: Attempt) -> list[str]:
        """Return the contacts that earlier tickets in the attempt's account know for its person, newest first."""
        ...
