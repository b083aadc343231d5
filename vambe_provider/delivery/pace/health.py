"""When to stop asking: a wrong key, a sender that is gone, a server that is down. Pure bookkeeping."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from vambe_provider.api.words import sender_is_gone
from vambe_provider.delivery.pace.breaker import Breaker
from vambe_provider.exceptions import (
    VambeAuthError,
    VambeConfigError,
    VambeError,
    VambeLeaseOverError,
    VambeNotAllowedError,
    VambeNotSentError,
    VambeRateLimitError,
    VambeRefusedError,
)

AUTH_LIMIT = 3
"""Refusals of the key in a row after which a run stops."""
SENDER_LIMIT = 3
"""Answers in a row that say that the sender is not connected, after which a run stops."""
FIRST_RETRY, LONGEST_RETRY = 0.5, 60.0
"""Seconds of the rest after a request that did not reach Vambe: doubled each time, up to the longest."""
NOT_SENT_LIMIT = 10
"""Rests in a row after requests that did not reach Vambe, after which a run stops."""
RATE_LIMIT_LIMIT = 20
"""Rests in a row after a 429, after which a run stops."""

EQUAL_LIMIT = 25
"""Refusals with the same words in a row, or failures of the ticket function of the same kind, after which a run stops:
then the cause is not in the rows.
"""


@dataclass(slots=True)
class Health:
    """What the last answers of one sender say about its next ones."""

    auth: int = 0
    sender: int = 0
    not_sent: int = 0
    limited: int = 0
    rested_at: float = -math.inf
    equal: int = 0
    words: str = ""
    broken: int = 0
    breaks: str = ""
    why: str = ""
    """Why the sender rests now, in words."""
    stop: str | None = None
    """Why the run has to stop; None while it may go on."""
    breaker: Breaker = field(default_factory=Breaker)

    @property
    def probing(self) -> bool:
        """True after a rest, until a ticket got through: then one ticket at a time is enough to find out."""
        return self.breaker.probing

    def landed(self, error: VambeError | None, *, ordinal: int, began: float, now: float) -> float:
        """Note what a post came to.

        :param error: why its ticket is not open, or why nobody knows; None when it is.
        :param ordinal: the how-manieth post of this run it was, from 0 on.
        :param began: when its request began. What was on its way when the sender was last sent to rest says nothing
            new.
        :param now: the same clock, now.
        :return: seconds for which the sender should rest.
        """
        late = began < self.rested_at
        rest = 0.0
        if error is None:
            self._works()
        elif late:
            rest = error.retry_after or 0.0
            self.why = error.message
        else:
            rest = self._judge(error)
        # Late answers are told to the breaker all the same, because it waits for each; they weigh nothing.
        unclear = None if late or _says_nothing(error) else error is not None and error.sent == "maybe"
        tripped = self.breaker.landed(ordinal, unclear=unclear)
        if tripped is not None:
            self.why = str(tripped)
            if tripped.seconds is None:
                self.stop = f"the server is down: {tripped}, after {self.breaker.rests - 1} rests"
            rest = max(rest, tripped.seconds or 0.0)
        if rest > 0 and not late:
            self.rested_at = now
        return rest

    def _works(self) -> None:
        """Note that a ticket was opened, or refused for a reason of its own."""
        self.auth = self.sender = self.not_sent = self.limited = self.equal = 0

    def refused_by_validation(self, error: VambeError | None) -> None:
        """Note that a row was refused before anything was sent; a ticket function that fails alike on every row stops
        the run.
        """
        breaks = getattr(error, "exception", "") or ""
        self.broken = self.broken + 1 if breaks and breaks == self.breaks else int(bool(breaks))
        self.breaks = breaks
        if self.broken >= EQUAL_LIMIT:
            self.stop = f"the ticket function raised {breaks} for {self.broken} rows in a row"

    def _judge(self, error: VambeError) -> float:
        self.why = error.message
        if isinstance(error, VambeConfigError):
            self.stop = error.message
        elif isinstance(error, VambeAuthError):
            self.auth += 1
            if self.auth >= AUTH_LIMIT:
                self.stop = f"Vambe refused the API key {self.auth} times in a row"
        elif sender_is_gone(error):
            self.sender += 1
            if self.sender >= SENDER_LIMIT:
                self.stop = "the sender is not connected in Vambe"
        elif isinstance(error, VambeRefusedError):
            self._refused(error)
        elif isinstance(error, VambeNotSentError) and not isinstance(error, VambeLeaseOverError):
            return self._turned_away(error)
        return 0.0

    def _refused(self, error: VambeRefusedError) -> None:
        words, before = f"{error.status} {error.said or ''}", self.equal
        self._works()
        self.equal = before + 1 if words == self.words else 1
        self.words = words
        limit = EQUAL_LIMIT if error.about == "row" else AUTH_LIMIT
        if self.equal >= limit:
            self.stop = f"Vambe refused {self.equal} tickets in a row with the same words: {error.said or error.status}"

    def _turned_away(self, error: VambeError) -> float:
        if isinstance(error, VambeRateLimitError):
            self.limited += 1
            if self.limited >= RATE_LIMIT_LIMIT:
                self.stop = "Vambe turns every ticket away with 429"
            return error.retry_after if error.retry_after is not None else min(LONGEST_RETRY, 2.0**self.limited)
        self.not_sent += 1
        if self.not_sent >= NOT_SENT_LIMIT:
            self.stop = "Vambe cannot be reached"
        return min(LONGEST_RETRY, FIRST_RETRY * 2.0 ** (self.not_sent - 1))


def _says_nothing(error: VambeError | None) -> bool:
    return isinstance(error, (VambeNotSentError, VambeConfigError, VambeNotAllowedError))
