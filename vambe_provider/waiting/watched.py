"""What a poll remembers of one contact, and of one round."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from vambe_provider.api.contact_info import read_contact
from vambe_provider.exceptions import VambeError, VambeReadError
from vambe_provider.waiting.conditions import seconds
from vambe_provider.waiting.patience import Refusals, is_asked_to_wait, is_refusal
from vambe_provider.waiting.tickets import CLOCK_ERROR

if TYPE_CHECKING:
    from collections.abc import Iterable

    from vambe_provider.api.contact_info import ContactInfo
    from vambe_provider.waiting.changes import Row
    from vambe_provider.waiting.look import Seen
    from vambe_provider.waiting.subscription import Subscription

YOUNG = 300.0
"""Seconds for which a contact is read again when one part of the API knows less of its last change than another."""
_A_MOMENT = 1.0


class Watched:
    """One contact that somebody waits for."""

    def __init__(self) -> None:
        self.by: set[Subscription] = set()
        self.state: bytes | None = None
        """The state in which the list has shown it; None when that has to be judged anew."""
        self.undecided: set[Subscription] = set()
        """For whom the row of the list did not tell enough."""
        self.refusals = Refusals()
        self.read_at = time.monotonic()
        self._row: ContactInfo | None = None
        self._again_at = float("inf")
        self._later: dict[Subscription, float] = {}

    def add(self, subscription: Subscription, *, again_after: float | None) -> None:
        """Have one more wait for it.

        :param again_after: seconds after which it has to be read for this wait although nothing changes.
        """
        self.by.add(subscription)
        # What others have read of it may be newer than what the new one knows.
        self.state = None
        if again_after is not None:
            self._later[subscription] = time.monotonic() + again_after

    def remove(self, subscription: Subscription) -> bool:
        """Have one fewer wait for it, and return whether nobody is left."""
        self.by.discard(subscription)
        self.undecided.discard(subscription)
        self._later.pop(subscription, None)
        return not self.by

    def note(self, row: Row, *, at: float) -> None:
        """Judge what the list shows; for whom that does not tell enough, it has to be read.

        :param at: by the API's clock.
        """
        if self.state == row.state:
            return
        self.state, info = row.state, read_contact(row.fields)
        self.undecided |= {by for by in self.by if by.wants(row.key) and not by.decides(row.key, info, now=at)}
        if self.undecided:
            self._row = info
            self.read_again()

    def due(self, now: float) -> bool:
        """Return whether it has to be read."""
        return self._again_at <= now or any(when <= now for when in self._later.values())

    def read_again(self, after: float = 0.0) -> None:
        """Have it read after some seconds, at the latest."""
        self._again_at = min(self._again_at, time.monotonic() + after)

    def to_read(self, key: str, *, whole: bool) -> tuple[set[Subscription], ContactInfo | None]:
        """Return for whom it has to be read, and the row of the list where only messages are missing.

        :param whole: read all of it, because the list is not relied on.
        """
        now = time.monotonic()
        undecided = {by for by in self.undecided if by.wants(key)}
        whole = whole or not undecided or any(when <= now for when in self._later.values())
        if whole or any(by.each for by in self.by):
            return {by for by in self.by if by.wants(key)}, None
        return undecided, self._row

    def was_read(self, seen: Seen, *, later: dict[Subscription, float | None], at: float) -> None:
        """Note a reading.

        :param later: for whom it was read, and when to read it again for them, by the API's clock.
        :param at: by the API's clock.
        """
        level = _when_level(seen, self._row, now=at)
        self.read_at, self._again_at = time.monotonic(), float("inf")
        if level is not None:
            self.read_again(level - at)
        for by, when in later.items():
            self._later.pop(by, None)
            if when is not None:
                self._later[by] = time.monotonic() + when - at
        self.undecided -= later.keys()
        if not self.undecided:
            self._row = None
        self.refusals.good()

    def skip(self) -> None:
        """Note that nobody wants it read any more."""
        self._again_at, self._later = float("inf"), {}
        self.undecided, self._row = set(), None


class Round:
    """What one round has shown so far."""

    def __init__(self) -> None:
        self.began = time.monotonic()
        self.answered = False
        """Whether anything was answered: only then a refusal is not that of a gateway."""
        self.list_error: VambeError | None = None
        self.good: set[str] = set()
        self.errors: dict[str, VambeError] = {}
        self.wait_for = 0.0

    def note(self, error: VambeError) -> None:
        """Note for how long Vambe asked to wait."""
        if is_asked_to_wait(error):
            self.wait_for = max(self.wait_for, error.retry_after or _A_MOMENT)

    def all_errors(self) -> Iterable[VambeError]:
        """Return why something could not be read, the list coming first."""
        return [*([self.list_error] if self.list_error else []), *self.errors.values()]


def is_no_list(error: VambeError) -> bool:
    """Return whether the list cannot be had at all: it is refused, or its reply cannot be used."""
    unusable = isinstance(error, VambeReadError) and error.status is not None and 200 <= error.status < 300
    return is_refusal(error) or unusable


def _when_level(seen: Seen, row: ContactInfo | None, *, now: float) -> float | None:
    """Return when to read again because one part of the API knows less yet than another one, or None.

    :param row: the contact as the list shows it.
    :param now: by the API's clock.
    """
    changed = seconds(row.updated_at) if row else None
    known = seconds(seen.info.updated_at)
    older = changed is not None and known is not None and known < changed
    last = changed if older else seconds(seen.info.last_message_at) if seen.behind else None
    if last is None or not -CLOCK_ERROR <= now - last < YOUNG:
        return None
    return now + max(0.0, now - last) / 2
