"""One task's wait, as the poll of its connection sees it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from vambe_provider.waiting.conditions import Finding, Wait, is_over, judge, judge_row

if TYPE_CHECKING:
    from vambe_provider.api.contact_info import ContactInfo
    from vambe_provider.waiting.look import Seen
    from vambe_provider.waiting.patience import Patience
    from vambe_provider.waiting.tickets import Target


class Subscription:
    """One task's wait.

    :param wait: what is waited for.
    :param targets: the contacts, with what is known of their tickets.
    :param mode_of: ``all`` or ``any``.
    :param since: when all of them were looked at for the last time, by the API's clock, in seconds since 1970.
    :param interval: seconds between two rounds, at most.
    :param patience: how many failed looks are borne; it outlives the subscription.
    :param each: read every contact in every round, without the list of changes.
    :param again: contacts to read again at a time by the API's clock, although nothing may change.
    """

    def __init__(
        self,
        *,
        wait: Wait,
        targets: Iterable[Target],
        mode_of: str,
        since: float,
        interval: float,
        patience: Patience,
        each: bool = False,
        again: Mapping[str, float] | None = None,
    ) -> None:
        self.wait = wait
        self.mode_of = mode_of
        self.since = since
        self.interval = interval
        self.patience = patience
        self.each = each
        self.again = dict(again or {})
        self.targets: dict[str, list[Target]] = {}
        for target in targets:
            self.targets.setdefault(target.key, []).append(target)
        self._done = {key: [False] * len(found) for key, found in self.targets.items()}
        self._gone: dict[str, BaseException] = {}
        self.result: asyncio.Future[list[str]] = asyncio.get_running_loop().create_future()
        """The contacts for which it happened, when the wait is over; or the error that ended it."""

    def wants(self, key: str) -> bool:
        """Return whether reading a contact can still change something."""
        return not self.result.done() and not (self.wait.lasting and all(self._done[key]))

    def saw(self, key: str, seen: Seen, *, now: float) -> float | None:
        """Judge what was read, and return when to read it again although nothing changed, by the API's clock."""
        again: list[float] = []
        for number, target in enumerate(self.targets[key]):
            found = judge(self.wait, target, seen.info, seen.messages, now=now)
            self._note(key, number, done=found.done)
            if found.later:
                again.append(self.wait.settles_at(target))
            self._remember(key, number, found)
        self._end_if_over()
        return min(again, default=None)

    def decides(self, key: str, row: ContactInfo, *, now: float) -> bool:
        """Judge a row of the list, and return whether that was enough."""
        verdicts = [judge_row(self.wait, target, row, now=now) for target in self.targets[key]]
        for number, verdict in enumerate(verdicts):
            if verdict is not None:
                self._note(key, number, done=verdict)
        self._end_if_over()
        return None not in verdicts

    def failed(self, error: BaseException, *, now: float) -> None:
        """Note a look that failed; one too many ends the wait.

        :param now: by the monotonic clock.
        """
        if self.patience.fail(error, now=now):
            self.stop(error)

    def gone(self, key: str, error: BaseException) -> None:
        """Note that a contact will never be read; with ``any``, others may still answer."""
        self._gone[key] = error
        if self.mode_of == "all" or len(self._gone) == len(self.targets):
            self.stop(error)

    def stop(self, error: BaseException) -> None:
        """End the wait with an error."""
        if not self.result.done():
            self.result.set_exception(error)

    def end(self) -> None:
        """Drop a result that nobody asks for any more."""
        if not self.result.cancel() and not self.result.cancelled():
            self.result.exception()

    def _note(self, key: str, number: int, *, done: bool) -> None:
        kept = self.wait.lasting and self._done[key][number]
        self._done[key][number] = done or kept

    def _remember(self, key: str, number: int, found: Finding) -> None:
        """Keep the ticket that was recognised, so that it stays the one whatever happens to it."""
        if found.ticket_id is not None and found.known_by in ("mark", "time"):
            target = self.targets[key][number]
            self.targets[key][number] = replace(target, ticket_id=found.ticket_id, created_at=found.created_at)

    def _end_if_over(self) -> None:
        done = [flag for flags in self._done.values() for flag in flags]
        if is_over(done, self.mode_of) and not self.result.done():
            happened = [key for key, flags in self._done.items() if any(flags)]
            self.result.set_result([self.targets[key][0].contact_id for key in happened])
