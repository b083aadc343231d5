"""What the looks prove about an attempt that may or may not have created its ticket. Pure.

Nothing here is guessed: a finding is either proof that the ticket exists, or proof that it does not, or no proof.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vambe_provider.delivery.attempt.absence import absence
from vambe_provider.delivery.attempt.facts import Finding
from vambe_provider.delivery.attempt.presence import marked, proof, unexplained

if TYPE_CHECKING:
    from vambe_provider.delivery.attempt.facts import Looks
    from vambe_provider.delivery.model import Attempt

__all__ = ["Finding", "judge", "marked", "proof", "unexplained"]


def judge(attempt: Attempt, looks: Looks, *, young: float, patience: float) -> Finding:
    """Say what all looks prove about an attempt, when none follows.

    :param young: seconds since the attempt's start for which absence proves something.
    :param patience: seconds after the attempt's end that are long enough for everything to show, where no witness shows
        that less is enough.
    """
    return proof(attempt, looks, last=True) or absence(attempt, looks, young=young, patience=patience)
