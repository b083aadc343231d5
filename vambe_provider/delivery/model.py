"""The words of a delivery: what is to be sent, what the ledger says about it, and what became of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from vambe_provider.api.models import OpenTicket
    from vambe_provider.delivery.key import TicketKey
    from vambe_provider.exceptions import VambeError


class State(StrEnum):
    """What the ledger says of a ticket."""

    SENDING = "sending"
    OPENED = "opened"
    REJECTED = "rejected"
    FAILED = "failed"
    UNKNOWN = "unknown"
    POSTPONED = "postponed"
    SUPPRESSED = "suppressed"


class Outcome(StrEnum):
    """What one run did with a ticket; every row ends in exactly one of them."""

    OPENED = "opened"
    ALREADY_OPENED = "already_opened"
    RECONCILED = "reconciled"
    DRY_RUN = "dry_run"
    REJECTED = "rejected"
    FAILED = "failed"
    UNKNOWN = "unknown"
    HELD = "held"
    SKIPPED = "skipped"
    DUPLICATE = "duplicate"
    CONFLICT = "conflict"


class Verdict(StrEnum):
    """What the ledger lets its asker do with a ticket."""

    SEND = "send"
    """It is yours, and nothing of it was sent: post it."""
    CHECK = "check"
    """It is yours, and an earlier attempt may have sent it: reconcile first."""
    OPENED = "opened"
    REJECTED = "rejected"
    """Refused before, and not changed since."""
    UNKNOWN = "unknown"
    HELD = "held"
    """Another run is sending it."""
    WAIT = "wait"
    """Ask again later: an earlier try of this run, or another ticket to the same person, may still be on its way."""
    DUPLICATE = "duplicate"
    """This run has it already, with the same content."""
    CONFLICT = "conflict"
    """This run has it already, with other content."""


@dataclass(frozen=True, slots=True)
class Work:
    """One ticket that is ready to be sent.

    :param key: its identity.
    :param ticket: the validated request, without the key in its metadata.
    :param person: hash of the canonical number.
    :param fingerprint: hash of the request and the sender.
    :param message_hash: hash of the message's text; None without one.
    """

    key: TicketKey
    ticket: OpenTicket = field(repr=False)
    person: str
    fingerprint: str
    message_hash: str | None = None


@dataclass(frozen=True, slots=True)
class Unsendable:
    """A row that cannot be sent: refused by validation, or left out on purpose.

    :param outcome: ``rejected`` or ``skipped``.
    :param key: its key, when it has one.
    :param error: why, for a rejected row.
    :param fingerprint: hash of the row, so that it is tried again when it changes.
    """

    outcome: Literal[Outcome.REJECTED, Outcome.SKIPPED]
    key: TicketKey | None = None
    error: VambeError | None = None
    fingerprint: str = ""


@dataclass(frozen=True, slots=True)
class Claim:
    """The ledger's answer for one ticket.

    :param work: the ticket.
    :param verdict: what may be done with it.
    :param owner: who holds it, to be named again when it is settled.
    :param generation: 0, or how often it was opened again on purpose.
    :param started: when its first attempt began, in seconds of this machine's UTC clock.
    :param expires: until when the owner may post, in seconds of :func:`~vambe_provider.delivery.clock.now`.
    :param wait: seconds after which asking again makes sense, for ``wait``.
    :param ai_contact_id: the contact, for a ticket that is open.
    :param same_run: an earlier part of this run opened it: a try that failed, or one that deferred.
    """

    work: Work
    verdict: Verdict
    owner: str = ""
    generation: int = 0
    started: float = 0.0
    expires: float = 0.0
    wait: float = 0.0
    ai_contact_id: str | None = None
    same_run: bool = False


@dataclass(frozen=True, slots=True)
class Sibling:
    """Another ticket to the same person: what it explains is no evidence for this one.

    :param ai_contact_id: the contact that it opened, when known.
    :param evidence_id: the ticket or message that was attributed to it.
    :param started: when its first attempt began, in seconds of this machine's UTC clock.
    :param state: what became of it.
    :param message_hash: hash of its message's text.
    """

    ai_contact_id: str | None
    evidence_id: str | None
    started: float
    state: State
    message_hash: str | None = None


LEASE_OVER = "lease_over"
"""The evidence of a ticket that was not posted because its claim had run out; somebody else may have taken it."""


@dataclass(frozen=True, slots=True)
class Settlement:
    """What became of a claim.

    :param claim: the claim.
    :param state: what the ledger is to say from now on.
    :param outcome: what the report is to say.
    :param ai_contact_id: the contact, when known.
    :param evidence: which check decided: ``reply``, ``ticket_key``, ``new_ticket``, ``new_contact``, ``message``,
        ``no_contact``, ``not_sent`` …
    :param evidence_id: the ticket or message that was taken as proof.
    :param error: why it failed.
    :param retry_in: seconds after which this run may try again; None when trying again is of no use now.
    """

    claim: Claim
    state: State
    outcome: Outcome
    ai_contact_id: str | None = None
    evidence: str | None = None
    evidence_id: str | None = None
    error: VambeError | None = None
    retry_in: float | None = None


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a single ticket.

    :param outcome: what this run did.
    :param key: its identity.
    :param ai_contact_id: the contact, when known.
    :param error: why it was not opened; None when it is open.
    """

    outcome: Outcome
    key: TicketKey
    ai_contact_id: str | None = None
    error: VambeError | None = None


Row = Mapping[str, object]
"""One row of the source: column name to value."""
