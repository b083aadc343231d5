"""When to stop asking: a wrong key, a sender that is gone, a server that is down. Pure bookkeeping."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from vambe_provider.exceptions import (
    VambeAuthError,
    VambeConfigError,
    VambeError,
    VambeNotSentError,
    VambeRateLimitError,
    VambeRefusedError,
)

AUTH_LIMIT = 3
"""Refusals of the key in a row after which a run stops."""
SENDER_LIMIT = 3
"""Answers in a row that say that the sender is not connected, after which a run stops."""
MAYBE_LIMIT = 5
"""Posts in a row of which nobody knows whether they took effect, after which the sender is paused."""
PAUSES = (30.0, 60.0, 120.0, 300.0)
"""Seconds of the pauses that follow each other while the server stays down; after the last one the run stops."""
FIRST_RETRY, LONGEST_RETRY = 0.5, 60.0
"""Seconds of the rest after a request that did not reach Vambe: doubled each time, up to the longest."""
NOT_SENT_LIMIT = 10
"""Rests in a row after requests that did not reach Vambe, after which a run stops."""
RATE_LIMIT_LIMIT = 20
"""Rests in a row after a 429, after which a run stops."""

_SENDER_GONE = re.compile(
    r"disconnect|not connected|no conectad|desconect|session (closed|expired)|scan the qr", re.IGNORECASE
)


@dataclass(slots=True)
class Health:
    """What the last answers of one sender say about its next ones."""

    auth: int = 0
    sender: int = 0
    maybe: int = 0
    not_sent: int = 0
    limited: int = 0
    paused: int = 0
    rested_at: float = -math.inf
    stop: str | None = None
    """Why the run has to stop; None while it may go on."""

    def works(self) -> None:
        """Note that a ticket was opened, or refused for a reason of its own."""
        self.auth = self.sender = self.maybe = self.not_sent = self.limited = self.paused = 0

    def fails(self, error: VambeError, *, began: float, now: float) -> float:
        """Note an error.

        :param began: when the request began. What was on its way when the sender was last sent to rest says nothing
            new.
        :param now: the same clock, now.
        :return: seconds for which the sender should rest.
        """
        if began < self.rested_at:
            return error.retry_after or 0.0
        rest = self._rest(error)
        if rest > 0:
            self.rested_at = now
        return rest

    def _rest(self, error: VambeError) -> float:
        if isinstance(error, VambeConfigError):
            self.stop = error.message
            return 0.0
        if isinstance(error, VambeAuthError):
            self.auth += 1
            if self.auth >= AUTH_LIMIT:
                self.stop = f"Vambe refused the API key {self.auth} times in a row"
            return 0.0
        if sender_is_gone(error):
            self.sender += 1
            if self.sender >= SENDER_LIMIT:
                self.stop = "the sender is not connected in Vambe"
        elif isinstance(error, VambeRefusedError):
            self.works()
        if error.sent == "maybe":
            return self._unclear()
        return self._turned_away(error) if isinstance(error, VambeNotSentError) else 0.0

    def _unclear(self) -> float:
        self.maybe += 1
        if self.maybe < MAYBE_LIMIT:
            return 0.0
        if self.paused >= len(PAUSES):
            self.stop = "the server is down: its answers have been unclear for many minutes"
            return 0.0
        self.maybe = MAYBE_LIMIT - 1  # one more unclear answer after the pause is enough for the next one
        self.paused += 1
        return PAUSES[self.paused - 1]

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

    @property
    def shaky(self) -> bool:
        """True after a pause, until a ticket got through: then one ticket at a time is enough to find out."""
        return self.paused > 0


def sender_is_gone(error: VambeError) -> bool:
    """Say whether an answer means that the sender's WhatsApp is not connected, which no row can help."""
    return error.status is not None and _SENDER_GONE.search(error.said or "") is not None
