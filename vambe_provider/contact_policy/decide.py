"""May this person be contacted now? A pure function of the person, the purpose, the moment, the facts and the policy.

Rules are asked in this order, and the first that refuses decides::

    number → suppression → expiry → window → caps of the person → new people → caps of the sender → breaker

How a delivery uses it:

1. ``needs(policy)`` says once per run what has to be looked up: the query and the column of opt-outs, the caps whose
   attempts are counted, whether new people are counted, and the columns of the row.
2. For each row, ``person_of(number, policy=policy, timezone=row[column])`` says where the number belongs. It needs no
   database. A number that was refused is ``refused_person(error)``.
3. Inside the transaction that claims the ticket, so that two workers cannot both take the last slot, the ledger counts
   for each cap of ``needs(policy).counts`` the attempts in ``COUNTED_STATES`` that started since
   ``looked_at_since(cap, now, zones)``: of the person (``per="person"``; all of the ledger, or of the namespace), or of
   the sender (``per="sender"``; this sender, or all of the account). ``zones`` are the person's, for a sender
   ``sender_zones(policy)``. ``Tally.of(cap, starts, now=now, zones=zones)`` makes a tally of the starts; where they are
   too many, ``Tally(used=count since counted_since(...), last=newest start)`` is enough.
4. With ``new_people``, the ledger also says whether the account ever wrote to the person, when the sender's first
   ticket was, and how many people the sender wrote to for the first time since ``counted_since(NEW_PEOPLE_DAY, now,
   sender_zones(policy))``.
5. ``Facts(...)`` holds the answers, with ``suppressed=None`` when a list could not be read, and ``decide`` decides.

The decision is taken anew whenever a row comes again: a postponed row is no promise to send it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Literal, NamedTuple

from vambe_provider.contact_policy import PURPOSES
from vambe_provider.contact_policy.caps import Refusal, cap_refuses, new_people_refuses
from vambe_provider.contact_policy.holiday_calendar import Calendar
from vambe_provider.contact_policy.parts import Cap
from vambe_provider.contact_policy.presets import preset_named
from vambe_provider.contact_policy.rules import Rules, rules_for
from vambe_provider.contact_policy.suppression import stopping
from vambe_provider.contact_policy.windows import Schedule, UnknownHolidaysError, opening
from vambe_provider.contact_policy.zones import NOWHERE, Place, place_of, zones_named
from vambe_provider.exceptions import VambeConfigError

if TYPE_CHECKING:
    from vambe_provider.contact_policy.facts import Facts
    from vambe_provider.contact_policy.policy import ContactPolicy
    from vambe_provider.exceptions import PhoneNumberError

Choice = Literal["send", "postpone", "suppress", "reject"]

GUARD = 90.0
"""Seconds before its end at which a window counts as closed: the default timeout of a request, and a minute."""
NEW_PEOPLE_DAY = Cap(1, per="sender", period="day")
"""The day in which new people are counted."""
_LONGEST_OVERRIDE = 200


@dataclass(frozen=True, slots=True)
class Person:
    """Whom a ticket is for, as far as the rules ask. It holds no number.

    :param place: where the number belongs, with the zones that count.
    :param problem: why the number was refused; None when it is good.
    :param unknown_zone: whether the row names a time zone that does not exist.
    """

    place: Place
    problem: str | None = None
    unknown_zone: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What becomes of a ticket, and which rule said so.

    :param decision: ``send``, ``postpone``, ``suppress`` or ``reject``.
    :param until: when a postponed ticket may be sent, in UTC; None when nobody can say.
    :param rule: the rule that decided; ``all`` when every rule allowed it.
    :param reason: a short stable code; :mod:`vambe_provider.contact_policy.reasons` says what it means.
    :param zones: the contact's time zones that were looked at.
    :param preset: the preset whose rules were asked, with its version.
    :param override: why a person sent it although no window was open.
    """

    decision: Choice
    rule: str
    reason: str
    until: datetime | None = None
    zones: tuple[str, ...] = ()
    preset: str | None = None
    override: str | None = None


class Answer(NamedTuple):
    """What one rule said: ``pass`` or a decision."""

    rule: str
    decision: str
    reason: str | None = None
    until: datetime | None = None


class _Refused(NamedTuple):
    decision: Choice
    reason: str
    until: datetime | None = None


class _Case(NamedTuple):
    """One question to the rules."""

    person: Person
    purpose: str
    now: datetime
    facts: Facts
    policy: ContactPolicy
    rules: Rules
    guard: float
    override: str | None


def person_of(number: str, *, policy: ContactPolicy | None = None, timezone: object = None) -> Person:
    """Return the person behind a number.

    :param number: in E.164 form.
    :param policy: its ``timezone``, when it names a zone, holds for everybody.
    :param timezone: what the row's column of zones holds; it wins over the number. Null falls back to the number; a
        name that no zone has refuses the ticket.
    """
    place = place_of(number)
    zones = zones_named(timezone)
    if zones is None and policy is not None and policy.zone is not None:
        zones = (policy.zone,)
    return Person(place) if zones is None else Person(place._replace(zones=zones), unknown_zone=not zones)


def refused_person(error: PhoneNumberError) -> Person:
    """Return the person behind a number that was refused."""
    return Person(NOWHERE, error.reason)


def sender_zones(policy: ContactPolicy) -> tuple[str, ...]:
    """Return the zone in which a sender's day is counted; none when the last 24 hours are."""
    return () if policy.sender_timezone is None else (policy.sender_timezone,)


def decide(
    person: Person,
    purpose: str | None,
    now: datetime,
    facts: Facts,
    policy: ContactPolicy,
    *,
    guard: float = GUARD,
    override: str | None = None,
) -> Decision:
    """Return whether a ticket may be sent now.

    :param person: from :func:`person_of` or :func:`refused_person`.
    :param purpose: why the person is contacted; None for the policy's purpose.
    :param now: the present moment, with a time zone.
    :param facts: what is known; what is not known refuses.
    :param policy: the policy.
    :param guard: seconds before its end at which a window counts as closed: the timeout of the request and a minute.
    :param override: why the ticket is sent although no window is open; recorded. No other rule can be overridden.
    :raises ValueError: when ``now`` has no time zone.
    :raises VambeConfigError: when there is no such purpose, or ``override`` is given, but empty or too long.
    """
    case = _case(person, purpose, now, facts, policy, guard, override)
    for rule, ask in _RULES:
        refused = ask(case)
        if refused is not None:
            return _refusal(case, rule, refused)
    return _allowed(case)


def explain(
    person: Person,
    purpose: str | None,
    now: datetime,
    facts: Facts,
    policy: ContactPolicy,
    *,
    guard: float = GUARD,
    override: str | None = None,
) -> tuple[Decision, list[Answer]]:
    """Return the decision as :func:`decide` does, and the answers of all rules in their order.

    After a refused number no other rule is asked, since none could know whom it is about.
    """
    case = _case(person, purpose, now, facts, policy, guard, override)
    answers, decision = [], None
    for rule, ask in _RULES:
        refused = ask(case)
        if refused is None:
            answers.append(Answer(rule, "pass"))
            continue
        answers.append(Answer(rule, *refused))
        decision = decision or _refusal(case, rule, refused)
        if rule == "number":
            break
    return decision or _allowed(case), answers


def earliest(decisions: Iterable[Decision]) -> datetime | None:
    """Return when the first of some postponed tickets may be sent; None when nobody can say."""
    return min((decision.until for decision in decisions if decision.until is not None), default=None)


def outside_courtesy_hours(person: Person, now: datetime) -> bool:
    """Return whether it is before 8:00 or after 21:00 for somebody, or nobody knows; for a warning without a policy."""
    schedule = _courtesy(person.place.zones)
    return opening(schedule, now.timestamp(), guard=0.0) != now.timestamp()


@lru_cache(maxsize=1024)
def _courtesy(zones: tuple[str, ...]) -> Schedule:
    return Schedule(preset_named("service").windows, zones, Calendar(None, None, frozenset()))


def _case(
    person: Person,
    purpose: str | None,
    now: datetime,
    facts: Facts,
    policy: ContactPolicy,
    guard: float,
    override: str | None,
) -> _Case:
    if now.tzinfo is None:
        raise ValueError("now needs a time zone")
    if override is not None and not 0 < len(override.strip()) <= _LONGEST_OVERRIDE:
        raise VambeConfigError(
            f"override: needs a reason of up to {_LONGEST_OVERRIDE} characters", fix="It is kept in the ledger."
        )
    chosen = purpose or policy.purpose
    if chosen not in PURPOSES:
        raise VambeConfigError(f"purpose: is not one of {', '.join(PURPOSES)}")
    rules = rules_for(policy, chosen, person.place.country, person.place.area)
    return _Case(person, chosen, now, facts, policy, rules, guard, override)


def _allowed(case: _Case) -> Decision:
    if case.override is not None and _closed(case) is not None:
        overridden = Decision(decision="send", rule="window", reason="window_overridden", override=case.override)
        return replace(overridden, zones=case.person.place.zones, preset=case.rules.preset)
    return Decision(
        decision="send", rule="all", reason="allowed", zones=case.person.place.zones, preset=case.rules.preset
    )


def _refusal(case: _Case, rule: str, refused: _Refused) -> Decision:
    ends = case.facts.expires_at
    if refused.decision == "postpone" and refused.until is not None and ends is not None and refused.until >= ends:
        rule, refused = "expiry", _Refused("suppress", "expired")
    return Decision(
        decision=refused.decision,
        until=refused.until,
        rule=rule,
        reason=refused.reason,
        zones=case.person.place.zones,
        preset=case.rules.preset,
    )


# --- The rules ------------------------------------------------------------------------------------------------------


def _number(case: _Case) -> _Refused | None:
    return None if case.person.problem is None else _Refused("reject", case.person.problem)


def _suppression(case: _Case) -> _Refused | None:
    facts = case.facts
    if facts.suppressed is None:
        return _Refused("postpone", "suppression_unavailable")
    entry = stopping(facts.suppressed, case.purpose)
    if entry is not None:
        return _Refused("suppress", entry.reason)
    limit = case.policy.opt_outs.list_age
    if limit is not None and (facts.list_imported is None or case.now - facts.list_imported > limit):
        return _Refused("postpone", "suppression_list_old")
    return None


def _expiry(case: _Case) -> _Refused | None:
    ends = case.facts.expires_at
    return None if ends is None or case.now < ends else _Refused("suppress", "expired")


def _window(case: _Case) -> _Refused | None:
    return None if case.override is not None else _closed(case)


def _closed(case: _Case) -> _Refused | None:
    if case.rules.problem is not None:
        return _Refused("reject", case.rules.problem)
    if case.person.unknown_zone:  # bad data, even where no window asks for the zone
        return _Refused("reject", "unknown_zone")
    return _open_from(case, case.now)


def _open_from(case: _Case, moment: datetime) -> _Refused | None:
    """Return how long no window is open after a moment, or None when one is open at it."""
    schedule = case.rules.schedule(case.person.place.zones)
    if schedule is None:
        return None
    if not schedule.zones:
        return _Refused("reject", "unknown_zone")
    second = moment.timestamp()
    try:
        opens = opening(schedule, second, guard=case.guard)
    except UnknownHolidaysError:
        return _Refused("reject", "unknown_holidays")
    if opens is None:
        return _Refused("reject", "never_open")
    return None if opens == second else _Refused("postpone", "outside_window", datetime.fromtimestamp(opens, UTC))


def _person_cap(case: _Case) -> _Refused | None:
    zones = case.person.place.zones
    for cap in case.rules.caps:
        if cap.per == "person":
            if cap.rolling is None and not zones:
                return _Refused("reject", "unknown_zone")
            if refused := _capped(case, cap, zones):
                return refused
    return None


def _new_people(case: _Case) -> _Refused | None:
    warm_up, facts = case.policy.warm_up, case.facts
    if warm_up is None or facts.new_person is False:
        return None
    if facts.new_people is None:
        return _Refused("postpone", "counts_unavailable")
    return _later(
        case,
        new_people_refuses(
            warm_up,
            facts.new_people,
            first_send=facts.first_send,
            now=case.now,
            zone=case.policy.sender_timezone,
        ),
    )


def _sender_cap(case: _Case) -> _Refused | None:
    zones = sender_zones(case.policy)
    for cap in case.rules.caps:
        if cap.per == "sender" and (refused := _capped(case, cap, zones)):
            return refused
    return None


def _breaker(case: _Case) -> _Refused | None:
    if case.facts.breaker is None:
        return None
    return _later(case, case.facts.breaker.refuses(now=case.now, new_person=case.facts.new_person is not False))


def _capped(case: _Case, cap: Cap, zones: tuple[str, ...]) -> _Refused | None:
    tally = case.facts.counts.get(cap)
    if tally is None:
        return _Refused("postpone", "counts_unavailable")
    return _later(case, cap_refuses(cap, tally, now=case.now, zones=zones))


def _later(case: _Case, refusal: Refusal | None) -> _Refused | None:
    """Return a refusal that lasts until the first open moment after the slot is free."""
    if refusal is None:
        return None
    reason, until = refusal
    if until is None:
        return _Refused("postpone", reason)
    closed = None if case.override is not None else _open_from(case, until)
    if closed is not None and closed.decision == "reject":
        return closed
    return _Refused("postpone", reason, until if closed is None else closed.until)


_RULES: tuple[tuple[str, Callable[[_Case], _Refused | None]], ...] = (
    ("number", _number),
    ("suppression", _suppression),
    ("expiry", _expiry),
    ("window", _window),
    ("person_cap", _person_cap),
    ("new_people", _new_people),
    ("sender_cap", _sender_cap),
    ("breaker", _breaker),
)
