"""The words of a delivery: what is to be sent, what was tried, what the ledger says, and what became of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from datetime import datetime

    from vambe_provider.api.models import OpenTicket
    from vambe_provider.delivery.key import TicketKey
    from vambe_provider.delivery.permission import Ruling, Subject
    from vambe_provider.exceptions import VambeError


class State(StrEnum):
    """What the ledger says of a ticket in one account. A ticket without a row was never tried."""

    SENDING = "sending"
    """An attempt was recorded and is not decided: it is on its way, or its worker died."""
    OPENED = "opened"
    """A generation of it is open, whatever later attempts came to."""
    REJECTED = "rejected"
    """Validation or Vambe refused it; it is tried again when its row changes."""
    FAILED = "failed"
    """The last attempt surely created nothing; the next run tries it again."""
    UNKNOWN = "unknown"
    """It may exist, and no look could tell. It is never sent again without a decision."""
    POSTPONED = "postponed"
    """The contact policy wants it later."""
    SUPPRESSED = "suppressed"
    """The contact policy does not want it."""


class Outcome(StrEnum):
    """What one run did with a row; every row ends in exactly one of them."""

    OPENED = "opened"
    """This run opened the ticket, and Vambe confirmed it."""
    RECONCILED = "reconciled"
    """An attempt without an answer turned out to have opened the ticket."""
    ALREADY_OPENED = "already_opened"
    """The ticket was open before; nothing was sent."""
    REJECTED = "rejected"
    """The row cannot be sent: validation or Vambe refused it in this run."""
    STILL_REJECTED = "still_rejected"
    """An earlier run saw it refused, and the row has not changed since; nothing was tried."""
    FAILED = "failed"
    """Nothing was sent, and a later try may work."""
    UNKNOWN = "unknown"
    """The ticket may exist, and nobody can tell; a person decides."""
    HELD = "held"
    """Another task is sending it; this run did not see the end."""
    SKIPPED = "skipped"
    """The ticket function left the row out, or ``on_closed="skip"`` did."""
    DUPLICATE = "duplicate"
    """The run has the same row twice; it is sent once."""
    CONFLICT = "conflict"
    """The key is taken: by another row of this run, or by a ticket for another person. Nothing was sent."""
    POSTPONED = "postponed"
    """The contact policy wants it later; a later run or the resumed task sends it."""
    SUPPRESSED = "suppressed"
    """The contact policy does not want it sent."""
    LEFT = "left"
    """``max_tickets`` was reached before it; the next run takes it."""
    SEEDED = "seeded"
    """It was recorded as done without being sent."""
    DRY_RUN = "dry_run"
    """It would be sent now."""


class Verdict(StrEnum):
    """What the ledger lets its asker do with a ticket."""

    SEND = "send"
    """It is yours, and nothing of it is undecided: post it."""
    CHECK = "check"
    """It is yours, and an earlier attempt may have opened it: find out by reading first."""
    OPENED = "opened"
    """It is open; leave it."""
    REJECTED = "rejected"
    """This Dag run saw it refused, and it has not changed since."""
    STILL_REJECTED = "still_rejected"
    """An earlier Dag run saw it refused, and it has not changed since."""
    UNKNOWN = "unknown"
    """It may exist, and this run may not find out."""
    HELD = "held"
    """It belongs to somebody else, or nothing is known that allows anything."""
    WAIT = "wait"
    """Ask again later: another task has it, or another ticket to the same person is on its way."""
    DUPLICATE = "duplicate"
    """This try has it already, with the same content."""
    CONFLICT = "conflict"
    """This try has it already, with other content."""
    OTHER_PERSON = "other_person"
    """The key belongs to a ticket for another person."""
    POSTPONED = "postponed"
    """The contact policy set a time for it, which has not come."""
    SUPPRESSED = "suppressed"
    """The contact policy ruled it out."""


class Sent(StrEnum):
    """Whether an attempt reached the customer's contact in Vambe."""

    NO = "no"
    MAYBE = "maybe"
    YES = "yes"


class Reason(StrEnum):
    """Why an attempt was begun."""

    FIRST = "first"
    """Nothing was known of the ticket, or it was never tried."""
    AGAIN = "again"
    """The attempt before it surely created nothing."""
    RESEND = "resend"
    """The task asked to send what is open again; for generation 0, nothing was open yet."""
    CHANGED = "changed"
    """The content of an open ticket's row changed, and the task asked for a new generation then."""
    BLIND = "blind"
    """Nobody could tell whether the attempt before it created something, and the task asked to send again then."""
    SEED = "seed"
    """Recorded as done without being sent."""
    DECISION = "decision"
    """A person decided what the ticket is; nothing was sent."""


NEW_GENERATION = (Reason.RESEND, Reason.CHANGED)
"""The reasons that begin a new generation of a ticket."""


class Evidence(StrEnum):
    """Why the ledger believes what it says of an attempt or a ticket."""

    # the attempt created the ticket
    REPLY = "reply"
    """Vambe answered the POST with ``ok``."""
    MARK = "mark"
    """The attempt's key stands in the data of the contact or of a ticket."""
    TICKET = "ticket"
    """A ticket was created during the attempt that nothing else explains."""
    CONTACT = "contact"
    """The contact was created during the attempt, and nothing else explains it."""
    MESSAGE = "message"
    """The attempt's message was sent to the contact during the attempt, and nothing else explains it."""
    # the attempt created nothing
    REFUSED = "refused"
    """Vambe said no in its own words."""
    NOT_SENT = "not_sent"
    """The request did not leave this machine, or was turned away with 429."""
    NOT_POSTED = "not_posted"
    """It was claimed and given back before its request began."""
    LEASE_OVER = "lease_over"
    """Its claim had run out before the request began."""
    NO_CONTACT = "no_contact"
    """Every look worked, nothing knows a contact of this person, and what surely exists was found in the same way."""
    WITNESS = "witness"
    """The contact shows no mark of the attempt, where a ticket that surely exists shows its own."""
    # nobody can tell
    NO_TRACE = "no_trace"
    """The contact is there and shows neither the ticket nor that it could be seen."""
    NO_WITNESS = "no_witness"
    """Nothing was found, and nothing shows that it would have been."""
    CONTACT_KNOWN = "contact_known"
    """The contact exists, and the last look did not find it."""
    UNREADABLE_CONTACT = "unreadable_contact"
    """A contact that may be this person's shows no number that can be compared."""
    SEARCH_FULL = "search_full"
    """The search returned as many contacts as it can, so that this one may be missing."""
    LOOK_FAILED = "look_failed"
    """No look or not every look worked."""
    TOO_OLD = "too_old"
    """The attempt is so old that contacts may have been merged or deleted since."""
    OTHER_ACCOUNT = "other_account"
    """The attempt went to another account, where this task cannot look."""
    # decided without a look
    BLIND = "blind"
    """The task asked to send again although nobody could tell."""
    PERSON = "person"
    """A person decided."""
    SEEDED = "seeded"
    """Recorded as done for the backlog of the first day."""
    VALIDATION = "validation"
    """The row was refused before anything was sent."""
    POLICY = "policy"
    """The contact policy decided."""


@dataclass(frozen=True, slots=True)
class Origin:
    """The task that delivers.

    :param dag: the Dag's id.
    :param task: the task's id, with its groups.
    :param run: the Dag run's id.
    :param map_index: the index of a mapped task; -1 when it is not mapped.
    :param try_number: the try, from 1 on.
    """

    dag: str
    task: str
    run: str
    map_index: int = -1
    try_number: int = 1

    @property
    def dag_run(self) -> str:
        """What all tasks, tries, shards and map indexes of one Dag run have in common."""
        return f"{self.dag}/{self.run}"


@dataclass(frozen=True, slots=True)
class Work:
    """One ticket that is ready to be sent.

    :param key: its identity.
    :param ticket: the validated request, without the key in its metadata.
    :param person: keyed hash of the canonical number.
    :param fingerprint: hash of the request and the sender.
    :param message_hash: hash of the message's text; None without one.
    :param row_hash: hash of the row that it was made of, and of how it was made; the fingerprint without a row.
    :param number: which row of the source it is, from 1 on; 0 without a row.
    :param size: bytes of the request, about.
    :param subject: what a contact policy asks about its row; None without a policy.
    """

    key: TicketKey
    ticket: OpenTicket = field(repr=False)
    person: str
    fingerprint: str
    message_hash: str | None = None
    row_hash: str = ""
    number: int = 0
    size: int = 0
    subject: Subject | None = None


@dataclass(frozen=True, slots=True)
class Withheld:
    """One ticket that the contact policy does not let go now."""

    work: Work
    ruling: Ruling


@dataclass(frozen=True, slots=True)
class Unsendable:
    """A row that cannot be sent: refused by validation, or left out on purpose.

    :param outcome: ``rejected`` or ``skipped``.
    :param key: its key, when it has one.
    :param error: why, for a rejected row.
    :param row_hash: hash of the row and of how requests are made, so that it is tried again when either changes.
    :param number: which row of the source it is, from 1 on.
    """

    outcome: Literal[Outcome.REJECTED, Outcome.SKIPPED]
    key: TicketKey | None = None
    error: VambeError | None = None
    row_hash: str = ""
    number: int = 0


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt at one ticket, as it was recorded before its POST. Times are seconds of this machine's UTC clock.

    :param ticket_key: digest of the ticket's key.
    :param namespace: the set in which the key is unique.
    :param account: the account of Vambe that it went to.
    :param number: 1 for the ticket's first attempt in this account.
    :param generation: 0, or which new generation it was meant to open.
    :param reason: why it was begun.
    :param person: keyed hash of the number that it was addressed to.
    :param fingerprint: hash of its request and sender.
    :param message_hash: hash of its message's text; None without one.
    :param started: when it was claimed; nothing older is its doing.
    :param ended: the latest moment at which Vambe may have carried it out: the end of its lease and one request
        timeout. For an attempt whose end is known, that end.
    :param sent: whether it is known to have been carried out.
    :param ai_contact_id: the contact, when known.
    :param evidence_id: the ticket or message that is attributed to it.
    :param dag_run: the Dag run that made it.
    """

    ticket_key: str
    namespace: str
    account: str
    number: int
    generation: int
    reason: Reason
    person: str
    fingerprint: str
    message_hash: str | None
    started: float
    ended: float
    sent: Sent = Sent.MAYBE
    ai_contact_id: str | None = None
    evidence_id: str | None = None
    dag_run: str = ""

    @property
    def mark(self) -> str:
        """What stands in the ticket's metadata; each generation has its own."""
        return self.ticket_key if self.generation == 0 else f"{self.ticket_key}.{self.generation}"


@dataclass(frozen=True, slots=True)
class Claim:
    """The ledger's answer for one ticket.

    :param work: the ticket.
    :param verdict: what may be done with it.
    :param owner: who holds it, to be named again when it is settled.
    :param attempt: for ``send`` the attempt that was recorded; for ``check`` the one to be found out about.
    :param expires: until when the owner may post, in seconds of :func:`~vambe_provider.delivery.clock.now`.
    :param epoch: the ledger's epoch at the claim; a claim of an earlier epoch is void, see ``Ledger.epoch``.
    :param wait: seconds after which asking again makes sense, for ``wait``.
    :param ai_contact_id: the contact of a ticket that is open.
    :param dag: the Dag that opened it, for a ticket that is open.
    :param same_run: this Dag run opened it.
    :param changed: it is open with other content than asked for now.
    :param elsewhere: the other account in which it is undecided, for ``unknown``; or in which it is open.
    :param ruling: why the contact policy does not let it go, when that is why it is not given out.
    """

    work: Work
    verdict: Verdict
    owner: str = ""
    attempt: Attempt | None = None
    expires: float = 0.0
    epoch: int = 0
    wait: float = 0.0
    ai_contact_id: str | None = None
    dag: str = ""
    same_run: bool = False
    changed: bool = False
    elsewhere: str | None = None
    ruling: Ruling | None = None

    @property
    def made(self) -> Attempt:
        """The attempt of a claim to send or to check."""
        if self.attempt is None:
            raise ValueError(f"a claim with the verdict {self.verdict} has no attempt")
        return self.attempt


@dataclass(frozen=True, slots=True)
class Settlement:
    """What became of a claim; the ledger's state follows from it.

    :param claim: the claim.
    :param outcome: ``opened``, ``reconciled``, ``rejected``, ``failed``, ``unknown``, or what a contact policy made of
        it.
    :param evidence: why.
    :param ai_contact_id: the contact, when known.
    :param evidence_id: the ticket or message that was taken as proof.
    :param error: why it is not open.
    :param retry_in: seconds after which this run may try again; None when trying again is of no use now.
    :param ended: the latest moment at which Vambe carried the attempt out, in seconds of this machine's UTC clock;
        None when it is not known better than at the claim.
    :param due: when a contact policy allows it, by this machine's clock.
    :param override: why it was sent although no window was open.
    """

    claim: Claim
    outcome: Outcome
    evidence: Evidence
    ai_contact_id: str | None = None
    evidence_id: str | None = None
    error: VambeError | None = None
    retry_in: float | None = None
    ended: float | None = None
    due: datetime | None = None
    override: str | None = None


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a single ticket.

    :param outcome: what this run did.
    :param key: its identity.
    :param ai_contact_id: the contact, when known.
    :param error: why it was not opened; None when it is open.
    :param attempt: the attempt that opened it, when this run knows it.
    :param note: what a reader of the log should know besides.
    :param clock_offset: seconds that Vambe's clock is ahead of this machine's; 0 when it is not known.
    """

    outcome: Outcome
    key: TicketKey
    ai_contact_id: str | None = None
    error: VambeError | None = None
    attempt: Attempt | None = None
    note: str | None = None
    clock_offset: float = 0.0


Row = Mapping[str, object]
"""One row of the source: column name to value."""
