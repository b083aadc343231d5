"""A ledger behind a thread of its own: one transaction at a time, and none of them blocks the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from vambe_provider.delivery.ledger import Ledger
    from vambe_provider.delivery.model import Claim, Outcome, Settlement, Sibling, Unsendable, Work
    from vambe_provider.delivery.options import DeliveryOptions

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

    async def look_up(self, works: Sequence[Work]) -> list[Claim]:
        """Say what would become of these tickets."""
        return await self._call(lambda: self._ledger.look_up(works, self._options)) if works else []

    async def exchange(self, settle: Sequence[Settlement], claim: Sequence[Work]) -> list[Claim]:
        """Record what became of earlier claims, and claim these tickets."""
        return await self._call(lambda: self._ledger.exchange(settle, claim, self._options, self.lease))

    async def reject(self, rows: Sequence[Unsendable]) -> list[Outcome]:
        """Record rows that validation refused."""
        return await self._call(lambda: self._ledger.reject(rows, self._options)) if rows else []

    async def siblings(self, work: Work) -> list[Sibling]:
        """Return the other tickets to the same person."""
        return await self._call(lambda: self._ledger.siblings(work))

    def close(self) -> None:
        """End the thread; the ledger itself stays open."""
        self._thread.shutdown(wait=False)

    async def _call(self, function: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, function)
