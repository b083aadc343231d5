"""Short ways to ask a policy, for the tests."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from vambe_provider.contact_policy import ContactPolicy, Decision, Facts, needs, person_of, read_policy
from vambe_provider.contact_policy.caps import Tally
from vambe_provider.contact_policy.decide import decide

CHILE = "+56961234567"
MEXICO = "+525541637145"
ARGENTINA = "+5491158749895"
BRAZIL = "+5511987654321"
COLOMBIA = "+573001234567"
PERU = "+51987654321"


def local(text: str, zone: str) -> datetime:
    """Return a wall-clock time of a zone; ``fold=1`` is not needed where a test names UTC instead."""
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone))


def utc(text: str) -> datetime:
    """Return a moment that is written in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def policy_of(value: object) -> ContactPolicy:
    """Return the policy that a value means."""
    policy = read_policy(value)
    assert policy is not None
    return policy


def windowed(days: str, start: str, end: str, **more: Any) -> ContactPolicy:
    """Return a policy with one window, which is open on holidays too unless a test says otherwise."""
    return policy_of({"windows": [{"days": days, "start": start, "end": end, "holidays": True, **more}]})


def facts_of(policy: ContactPolicy, **changes: Any) -> Facts:
    """Return the facts about somebody of whom nothing is known, with some changed."""
    given = {"suppressed": (), "counts": dict.fromkeys(needs(policy).counts, Tally()), "new_people": Tally(), **changes}
    return Facts(**given)


def ask(
    policy: ContactPolicy,
    now: datetime,
    *,
    number: str = CHILE,
    zone: object = None,
    purpose: str | None = None,
    guard: float = 0.0,
    override: str | None = None,
    **facts: Any,
) -> Decision:
    """Return the decision about a person; without a guard unless a test sets one."""
    person = person_of(number, policy=policy, timezone=zone)
    return decide(person, purpose, now, facts_of(policy, **facts), policy, guard=guard, override=override)
