"""Whether people may be contacted, asked within the transaction that claims their tickets: nobody is messaged who opted
out after their row was taken in.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from vambe_provider.contact_policy.decide import Decision
from vambe_provider.contact_policy.suppression import stopping
from vambe_provider.delivery.ledger.suppressions import read_suppressed
from vambe_provider.delivery.model import Outcome, Verdict
from vambe_provider.delivery.permission import Ruling

if TYPE_CHECKING:
    from vambe_provider.delivery.ledger.database import Transaction
    from vambe_provider.delivery.model import Claim, Work
    from vambe_provider.delivery.options import DeliveryOptions

VERDICTS = {Outcome.SUPPRESSED: Verdict.SUPPRESSED}
"""What a claim answers that was held back."""


def rulings(tx: Transaction, dialect: str, works: Sequence[Work], options: DeliveryOptions) -> Mapping[str, Ruling]:
    """Return why tickets must not be sent now, by their keys' digests; those that may be sent are left out."""
    listed = read_suppressed(tx, dialect, sorted({work.person for work in works if work.person}))
    found = {}
    for work in works:
        entry = stopping(listed.get(work.person, ()), options.purpose)
        if entry is not None:
            decision = Decision(decision="suppress", rule="suppression", reason=entry.reason)
            found[work.key.digest] = Ruling(Outcome.SUPPRESSED, decision)
    return found


def judged(tx: Transaction, dialect: str, claims: Sequence[Claim], options: DeliveryOptions) -> list[Claim]:
    """Return what would be claimed, with what would be held back."""
    works = [claim.work for claim in claims if claim.verdict == Verdict.SEND]
    found = rulings(tx, dialect, works, options) if works else {}
    return [
        replace(claim, verdict=VERDICTS[ruling.outcome], ruling=ruling)
        if claim.verdict == Verdict.SEND and (ruling := found.get(claim.work.key.digest))
        else claim
        for claim in claims
    ]
