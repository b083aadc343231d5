"""Deliver one ticket: claim, post or reconcile, settle, and again only while nothing was sent."""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING

from vambe_provider.api.retry import backoff
from vambe_provider.delivery import clock
from vambe_provider.delivery.attempt import Courier
from vambe_provider.delivery.background import run_to_the_end
from vambe_provider.delivery.model import Claim, Outcome, Result, Settlement, Verdict
from vambe_provider.exceptions import VambeRefusedError, VambeTicketHeldError, VambeUnknownOutcomeError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vambe_provider.api.settings import ConnectionSettings
    from vambe_provider.delivery.ledger import Ledger
    from vambe_provider.delivery.model import Sibling, Work
    from vambe_provider.delivery.options import DeliveryOptions

LOOK_AGAIN = 5.0
"""Seconds at most until the ledger is asked again for a ticket that somebody else holds."""


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
            return await _deliver(work, Courier(api, options, settings.timeout, phone_id, channel), ledger)

    return run_to_the_end(run)


async def _deliver(work: Work, courier: Courier, ledger: Ledger) -> Result:
    options, lease = courier.options, courier.options.hold(courier.timeout)
    patience, deadline, tries = clock.now() + options.retry_budget + lease, math.inf, 0
    while True:
        [claim] = ledger.exchange([], [work], options, lease)
        if claim.verdict == Verdict.WAIT and clock.now() < patience:
            await asyncio.sleep(min(max(claim.wait, 0.05), LOOK_AGAIN))
            continue
        # Counted from here: who has waited for the lease of an earlier try still has all its time.
        deadline = min(deadline, clock.now() + options.retry_budget)
        if claim.verdict not in (Verdict.SEND, Verdict.CHECK):
            return _known(claim)
        settlement = await _attempt(claim, courier, ledger)
        ledger.exchange([settlement], [], options, lease)
        tries += 1
        wait = None if settlement.retry_in is None else settlement.retry_in + backoff(tries, base=0.25, cap=10.0)
        if wait is None or clock.now() + wait > deadline:
            return Result(settlement.outcome, work.key, settlement.ai_contact_id, settlement.error)
        await asyncio.sleep(wait)


async def _attempt(claim: Claim, courier: Courier, ledger: Ledger) -> Settlement:
    async def siblings() -> Sequence[Sibling]:
        return ledger.siblings(claim.work)

    posted = await courier.post(claim) if claim.verdict == Verdict.SEND else None
    return posted if isinstance(posted, Settlement) else await courier.resolve(claim, posted, siblings)


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
