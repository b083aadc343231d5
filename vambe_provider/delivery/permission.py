"""What a contact policy says of one ticket, as a delivery asks it and as the ledger records it. Pure.

A delivery asks twice: when a row is taken in, and right before its request leaves, since meanwhile a window may have
closed, or a person may have opted out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING

from vambe_provider.api.numbers import is_null
from vambe_provider.contact_policy.decide import Decision, Person, decide, person_of, refused_person
from vambe_provider.contact_policy.expiry import expires_at
from vambe_provider.contact_policy.facts import Facts, needs
from vambe_provider.contact_policy.reasons import meaning
from vambe_provider.contact_policy.suppression import Suppressed
from vambe_provider.delivery.model import Outcome
from vambe_provider.exceptions import PhoneNumberError, VambeConfigError, VambeNotAllowedError

if TYPE_CHECKING:
    from vambe_provider.contact_policy.policy import ContactPolicy
    from vambe_provider.delivery.optouts import OptOuts

MINUTE = 60.0
"""Seconds before its end, on top of a request's timeout, at which a window counts as closed."""
LONGEST_OVERRIDE = 200
_NO = frozenset({"", "0", "f", "false", "n", "no", "off"})
_CLOSED = {"postpone": Outcome.POSTPONED, "skip": Outcome.SKIPPED, "fail": Outcome.FAILED}


@dataclass(frozen=True, slots=True)
class Subject:
    """What the rules ask about one row. It holds no number.

    :param person: where the number belongs, or why it was refused.
    :param listed: the entry that the row's own column of opt-outs makes.
    :param expires_at: the moment from which the row is not worth sending; None for never.
    """

    person: Person
    listed: tuple[Suppressed, ...] = ()
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Ruling:
    """Why a ticket is not sent now, as the ledger and the report record it.

    :param outcome: ``postponed``, ``suppressed``, ``rejected``, or what ``on_closed`` makes of a postponed one:
        ``skipped`` or ``failed``. When nobody can say when a ticket may be sent, it has ``failed`` too, since
        nothing that was not sent is hidden under a green task.
    :param decision: the rule, the reason, the due time in UTC and the preset's version.
    """

    outcome: Outcome
    decision: Decision

    @property
    def due(self) -> datetime | None:
        """When a postponed ticket may be sent, in UTC."""
        return self.decision.until if self.outcome == Outcome.POSTPONED else None

    @property
    def reason(self) -> str:
        """A short stable code."""
        return self.decision.reason

    @property
    def text(self) -> str:
        """The rule, what its reason means, and the preset, for people."""
        preset = f" ({self.decision.preset})" if self.decision.preset else ""
        return f"{self.decision.rule}: {meaning(self.decision.reason)}{preset}"

    def error(self, what: str) -> WithheldError:
        """Return the decision as an error.

        :param what: the ticket, such as ``Ticket order_id=7``.
        """
        until = f", until {self.decision.until.isoformat()}" if self.decision.until is not None else ""
        return WithheldError(f"{what} is not allowed by the contact policy{until}; {self.text}", self)


class WithheldError(VambeNotAllowedError):
    """A ticket must not go now, found right before its request would have left.

    :param ruling: what becomes of it.
    """

    def __init__(self, message: str, ruling: Ruling) -> None:
        self.ruling = ruling
        super().__init__(message, reason=ruling.reason)


class Permission:
    """Asks one policy about the tickets of one run.

    :param policy: the policy.
    :param timeout: seconds that one request may take; a window counts as closed so long, and a minute, before its end.
    :param override: why tickets are sent although no window is open; it is recorded. No other rule can be overridden.
    :param opt_outs: what the policy's query of opt-outs says; None without one.
    """

    def __init__(
        self, policy: ContactPolicy, *, timeout: float, override: str | None = None, opt_outs: OptOuts | None = None
    ) -> None:
        if override is not None and not 0 < len(override.strip()) <= LONGEST_OVERRIDE:
            raise VambeConfigError(
                f"window_override: is not a text of up to {LONGEST_OVERRIDE} characters",
                fix="Say why people are messaged although no window is open; it is kept in the ledger.",
            )
        self.policy, self.override, self.opt_outs = policy, override, opt_outs
        self.guard = timeout + MINUTE
        self.needs = needs(policy)
        self._stranger = Facts.of_a_stranger(policy)

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that a row must have."""
        return self.needs.columns

    def subject(
        self, number: str | PhoneNumberError, row: Mapping[str, object] | None = None, *, first_seen: datetime
    ) -> Subject:
        """Return what the rules ask about a row.

        :param number: in E.164 form, or why it was refused.
        :param row: its columns; None for a ticket without a row.
        :param first_seen: when the ledger, or else this run, saw the row for the first time.
        :raises VambeValidationError: when its column of last moments holds something else.
        """
        if isinstance(number, PhoneNumberError):
            return Subject(refused_person(number))
        policy, row = self.policy, row or {}
        zone = row.get(policy.timezone_column) if policy.timezone_column is not None else None
        person = person_of(number, policy=policy, timezone=zone)
        ends = None
        if policy.expires is not None:
            last = row.get(policy.expires_column) if policy.expires_column is not None else None
            ends = expires_at(policy, first_seen=first_seen, value=last, zones=person.place.zones)
        column = policy.opt_outs.column
        listed = (Suppressed(source="column"),) if column is not None and _is_true(row.get(column)) else ()
        return Subject(person, listed, ends)

    def decide(self, subject: Subject, now: datetime, facts: Facts) -> Decision:
        """Return what the policy says.

        :param facts: what the lists and the ledger say; ``suppressed=()`` claims that every list was asked, and None
            that one could not be read. What the row itself says is added.
        """
        if subject.listed:
            facts = replace(facts, suppressed=(*subject.listed, *(facts.suppressed or ())))
        if subject.expires_at is not None:
            facts = replace(facts, expires_at=subject.expires_at)
        return decide(subject.person, None, now, facts, self.policy, guard=self.guard, override=self.override)

    def known(self, number: str, now: datetime) -> Facts:
        """Return what is known of a person without the ledger: what the query of opt-outs says.

        Its own list and what it counts are asked within the claim, and count as empty until then.
        """
        facts = self._stranger
        if self.opt_outs is not None and (listed := self.opt_outs.entries(number)) != ():
            facts = replace(facts, suppressed=listed)
        return facts if self.policy.opt_outs.list_age is None else replace(facts, list_imported=now)

    def ruling(self, decision: Decision) -> Ruling | None:
        """Return what becomes of a ticket that may not be sent now; None for one that may."""
        match decision.decision:
            case "send":
                return None
            case "suppress":
                return Ruling(Outcome.SUPPRESSED, decision)
            case "reject":
                return Ruling(Outcome.REJECTED, decision)
        outcome = Outcome.FAILED if decision.until is None else _CLOSED[self.policy.on_closed]
        return Ruling(outcome, decision)


def check_served(policy: ContactPolicy, *, lists: bool = False, remembers: bool = True) -> None:
    """Refuse a policy that asks for what a delivery cannot look up: it would never send, or send what it must not.

    :param lists: whether a query of opt-outs can be read.
    :param remembers: whether there is a ledger in a database: it counts attempts, for caps and new people, and knows
        how old its list is.
    :raises VambeConfigError: names the field, and the way out.
    """
    asked = needs(policy)
    if not lists and asked.opt_outs.sql is not None:
        raise VambeConfigError(
            "contact_policy.suppression.sql: is not read in this version, so nothing could be sent",
            fix="Join the list in the query of the rows, and name its column in suppression.column.",
        )
    for needed, name, instead in (
        (bool(asked.counts), "caps", "Write caps=[] to send without them"),
        (asked.new_people, "new_people", "Leave it out to send without it"),
        (asked.opt_outs.list_age is not None, "suppression.max_list_age", "Leave it out to send without it"),
    ):
        if needed and not remembers:
            raise VambeConfigError(
                f"contact_policy.{name}: is asked of a ledger, and there is none",
                fix=f"Name a database connection in ledger_conn_id. {instead}.",
            )


def _is_true(value: object) -> bool:
    """Say whether a column of opt-outs means yes; what is not clearly a no is one."""
    return not (is_null(value) or (str(value).strip().lower() in _NO))
