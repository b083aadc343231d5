from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from tests.unit.contact_policy.asked import CHILE, MEXICO, ask, facts_of, local, policy_of, utc, windowed
from vambe_provider.contact_policy import ContactPolicy, Facts, canonical_number, explain, needs, person_of
from vambe_provider.contact_policy.breaker import Breaker
from vambe_provider.contact_policy.caps import Tally
from vambe_provider.contact_policy.decide import (
    decide,
    earliest,
    outside_courtesy_hours,
    refused_person,
)
from vambe_provider.contact_policy.reasons import REASONS, meaning
from vambe_provider.contact_policy.suppression import Suppressed
from vambe_provider.exceptions import PhoneNumberError, VambeConfigError

NOON = utc("2026-11-25T15:00")  # Wednesday, noon in Chile
NIGHT = utc("2026-11-25T05:00")
ALL = policy_of(
    {
        "windows": [{"days": "daily", "start": "08:00", "end": "20:00", "holidays": True}],
        "caps": [{"n": 1}, {"n": 5, "per": "sender", "period": "day"}],
        "new_people": {},
    }
)
PERSON_CAP, SENDER_CAP = needs(ALL).counts
FULL = Tally(100, last=NOON - timedelta(days=1), times=tuple(NOON - timedelta(days=day) for day in range(1, 7)))

# What each rule refuses, in the order in which rules are asked.
REFUSING: dict[str, dict[str, Any]] = {
    "suppression": {"suppressed": [Suppressed()]},
    "expiry": {"expires_at": NIGHT},
    "window": {},  # the night
    "person_cap": {"counts": {PERSON_CAP: FULL, SENDER_CAP: Tally()}},
    "new_people": {"new_people": FULL},
    "sender_cap": {"counts": {PERSON_CAP: Tally(), SENDER_CAP: FULL}},
    "breaker": {"breaker": Breaker(until=NOON + timedelta(hours=1), reason="131048")},
}


def test_each_rule_refuses_alone_and_is_named() -> None:
    for rule, facts in REFUSING.items():
        now = NIGHT if rule == "window" else NOON
        assert ask(ALL, now, **facts).rule == rule
    assert ask(ALL, NOON).rule == "all"


def test_the_first_rule_that_refuses_decides() -> None:
    rules = list(REFUSING)
    for place, first in enumerate(rules[:-1]):
        facts: dict[str, Any] = {}
        for rule in rules[place:]:
            facts |= {name: value for name, value in REFUSING[rule].items() if name not in facts}
        now = NIGHT if rules.index(first) <= rules.index("window") else NOON
        assert ask(ALL, now, **facts).rule == first


def test_all_rules_are_explained_and_the_decision_is_the_same() -> None:
    facts = facts_of(ALL, suppressed=[Suppressed()], breaker=REFUSING["breaker"]["breaker"])
    person = person_of(CHILE, policy=ALL)
    decision, answers = explain(person, None, NIGHT, facts, ALL)
    assert decision == decide(person, None, NIGHT, facts, ALL)
    assert [(answer.rule, answer.decision) for answer in answers] == [
        ("number", "pass"),
        ("suppression", "suppress"),
        ("expiry", "pass"),
        ("window", "postpone"),
        ("person_cap", "pass"),
        ("new_people", "pass"),
        ("sender_cap", "pass"),
        ("breaker", "postpone"),
    ]
    assert {answer.reason for answer in answers if answer.reason} == {"opted_out", "outside_window", "breaker_open"}


def test_a_refused_number_is_rejected_before_anything_else_is_asked() -> None:
    with pytest.raises(PhoneNumberError) as caught:
        canonical_number("61234567", default_region="CL")
    decision, answers = explain(refused_person(caught.value), None, NIGHT, Facts(), ALL)
    assert (decision.decision, decision.rule, decision.reason) == ("reject", "number", "old_format")
    assert [answer.rule for answer in answers] == ["number"]


# --- What is not known refuses ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("facts", "rule", "reason"),
    [
        ({"suppressed": None}, "suppression", "suppression_unavailable"),
        ({"counts": {}}, "person_cap", "counts_unavailable"),
        ({"counts": {PERSON_CAP: Tally()}}, "sender_cap", "counts_unavailable"),
        ({"new_people": None}, "new_people", "counts_unavailable"),
    ],
)
def test_a_fact_that_could_not_be_read_sends_nothing(facts: dict[str, Any], rule: str, reason: str) -> None:
    decision = ask(ALL, NOON, **facts)
    assert (decision.decision, decision.rule, decision.reason, decision.until) == ("postpone", rule, reason, None)


def test_facts_that_say_nothing_send_nothing() -> None:
    decision = decide(person_of(CHILE), None, NOON, Facts(), ContactPolicy())
    assert (decision.decision, decision.reason) == ("postpone", "suppression_unavailable")


def test_a_zone_that_does_not_exist_is_refused_even_where_no_window_asks_for_it() -> None:
    assert ask(ContactPolicy(), NOON, zone="America/Nowhere").reason == "unknown_zone"
    assert ask(ContactPolicy(), NOON, number="+881612345678").decision == "send"


def test_a_calendar_day_without_a_zone_rejects() -> None:
    policy = ContactPolicy(caps=[{"n": 1, "period": "day"}])
    assert ask(policy, NOON, number="+881612345678").reason == "unknown_zone"


def test_a_purpose_that_is_none_is_a_mistake_of_the_caller() -> None:
    with pytest.raises(VambeConfigError, match="purpose: is not one of service, marketing, debt"):
        ask(ContactPolicy(), NOON, purpose="sales")


def test_a_moment_without_a_zone_is_a_mistake_of_the_caller() -> None:
    with pytest.raises(ValueError, match="time zone"):
        ask(ALL, datetime.fromisoformat("2026-11-25T15:00"))


# --- Expiry -----------------------------------------------------------------------------------------------------------


def test_a_row_that_would_be_sent_too_late_is_suppressed_at_once() -> None:
    opens = utc("2026-11-25T11:00")
    assert ask(ALL, NIGHT, expires_at=opens + timedelta(seconds=1)).until == opens
    for ends in (opens, opens - timedelta(hours=1)):
        decision = ask(ALL, NIGHT, expires_at=ends)
        assert (decision.decision, decision.rule, decision.reason) == ("suppress", "expiry", "expired")
        assert decision.until is None


def test_the_last_moment_of_a_row_is_not_sent() -> None:
    assert ask(ALL, NOON, expires_at=NOON).reason == "expired"
    assert ask(ALL, NOON, expires_at=NOON + timedelta(seconds=1)).decision == "send"


def test_a_full_cap_expires_a_row_as_a_closed_window_does() -> None:
    full = {PERSON_CAP: FULL, SENDER_CAP: Tally()}
    assert ask(ALL, NOON, counts=full).until is not None
    assert ask(ALL, NOON, counts=full, expires_at=NOON + timedelta(days=1)).reason == "expired"


# --- Overrides --------------------------------------------------------------------------------------------------------


def test_a_window_can_be_overridden_with_a_reason_that_is_recorded() -> None:
    decision = ask(ALL, NIGHT, override="flood warning, approved by A. Rojas")
    assert (decision.decision, decision.rule, decision.reason) == ("send", "window", "window_overridden")
    assert decision.override == "flood warning, approved by A. Rojas"


def test_an_override_is_not_recorded_where_nothing_was_overridden() -> None:
    decision = ask(ALL, NOON, override="flood warning")
    assert (decision.decision, decision.rule, decision.override) == ("send", "all", None)


@pytest.mark.parametrize("rule", [rule for rule in REFUSING if rule != "window"])
def test_nothing_but_a_window_can_be_overridden(rule: str) -> None:
    assert ask(ALL, NIGHT if rule == "window" else NOON, override="flood warning", **REFUSING[rule]).rule == rule


@pytest.mark.parametrize("reason", ["", "  ", "x" * 201])
def test_an_override_needs_a_reason(reason: str) -> None:
    with pytest.raises(VambeConfigError, match="override"):
        ask(ALL, NIGHT, override=reason)


# --- Caps and windows together ----------------------------------------------------------------------------------------


def test_a_slot_that_is_free_at_night_is_used_when_the_window_opens() -> None:
    policy = policy_of("cl-debt")
    [cap] = needs(policy).counts
    friday, monday = local("2026-11-27T18:00", "America/Santiago"), local("2026-11-30T08:00", "America/Santiago")
    tally = Tally(1, last=friday - timedelta(hours=1), times=(friday - timedelta(hours=1),))
    decision = ask(policy, friday, counts={cap: tally})
    assert (decision.rule, decision.reason, decision.until) == ("person_cap", "min_gap", monday)


def test_a_decision_for_another_purpose_asks_the_lists_for_that_purpose() -> None:
    entries = [Suppressed(purpose="marketing")]
    assert ask(ContactPolicy(), NOON, suppressed=entries).decision == "send"
    assert ask(ContactPolicy(), NOON, suppressed=entries, purpose="marketing").reason == "opted_out"


def test_a_decision_holds_nothing_of_the_ticket() -> None:
    shown = repr(ask(ALL, NIGHT)) + repr(person_of(CHILE))
    assert "6123" not in shown
    assert "4567" not in shown


def test_the_decision_of_a_postponed_row_is_taken_anew() -> None:
    """Opted out meanwhile, or another policy: the earlier answer is no promise."""
    until = ask(ALL, NIGHT).until
    assert until is not None
    assert ask(ALL, until).decision == "send"
    assert ask(ALL, until, suppressed=[Suppressed()]).decision == "suppress"
    assert ask(windowed("daily", "10:00", "12:00"), until).until == until + timedelta(hours=2)


def test_the_earliest_due_time_of_postponed_rows() -> None:
    policy = windowed("daily", "08:00", "20:00")
    night = utc("2026-11-25T10:00")
    decisions = [ask(policy, night, number=number) for number in (CHILE, MEXICO)]
    decisions += [ask(policy, night, suppressed=[Suppressed()]), ask(policy, night, suppressed=None)]
    assert earliest(decisions) == utc("2026-11-25T11:00")
    assert earliest(decisions[2:]) is None


@pytest.mark.parametrize(
    ("moment", "outside"),
    [
        ("2026-11-25T10:59", True),
        ("2026-11-25T11:00", False),
        ("2026-11-25T23:59", False),
        ("2026-11-26T00:00", True),
    ],
)
def test_courtesy_hours_are_8_to_21_of_the_contact(moment: str, outside: bool) -> None:
    assert outside_courtesy_hours(person_of(CHILE), utc(moment)) == outside


def test_a_person_without_a_zone_is_outside_of_courtesy_hours() -> None:
    assert outside_courtesy_hours(person_of("+881612345678"), NOON)


def test_every_reason_has_a_meaning() -> None:
    assert all(REASONS.values())
    assert meaning("opted_out") == REASONS["opted_out"]
    assert meaning("on_no_molestar") == "on no molestar"


def test_what_a_policy_needs_is_all_that_has_to_be_looked_up() -> None:
    nothing = needs(ContactPolicy())
    assert (nothing.counts, nothing.new_people, nothing.columns) == ((), False, ())
    told = needs(ALL)
    assert (told.counts, told.new_people) == ((PERSON_CAP, SENDER_CAP), True)
    assert needs(ContactPolicy(suppression={"column": "stop"})).columns == ("stop",)
