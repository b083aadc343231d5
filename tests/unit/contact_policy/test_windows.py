from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.contact_policy.asked import ask, local, utc, windowed
from vambe_provider.contact_policy import ContactPolicy, ContactWindow
from vambe_provider.contact_policy.holiday_calendar import Calendar
from vambe_provider.contact_policy.windows import Schedule, opening

SANTIAGO = "America/Santiago"


def opens(policy: ContactPolicy, now: datetime, *, zone: str = SANTIAGO, guard: float = 0.0) -> datetime | str | None:
    """Return when a ticket may be sent: the given moment, a later one, or the reason why never."""
    decision = ask(policy, now, zone=zone, guard=guard)
    if decision.decision == "send":
        return now
    return decision.until if decision.decision == "postpone" else decision.reason


@pytest.mark.parametrize(
    ("clock", "open_then"),
    [
        ("07:59:59", False),
        ("08:00:00", True),
        ("19:59:59", True),
        ("20:00:00", False),
        ("20:00:01", False),
    ],
)
def test_a_window_begins_with_its_first_second_and_is_closed_at_its_last(clock: str, open_then: bool) -> None:
    now = local(f"2026-11-25T{clock}", SANTIAGO)
    assert (opens(windowed("daily", "08:00", "20:00"), now) == now) == open_then


@pytest.mark.parametrize(("clock", "open_then"), [("19:58:29", True), ("19:58:30", False), ("19:59:58", False)])
def test_a_request_that_could_arrive_after_the_end_is_not_begun(clock: str, open_then: bool) -> None:
    now = local(f"2026-11-25T{clock}", SANTIAGO)
    found = opens(windowed("daily", "08:00", "20:00"), now, guard=90.0)
    assert found == (now if open_then else local("2026-11-26T08:00", SANTIAGO))


def test_windows_that_touch_are_one_and_need_no_guard_between_them() -> None:
    policy = ContactPolicy(
        windows=[ContactWindow("daily", "08:00", "12:00", True), ContactWindow("daily", "12:00", "24:00", True)]
    )
    for clock in ("11:59:30", "12:00:00"):
        now = local(f"2026-11-25T{clock}", SANTIAGO)
        assert opens(policy, now, guard=90.0) == now
    whole = ContactPolicy(windows=[ContactWindow("daily", "00:00", "24:00", True)])
    midnight = local("2026-11-25T23:59:30", SANTIAGO)
    assert opens(whole, midnight, guard=90.0) == midnight


@pytest.mark.parametrize(
    ("moment", "opening_at"),
    [
        ("2026-11-27T21:59", "2026-11-27T22:00"),  # Friday
        ("2026-11-27T22:00", "2026-11-27T22:00"),
        ("2026-11-28T01:59", "2026-11-28T01:59"),  # the night that began on Friday
        ("2026-11-28T02:00", "2026-12-04T22:00"),
        ("2026-11-28T22:30", "2026-12-04T22:00"),  # Saturday's own evening is closed
    ],
)
def test_a_night_belongs_to_the_day_on_which_it_begins(moment: str, opening_at: str) -> None:
    assert opens(windowed("fri", "22:00", "02:00"), local(moment, SANTIAGO)) == local(opening_at, SANTIAGO)


def test_a_night_ends_at_midnight_when_the_next_day_is_a_holiday() -> None:
    policy = windowed("daily", "22:00", "02:00", holidays=False)
    eve = local("2026-12-24T23:59", SANTIAGO)
    assert opens(policy, eve) == eve
    assert opens(policy, local("2026-12-25T00:00", SANTIAGO)) == local("2026-12-26T22:00", SANTIAGO)


# --- Clock changes in Chile: 6 September 2026 has no 00:00 to 01:00; 4 April 2026 has 23:00 to 24:00 twice ------------


def test_a_start_that_the_clock_skips_is_the_first_moment_after_the_change() -> None:
    policy = windowed("daily", "00:30", "05:00")
    assert opens(policy, utc("2026-09-06T03:59:59")) == utc("2026-09-06T04:00")
    assert opens(policy, utc("2026-09-06T04:00")) == utc("2026-09-06T04:00")
    assert utc("2026-09-06T04:00").astimezone(ZoneInfo(SANTIAGO)).isoformat() == "2026-09-06T01:00:00-03:00"


def test_a_window_inside_of_the_skipped_hour_is_not_open_that_day() -> None:
    assert opens(windowed("daily", "00:10", "00:50"), utc("2026-09-06T03:30")) == utc("2026-09-07T03:10")


def test_an_end_that_the_clock_shows_twice_is_the_first() -> None:
    policy = windowed("daily", "20:00", "23:30")
    assert opens(policy, utc("2026-04-05T02:29:59")) == utc("2026-04-05T02:29:59")
    assert opens(policy, utc("2026-04-05T02:30")) == utc("2026-04-06T00:00")
    assert opens(policy, utc("2026-04-05T03:15")) == utc("2026-04-06T00:00")  # 23:15 once more


def test_a_start_that_the_clock_shows_twice_is_the_second() -> None:
    policy = windowed("daily", "23:30", "24:00")
    assert opens(policy, utc("2026-04-05T02:45")) == utc("2026-04-05T03:30")
    assert opens(policy, utc("2026-04-05T03:30")) == utc("2026-04-05T03:30")
    assert opens(policy, utc("2026-04-05T04:00")) == utc("2026-04-06T03:30")


def test_the_night_of_a_change_is_measured_in_real_time() -> None:
    policy = windowed("daily", "06:00", "20:00")
    closed, opened = local("2026-09-05T20:00", SANTIAGO), opens(policy, local("2026-09-05T20:00", SANTIAGO))
    assert isinstance(opened, datetime)
    assert opened.astimezone(UTC) - closed.astimezone(UTC) == timedelta(hours=9)  # and not 10


# --- Several zones ---------------------------------------------------------------------------------------------------


def test_in_winter_chile_is_open_where_both_of_its_zones_are() -> None:
    policy = windowed("daily", "08:00", "20:00")
    assert ask(policy, utc("2026-07-01T11:59")).until == utc("2026-07-01T12:00")  # 8:00 in Santiago
    assert ask(policy, utc("2026-07-01T22:59")).decision == "send"
    assert ask(policy, utc("2026-07-01T23:00")).until == utc("2026-07-02T12:00")  # 20:00 in Punta Arenas


def test_zones_that_are_never_open_together_reject_the_ticket() -> None:
    short = windowed("daily", "08:00", "08:30")
    summer, winter = utc("2026-12-01T15:00"), utc("2026-05-10T15:00")
    assert ask(short, summer).decision == "postpone"
    assert (ask(short, winter).decision, ask(short, winter).reason) == ("reject", "never_open")


def test_an_unknown_zone_is_never_open() -> None:
    policy = windowed("daily", "00:00", "24:00")
    for number, zone in (("+56961234567", "America/Nowhere"), ("+881612345678", None)):
        decision = ask(policy, utc("2026-11-25T15:00"), number=number, zone=zone)
        assert (decision.decision, decision.rule, decision.reason) == ("reject", "window", "unknown_zone")


# --- Holidays --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("number", "day"),
    [
        ("+56961234567", "2026-09-18"),
        ("+56961234567", "2026-06-21"),  # the solstice, which moves
        ("+573001234567", "2026-07-13"),  # new by a law of 2026
        ("+525541637145", "2026-11-16"),
        ("+51987654321", "2026-07-28"),
        ("+5511987654321", "2026-07-09"),  # São Paulo only
    ],
)
def test_a_holiday_is_closed(number: str, day: str) -> None:
    policy = windowed("daily", "00:00", "24:00", holidays=False)
    noon = utc(f"{day}T17:00")
    assert ask(policy, noon, number=number).reason == "outside_window"
    assert ask(windowed("daily", "00:00", "24:00"), noon, number=number).decision == "send"


def test_a_holiday_of_another_state_is_a_working_day() -> None:
    policy = windowed("daily", "00:00", "24:00", holidays=False)
    assert ask(policy, utc("2026-07-09T17:00"), number="+5521987654321").decision == "send"


def test_the_contacts_own_date_says_whether_it_is_a_holiday() -> None:
    """When it is New Year in Madrid, it is still the old year on the Canary Islands."""
    policy = windowed("daily", "00:00", "24:00", holidays=False)
    turn = utc("2026-12-31T23:30")
    assert ask(policy, turn, number="+34612345678", zone="Atlantic/Canary").decision == "send"
    assert ask(policy, turn, number="+34612345678", zone="Europe/Madrid").decision == "postpone"
    assert ask(policy, turn, number="+34612345678").until == utc("2027-01-02T00:00")


def test_days_and_regions_can_be_added() -> None:
    window = [{"days": "daily", "start": "00:00", "end": "24:00"}]
    arica = utc("2026-06-07T15:00")  # a holiday of the region of Arica alone
    assert ask(ContactPolicy(windows=window), arica).decision == "send"
    assert ask(ContactPolicy(windows=window, holiday_regions=["CL-AP"]), arica).decision == "postpone"
    assert ask(ContactPolicy(windows=window, holiday_dates=["2026-06-07"]), arica).decision == "postpone"


def test_unknown_holidays_reject_the_ticket() -> None:
    policy = ContactPolicy(windows=[{"days": "daily"}], holiday_regions=["CL-ZZ"])
    decision = ask(policy, utc("2026-11-25T15:00"))
    assert (decision.decision, decision.reason) == ("reject", "unknown_holidays")


# --- Against the wall clock ------------------------------------------------------------------------------------------

zones = st.sampled_from([SANTIAGO, "America/Punta_Arenas", "America/Bogota", "America/Tijuana", "Europe/Lisbon"])
minutes = st.integers(0, 1439)
moments = st.integers(int(utc("2026-01-01").timestamp()), int(utc("2028-12-31").timestamp()))


def clock(minute: int) -> str:
    return f"{minute // 60:02}:{minute % 60:02}"


@given(zones, minutes, minutes, st.sets(st.integers(0, 6), min_size=1), moments)
def test_what_is_open_is_open_on_the_wall_clock(zone: str, start: int, end: int, days: set[int], second: int) -> None:
    names = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
    window = ContactWindow(",".join(names[day] for day in sorted(days)), clock(start), clock(end), True)
    schedule = Schedule((window,), (zone,), Calendar(None, None, frozenset()))
    moment = datetime.fromtimestamp(second, ZoneInfo(zone))
    minute = moment.hour * 60 + moment.minute
    if end > start:
        on_the_clock = moment.weekday() in days and start <= minute < end
    else:
        yesterday = (moment.weekday() - 1) % 7
        on_the_clock = (moment.weekday() in days and minute >= start) or (yesterday in days and minute < end)
    found = opening(schedule, float(second), guard=0.0)
    around = {datetime.fromtimestamp(second + hours * 3600, ZoneInfo(zone)).utcoffset() for hours in (-25, 0, 25)}
    if len(around) == 1:
        assert (found == second) == on_the_clock
    elif found == second:
        assert on_the_clock, "a clock change makes a window stricter, never wider"


@given(zones, minutes, minutes, moments)
def test_the_next_opening_is_the_first(zone: str, start: int, end: int, second: int) -> None:
    schedule = Schedule(
        (ContactWindow("mon,wed,sat", clock(start), clock(end), True),), (zone,), Calendar(None, None, frozenset())
    )
    found = opening(schedule, float(second), guard=0.0)
    assert found is not None
    assert opening(schedule, found, guard=0.0) == found
    if found > second:
        before = max(float(second), found - 1)
        assert opening(schedule, before, guard=0.0) == found
