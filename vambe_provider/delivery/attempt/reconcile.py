"""Find out by reading whether an attempt created its ticket: never a POST, a few looks, and the honest answer when
nobody can tell.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from vambe_provider.delivery import clock
from vambe_provider.delivery.attempt.evidence import judge, marked, proof, unexplained
from vambe_provider.delivery.attempt.facts import Finding
from vambe_provider.delivery.attempt.looks import Looker, Persons, Records
from vambe_provider.delivery.attempt.reading import Reader, Requests
from vambe_provider.delivery.attempt.witnesses import Witnesses
from vambe_provider.delivery.model import Evidence

if TYPE_CHECKING:
    from vambe_provider.delivery.attempt.facts import Looks, Witness
    from vambe_provider.delivery.model import Attempt

PATIENCE = 2.0
"""How many times the planned length of the looks is long enough for everything to show, where no witness shows that
less is enough.
"""
MADE_UP = 2
"""Looks that failed and that one more each makes up for."""
MORE_LOOKS = 4
FIRST_WITNESSES = 2
"""Witnesses that are looked at together with the first look: what is new then tells how late the API shows things."""
SAY_AFTER = 5.0
"""Seconds of silence before a line in the log says why nothing happens."""
LONGEST_REQUEST = 300.0
"""Seconds for which the looks go on because the request may still be carried out; a longer time is not waited for."""
_SHORTEST = 0.01

__all__ = ["Finding", "Persons", "Reader", "Records", "reconcile"]


async def reconcile(
    attempt: Attempt,
    reader: Reader,
    *,
    records: Records,
    persons: Persons,
    polls: Sequence[float],
    young: float,
    phone: str | None,
    log: Callable[[str], None] | None,
) -> Finding:
    """Say whether an attempt created its ticket.

    It takes as long as ``polls`` say when nothing is found, and up to three times as long when that may decide. Absence
    is only believed at a look after ``attempt.ended``, which is waited for.

    :param reader: the API client.
    :param records: the ledger.
    :param persons: makes the hashes that stand for numbers.
    :param polls: seconds to wait before each look. Presence counts at any look; absence needs that all of them worked.
    :param young: seconds after the attempt's start for which absence proves something.
    :param phone: a number that may be the person's, such as the row's of today; it is used only when it is.
    :param log: gets one line when this takes long.
    """
    return await _Reconciliation(attempt, reader, records, persons, polls, young, phone, log).run()


class _Reconciliation:
    def __init__(
        self,
        attempt: Attempt,
        reader: Reader,
        records: Records,
        persons: Persons,
        polls: Sequence[float],
        young: float,
        phone: str | None,
        log: Callable[[str], None] | None,
    ) -> None:
        self._attempt, self._polls, self._young, self._log = attempt, polls, young, log
        self._patience = PATIENCE * sum(polls)
        self._longest = sum(polls) + self._patience + min(max(attempt.ended - clock.utc(), 0.0), LONGEST_REQUEST)
        self._requests = Requests(reader)
        self._looker = Looker(attempt, self._requests, records, persons, phone=phone)
        self._witnesses = Witnesses(attempt, self._requests, records, self._looker)
        self._done, self._good, self._worked = 0, 0, False
        self._made_up, self._more = MADE_UP, MORE_LOOKS
        self._waited = 0.0

    async def run(self) -> Finding:
        waits = deque(self._polls)
        finding = Finding("cannot_tell", Evidence.LOOK_FAILED)
        while waits:
            await self._wait(waits.popleft())
            last = not waits
            found = await self._look(last=last)
            if found is not None:
                return found
            if last:
                finding = await self._judge()
                waits.extend(self._one_more(finding))
        return finding

    async def _wait(self, pause: float) -> None:
        if self._log is not None and self._waited < SAY_AFTER <= self._waited + pause:
            self._log(f"Looking whether ticket {self._attempt.ticket_key} exists, up to {self._longest:.0f} s")
        self._waited += pause
        await asyncio.sleep(pause)

    async def _look(self, *, last: bool) -> Finding | None:
        """Look once; return the proof that the ticket exists, if there is one."""
        first, self._done = self._done == 0, self._done + 1
        if first or last:
            await self._witnesses.learn()
        self._worked = await self._looker.look(last=last)
        self._good += self._worked
        found = marked(self._attempt, self._looks())
        if found is None and first:
            for witness in self._witnesses.unseen()[:FIRST_WITNESSES]:
                await self._witnesses.ask(witness)
        return found or proof(self._attempt, self._looks(), last=False)

    async def _judge(self) -> Finding:
        """Say what all looks prove; ask witnesses as long as one more may decide."""
        finding = await self._asking(self._judged(), self._witnesses.unseen())
        if self._looker.is_busy and self._may_help(finding):
            finding = await self._asking(finding, await self._witnesses.returning())
        return finding

    async def _asking(self, finding: Finding, witnesses: list[Witness]) -> Finding:
        for witness in witnesses:
            if not self._may_help(finding):
                break
            await self._witnesses.ask(witness)
            finding = self._judged()
        return finding

    def _judged(self) -> Finding:
        return judge(self._attempt, self._looks(), young=self._young, patience=self._patience)

    def _may_help(self, finding: Finding) -> bool:
        """Say whether a witness may turn an open finding into proof."""
        if finding.verdict != "cannot_tell":
            return False
        looks = self._looks()
        lacks_witness = finding.evidence in (Evidence.NO_TRACE, Evidence.NO_WITNESS)
        return lacks_witness or any(unexplained(self._attempt, looks, sight) for sight in looks.same)

    def _looks(self) -> Looks:
        complete = self._worked and self._good >= len(self._polls)
        return self._looker.looks(complete=complete, witnesses=self._witnesses.all)

    def _one_more(self, finding: Finding) -> list[float]:
        """Return the wait before one more look, when one may know more."""
        if finding.evidence == Evidence.LOOK_FAILED and self._made_up:
            self._made_up -= 1
            return [self._polls[-1]]
        wait = None if finding.again_at is None else max(finding.again_at - clock.utc(), _SHORTEST)
        if wait is None or not self._more or self._waited + wait > self._longest:
            return []
        self._more -= 1
        return [wait]
