"""One exchange with the ledger within one transaction: what became of earlier claims is recorded, then tickets are
claimed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from vambe_provider.delivery.key import printable
from vambe_provider.delivery.ledger.changes import IS_OPEN, id_of, is_held, kind_of, settled, text_of
from vambe_provider.delivery.ledger.claiming import Claiming
from vambe_provider.delivery.ledger.counting import lock_senders
from vambe_provider.delivery.ledger.tables import attempts
from vambe_provider.delivery.ledger.tickets import Tickets, change, close
from vambe_provider.delivery.model import Outcome, Sent

if TYPE_CHECKING:
    from vambe_provider.delivery.ledger import statements
    from vambe_provider.delivery.ledger.claiming import Terms
    from vambe_provider.delivery.ledger.database import Transaction
    from vambe_provider.delivery.model import Claim, Settlement, Work

_NO, _MAYBE, _YES = Sent.NO.value, Sent.MAYBE.value, Sent.YES.value


def exchange(
    tx: Transaction, dialect: str, settle: Sequence[Settlement], works: Sequence[Work], terms: Terms
) -> list[Claim]:
    """Record what became of earlier claims, and claim tickets; return one claim for each."""
    keys = [item.claim.work.key for item in settle] + [work.key for work in works]
    if not keys:
        return []
    if works and terms.options.policy is not None:
        lock_senders(tx, terms.options.policy.needs, terms.options)  # first of all, so that nobody waits in a circle
    tickets = Tickets(tx, dialect, keys, terms.options.account, lock=True)
    record(tx, dialect, tickets, settle)
    claims = Claiming(tx, dialect, tickets, terms).claim(works) if works else []
    tickets.write()
    return claims


def record(tx: Transaction, dialect: str, tickets: Tickets, settle: Sequence[Settlement]) -> None:
    """Record what became of earlier claims."""
    now, closed = tx.here(tx.now), []
    for item in settle:
        digest = item.claim.work.key.digest
        known = tickets.own(digest)
        if known is None:
            continue  # forgotten meanwhile
        if item.outcome in IS_OPEN or is_held(known, item.claim.owner):
            closed.append(_closed(tx, item, now))
        due = None if item.due is None else tx.there(item.due.timestamp())
        tickets.become(digest, settled(known, item if due is None else replace(item, due=due)))
    change(tx, dialect, attempts, closed)


def _closed(tx: Transaction, item: Settlement, now: float) -> statements.Row:
    made, error, ended = item.claim.made, item.error, item.ended
    row = close(
        made,
        closed_at=tx.now,
        sent=_NO,
        evidence=item.evidence.value,
        evidence_id=id_of(item.evidence_id),
        ai_contact_id=id_of(item.ai_contact_id) or made.ai_contact_id,
        error_kind=kind_of(error),
        error=text_of(error),
    )
    if item.override is not None:
        row["error_kind"], row["error"] = "window_overridden", printable(item.override)
    if item.outcome in IS_OPEN:
        row["sent"] = _YES
        ended = min(made.ended if ended is None else ended, now)
    elif item.outcome == Outcome.UNKNOWN:  # it stays open until a look or a person decides
        row["sent"], row["closed_at"] = _MAYBE, None
    if ended is not None:
        row["ended_at"] = tx.now if ended == now else tx.there(ended)
    return row
