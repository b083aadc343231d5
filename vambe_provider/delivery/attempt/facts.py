"""What was read about an attempt, in the form in which it is judged. Nothing here knows a number or a text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from vambe_provider.api.contact_info import ContactInfo, Ticket
    from vambe_provider.delivery.attempt.numbers import Whose
    from vambe_provider.delivery.model import Attempt, Evidence

SKEW_KNOWN = 2.0
"""Seconds by which the API's clock may be off when its ``Date`` header is known; the header counts whole seconds."""
SKEW_UNKNOWN = 60.0


@dataclass(frozen=True, slots=True)
class Finding:
    """What the looks prove.

    :param verdict: ``created``, ``not_created`` or ``cannot_tell``.
    :param evidence: why.
    :param ai_contact_id: the contact, when it was found.
    :param evidence_id: the ticket, contact or message that is the proof, so that it proves nothing for another attempt.
    :param created_at: when that was created, in seconds of the API's clock.
    :param again_at: for ``cannot_tell``: a look at this moment of this machine's clock may know more.
    """

    verdict: Literal["created", "not_created", "cannot_tell"]
    evidence: Evidence
    ai_contact_id: str | None = None
    evidence_id: str | None = None
    created_at: float | None = None
    again_at: float | None = None


@dataclass(frozen=True, slots=True)
class Span:
    """A time span of the API's clock, both ends included."""

    start: float
    end: float

    def __contains__(self, moment: float | None) -> bool:
        return moment is not None and self.start <= moment <= self.end


@dataclass(frozen=True, slots=True)
class Clock:
    """What is known of the API's clock.

    :param offset: seconds that its ``Date`` header is ahead of this machine's clock; None when there was none.
    """

    offset: float | None = None

    @property
    def skew(self) -> float:
        """Seconds by which a time may be off in spite of the offset."""
        return SKEW_UNKNOWN if self.offset is None else SKEW_KNOWN

    def latest(self, moment: float) -> float:
        """Return the latest that the API's clock can show at a moment of this machine's."""
        return moment + (self.offset or 0.0) + self.skew

    def span(self, attempt: Attempt) -> Span:
        """Return the time within which everything lies that an attempt can have made."""
        ended = max(attempt.ended, attempt.started)
        return Span(attempt.started + (self.offset or 0.0) - self.skew, self.latest(ended))


@dataclass(frozen=True, slots=True)
class Said:
    """One message of a conversation.

    :param outbound: whether it went to the customer; if not, it came from the customer.
    :param text_hash: hash of its text.
    :param at: when, in seconds of the API's clock.
    """

    id: str | None
    outbound: bool
    text_hash: str
    at: float | None

    def is_text(self, text_hash: str | None) -> bool:
        """Say whether it is a text that was sent to the customer."""
        return self.outbound and text_hash is not None and self.text_hash == text_hash


@dataclass(frozen=True, slots=True)
class Sight:
    """What the looks showed of one contact.

    :param info: the contact at the last look that showed it.
    :param whose: whether it is the person's.
    :param tickets: all tickets that any look showed.
    :param marks: all marks of ours that any look showed.
    :param messages: the conversation; None when it could not be read or was not needed.
    """

    info: ContactInfo
    whose: Whose = "same"
    tickets: Sequence[Ticket] = ()
    marks: frozenset[str] = frozenset()
    messages: Sequence[Said] | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Witness:
    """What the looks showed of a ticket that surely exists.

    :param attempt: the attempt that opened it.
    :param info: its contact; None when it is gone.
    :param shown_at: when its mark was seen first, by this machine's clock; None when it was not.
    :param heard_at: when its message was seen first; None when it was not, or when it has none.
    :param found_at: when its contact was found first in the way in which the person was looked for; None when not.
    :param searched: whether it was looked for in that way.
    :param messages: its conversation; None when it was not read.
    :param siblings: other attempts that were addressed to its person.
    """

    attempt: Attempt
    info: ContactInfo | None = None
    shown_at: float | None = None
    heard_at: float | None = None
    found_at: float | None = None
    searched: bool = False
    messages: Sequence[Said] | None = field(default=None, repr=False)
    siblings: Sequence[Attempt] = ()


@dataclass(frozen=True, slots=True)
class Looks:
    """All looks about one attempt, put together.

    :param at: when the last one began, by this machine's clock.
    :param read_at: when the last reply had come.
    :param clock: the API's clock.
    :param complete: whether as many looks worked in all their parts as were planned, the last one among them.
    :param by_number: whether the person's number is known, so that it could be searched for.
    :param unclear: a contact that may be the person's shows nothing that could be compared.
    :param full: a search returned as many contacts as it can.
    :param gone: contacts that the ledger or an earlier look knows for the person, and the last look did not show.
    :param siblings: other attempts that were addressed to the person.
    """

    at: float
    read_at: float
    clock: Clock = Clock()
    complete: bool = True
    by_number: bool = True
    unclear: bool = False
    full: bool = False
    gone: frozenset[str] = frozenset()
    sights: Sequence[Sight] = ()
    siblings: Sequence[Attempt] = ()
    witnesses: Sequence[Witness] = ()

    @property
    def same(self) -> list[Sight]:
        """The contacts that are the person's."""
        return [sight for sight in self.sights if sight.whose == "same"]


def seconds(moment: datetime | None) -> float | None:
    """Return a time in seconds since 1970."""
    return None if moment is None else moment.timestamp()
