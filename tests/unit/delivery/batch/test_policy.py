"""A batch under a contact policy. Windows are chosen by the clock of the test, so that they are open or closed now."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.delivery import TICKET, Background, Deliveries, claim_of, options, row, rows, sql_ledger
from tests.unit.delivery.test_optouts import People
from vambe_provider.api.rate import parse_rate
from vambe_provider.contact_policy import ContactPolicy
from vambe_provider.delivery.model import Outcome
from vambe_provider.delivery.permission import Permission
from vambe_provider.exceptions import VambeConfigError

if TYPE_CHECKING:
    from vambe_provider.delivery.batch.report import Report

OPEN: dict[str, Any] = {}
"""No windows, so that everything may go."""


def now() -> datetime:
    return datetime.now(UTC)


def closed(**more: Any) -> dict[str, Any]:
    """Return a window that opens in two hours and closes an hour later."""
    start, end = (now() + timedelta(hours=hours) for hours in (2, 3))
    window = {"days": "daily", "start": f"{start:%H:%M}", "end": f"{end:%H:%M}", "holidays": True}
    return {"windows": [window], "timezone": "UTC", **more}


def many(deliveries: Deliveries, data: Any, fields: dict[str, Any], **more: Any) -> Report:
    how = more.pop("how", {})
    opts = replace(more.pop("opts", options()), policy=permitting(fields, **how))
    return deliveries.many(data, prepare=deliveries.prepare(permission=permitting(fields)), opts=opts, **more)


def permitting(fields: dict[str, Any], **how: Any) -> Permission:
    return Permission(ContactPolicy(**fields), timeout=5.0, **how)


def test_rows_outside_their_window_are_postponed_and_a_later_run_sends_them(everywhere: Deliveries) -> None:
    report = many(everywhere, rows(3), closed())
    assert report.counts == {Outcome.POSTPONED: 3}
    assert report.verdict() is None
    assert everywhere.posts() == 0
    assert everywhere.attempts() == []
    plain = report.to_json()
    assert plain["policy"] == {"outside_window": 3}
    due = datetime.fromisoformat(plain["next_due"])
    assert timedelta(hours=1, minutes=58) < due - now() <= timedelta(hours=2)
    [line] = [line for line in everywhere.log if "contact policy" in line]
    assert f"3 outside_window; the first may be sent at {due:%Y-%m-%d %H:%M}" in line
    for record in everywhere.all_ledger_rows():
        assert (record["state"], record["evidence"]) == ("postponed", "policy")
        recorded = datetime.fromisoformat(str(record["due_at"])).replace(tzinfo=UTC)
        assert abs(recorded - due) < timedelta(seconds=5)
        assert (record["person"], record["fingerprint"]) == (None, None)
        assert "Person" not in str(record)
    later = many(everywhere, rows(3), OPEN, opts=options(run="tomorrow"))
    assert later.counts == {Outcome.OPENED: 3}
    assert everywhere.tickets() == {"1": 1, "2": 1, "3": 1}
    assert set(everywhere.states().values()) == {"opened"}


def test_only_the_people_whose_window_is_closed_wait(deliveries: Deliveries) -> None:
    fields = closed()
    fields["windows"] = [
        {**fields["windows"][0], "countries": "MX"},
        {"days": "daily", "start": "00:00", "end": "24:00", "holidays": True, "countries": "CL"},
    ]
    report = many(deliveries, [row(1), row(2, phone="+525512345678"), row(3, phone="+573001234567")], fields)
    assert report.counts == {Outcome.OPENED: 1, Outcome.POSTPONED: 1, Outcome.REJECTED: 1}
    assert deliveries.tickets() == {"1": 1}
    [error] = report.errors
    assert (error["key"], error["kind"]) == ("id=3", "no_window")


def test_what_a_policy_refused_is_refused_until_the_row_or_the_policy_changes(deliveries: Deliveries) -> None:
    data, chile = [row(1, phone="+573001234567")], [{"countries": "CL"}]
    assert many(deliveries, data, {"windows": chile}).counts == {Outcome.REJECTED: 1}
    again = many(deliveries, data, {"windows": chile}, opts=options(run="tomorrow"))
    assert again.counts == {Outcome.STILL_REJECTED: 1}
    assert many(deliveries, data, OPEN, opts=options(run="tomorrow")).counts == {Outcome.OPENED: 1}


def test_a_known_row_is_not_judged(deliveries: Deliveries) -> None:
    many(deliveries, rows(2), OPEN)
    report = many(deliveries, rows(2), closed(), opts=options(run="tomorrow"))
    assert report.counts == {Outcome.ALREADY_OPENED: 2}


def test_resend_passes_through_the_policy_and_leaves_the_open_ticket_open(deliveries: Deliveries) -> None:
    many(deliveries, rows(2), OPEN)
    report = many(deliveries, rows(2), closed(), opts=options(run="again", resend=True))
    assert report.counts == {Outcome.POSTPONED: 2}
    assert set(deliveries.states().values()) == {"opened"}
    assert deliveries.posts() == 2


def test_what_may_have_been_sent_is_looked_for_at_any_hour(deliveries: Deliveries) -> None:
    deliveries.sandbox.fault("open_ticket", kind="status", status=500, when="after", times=1)
    for look in ("search_contacts", "list_contacts", "get_contact"):
        deliveries.sandbox.fault(look, kind="status", status=500, times="forever")
    assert many(deliveries, [row(1)], OPEN, opts=options(polls=(0.0,))).counts == {Outcome.UNKNOWN: 1}
    deliveries.sandbox.clear_faults()
    report = many(deliveries, [row(1)], closed(), opts=options(run="next", polls=(0.0,)))
    assert report.counts == {Outcome.RECONCILED: 1}
    assert deliveries.tickets() == {"1": 1}


def test_what_an_earlier_try_left_and_never_sent_is_judged_before_it_is_sent(deliveries: Deliveries) -> None:
    with sql_ledger(deliveries.url) as ledger:
        claim_of(ledger, deliveries.work(1), lease=0.0)
    report = many(deliveries, [row(1)], closed(), opts=options(run="next", polls=(0.0,)))
    assert report.counts == {Outcome.POSTPONED: 1}
    assert deliveries.posts() == 0
    assert deliveries.states() == {"id=1": "postponed"}


def test_an_opt_out_of_the_row_is_suppressed_and_can_be_lifted(everywhere: Deliveries) -> None:
    fields = {"suppression": {"column": "stop"}}
    data = [row(1, stop=False), row(2, stop=True)]
    report = many(everywhere, data, fields)
    assert report.counts == {Outcome.OPENED: 1, Outcome.SUPPRESSED: 1}
    assert report.verdict() is None
    assert report.to_json()["policy"] == {"opted_out": 1}
    assert everywhere.states() == {"id=1": "opened", "id=2": "suppressed"}
    lifted = many(everywhere, [row(2, stop=None)], fields, opts=options(run="tomorrow"))
    assert lifted.counts == {Outcome.OPENED: 1}


def test_a_row_that_is_not_worth_sending_any_more_is_suppressed(deliveries: Deliveries) -> None:
    data = [row(1, ends=now() - timedelta(minutes=1)), row(2, ends=now() + timedelta(hours=9)), row(3, ends=None)]
    report = many(deliveries, data, {"expires": "ends"})
    assert report.counts == {Outcome.OPENED: 2, Outcome.SUPPRESSED: 1}
    assert report.to_json()["policy"] == {"expired": 1}


def test_a_lifetime_is_counted_from_when_the_ledger_saw_the_row_first(everywhere: Deliveries) -> None:
    fields = closed(expires="1 day")
    assert many(everywhere, rows(2), fields).counts == {Outcome.POSTPONED: 2}
    everywhere.change(created_at=datetime(2026, 1, 1, tzinfo=UTC).replace(tzinfo=None))
    report = many(everywhere, rows(3), {"expires": "1 day"}, opts=options(run="later"))
    assert report.counts == {Outcome.SUPPRESSED: 2, Outcome.OPENED: 1}


def test_a_column_that_the_policy_needs_is_missed_before_anything_is_sent(deliveries: Deliveries) -> None:
    with pytest.raises(VambeConfigError, match="zone"):
        many(deliveries, rows(2), {"timezone": "zone"})
    assert deliveries.sandbox.request_count == 0


@pytest.mark.parametrize(("on_closed", "outcome", "fails"), [("skip", "skipped", False), ("fail", "failed", True)])
def test_on_closed_decides_what_a_closed_window_means(
    deliveries: Deliveries, on_closed: str, outcome: str, *, fails: bool
) -> None:
    report = many(deliveries, rows(2), closed(on_closed=on_closed), defer_after=30.0)
    assert report.counts == {Outcome(outcome): 2}
    assert (report.verdict() is not None) == fails
    assert report.resume_in is None, "nobody waits for them"
    assert many(deliveries, rows(2), OPEN).counts == {Outcome.OPENED: 2}


def test_an_override_is_recorded_with_each_attempt(everywhere: Deliveries) -> None:
    report = many(everywhere, rows(2), closed(), how={"override": "recall of a product"})
    assert report.counts == {Outcome.OPENED: 2}
    assert {(one["error_kind"], one["error"]) for one in everywhere.attempts()} == {
        ("window_overridden", "recall of a product")
    }


def test_a_deferrable_run_goes_on_when_the_first_row_is_due(deliveries: Deliveries) -> None:
    report = many(deliveries, rows(2), closed(), defer_after=30.0)
    assert report.waits_for_policy
    assert report.resume_in is not None
    assert 7000 < report.resume_in <= 7200
    assert many(deliveries, rows(2), closed()).resume_in is None


def test_a_dry_run_says_what_the_policy_would_hold_back_and_records_nothing(deliveries: Deliveries) -> None:
    report = many(deliveries, rows(2), closed(), dry_run=True, defer_after=30.0)
    assert report.counts == {Outcome.POSTPONED: 2}
    assert report.resume_in is None
    assert deliveries.states() == {}
    assert many(deliveries, rows(2), OPEN, dry_run=True).counts == {Outcome.DRY_RUN: 2}


def test_a_dry_run_shows_its_first_rows_with_the_policys_answer_and_nothing_personal(deliveries: Deliveries) -> None:
    always = {"days": "daily", "start": "00:00", "end": "24:00", "holidays": True, "countries": "CL"}
    fields = closed()
    fields["windows"] = [fields["windows"][0], always]
    data = [row(1), row(2, phone="+525512345678"), *rows(30, start=3)]
    shown = many(deliveries, data, fields, dry_run=True).to_json()["preview"]
    assert len(shown) == 20
    assert [(one["row"], one["key"], one["outcome"]) for one in shown[:2]] == [
        (1, "id=1", "dry_run"),
        (2, "id=2", "postponed"),
    ]
    assert [one["policy"]["decision"] for one in shown[:3]] == ["send", "postpone", "send"]
    assert shown[1]["policy"]["reason"] == "outside_window"
    assert datetime.fromisoformat(shown[1]["policy"]["until"]) > now()
    assert shown[1]["request"]["to_phone_number"] == "***678"
    assert shown[0]["request"]["stage_id"] == deliveries.sandbox.stage_id(TICKET["stage"])
    assert not any(personal in json.dumps(shown) for personal in ("Person", "late", "56961", "525512345678"))


def test_the_same_row_twice_is_postponed_once(deliveries: Deliveries) -> None:
    report = many(deliveries, [row(1), row(2), row(1)], closed())
    assert report.counts == {Outcome.POSTPONED: 2, Outcome.DUPLICATE: 1}


def test_a_window_that_closes_while_rows_stand_in_line_keeps_them_back(everywhere: Deliveries) -> None:
    """Rows are taken in before it closes; their turn comes after it has."""
    ends = now() + timedelta(seconds=1.5)
    data = [row(number, ends=ends) for number in range(1, 5)]
    everywhere.sandbox.fault("open_ticket", kind="hang", seconds=2.0, times=1)
    patient = replace(everywhere.settings, timeout=30.0)
    report = many(everywhere, data, {"expires": "ends"}, max_concurrency=1, settings=patient)
    assert report.counts == {Outcome.OPENED: 1, Outcome.SUPPRESSED: 3}
    assert sum(everywhere.tickets().values()) == 1
    assert sorted(everywhere.states().values()) == ["opened", "suppressed", "suppressed", "suppressed"]


class TestQueryOfOptOuts:
    """A list that is a table of its own, read again while tickets are sent."""

    def test_who_is_on_the_list_is_left_out(self, everywhere: Deliveries) -> None:
        table = People(row(2)["phone"])
        report = many(everywhere, rows(3), OPEN, how={"opt_outs": table.list()})
        assert report.counts == {Outcome.OPENED: 2, Outcome.SUPPRESSED: 1}
        assert everywhere.tickets() == {"1": 1, "3": 1}
        assert report.to_json()["policy"] == {"opted_out": 1}

    def test_who_comes_onto_it_while_others_are_sent_is_left_out_too(self, everywhere: Deliveries) -> None:
        table = People()
        people = table.list()
        hanging = everywhere.sandbox.fault("open_ticket", kind="hang", times=1)
        patient = replace(everywhere.settings, timeout=30.0)
        run = Background(
            lambda: many(everywhere, rows(3), OPEN, how={"opt_outs": people}, max_concurrency=1, settings=patient)
        )
        everywhere.sandbox.wait_for(lambda _: hanging.hits == 1)
        table.values.append(row(3)["phone"])
        people.refresh()  # as the batch does once a minute
        everywhere.sandbox.clear_faults()
        report = run.result()
        assert report.counts[Outcome.SUPPRESSED] == 1
        assert everywhere.tickets() == {"1": 1, "2": 1}

    def test_nothing_is_sent_when_it_cannot_be_read(self, deliveries: Deliveries) -> None:
        table = People()
        table.away = True
        report = many(deliveries, rows(3), OPEN, how={"opt_outs": table.list()})
        assert deliveries.posts() == 0
        error = report.verdict()
        assert error is not None
        assert not error.permanent, "the next try may find the list"
        assert "the query of opt-outs failed: the database is away" in str(error)
        table.away = False
        again = many(deliveries, rows(3), OPEN, how={"opt_outs": table.list()})
        assert again.counts == {Outcome.OPENED: 3}


class TestCaps:
    """What is counted within the claim."""

    def test_a_second_ticket_to_a_person_waits_until_the_cap_allows_it(self, everywhere: Deliveries) -> None:
        fields = {"caps": [{"n": 1, "period": "1 day"}]}
        data = [row(1), row(2), row(3, phone=row(1)["phone"])]
        report = many(everywhere, data, fields, defer_after=30.0)
        assert report.counts == {Outcome.OPENED: 2, Outcome.POSTPONED: 1}
        assert report.to_json()["policy"] == {"cap_reached": 1}
        assert report.waits_for_policy
        assert report.resume_in is not None
        assert 86_000 < report.resume_in <= 86_400
        again = many(everywhere, data, fields, opts=options(run="again"))
        assert again.counts == {Outcome.ALREADY_OPENED: 2, Outcome.POSTPONED: 1}

    def test_a_senders_cap_postpones_the_others_and_takes_no_permits_for_them(self, everywhere: Deliveries) -> None:
        """At one permit a minute, 30 rows that each took one would take half an hour."""
        fields = {"caps": [{"n": 1, "period": "1 day", "per": "sender"}]}
        many(everywhere, rows(1), fields)
        report = many(everywhere, rows(30), fields, rate=parse_rate("1/minute"))
        assert report.counts == {Outcome.ALREADY_OPENED: 1, Outcome.POSTPONED: 29}
        assert report.to_json()["policy"] == {"sender_cap_reached": 29}
        assert everywhere.posts() == 1

    def test_new_people_are_written_to_as_far_as_the_warm_up_allows(self, everywhere: Deliveries) -> None:
        report = many(everywhere, rows(10), {"new_people": {"first_day": 3, "ceiling": 3}})
        assert report.counts == {Outcome.OPENED: 3, Outcome.POSTPONED: 7}
        assert report.to_json()["policy"] == {"new_people": 7}
