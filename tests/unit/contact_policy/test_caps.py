from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from tests.unit.contact_policy.asked import CHILE, COLOMBIA, ask, facts_of, local, policy_of, utc
from vambe_provider.contact_policy import Cap, ContactPolicy, WarmUp, needs, person_of
from vambe_provider.contact_policy.caps import COUNTED_STATES, Tally, counted_since, looked_at_since
from vambe_provider.contact_policy.decide import decide

NOW = utc("2026-11-25T15:00")
SANTIAGO = ("America/Santiago",)
CHILEAN = ("America/Santiago", "America/Punta_Arenas")


def answer(cap: Cap, *ago: timedelta, now: datetime = NOW, zones: tuple[str, ...] = SANTIAGO) -> object:
    """Return send, or when the next ticket is possible, after attempts so long ago."""
    policy = ContactPolicy(caps=[cap], sender_timezone=zones[0] if zones and cap.per == "sender" else None)
    tally = Tally.of(cap, [now - time for time in ago], now=now, zones=zones)
    decision = ask(policy, now, zone="America/Santiago", counts={cap: tally})
    return decision.decision if decision.decision == "send" else decision.until


DAYS = timedelta(days=1)


def test_a_week_that_moves_along_frees_a_slot_when_its_oldest_ticket_leaves_it() -> None:
    cap = Cap(2, period="7 days")
    assert answer(cap, 1 * DAYS) == "send"
    assert answer(cap, 1 * DAYS, 3 * DAYS) == NOW + 4 * DAYS
    assert answer(cap, 1 * DAYS, 3 * DAYS, 8 * DAYS) == NOW + 4 * DAYS
    assert answer(cap, 1 * DAYS, 7 * DAYS) == "send"
    assert answer(cap, 1 * DAYS, 7 * DAYS - timedelta(seconds=1)) == NOW + timedelta(seconds=1)
    assert answer(cap, 1 * DAYS, 2 * DAYS, 3 * DAYS) == NOW + 5 * DAYS  # more than allowed were sent


def test_a_gap_counts_from_the_last_ticket_however_much_room_there_is() -> None:
    cap = Cap(2, period="7 days", min_gap="48h")
    assert answer(cap, timedelta(hours=47)) == NOW + timedelta(hours=1)
    assert answer(cap, timedelta(hours=48)) == "send"


def test_a_gap_may_be_longer_than_the_period() -> None:
    cap = Cap(1, period="1 day", min_gap="3 days")
    assert looked_at_since(cap, NOW, SANTIAGO) == NOW - 3 * DAYS
    assert answer(cap, 2 * DAYS) == NOW + DAYS


@pytest.mark.parametrize(
    ("now", "last", "until"),
    [
        ("2026-11-25T09:00", "2026-11-25T00:00", "2026-11-26T00:00"),
        ("2026-11-25T09:00", "2026-11-24T23:59", None),
        ("2026-12-31T23:59", "2026-12-31T08:00", "2027-01-01T00:00"),
        ("2028-02-29T12:00", "2028-02-29T08:00", "2028-03-01T00:00"),
        # That day ends an hour later than others, and its midnight is a moment that the clock skips.
        ("2026-09-05T12:00", "2026-09-05T08:00", "2026-09-06T01:00"),
    ],
)
def test_a_calendar_day_is_the_contacts_own(now: str, last: str, until: str | None) -> None:
    at, before = local(now, "America/Santiago"), local(last, "America/Santiago")
    found = answer(Cap(1, period="day"), at - before, now=at)
    assert found == ("send" if until is None else local(until, "America/Santiago"))


def test_with_two_zones_the_day_begins_with_the_first_and_ends_with_the_last() -> None:
    """In winter the day of Punta Arenas begins an hour before that of Santiago."""
    cap, winter = Cap(1, period="day"), utc("2026-07-01T12:00")
    assert counted_since(cap, winter, CHILEAN) == utc("2026-07-01T03:00")
    policy = ContactPolicy(caps=[cap])
    tally = Tally.of(cap, [utc("2026-07-01T03:30")], now=winter, zones=CHILEAN)
    assert ask(policy, winter, counts={cap: tally}).until == utc("2026-07-02T04:00")


def test_a_senders_day_is_its_own_zones_or_the_last_24_hours() -> None:
    cap = Cap(1, per="sender", period="day")
    morning = local("2026-11-25T09:00", "America/Santiago")
    assert answer(cap, timedelta(hours=10), now=morning) == "send"  # yesterday at 23:00
    assert answer(cap, timedelta(hours=10), now=morning, zones=()) == morning + timedelta(hours=14)


def test_a_count_without_times_is_enough_to_refuse() -> None:
    cap = Cap(40, per="sender", period="1 day")
    decision = ask(ContactPolicy(caps=[cap]), NOW, counts={cap: Tally(used=40)})
    assert (decision.rule, decision.reason, decision.until) == ("sender_cap", "sender_cap_reached", NOW + DAYS)
    assert ask(ContactPolicy(caps=[cap]), NOW, counts={cap: Tally(used=39)}).decision == "send"


def test_what_counts_may_have_reached_somebody() -> None:
    assert COUNTED_STATES == ("sending", "opened", "reconciled", "unknown")


def test_two_workers_cannot_both_take_the_last_slot_when_the_second_counts_after_the_first_has_claimed() -> None:
    policy = policy_of({"windows": "preset", "purpose": "debt"})
    person = person_of(COLOMBIA, policy=policy)
    attempts: list[datetime] = []  # what the ledger holds
    outcomes = []
    for second in (0, 1):
        now = NOW + timedelta(seconds=second)
        counts = {
            cap: Tally.of(cap, attempts, now=now, zones=person.place.zones)
            for cap in needs(policy).counts
            if cap.per == "person"
        }
        decision = decide(person, None, now, facts_of(policy, counts=counts), policy)
        outcomes.append((decision.decision, decision.reason))
        if decision.decision == "send":
            attempts.append(now)  # written as `sending` in the transaction that counted
    assert outcomes == [("send", "allowed"), ("postpone", "cap_reached")]


# --- New people -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("day", "allowed"), [(0, 10), (1, 10), (2, 15), (6, 35), (7, 40), (8, 40), (400, 40)])
def test_the_ramp_follows_the_days_since_the_first_ticket(day: int, allowed: int) -> None:
    assert WarmUp().on_day(day) == allowed


@pytest.mark.parametrize(
    ("first_send", "allowed"),
    [
        (None, 10),
        ("2026-11-25T08:00", 10),
        ("2026-11-24T23:59", 15),  # the second day, two minutes after midnight too
        ("2026-11-20T12:00", 35),
        ("2025-01-01T12:00", 40),
    ],
)
def test_new_people_are_limited_by_the_day_of_the_sender(first_send: str | None, allowed: int) -> None:
    policy = ContactPolicy(new_people=WarmUp(), sender_timezone="America/Santiago")
    first = None if first_send is None else local(first_send, "America/Santiago")
    now = local("2026-11-25T10:00", "America/Santiago")
    assert ask(policy, now, first_send=first, new_people=Tally(allowed - 1)).decision == "send"
    decision = ask(policy, now, first_send=first, new_people=Tally(allowed))
    assert (decision.rule, decision.until) == ("new_people", local("2026-11-26T00:00", "America/Santiago"))
    assert ask(policy, now, first_send=first, new_people=Tally(allowed), new_person=False).decision == "send"


def test_without_a_zone_new_people_are_those_of_the_last_24_hours() -> None:
    policy = ContactPolicy(new_people=WarmUp(first_day=2, step=0, ceiling=2))
    times = (NOW - timedelta(hours=1), NOW - timedelta(hours=5), NOW - timedelta(hours=20))
    decision = ask(policy, NOW, new_people=Tally(3, times=times), first_send=NOW - timedelta(days=9))
    assert decision.until == NOW + timedelta(hours=19)


def test_who_may_be_new_counts_as_new() -> None:
    policy = ContactPolicy(new_people=WarmUp())
    assert ask(policy, NOW, new_person=None, new_people=Tally(10)).rule == "new_people"
    assert ask(policy, NOW, number=CHILE, new_person=True, new_people=Tally(10)).rule == "new_people"
