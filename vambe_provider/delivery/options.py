"""How a delivery behaves where the defaults are not right for everybody."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryOptions:
    """The knobs of a delivery; a run has one set for all of its tickets.

    :param run: who sends, the same for every try of one task instance, as ``dag/task/run/-1``; cut at 250 characters.
    :param on_unknown: ``fail`` never sends a ticket again that may exist; ``resend`` sends it when no check could tell.
    :param on_change: ``open_again`` opens a second ticket when the content of an opened key changed; ``ignore`` does
        not.
    :param resend: open again what is open, once per ``run``.
    :param lease: seconds that a claim protects a ticket, on top of the request timeout.
    :param polls: seconds to wait before each look during a reconciliation.
    :param retry_budget: seconds for which a single ticket is tried again in place while nothing is sent.
    """

    run: str
    on_unknown: Literal["fail", "resend"] = "fail"
    on_change: Literal["ignore", "open_again"] = "ignore"
    resend: bool = False
    lease: float = 120.0
    polls: tuple[float, ...] = (1.0, 3.0, 6.0, 10.0, 20.0)
    retry_budget: float = 120.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "run", self.run[:250])

    def hold(self, timeout: float) -> float:
        """Return the seconds after which others may take a claim: the lease, and the longest that its last request
        may still run.
        """
        return max(self.lease, 2 * timeout) + 2 * timeout
