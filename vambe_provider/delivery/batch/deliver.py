"""Deliver many tickets, each exactly once: puts the parts of one run together."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from vambe_provider.delivery.attempt.post import Courier
from vambe_provider.delivery.background import run_to_the_end
from vambe_provider.delivery.batch.intake import Intake
from vambe_provider.delivery.batch.judge import Judge
from vambe_provider.delivery.batch.loop import Loop
from vambe_provider.delivery.batch.progress import Progress
from vambe_provider.delivery.batch.report import Report
from vambe_provider.delivery.batch.source import OpenRows, Source
from vambe_provider.delivery.ledger.threaded import ThreadedLedger
from vambe_provider.delivery.pace.health import Health
from vambe_provider.delivery.pace.rate import make_pacer

if TYPE_CHECKING:
    from vambe_provider.api.rate import Rate
    from vambe_provider.api.settings import ConnectionSettings
    from vambe_provider.delivery.ledger import Ledger
    from vambe_provider.delivery.options import DeliveryOptions
    from vambe_provider.delivery.person import Persons
    from vambe_provider.delivery.rows.prepare import Preparer

MIN_LOOKS = 8
"""Requests of looks that may be on their way at once, even when fewer posts may."""


def deliver_many(
    rows: OpenRows,
    *,
    prepare: Preparer,
    ledger: Ledger,
    settings: ConnectionSettings,
    options: DeliveryOptions,
    persons: Persons,
    max_concurrency: int = 8,
    max_tickets: int | None = None,
    rate: Rate | None = None,
    phone_id: str | None = None,
    channel: str | None = None,
    total: int | None = None,
    dry_run: bool = False,
    seed: bool = False,
    defer_after: float | None = None,
    log: Callable[[str], None] = lambda line: None,
    warn: Callable[[str], None] = lambda line: None,
    stop: threading.Event | None = None,
) -> Report:
    """Open one ticket for each row, each exactly once.

    :param rows: opens the source; it is read once, a few thousand rows ahead, in a thread of its own.
    :param prepare: from a row to its key, and to work or to the reason why it cannot be sent.
    :param ledger: where every ticket is recorded before and after its post.
    :param settings: the connection.
    :param options: how to deliver.
    :param persons: makes the person's hash of a number.
    :param max_concurrency: posts that may be on their way at once.
    :param max_tickets: tickets that this run opens at most; the other rows are reported as ``left``. None for no limit.
    :param rate: tickets in a period for the sender; None for no limit.
    :param phone_id: the sender, when it is not the connection's.
    :param channel: its channel, likewise.
    :param total: number of rows, when it is known, for the progress.
    :param dry_run: look everything up and send and record nothing.
    :param seed: record every row that the ledger does not know as done, and send nothing.
    :param defer_after: end with ``resume_in`` set when nothing can be done for so many seconds; None never does.
    :param log: takes one line of progress every few seconds.
    :param warn: takes a line that somebody should act on, such as that people would be messaged at night.
    :param stop: when set, begin nothing new, finish what is on its way, and return.
    :return: the report; a row that failed is in it and stops no other.
    :raises VambeLedgerError: when the ledger cannot be used. What was posted and could not be recorded is found by
        the next try.
    """
    report, stopping = Report(), stop or threading.Event()
    burst = rate is not None and defer_after is not None and rate.seconds >= defer_after
    sender = f"{settings.host}/{phone_id or settings.phone_id}"
    pacer = make_pacer(rate, store=settings.rate_store, sender=sender, burst=burst)

    async def run() -> Report:
        from vambe_provider.api import AsyncVambeClient

        threaded = ThreadedLedger(ledger, options, options.hold(settings.timeout))
        looks = asyncio.Semaphore(max(MIN_LOOKS, max_concurrency // 2))
        async with AsyncVambeClient(settings, max_connections=max_concurrency + max(MIN_LOOKS, max_concurrency)) as api:
            progress, health = Progress(report, log, total, warn), Health()
            judge = Judge(options.policy, threaded, report, health) if options.policy is not None else None
            permit = judge.permit if judge is not None else None
            courier = Courier(
                api, options, persons, settings.timeout, lambda: threaded.epoch, looks, log, phone_id, channel, permit
            )
            intake = Intake(
                Source(rows, prepare),
                prepare,
                threaded,
                options,
                report,
                progress,
                judge,
                health,
                dry_run=dry_run,
                seed=seed,
            )
            loop = Loop(
                intake,
                threaded,
                courier,
                pacer,
                report,
                progress,
                judge,
                health,
                slots=max_concurrency,
                max_tickets=max_tickets,
                dry_run=dry_run,
                defer_after=defer_after,
                stop=stopping,
            )
            await loop.run()
        return report

    return run_to_the_end(run, stop=stopping.set)
