from __future__ import annotations

from datetime import timedelta

import pytest

from tests.unit.contact_policy.asked import ask, utc
from vambe_provider.contact_policy import ContactPolicy
from vambe_provider.contact_policy.breaker import Breaker

NOW = utc("2026-11-25T15:00")
DAY = timedelta(hours=24)


def failed(times: int, code: str | None = "131026") -> Breaker:
    breaker = Breaker()
    for _ in range(times):
        breaker = breaker.after(delivered=False, now=NOW, code=code)
    return breaker


def decision(breaker: Breaker, *, later: timedelta = timedelta(), new_person: bool = True) -> tuple[str, object]:
    found = ask(ContactPolicy(), NOW + later, breaker=breaker, new_person=new_person)
    return found.reason, found.until


def test_three_failures_in_a_row_rest_the_sender_for_a_day() -> None:
    assert decision(failed(2)) == ("allowed", None)
    assert decision(failed(3)) == ("breaker_open", NOW + DAY)
    assert decision(failed(3), new_person=False) == ("breaker_open", NOW + DAY)


def test_a_delivery_between_failures_starts_the_count_again() -> None:
    breaker = failed(2).after(delivered=True, now=NOW).after(delivered=False, now=NOW)
    assert decision(breaker) == ("allowed", None)


@pytest.mark.parametrize("code", ["131048", "368", "131042", "132001"])
def test_a_stop_code_rests_the_sender_at_once(code: str) -> None:
    breaker = Breaker().after(delivered=False, now=NOW, code=code)
    assert (breaker.until, breaker.reason, breaker.failures) == (NOW + DAY, code, 0)


def test_a_stated_end_is_kept() -> None:
    ends = NOW + timedelta(days=6)
    assert Breaker().after(delivered=False, now=NOW, code="368", ends=ends).until == ends


@pytest.mark.parametrize("code", ["131049", "131050", "131047", "131056", "130472"])
def test_what_is_one_persons_does_not_count_for_the_sender(code: str) -> None:
    assert decision(failed(5, code)) == ("allowed", None)


def test_a_lock_for_new_chats_lets_known_people_through() -> None:
    locked = Breaker().after(delivered=False, now=NOW, code="463", ends=NOW + timedelta(days=6))
    assert decision(locked) == ("breaker_open", NOW + timedelta(days=6))
    assert decision(locked, new_person=False) == ("allowed", None)
    assert decision(locked, later=timedelta(days=6)) == ("allowed", None)


def test_after_the_rest_one_known_person_decides() -> None:
    resting = failed(3)
    assert decision(resting, later=DAY - timedelta(seconds=1))[0] == "breaker_open"
    assert decision(resting, later=DAY) == ("breaker_probe", None)
    assert decision(resting, later=DAY, new_person=False) == ("allowed", None)
    probing = resting.probe()
    assert decision(probing, later=DAY, new_person=False) == ("breaker_probe", None)
    assert decision(probing.after(delivered=True, now=NOW + DAY), later=DAY) == ("allowed", None)
    again = probing.after(delivered=False, now=NOW + DAY)
    assert decision(again, later=DAY, new_person=False) == ("breaker_open", NOW + 2 * DAY)
