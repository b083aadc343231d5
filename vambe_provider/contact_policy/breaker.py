"""When a sender rests because its deliveries fail: what each result does to it, and what it lets through.

A sender that writes to bad numbers, or to too many people who never wrote to it, is locked by WhatsApp. After a stop
code, or some failures in a row, nothing is sent until a stated time or for a day; then one ticket to a known person
decides whether the sender works again.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

FAILURES = 3
"""So many failed deliveries in a row open a breaker."""
REST = timedelta(hours=24)
"""How long a sender rests when nobody said until when."""

STOP_CODES = frozenset(
    {"368", "130497", "131031", "131042", "131045", "131048", "132001", "132015", "132016", "133010"}
)
"""Codes of WhatsApp that stop a sender at once: policy, spam, payment, a locked or missing number, a template."""
NEW_CHATS_CODE = "463"
"""Stops chats with new people only; chats that exist go on."""
UNREACHABLE_CODE = "131026"
"""The number is not on WhatsApp."""
# They tell something about one person or the moment, and nothing about the sender.
_NEUTRAL = frozenset({"131047", "131049", "131050", "131056", "130429", "130472", "80007", "4"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Breaker:
    """The state of one sender, as the ledger keeps it for all workers.

    :param failures: failed deliveries since the last one that arrived.
    :param until: when the rest ends; None when the sender does not rest.
    :param reason: the code that opened it.
    :param new_people_only: whether only new people have to wait.
    :param probing: whether the one ticket after the rest is on its way.
    """

    failures: int = 0
    until: datetime | None = None
    reason: str | None = None
    new_people_only: bool = False
    probing: bool = False

    def after(
        self, *, delivered: bool, now: datetime, code: str | None = None, ends: datetime | None = None
    ) -> Breaker:
        """Return the state after the result of one delivery.

        :param delivered: whether the message arrived.
        :param now: when the result came.
        :param code: the code of WhatsApp, when there is one.
        :param ends: when WhatsApp says that the stop ends.
        """
        if delivered:
            return Breaker()
        if code in STOP_CODES or code == NEW_CHATS_CODE:
            return Breaker(
                failures=self.failures,
                until=ends or now + REST,
                reason=code,
                new_people_only=code == NEW_CHATS_CODE,
            )
        if code in _NEUTRAL:
            return replace(self, probing=False)
        if self.probing or self.failures + 1 >= FAILURES:
            return Breaker(failures=self.failures + 1, until=now + REST, reason=code or "failures")
        return replace(self, failures=self.failures + 1)

    def probe(self) -> Breaker:
        """Return the state while the one ticket after the rest is on its way."""
        return replace(self, probing=True)

    def refuses(self, *, now: datetime, new_person: bool) -> tuple[str, datetime | None] | None:
        """Return why a ticket has to wait and until when, or None when it may go.

        :param now: the present moment.
        :param new_person: whether the account never wrote to the person.
        """
        if self.until is None or (self.new_people_only and not new_person):
            return None
        if now < self.until:
            return "breaker_open", self.until
        if self.new_people_only:
            return None
        return ("breaker_probe", None) if new_person or self.probing else None
