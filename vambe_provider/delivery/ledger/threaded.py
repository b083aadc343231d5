"""A ledger behind a thread of its own: one transaction at a time, and none of them blocks the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from vambe_provider.delivery.key import TicketKey
    from vambe_provider.delivery.ledger import Ledger
    from vambe_provider.delivery.model import Attempt, Claim, Settlement, Unsendable, Verdict, Withheld, Work
    from vambe_provider.delivery.options import DeliveryOptions
    from vambe_provider.delivery.rules import Glimpse

T = TypeVar("T")


class ThreadedLedger:
    """The calls of :class:`~vambe_provider.delivery.ledger.Ledger`, to be awaited.

    :param ledger: what is called.
    :param options: how this run delivers.
    :param lease: seconds that a claim holds.
    """

    def __init__(self, ledger: Ledger, options: DeliveryOptions, lease: float) -> None:
        self.lease = lease
        self._ledger, self._options = ledger, options
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="vambe-ledger")

    @property
    def me(self) -> str:
        """The beginning of every ``owner`` that this try writes."""
        return self._ledger.me

    @property
    def epoch(self) -> int:
        """Counts the jumps of the ledger's clock."""
        return self._ledger.epoch

    async def glimpses(self, namespace: str, digests: Sequence[str]) -> Mapping[str, Sequence[Glimpse]]:
        """Return what is known of these keys."""
        return await self._call(lambda: self._ledger.glimpses(namespace, digests)) if digests else {}

    async def look_up(self, works: Sequence[Work]) -> list[Claim]:
        """Say what would become of these tickets."""
        return await self._call(lambda: self._ledger.look_up(works, self._options)) if works else []

    async def exchange(self, settle: Sequence[Settlement], claim: Sequence[Work]) -> list[Claim]:
        """Record what became of earlier claims, and claim these tickets."""
        return await self._call(lambda: self._ledger.exchange(settle, claim, self._options, self.lease))

    async def reject(self, rows: Sequence[Unsendable]) -> list[Verdict]:
        """Record rows that validation refused."""
        return await self._call(lambda: self._ledger.reject(rows, self._options)) if rows else []

    async def withhold(self, items: Sequence[Withheld]) -> list[bool]:
        """Record tickets that a contact policy does not let go now."""
        return await self._call(lambda: self._ledger.withhold(items, self._options)) if items else []

    async def first_seen(self, digests: Sequence[str]) -> Mapping[str, float]:
        """Return when tickets came into the ledger."""
        return await self._call(lambda: self._ledger.first_seen(digests, self._options)) if digests else {}

    async def seed(self, keys: Sequence[TicketKey]) -> int:
        """Record tickets as open that the ledger does not know."""
        return await self._call(lambda: self._ledger.seed(keys, self._options)) if keys else 0

    async def siblings(self, attempt: Attempt) -> list[Attempt]:
        """Return the other attempts at this attempt's person."""
        return await self._call(lambda: self._ledger.siblings(attempt))

    async def witnesses(self, attempt: Attempt) -> list[Attempt]:
        """Return attempts that surely opened their tickets."""
        return await self._call(lambda: self._ledger.witnesses(attempt))

    async def earlier(self, attempt: Attempt) -> list[str]:
        """Return the contacts that are known for this attempt's person."""
        return await self._call(lambda: self._ledger.earlier(attempt))

    async def call(self, function: Callable[[Ledger], T]) -> T:
        """Call a function with the ledger, in the ledger's thread."""
        return await self._call(lambda: function(self._ledger))

    def close(self) -> None:
        """End the thread; the ledger itself stays open."""
        self._thread.shutdown(wait=False)

    async def _call(self, function: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, function)
