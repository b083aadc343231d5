"""The ledgers that the page shows, each as one visitor may see it."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from starlette.exceptions import HTTPException

from vambe_provider.operators.arguments import shown_ledgers
from vambe_provider.ui.accounts import AccountReader
from vambe_provider.ui.ledgers import Ledger

if TYPE_CHECKING:
    from vambe_provider.ui.access import Visitor
    from vambe_provider.ui.queries import Count


@dataclass(frozen=True)
class Scope:
    """A ledger as one visitor may see it.

    :param dags: the Dags in it that the visitor may read.
    :param counts: of these Dags.
    :param is_empty: there is no ticket of any Dag.
    """

    ledger: Ledger
    dags: frozenset[str]
    counts: list[Count]
    is_empty: bool

    @property
    def accounts(self) -> set[str]:
        """The accounts that these Dags have tickets in."""
        return {count.account for count in self.counts}


class Shown:
    """What a process of the API server keeps: the ledgers with their engines, and what the connections say."""

    def __init__(self) -> None:
        self._ledgers: dict[str, Ledger] = {}
        self._lock = threading.Lock()
        self.accounts = AccountReader()

    def forget(self) -> None:
        """Forget all of it; what runs goes on."""
        with self._lock:
            self._ledgers.clear()
            self.accounts = AccountReader()

    def ledger(self, conn_id: str) -> Ledger:
        """Return a ledger; the first one when none is named.

        :raises HTTPException: when the option does not name it.
        """
        known = shown_ledgers()
        chosen = conn_id or (known[0] if known else "")
        if chosen not in known:
            raise HTTPException(404, "[vambe] ledger_conn_ids does not name this connection.")
        with self._lock:
            return self._ledgers.setdefault(chosen, Ledger(chosen))

    def scope(self, who: Visitor, conn_id: str) -> Scope:
        """Return a ledger as somebody may see it.

        :raises HTTPException: see :meth:`ledger`.
        :raises LedgerUnavailableError: when the ledger cannot be read.
        """
        ledger = self.ledger(conn_id)
        summary = ledger.summary()
        dags = who.readable({count.dag for count in summary})
        return Scope(ledger, dags, [count for count in summary if count.dag in dags], is_empty=not summary)
