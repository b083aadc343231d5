from __future__ import annotations

from typing import Any

import pytest

from vambe_provider.api.contact_info import read_contact
from vambe_provider.waiting.conditions import moment
from vambe_provider.waiting.tickets import Bounds, Target, bounds, created, find


def at(minute: int) -> str:
    """Return a time; the ticket of the run was opened at 10:30."""
    return f"2026-03-01T10:{minute:02d}:00.000Z"


def seconds(minute: int) -> float:
    found = moment(at(minute))
    assert found is not None
    return found


OURS, OTHER = "d" * 32, "e" * 32
KNOWN = Target("c-1", mark=OURS, opened_at=seconds(30), opened_until=seconds(31))
BARE = Target("c-1")
STARTED = seconds(29)


def ticket(name: str = "t-1", mark: str | None = None, **fields: Any) -> dict[str, Any]:
    return {"id": name, **({"metadata": {"airflow_ticket_key": mark}} if mark else {}), **fields}


def found(payload: dict[str, Any], target: Target, *, settled: bool = True, **times: Any) -> tuple[str, str] | None:
    within = bounds(target, **{"since": None, "started": STARTED, **times})
    choice = find(read_contact({"id": "c-1", **payload}), target, within, settled=settled)
    return None if choice is None else (choice.ticket.id or "", choice.known_by)


OLD_CLOSED = {"last_closed_ticket": ticket("t-0", created_at=at(1), closed_at=at(5))}
OLD_OPEN = {"active_ticket": ticket("t-0", created_at=at(1))}
OURS_OPEN = {"active_ticket": ticket("t-1", created_at=at(30))}


@pytest.mark.parametrize("target", [KNOWN, BARE], ids=["known", "bare"])
class TestNothingFromBefore:
    """Whether reads lag for a moment or for good."""

    @pytest.mark.parametrize("settled", [False, True])
    def test_a_ticket_that_was_closed_before_is_not_the_one(self, target: Target, settled: bool) -> None:
        assert found(OLD_CLOSED, target, settled=settled) is None
        assert found({"last_closed_ticket": ticket(created_at=at(1))}, target, settled=settled) is None
        assert found({"last_closed_ticket": ticket(closed_at=at(5))}, target, settled=settled) is None

    def test_an_open_one_may_be_shown_because_ours_is_late(self, target: Target) -> None:
        assert found(OLD_OPEN, target, settled=False) is None

    def test_an_open_one_that_stays_the_active_one_was_used_again(self, target: Target) -> None:
        assert found(OLD_OPEN, target) == ("t-0", "inferred")
        closed_since = {"last_closed_ticket": ticket("t-0", created_at=at(1), closed_at=at(45))}
        assert found(closed_since, target) == ("t-0", "inferred")

    def test_ours_beside_an_older_one_is_ours_at_once(self, target: Target) -> None:
        known_by = "time" if target is KNOWN else "inferred"
        assert found({**OURS_OPEN, **OLD_CLOSED}, target, settled=False) == ("t-1", known_by)
        replaced = {**OURS_OPEN, "last_closed_ticket": ticket("t-0", created_at=at(1), closed_at=at(30))}
        assert found(replaced, target, settled=False) == ("t-1", known_by)


class TestMarks:
    def test_our_mark_decides_whatever_the_times_say(self) -> None:
        reused = {"active_ticket": ticket("t-0", OURS, created_at=at(1))}
        assert found(reused, KNOWN, settled=False) == ("t-0", "mark")
        clock_is_wrong = {"active_ticket": ticket("t-1", OURS, created_at=at(59)), **OLD_CLOSED}
        assert found(clock_is_wrong, KNOWN, settled=False) == ("t-1", "mark")

    def test_the_mark_of_another_ticket_excludes_it(self) -> None:
        theirs = {"active_ticket": ticket("t-2", OTHER, created_at=at(30))}
        assert found(theirs, KNOWN) is None
        assert found({"active_ticket": ticket("t-2", OTHER)}, KNOWN) is None
        assert found({**theirs, "last_closed_ticket": ticket("t-1", OURS, closed_at=at(40))}, KNOWN) == ("t-1", "mark")

    def test_a_ticket_that_was_used_again_may_keep_its_old_mark(self) -> None:
        assert found({"active_ticket": ticket("t-0", OTHER, created_at=at(1))}, KNOWN) == ("t-0", "inferred")

    def test_a_remembered_ticket_stays_the_one_when_its_mark_is_overwritten(self) -> None:
        overwritten = {"active_ticket": ticket("T-1", OTHER, created_at=at(30))}
        remembered = Target("c-1", mark=OURS, opened_at=seconds(30), opened_until=seconds(31), ticket_id="t-1")
        assert found(overwritten, remembered) == ("T-1", "id")


class TestTimes:
    def test_a_later_ticket_of_somebody_else_is_not_ours(self) -> None:
        later = {"active_ticket": ticket("t-2", created_at=at(50))}
        assert found(later, KNOWN) is None
        both = {**later, "last_closed_ticket": ticket("t-1", created_at=at(30), closed_at=at(40))}
        assert found(both, KNOWN) == ("t-1", "time")
        assert found(both, BARE) == ("t-1", "inferred")

    def test_hidden_times_are_believed_when_reads_had_the_time(self) -> None:
        hidden = {"active_ticket": ticket("t-1")}
        assert found(hidden, KNOWN, settled=False) is None
        assert found(hidden, KNOWN) == ("t-1", "inferred")
        closed = {"active_ticket": None, "last_closed_ticket": ticket("t-1")}
        assert found(closed, KNOWN) == ("t-1", "inferred")
        assert found({**hidden, "last_closed_ticket": ticket("t-0")}, KNOWN) == ("t-1", "inferred")

    def test_without_any_time_the_active_one_counts_at_once(self) -> None:
        assert found(OLD_OPEN, BARE, settled=False, started=None) == ("t-0", "inferred")
        assert found(OLD_CLOSED, BARE, settled=False, started=None) == ("t-0", "inferred")

    def test_the_user_can_say_since_when(self) -> None:
        assert found(OLD_CLOSED, BARE, since=seconds(0)) == ("t-0", "time")
        assert found(OLD_CLOSED, KNOWN, since=seconds(0)) is None

    def test_clocks_may_differ_by_some_seconds(self) -> None:
        just_before = {"active_ticket": ticket("t-1", created_at="2026-03-01T10:29:57.000Z")}
        assert found(just_before, KNOWN, settled=False) == ("t-1", "time")
        long_before = {"active_ticket": ticket("t-1", created_at="2026-03-01T10:29:40.000Z")}
        assert found(long_before, KNOWN, settled=False) is None


class TestWhenItWasOpened:
    def opened(self, payload: dict[str, Any], target: Target) -> float | None:
        within = bounds(target, since=None, started=STARTED)
        choice = find(read_contact({"id": "c-1", **payload}), target, within, settled=True)
        return created(choice, target, within)

    def test_its_own_time_counts(self) -> None:
        assert self.opened(OURS_OPEN, KNOWN) == self.opened(OURS_OPEN, BARE) == seconds(30)

    def test_by_the_clock_of_the_api_even_where_that_one_is_wrong(self) -> None:
        assert self.opened({"active_ticket": ticket("t-1", OURS, created_at=at(25))}, KNOWN) == seconds(25)

    def test_the_time_of_a_ticket_that_was_used_again_says_nothing(self) -> None:
        assert self.opened(OLD_OPEN, KNOWN) is None
        assert self.opened({"active_ticket": ticket("t-0", OURS, created_at=at(1))}, KNOWN) is None
        assert self.opened({"active_ticket": ticket("t-1")}, KNOWN) is None


def test_what_is_known_goes_before_what_the_user_says_and_what_is_inferred() -> None:
    assert bounds(KNOWN, since=1.0, started=2.0) == Bounds(seconds(30) - 5, seconds(31) + 5, told=True)
    assert bounds(BARE, since=1.0, started=2.0) == Bounds(1.0, told=True)
    assert bounds(BARE, since=None, started=7.0) == Bounds(2.0)
    assert bounds(BARE, since=None, started=None) == Bounds(None)
