"""Deliver one ticket: claim, post or reconcile, settle, and again only while nothing was sent."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from vambe_provider.api.retry import backoff
from vambe_provider.delivery import clock
from vambe_provider.delivery.attempt.post import Courier
from vambe_provider.delivery.background import run_to_the_end
from vambe_provider.delivery.ledger.threaded import ThreadedLedger
from vambe_provider.delivery.model import Claim, Outcome, Result, Settlement, Verdict
from vambe_provider.delivery.rules import error_of, found_for_another, outcome_of

if TYPE_CHECKING:
    from vambe_provider.api.settings import ConnectionSettings
    from vambe_provider.delivery.ledger import Ledger
    from vambe_provider.delivery.model import Work
    from vambe_provider.delivery.options import DeliveryOptions
    from vambe_provider.delivery.person import Persons

LOOK_AGAIN = 5.0
"""Seconds at most until the ledger is asked again for a ticket that somebody else holds."""


def deliver_one(
    work: Work,
    *,
    ledger: Ledger,
    settings: ConnectionSettings,
    options: DeliveryOptions,
    persons: Persons,
    phone_id: str | None = None,
    channel: str | None = None,
    log: Callable[[str], None] = lambda line: None,
) -> Result:
    """Open one ticket exactly once, as far as the ledger remembers.

    :param work: the ticket.
    :param ledger: where earlier tries left their mark.
    :param settings: the connection.
    :param options: ``retry_budget`` bounds for how many seconds it is tried again while nothing was sent.
    :param persons: makes the person's hash of a number.
    :param phone_id: the sender; the connection's when not given.
    :param channel: its channel; the connection's when not given.
    :param log: takes a line when something takes long.
    :return: what became of it; :attr:`Result.error` says why it is not open.
    :raises VambeLedgerError: when the ledger cannot be used; then nothing was posted that was not recorded before.

    On a task retry the ledger decides: an open ticket is not sent again, one that may have been sent is reconciled
    first.
    """

    async def run() -> Result:
        from vambe_provider.api import AsyncVambeClient

        threaded = ThreadedLedger(ledger, options, options.hold(settings.timeout))
        try:
            looks = asyncio.Semaphore(1)
            async with AsyncVambeClient(settings, max_connections=1) as api:
                courier = Courier(
                    api, options, persons, settings.timeout, lambda: threaded.epoch, looks, log, phone_id, channel
                )
                result = await _deliver(work, courier, threaded)
                return replace(result, clock_offset=api.server_clock_offset or 0.0)
        finally:
            threaded.close()

    return run_to_the_end(run)


async def _deliver(work: Work, courier: Courier, ledger: ThreadedLedger) -> Result:
    options = courier.options
    patience, deadline, tries = clock.now() + options.retry_budget + ledger.lease, math.inf, 0
    while True:
        [claim] = await ledger.exchange([], [work])
        if claim.verdict == Verdict.WAIT and clock.now() < patience:
            await asyncio.sleep(min(max(claim.wait, 0.05), LOOK_AGAIN))
            continue
        # Counted from here: who has waited for the lease of an earlier try still has all its time.
        deadline = min(deadline, clock.now() + options.retry_budget)
        if claim.verdict == Verdict.OPENED:
            opened = await ledger.call(lambda held: held.opened(work.key, options))
            return _known(replace(claim, attempt=opened), options)
        if claim.verdict not in (Verdict.SEND, Verdict.CHECK):
            return _known(claim, options)
        settlement = await _attempt(claim, courier, ledger)
        await ledger.exchange([settlement], [])
        tries += 1
        wait = None if settlement.retry_in is None else settlement.retry_in + backoff(tries, base=0.25, cap=10.0)
        if wait is None or clock.now() + wait > deadline:
            return _result(settlement, options)
        await asyncio.sleep(wait)


async def _attempt(claim: Claim, courier: Courier, ledger: ThreadedLedger) -> Settlement:
    posted = await courier.post(claim) if claim.verdict == Verdict.SEND else None
    return posted if isinstance(posted, Settlement) else await courier.resolve(claim, posted, ledger)


def _result(settlement: Settlement, options: DeliveryOptions) -> Result:
    claim, outcome, error = settlement.claim, settlement.outcome, settlement.error
    if outcome == Outcome.RECONCILED and (other := found_for_another(claim)):
        outcome, error = Outcome.CONFLICT, other
    ended = claim.made.ended if settlement.ended is None else settlement.ended
    return Result(outcome, claim.work.key, settlement.ai_contact_id, error, replace(claim.made, ended=ended))


def _known(claim: Claim, options: DeliveryOptions) -> Result:
    """Say what a ticket is that the ledger does not give out."""
    outcome = outcome_of(claim.verdict)
    if outcome in (Outcome.DUPLICATE, Outcome.CONFLICT) and claim.verdict == Verdict.DUPLICATE:
        outcome = Outcome.ALREADY_OPENED  # this try opened it, and asks once more
    if outcome == Outcome.STILL_REJECTED:
        outcome = Outcome.REJECTED
    return Result(outcome, claim.work.key, claim.ai_contact_id, error_of(claim, options), claim.attempt, _note(claim))


def _note(claim: Claim) -> str | None:
    if claim.verdict != Verdict.OPENED:
        return None
    opener = f" by the Dag {claim.dag}" if claim.dag and not claim.same_run else ""
    changed = "; its content differs from what this task would send" if claim.changed else ""
    return f"It was opened before{opener}{changed}."
