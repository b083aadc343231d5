"""One attempt at one claimed ticket: post it once, or find out what an earlier post did. Used for one ticket and for
a million alike.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from vambe_provider.delivery import clock
from vambe_provider.delivery.health import sender_is_gone
from vambe_provider.delivery.key import METADATA_KEY
from vambe_provider.delivery.model import LEASE_OVER, Outcome, Settlement, State
from vambe_provider.delivery.reconcile import Reader, reconcile
from vambe_provider.exceptions import (
    VambeAuthError,
    VambeConfigError,
    VambeError,
    VambeNotSentError,
    VambeRateLimitError,
    VambeTicketHeldError,
    VambeUnknownOutcomeError,
)

if TYPE_CHECKING:
    from vambe_provider.api.models import OpenedTicket, OpenTicket
    from vambe_provider.delivery.evidence import Finding
    from vambe_provider.delivery.model import Claim
    from vambe_provider.delivery.options import DeliveryOptions
    from vambe_provider.delivery.reconcile import Siblings

BLIND_RETRY, BLIND_RATE_LIMIT = 0.5, 5.0
"""Seconds after which a ticket that was not sent is tried again when Vambe did not say how long to wait; the second
after a 429.
"""


class Api(Reader, Protocol):
    """What a delivery needs of the API client."""

    async def open_ticket(
        self, ticket: OpenTicket, *, phone_id: str | None = None, channel: str | None = None
    ) -> OpenedTicket:
        """Post one ticket, once."""
        ...


@dataclass(frozen=True, slots=True)
class Courier:
    """Takes claimed tickets to the API, and finds out what became of them.

    :param api: the client.
    :param options: how to deliver.
    :param timeout: seconds that one request may take.
    :param phone_id: the sender, when it is not the connection's.
    :param channel: its channel, likewise.
    """

    api: Api
    options: DeliveryOptions
    timeout: float
    phone_id: str | None = None
    channel: str | None = None

    async def post(self, claim: Claim) -> Settlement | VambeError:
        """Post a claimed ticket once.

        It is only posted when the lease covers the request timeout twice, once for the request and once as margin.

        :return: what became of it, or the error after which nobody knows and which has to be resolved.
        """
        if clock.now() + 2 * self.timeout > claim.expires:
            held = VambeTicketHeldError("The lease ran out before the ticket could be posted")
            return Settlement(claim, State.FAILED, Outcome.FAILED, evidence=LEASE_OVER, error=held, retry_in=0.0)
        ticket = claim.work.ticket
        marker = {METADATA_KEY: claim.work.key.marker(claim.generation)}
        marked = ticket.model_copy(update={"ticket_metadata": {**ticket.ticket_metadata, **marker}})
        try:
            opened = await self.api.open_ticket(marked, phone_id=self.phone_id, channel=self.channel)
        except VambeError as error:
            return error if error.sent != "no" else not_created(claim, error)
        return Settlement(claim, State.OPENED, Outcome.OPENED, opened.ai_contact_id, evidence="reply")

    async def resolve(self, claim: Claim, cause: VambeError | None, siblings: Siblings) -> Settlement:
        """Find out whether a ticket exists that may have been sent.

        :param cause: the error of the post; None when an earlier try left the ticket behind.
        :param siblings: returns the other tickets to the same person.
        :return: ``opened`` with the check that proved it, ``failed`` with ``retry_in=0`` when it surely does not exist,
            or ``unknown``.
        """
        finding = await reconcile(claim, self.api, siblings=siblings, polls=self.options.polls)
        return _settled(claim, finding, cause, self.options)


def not_created(claim: Claim, error: VambeError) -> Settlement:
    """Say what an error means after which the ticket surely does not exist.

    A wrong key or a sender that is gone is no fault of the row, so the row stays to be taken again; any other refusal
    is final until the row changes.
    """
    if isinstance(error, (VambeAuthError, VambeConfigError)) or sender_is_gone(error):
        return Settlement(claim, State.FAILED, Outcome.FAILED, evidence="refused", error=error)
    if error.permanent:
        return Settlement(claim, State.REJECTED, Outcome.REJECTED, evidence="refused", error=error)
    blind = BLIND_RATE_LIMIT if isinstance(error, VambeRateLimitError) else BLIND_RETRY
    wait = error.retry_after if error.retry_after is not None else blind
    return Settlement(claim, State.FAILED, Outcome.FAILED, evidence="not_sent", error=error, retry_in=wait)


def _settled(claim: Claim, finding: Finding, cause: VambeError | None, options: DeliveryOptions) -> Settlement:
    if finding.verdict == "created":
        return Settlement(
            claim, State.OPENED, Outcome.RECONCILED, finding.ai_contact_id, finding.check, finding.evidence_id
        )
    if finding.verdict == "not_created":
        return _free_again(claim, finding.check, cause)
    if options.on_unknown == "resend":
        return _free_again(claim, "resend", cause)
    error = VambeUnknownOutcomeError(
        f"Ticket {claim.work.key.text} may exist, and no check could tell ({finding.check})",
        status=cause.status if cause else None,
        said=cause.said if cause else None,
        fix="Look at the contact in Vambe, then run `python -m vambe_provider ledger resolve`.",
    )
    return Settlement(claim, State.UNKNOWN, Outcome.UNKNOWN, finding.ai_contact_id, finding.check, error=error)


def _free_again(claim: Claim, check: str, cause: VambeError | None) -> Settlement:
    what = cause.message if cause else "An earlier attempt was interrupted"
    error = VambeNotSentError(
        f"{what}; afterwards the check was {check}",
        status=cause.status if cause else None,
        said=cause.said if cause else None,
    )
    return Settlement(claim, State.FAILED, Outcome.FAILED, evidence=check, error=error, retry_in=0.0)
