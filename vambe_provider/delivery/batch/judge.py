"""Asks the contact policy about the tickets of a batch: when rows are taken in, before they are claimed, and right
before their requests leave.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from vambe_provider.delivery import clock
from vambe_provider.delivery.model import Outcome, Withheld
from vambe_provider.exceptions import VambeError, VambeLeaseOverError

if TYPE_CHECKING:
    from vambe_provider.delivery.batch.report import Report
    from vambe_provider.delivery.ledger.threaded import ThreadedLedger
    from vambe_provider.delivery.model import Work
    from vambe_provider.delivery.pace.health import Health
    from vambe_provider.delivery.permission import Permission, Ruling

OF_THE_SENDER = ("sender_cap", "breaker")
"""The rules that refuse every row of a sender alike."""


class Judge:
    """Holds tickets back that must not go now, records them, and reports them.

    :param permission: asks the policy.
    :param ledger: where held back tickets are recorded.
    :param report: where they are counted.
    :param health: told when the run has to stop.
    """

    def __init__(self, permission: Permission, ledger: ThreadedLedger, report: Report, health: Health) -> None:
        self._permission, self._ledger, self._report, self._health = permission, ledger, report, health
        self._sender: Ruling | None = None

    async def ready(self) -> bool:
        """Have lists of opt-outs that are young enough, and stop the run when they cannot be read."""
        try:
            if self._permission.opt_outs is not None:
                await self._permission.opt_outs.ready()
        except VambeError as error:
            self._health.stop = f"the query of opt-outs failed: {error.message}"
            return False
        return True

    async def with_first_seen(self, works: Sequence[Work]) -> list[Work]:
        """Return tickets of which the ledger knows something, with the end of their lifetime counted from when it saw
        them first.
        """
        lifetime = self._permission.policy.lifetime
        if lifetime is None:
            return list(works)
        seen = await self._ledger.first_seen([work.key.digest for work in works])
        found = []
        for work in works:
            first = seen.get(work.key.digest)
            if first is not None and work.subject is not None:
                ends = datetime.fromtimestamp(first, UTC) + lifetime
                work = replace(work, subject=replace(work.subject, expires_at=ends))  # noqa: PLW2901
            found.append(work)
        return found

    def sort(self, works: Sequence[Work]) -> tuple[list[Work], list[Withheld]]:
        """Return the tickets that may go now, and those that may not."""
        now = datetime.fromtimestamp(clock.utc(), UTC)
        may, must_not = [], []
        of_sender = self._sender if self.sender_rests else None
        for work in works:
            ruling = self._ruling(work, now)[0] or of_sender
            if ruling is None:
                may.append(work)
            else:
                must_not.append(Withheld(work, ruling))
        return may, must_not

    @property
    def sender_rests(self) -> bool:
        """Whether a claim has shown that nobody may be written to by the sender now."""
        until = self._sender.decision.until if self._sender is not None else None
        return until is not None and clock.utc() < until.timestamp()

    def note(self, ruling: Ruling) -> None:
        """Remember what a claim said of the sender: it holds for everybody, who then need no claim and no permit."""
        if ruling.decision.rule in OF_THE_SENDER and ruling.decision.until is not None:
            self._sender = ruling

    async def hold_back(self, items: Sequence[Withheld]) -> None:
        """Record tickets that must not go now, and report them."""
        for item, first in zip(items, await self._ledger.withhold(items), strict=True):
            if first:
                self._report.add_withheld(item)
            else:
                self._report.add(Outcome.DUPLICATE, key=item.work.key)

    def permit(self, work: Work) -> str | None:
        """Ask right before a request leaves.

        :return: why a closed window was overridden; None when it was not.
        :raises WithheldError: when the ticket must not go now.
        :raises VambeLeaseOverError: when the list of opt-outs is too old; the ticket is claimed again.
        """
        if self._permission.opt_outs is not None and self._permission.opt_outs.is_old:
            raise VambeLeaseOverError("The list of opt-outs grew old before the ticket could be posted")
        ruling, override = self._ruling(work, datetime.fromtimestamp(clock.utc(), UTC))
        if ruling is not None:
            raise ruling.error(f"Ticket {work.key.text}")
        return override

    def _ruling(self, work: Work, now: datetime) -> tuple[Ruling | None, str | None]:
        if work.subject is None:
            raise ValueError("a ticket under a policy has to be prepared with it")
        facts = self._permission.known(work.ticket.to_phone_number, now)
        decision = self._permission.decide(work.subject, now, facts)
        return self._permission.ruling(decision), decision.override
