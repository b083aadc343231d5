"""Deliver one ticket: claim, post or reconcile, settle, and again only while nothing was sent."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from vambe_provider.delivery import clock
from vambe_provider.delivery.attempt import needs_check, post, resolve
from vambe_provider.delivery.background import run_to_the_end
from vambe_provider.delivery.model import Claim, Outcome, Result, Settlement, Verdict
from vambe_provider.exceptions import VambeError, VambeRefusedError, VambeTicketHeldError, VambeUnknownOutcomeError

if TYPE_CHECKING:
    from vambe_provider.api.settings import ConnectionSettings
    from vambe_provider.delivery.attempt import Api
    from vambe_provider.delivery.ledger import Ledger
    from vambe_provider.delivery.model import Work
    from vambe_provider.delivery.options import DeliveryOptions


def deliver_one(
    work: Work,
    *,
    ledger: Ledger,
    settings: ConnectionSettings,
    options: DeliveryOptions,
    phone_id: str | None = None,
    channel: str | None = None,
) -> Result:
    """Open one ticket exactly once, as far as the ledger remembers.

    :param work: the ticket.
    :param ledger: where earlier tries left their mark.
    :param settings: the connection.
    :param options: ``retry_budget`` bounds for how many seconds it is tried again while nothing was sent.
    :param phone_id: the sender; the connection's when not given.
    :param channel: its channel; the connection's when not given.
    :return: what became of it; :attr:`Result.error` says why it is not open.
    :raises VambeLedgerError: when the ledger cannot be used; then nothing was posted that was not recorded before.

    On a task retry the ledger decides: an open ticket is not sent again, one that may have been sent is reconciled
    first.
    """

    async def run() -> Result:
        from vambe_provider.api import AsyncVambeClient

        async with AsyncVambeClient(settings, max_connections=1) as api:
            return await _deliver(work, api, ledger, options, phone_id, channel, settings.timeout)

    return run_to_the_end(run)


async def _deliver(
    work: Work,
    api: Api,
    ledger: Ledger,
    options: DeliveryOptions,
    phone_id: str | None,
    channel: str | None,
    timeout: float,
) -> Result:
    deadline = clock.now() + options.retry_budget
    lease = options.hold(timeout)
    while True:
        [claim] = ledger.exchange([], [work], options, lease)
        if claim.verdict == Verdict.WAIT and clock.now() < deadline + lease:
            await asyncio.sleep(min(max(claim.wait, 0.05), 5.0))
            continue
        if claim.verdict not in (Verdict.SEND, Verdict.CHECK):
            return _known(claim)
        settlement = await _attempt(claim, api, ledger, options, phone_id, channel, timeout)
        ledger.exchange([settlement], [], options, lease)
        if settlement.retry_in is None or clock.now() + settlement.retry_in > deadline:
            return Result(settlement.outcome, work.key, settlement.ai_contact_id, settlement.error)
        await asyncio.sleep(settlement.retry_in)


async def _attempt(
    claim: Claim,
    api: Api,
    ledger: Ledger,
    options: DeliveryOptions,
    phone_id: str | None,
    channel: str | None,
    timeout: float,
) -> Settlement:
    cause: VambeError | None = None
    if not needs_check(claim):
        posted = await post(claim, api, phone_id=phone_id, channel=channel, timeout=timeout)
        if isinstance(posted, Settlement):
            return posted
        cause = posted
    return await resolve(claim, api, cause=cause, siblings=ledger.siblings(claim.work), options=options)


def _known(claim: Claim) -> Result:
    """Say what a ticket is that the ledger does not give out."""
    key, contact = claim.work.key, claim.ai_contact_id
    match claim.verdict:
        case Verdict.OPENED | Verdict.DUPLICATE | Verdict.CONFLICT:
            return Result(Outcome.ALREADY_OPENED, key, contact)
        case Verdict.REJECTED:
            refused = VambeRefusedError(
                f"Ticket {key.text} was refused before and has not changed since",
                fix="Correct the data, or run `python -m vambe_provider ledger retry` when the cause was elsewhere.",
            )
            return Result(Outcome.REJECTED, key, contact, refused)
        case Verdict.UNKNOWN:
            unknown = VambeUnknownOutcomeError(
                f"Ticket {key.text} may exist since an earlier attempt",
                fix="Look at the contact in Vambe, then run `python -m vambe_provider ledger resolve`.",
            )
            return Result(Outcome.UNKNOWN, key, contact, unknown)
    held = VambeTicketHeldError(
        f"Ticket {key.text} is being sent by another task", fix="Wait for it; a retry of this task finds its result."
    )
    return Result(Outcome.HELD, key, contact, held)
