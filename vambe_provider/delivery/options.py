"""How a delivery behaves where the defaults are not right for everybody."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from vambe_provider.delivery.model import Origin
    from vambe_provider.delivery.permission import Permission


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryOptions:
    """The knobs of a delivery; a run has one set for all of its tickets.

    :param origin: the task that delivers.
    :param account: the account of Vambe that it delivers to, from ``ConnectionSettings.account``.
    :param sender: the sender, as ``channel/phone_id``.
    :param on_unknown: ``fail`` never sends a ticket again that may exist; ``resend`` sends it once more in a Dag run
        when no look could tell.
    :param on_change: ``open_again`` opens a new generation when the content of an open key changed; ``ignore`` does
        not.
    :param resend: open a new generation of what is open, once per Dag run.
    :param lease: seconds that a claim protects a ticket, on top of the request timeout.
    :param polls: seconds to wait before each look during a reconciliation.
    :param young: seconds for which absence in Vambe can still prove that nothing was created.
    :param retry_budget: seconds for which a single ticket is tried again in place while nothing is sent.
    :param policy: asks the contact policy about every ticket; None without one.
    :param ledger_conn_id: the connection of the ledger, for commands in texts; None without one.
    :param page: the address of the ledger page, for links in texts; None where no page shows this ledger.
    """

    origin: Origin
    account: str
    sender: str = ""
    on_unknown: Literal["fail", "resend"] = "fail"
    on_change: Literal["ignore", "open_again"] = "ignore"
    resend: bool = False
    lease: float = 120.0
    polls: tuple[float, ...] = (1.0, 3.0, 6.0, 10.0, 20.0)
    young: float = 6 * 3600.0
    retry_budget: float = 120.0
    policy: Permission | None = None
    ledger_conn_id: str | None = None
    page: str | None = None

    @property
    def recalls(self) -> bool:
        """True when the rules have to know every attempt of this Dag run: it may begin one that others forbid."""
        return self.resend or self.on_change == "open_again" or self.on_unknown == "resend"

    @property
    def purpose(self) -> str:
        """Why people are contacted; a delivery without a policy is a service."""
        return "service" if self.policy is None else self.policy.policy.purpose

    def hold(self, timeout: float) -> float:
        """Return the seconds after which others may take a claim: the lease, and the longest that its last request
        may still run.
        """
        return max(self.lease, 2 * timeout) + 2 * timeout
