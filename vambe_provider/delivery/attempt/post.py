"""Take one claimed ticket to the API, and say what became of it. Used for one ticket and for a million alike."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol, Unpack

from vambe_provider.delivery import clock
from vambe_provider.delivery.attempt.reconcile import Reader, reconcile
from vambe_provider.delivery.key import METADATA_KEY
from vambe_provider.delivery.model import Evidence, Outcome, Settlement
from vambe_provider.delivery.permission import WithheldError
from vambe_provider.delivery.rules import how_to_decide
from vambe_provider.exceptions import (
    VambeConfigError,
    VambeError,
    VambeLeaseOverError,
    VambeNotSentError,
    VambeRateLimitError,
    VambeRefusedError,
    VambeUnknownOutcomeError,
)

if TYPE_CHECKING:
    from vambe_provider.api.models import ChatMessage, Contact, OpenedTicket, OpenTicket
    from vambe_provider.api.requests import ContactFilter
    from vambe_provider.delivery.attempt.facts import Finding
    from vambe_provider.delivery.attempt.reconcile import Records
    from vambe_provider.delivery.model import Attempt, Claim, Work
    from vambe_provider.delivery.options import DeliveryOptions
    from vambe_provider.delivery.person import Persons

BLIND_RETRY, BLIND_RATE_LIMIT = 0.5, 5.0
"""Seconds after which a ticket that was not sent is tried again when Vambe did not say how long to wait; the second
after a 429.
"""


class Api(Reader, Protocol):
    """What a delivery needs of the API client."""

    async def open_ticket(
        self,
        ticket: OpenTicket,
        *,
        phone_id: str | None = None,
        channel: str | None = None,
        guard: Callable[[], None] | None = None,
    ) -> OpenedTicket:
        """Post one ticket, once; the guard is asked right before the first byte leaves."""
        ...


class Gated:
    """A reader whose requests wait for a place among those of all looks.

    :param reader: the client.
    :param places: how many requests may be on their way.
    """

    def __init__(self, reader: Reader, places: asyncio.Semaphore) -> None:
        self._reader, self._places = reader, places

    @property
    def server_clock_offset(self) -> float | None:
        """Seconds that the API's clock is ahead of this machine's."""
        return self._reader.server_clock_offset

    async def search_contacts(self, *, phone: str | None = None, email: str | None = None) -> list[Contact]:
        """Find contacts by a part of their number."""
        async with self._places:
            return await self._reader.search_contacts(phone=phone, email=email)

    async def list_contacts(self, *, page_size: int = 100, **filters: Unpack[ContactFilter]) -> AsyncIterator[Contact]:
        """Iterate over contacts; the place is kept until the end."""
        async with self._places:
            async for contact in self._reader.list_contacts(page_size=page_size, **filters):
                yield contact

    async def get_contact(self, contact_id: str) -> Contact:
        """Read one contact with its tickets."""
        async with self._places:
            return await self._reader.get_contact(contact_id)

    async def get_messages(self, contact_id: str) -> list[ChatMessage]:
        """Read the messages of one contact."""
        async with self._places:
            return await self._reader.get_messages(contact_id)


@dataclass(frozen=True, slots=True)
class Courier:
    """Posts claimed tickets, and finds out what became of those without an answer.

    :param api: the client.
    :param options: how to deliver.
    :param persons: knows a person's hash from a number.
    :param timeout: seconds that one request may take.
    :param epoch: returns the ledger's epoch now.
    :param looks: bounds how many requests of looks may be on their way at once, so that doubts leave connections to the
        posts.
    :param log: takes one line when a look takes long.
    :param phone_id: the sender, when it is not the connection's.
    :param channel: its channel, likewise.
    :param permit: asks the contact policy right before the bytes leave, and returns why a closed window was overridden;
        raises ``WithheldError`` for a ticket that must not go now. None without a policy.
    """

    api: Api
    options: DeliveryOptions
    persons: Persons
    timeout: float
    epoch: Callable[[], int]
    looks: asyncio.Semaphore
    log: Callable[[str], None] | None = None
    phone_id: str | None = None
    channel: str | None = None
    permit: Callable[[Work], str | None] | None = None

    async def post(self, claim: Claim) -> Settlement | VambeError:
        """Post a claimed ticket once.

        It is only begun when the lease covers the request timeout twice, and its bytes leave only when the lease still
        covers it once and the ledger's clock has not jumped since the claim.

        :return: what became of it, or the error after which nobody knows and which has to be resolved.
        """
        override: str | None = None

        def guard() -> None:
            nonlocal override
            self._guard(claim, self.timeout)
            override = None if self.permit is None else self.permit(claim.work)

        try:
            self._guard(claim, 2 * self.timeout)
            opened = await self.api.open_ticket(
                self._marked(claim),
                phone_id=self.phone_id,
                channel=self.channel,
                guard=guard,
            )
        except VambeLeaseOverError as error:
            return Settlement(claim, Outcome.FAILED, Evidence.LEASE_OVER, error=error, retry_in=0.0)
        except WithheldError as error:
            ruling = error.ruling
            return Settlement(claim, ruling.outcome, Evidence.POLICY, error=error, due=ruling.decision.until)
        except VambeError as error:
            return error if error.sent != "no" else replace(not_created(claim, error), override=override)
        return Settlement(
            claim, Outcome.OPENED, Evidence.REPLY, opened.ai_contact_id, ended=clock.utc(), override=override
        )

    async def resolve(self, claim: Claim, cause: VambeError | None, records: Records) -> Settlement:
        """Find out whether the attempt of a claim opened its ticket.

        :param cause: the error of the post; None when an earlier try left the attempt behind.
        :param records: what the ledger knows of other attempts.
        :return: ``reconciled`` with what proved it, ``failed`` with ``retry_in=0`` when it surely created nothing, or
            ``unknown``.
        """
        finding = await reconcile(
            self._as_it_ended(claim, cause),
            Gated(self.api, self.looks),
            records=records,
            persons=self.persons,
            polls=self.options.polls,
            young=self.options.young,
            phone=claim.work.ticket.to_phone_number,
            log=self.log,
        )
        return _settled(claim, finding, cause, self.options)

    def _as_it_ended(self, claim: Claim, cause: VambeError | None) -> Attempt:
        """Return the attempt with what this try knows of its end: a reply ends it; without one, Vambe may carry it out
        for as long as a request may take.
        """
        if cause is None:
            return claim.made
        ended = clock.utc() + (0.0 if cause.status else self.timeout)
        return replace(claim.made, ended=min(claim.made.ended, ended))

    def _guard(self, claim: Claim, needed: float) -> None:
        if self.epoch() != claim.epoch:
            raise VambeLeaseOverError("The ledger's clock jumped before the ticket could be posted")
        if clock.now() + needed > claim.expires:
            raise VambeLeaseOverError("The lease ran out before the ticket could be posted")

    def _marked(self, claim: Claim) -> OpenTicket:
        ticket = claim.work.ticket
        marked = {**ticket.ticket_metadata, METADATA_KEY: claim.made.mark}
        return ticket.model_copy(update={"ticket_metadata": marked})


def not_created(claim: Claim, error: VambeError) -> Settlement:
    """Say what an error means after which the ticket surely does not exist.

    A refusal belongs to the row only when Vambe speaks of the row; it is final until the row changes. One that
    concerns the key, the address or the sender leaves the row to be taken again.
    """
    if isinstance(error, VambeRefusedError) and error.about == "row":
        return Settlement(claim, Outcome.REJECTED, Evidence.REFUSED, error=error, ended=clock.utc())
    if isinstance(error, (VambeRefusedError, VambeConfigError)):
        return Settlement(claim, Outcome.FAILED, Evidence.REFUSED, error=error, ended=clock.utc())
    blind = BLIND_RATE_LIMIT if isinstance(error, VambeRateLimitError) else BLIND_RETRY
    wait = error.retry_after if error.retry_after is not None else blind
    return Settlement(claim, Outcome.FAILED, Evidence.NOT_SENT, error=error, retry_in=wait, ended=clock.utc())


def _settled(claim: Claim, finding: Finding, cause: VambeError | None, options: DeliveryOptions) -> Settlement:
    if finding.verdict == "created":
        return Settlement(claim, Outcome.RECONCILED, finding.evidence, finding.ai_contact_id, finding.evidence_id)
    what = cause.message if cause else "An earlier attempt was interrupted"
    status, said = (cause.status, cause.said) if cause else (None, None)
    if finding.verdict == "not_created":
        error = VambeNotSentError(
            f"{what}; a look showed that nothing was created ({finding.evidence})", status=status, said=said
        )
        return Settlement(claim, Outcome.FAILED, finding.evidence, error=error, retry_in=0.0)
    unknown = VambeUnknownOutcomeError(
        f"Ticket {claim.work.key.text} may exist, and no look could tell ({finding.evidence})",
        fix=f"Look at the contact in Vambe, then {how_to_decide(options, claim)}.",
        status=status,
        said=said,
    )
    # With on_unknown="resend" the ledger's rules say whether this Dag run may send it once more.
    again = 0.0 if options.on_unknown == "resend" else None
    return Settlement(claim, Outcome.UNKNOWN, finding.evidence, finding.ai_contact_id, error=unknown, retry_in=again)
