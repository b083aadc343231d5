"""What broke the first edition: a test for each line of its list of hazards, whose number its name begins with."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.delivery import (
    ACCOUNT,
    TICKET,
    Deliveries,
    DictStore,
    claim_of,
    options,
    row,
    rows,
    sql_ledger,
)
from vambe_provider.api import VambeClient
from vambe_provider.delivery.key import METADATA_KEY
from vambe_provider.delivery.ledger.single import StateStoreLedger
from vambe_provider.delivery.model import Outcome, Verdict

if TYPE_CHECKING:
    from vambe_provider.delivery.options import DeliveryOptions

PAST = "2020-01-01 00:00:00.000000"
OTHER = "other.vambe.test"


def night(name: str, **more: Any) -> DeliveryOptions:
    return options(run=name, **more)


def killed_after_the_post(deliveries: Deliveries, data: dict[str, Any], opts: DeliveryOptions | None = None) -> None:
    """Leave a ticket in Vambe whose worker died before it could record anything, and let its lease run out."""
    work = deliveries.work(data)
    with sql_ledger(deliveries.url) as dead:
        claim = claim_of(dead, work, opts or options())
        assert claim.verdict == Verdict.SEND
        marked = {**work.ticket.ticket_metadata, METADATA_KEY: claim.made.mark}
        with VambeClient(deliveries.settings) as client:
            client.open_ticket(work.ticket.model_copy(update={"ticket_metadata": marked}))
    deliveries.change(lease_until=PAST)


def people(deliveries: Deliveries) -> Counter[str]:
    """Return how many tickets each number has."""
    return Counter(ticket["phone"] for ticket in deliveries.sandbox.tickets())


class TestAnOpenGenerationStaysOpen:
    @pytest.mark.parametrize("status", [400, 401, 429])
    def test_d1_a_resend_that_fails_leaves_the_ticket_open(self, everywhere: Deliveries, status: int) -> None:
        everywhere.many(rows(1))
        everywhere.sandbox.fault("open_ticket", kind="status", status=status, says="stage_id is wrong", times="forever")
        everywhere.many(rows(1), opts=night("2", resend=True, retry_budget=0.0), defer_after=0.1)
        everywhere.sandbox.clear_faults()
        for name in ("3", "4"):
            report = everywhere.many([row(1, name="Another")], opts=night(name))
            assert report.counts == {Outcome.ALREADY_OPENED: 1}
        assert everywhere.tickets() == {"1": 1}

    def test_d1_the_run_that_asked_may_try_its_new_generation_again(self, deliveries: Deliveries) -> None:
        deliveries.many(rows(1))
        deliveries.sandbox.fault("open_ticket", kind="status", status=401)
        deliveries.many(rows(1), opts=night("2", resend=True))
        assert deliveries.many(rows(1), opts=night("2", resend=True)).counts == {Outcome.OPENED: 1}
        assert deliveries.tickets() == {"1": 2}

    def test_d1_the_state_store_keeps_it_open_too(self, deliveries: Deliveries) -> None:
        ledger = StateStoreLedger(DictStore(), later_try=False, since=0.0)
        assert deliveries.one(1, ledger=ledger).outcome == Outcome.OPENED
        deliveries.sandbox.fault("open_ticket", kind="status", status=400, says="stage_id is wrong")
        deliveries.one(1, ledger=ledger, opts=night("2", resend=True))
        assert deliveries.one(1, ledger=ledger, opts=night("3")).outcome == Outcome.ALREADY_OPENED
        assert deliveries.tickets() == {"1": 1}


class TestOnceForEachDagRun:
    def test_d2_two_runs_resend_and_each_is_retried(self, everywhere: Deliveries) -> None:
        everywhere.many(rows(1))
        for name in ("a", "b", "a", "b", "a"):
            everywhere.many(rows(1), opts=night(name, resend=True))
        assert everywhere.tickets() == {"1": 3}

    def test_d2_shards_that_change_between_two_tries_resend_nothing_twice(self, deliveries: Deliveries) -> None:
        deliveries.many(rows(20))
        for shards in (2, 3):
            for index in range(shards):
                prepare = deliveries.prepare(shard=(index, shards))
                origin = replace(options().origin, run="again", map_index=index)
                deliveries.many(rows(20), prepare=prepare, opts=options(origin=origin, resend=True))
        assert set(deliveries.tickets().values()) == {2}

    def test_d2_open_again_on_change_is_once_for_each_run(self, deliveries: Deliveries) -> None:
        deliveries.many(rows(1))
        for name in ("a", "b", "a", "b"):
            deliveries.many([row(1, name=f"Other{name}")], opts=night(name, on_change="open_again"))
        assert deliveries.tickets() == {"1": 3}

    @pytest.mark.parametrize("tries", [1, 3])
    def test_d6_a_blind_resend_happens_once(self, deliveries: Deliveries, tries: int) -> None:
        """The API creates, answers 500, and shows nothing."""
        sandbox = deliveries.sandbox
        sandbox.configure(metadata_visible="no", ticket_created_at=False, clock_skew_seconds=-3600.0)
        sandbox.seed_contact(row(1)["phone"])
        sandbox.configure(clock_skew_seconds=0.0)
        ticket = {name: value for name, value in TICKET.items() if name != "message"}
        sandbox.fault("open_ticket", kind="status", status=500, when="after", times="forever")
        for _ in range(tries):
            report = deliveries.many(rows(1), ticket=ticket, opts=options(on_unknown="resend"))
            assert report.counts == {Outcome.UNKNOWN: 1}
        assert deliveries.tickets() == {"1": 2}
        assert [attempt["reason"] for attempt in deliveries.attempts()] == ["first", "blind"]


class TestTheAttemptThatWasMade:
    def test_d3_a_number_that_was_corrected_meanwhile_gets_no_second_ticket(self, everywhere: Deliveries) -> None:
        killed_after_the_post(everywhere, row(1))
        corrected = row(1, phone="+56987650001")
        report = everywhere.many([corrected])
        assert report.counts == {Outcome.CONFLICT: 1}
        assert "for another person" in report.errors[0]["reason"]
        assert people(everywhere) == {row(1)["phone"].removeprefix("+"): 1}
        assert everywhere.many([corrected], opts=night("2")).counts == {Outcome.ALREADY_OPENED: 1}

    def test_d3_a_post_that_created_nothing_lets_the_corrected_number_have_its_ticket(
        self, deliveries: Deliveries
    ) -> None:
        with sql_ledger(deliveries.url) as dead:
            claim_of(dead, deliveries.work(1), lease=0.2)
        report = deliveries.many([row(1, phone="+56987650001")], settings=replace(deliveries.settings, timeout=0.5))
        assert report.counts in ({Outcome.OPENED: 1}, {Outcome.UNKNOWN: 1})
        assert row(1)["phone"].removeprefix("+") not in people(deliveries)

    def test_d3b_a_text_that_changed_meanwhile_is_sent_by_the_next_run(self, deliveries: Deliveries) -> None:
        killed_after_the_post(deliveries, row(1))
        changed = [row(1, name="Another")]
        first = deliveries.many(changed, opts=options(on_change="open_again"))
        assert first.counts == {Outcome.RECONCILED: 1}
        second = deliveries.many(changed, opts=night("2", on_change="open_again"))
        assert second.counts == {Outcome.OPENED: 1}
        assert deliveries.bodies() == {
            "Hello Person1, your order 1 is late": 1,
            "Hello Another, your order 1 is late": 1,
        }


class TestAccounts:
    def test_d4_what_is_undecided_in_one_account_is_unknown_in_another(self, everywhere: Deliveries) -> None:
        killed_after_the_post(everywhere, row(1))
        report = everywhere.many(rows(1), opts=options(account=OTHER))
        assert report.counts == {Outcome.UNKNOWN: 1}
        assert ACCOUNT in report.errors[0]["reason"]
        assert everywhere.posts() == 1

    def test_d4_the_account_itself_finds_out(self, deliveries: Deliveries) -> None:
        killed_after_the_post(deliveries, row(1))
        deliveries.many(rows(1), opts=options(account=OTHER))
        assert deliveries.many(rows(1)).counts == {Outcome.RECONCILED: 1}

    def test_d4b_a_rehearsal_in_another_account_leaves_everything_to_be_sent_and_says_so(
        self, deliveries: Deliveries
    ) -> None:
        deliveries.many(rows(50), opts=options(account=OTHER))
        deliveries.sandbox.reset()
        report = deliveries.many(rows(50))
        assert report.counts == {Outcome.OPENED: 50}
        said = [line for line in deliveries.log if OTHER in line]
        assert said == [
            f"50 of the first rows are open in the account {OTHER}; they are not open in this account, and are sent"
        ]


class TestClocks:
    def test_d9_a_clock_that_jumps_voids_the_claims_that_wait(
        self, deliveries: Deliveries, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The ledger's clock jumps by five minutes, as in a fail-over; another worker takes over what looks expired."""
        from vambe_provider.delivery import clock

        with sql_ledger(deliveries.url) as first:
            claim = claim_of(first, deliveries.work(1))
            # Seen from here, the ledger's clock is ahead when this machine's is behind.
            real = clock.now
            monkeypatch.setattr(clock, "now", lambda: real() - 300.0)
            claim_of(first, deliveries.work(2))
            assert first.epoch != claim.epoch


class TestNothingHidden:
    def test_l4_a_conflict_fails_the_task_and_is_named_in_the_report(self, deliveries: Deliveries) -> None:
        report = deliveries.many([row(1), row(1, phone="+56987650002")])
        assert report.counts == {Outcome.OPENED: 1, Outcome.CONFLICT: 1}
        [error] = report.errors
        assert (error["outcome"], error["row"], error["key"]) == ("conflict", 2, "id=1")
        failure = report.verdict()
        assert failure is not None
        assert failure.permanent

    def test_l5_rows_of_a_dead_worker_of_another_run_are_sent_within_the_run(self, deliveries: Deliveries) -> None:
        with sql_ledger(deliveries.url) as dead:
            claim_of(dead, deliveries.work(1), night("earlier"), lease=0.3)
        quick = replace(deliveries.settings, timeout=0.5)
        report = deliveries.many(rows(2), settings=quick)
        assert report.counts == {Outcome.OPENED: 2}
        assert deliveries.tickets() == {"1": 1, "2": 1}

    def test_l5_rows_that_stay_held_make_the_task_be_retried(self, deliveries: Deliveries) -> None:
        with sql_ledger(deliveries.url) as other:
            claim_of(other, deliveries.work(1), night("other"), lease=3600.0)
            quick = replace(deliveries.settings, timeout=0.1)
            report = deliveries.many(rows(1), opts=options(lease=0.0), settings=quick, defer_after=10.0)
        assert report.resume_in is not None
        assert report.stopped == "deferred"

    def test_l9_a_copied_dag_is_told_who_opened_its_rows(self, deliveries: Deliveries) -> None:
        deliveries.many(rows(3))
        copy = replace(options().origin, dag="nightly_copy")
        report = deliveries.many(rows(3), opts=options(origin=copy))
        assert report.counts == {Outcome.ALREADY_OPENED: 3}
        assert report.to_json()["opened_by_other_dags"] == {"nightly": 3}
        assert "3 tickets were opened by the Dag nightly before; nothing was sent for them" in deliveries.log

    @pytest.mark.parametrize(("status", "body"), [(400, "html"), (404, "empty"), (405, "json"), (404, "json")])
    def test_l3_a_gateway_that_refuses_everything_stops_the_run_and_loses_no_row(
        self, deliveries: Deliveries, status: int, body: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from vambe_provider.delivery.pace import breaker

        monkeypatch.setattr(breaker, "PAUSES", (0.05, 0.05))
        says = f"Cannot POST /api/{status}" if body == "json" else None
        deliveries.sandbox.fault("open_ticket", kind="status", status=status, body=body, says=says, times="forever")
        deliveries.settings = replace(deliveries.settings, timeout=0.5)
        report = deliveries.many(rows(60), opts=options(lease=0.0), max_concurrency=2)
        assert report.counts[Outcome.REJECTED] == 0
        assert report.verdict(max_rejected="100%") is not None
        deliveries.sandbox.clear_faults()
        assert deliveries.many(rows(60), opts=night("2", lease=0.0)).verdict() is None
        assert deliveries.tickets() == {str(number): 1 for number in range(1, 61)}

    def test_l13_an_account_without_credits_stops_the_run_and_loses_no_row(self, deliveries: Deliveries) -> None:
        deliveries.sandbox.fault(
            "open_ticket", kind="status", status=403, says="The account has no credits left", times="forever"
        )
        report = deliveries.many(rows(60), max_concurrency=2)
        assert report.stopped is not None
        assert report.counts[Outcome.REJECTED] == 0
        deliveries.sandbox.clear_faults()
        assert deliveries.many(rows(60), opts=night("2")).counts == {Outcome.OPENED: 60}

    def test_l13_equal_refusals_of_rows_stop_the_run_too(self, deliveries: Deliveries) -> None:
        deliveries.sandbox.fault("open_ticket", kind="status", status=404, says="stage not found", times="forever")
        report = deliveries.many(rows(300), max_concurrency=2)
        assert report.stopped is not None
        assert "with the same words" in report.stopped
        assert deliveries.posts() < 60

    def test_n5_a_function_that_fails_alike_on_every_row_stops_the_run_and_names_its_line(
        self, deliveries: Deliveries
    ) -> None:
        def ticket(data: dict[str, Any]) -> dict[str, Any]:
            return {"to_phone_number": data["telephone"]}

        report = deliveries.many(rows(500), ticket=ticket)
        assert report.stopped is not None
        assert "raised KeyError in line" in report.stopped
        assert report.counts[Outcome.REJECTED] < 300
        assert deliveries.many(rows(500)).counts == {Outcome.OPENED: 500}

    def test_n11_rows_that_stay_refused_turn_red_once(self, deliveries: Deliveries) -> None:
        data = [*rows(2), row(3, phone="12")]
        assert deliveries.many(data).verdict() is not None
        second = deliveries.many(data, opts=night("2"))
        assert second.counts == {Outcome.ALREADY_OPENED: 2, Outcome.STILL_REJECTED: 1}
        assert second.verdict() is None


class TestDoubtsThatAreDecided:
    def test_u1_a_returning_customer_whose_post_created_nothing_is_sent_in_the_same_run(
        self, everywhere: Deliveries
    ) -> None:
        everywhere.settings = replace(everywhere.settings, timeout=1.0)
        everywhere.sandbox.configure(clock_skew_seconds=-3600.0)
        for number in range(1, 7):
            everywhere.sandbox.seed_contact(row(number)["phone"])
        everywhere.sandbox.configure(clock_skew_seconds=0.0)
        everywhere.many(rows(4))
        everywhere.sandbox.fault("open_ticket", kind="status", status=500, when="before", times=2)
        report = everywhere.many(rows(6))
        assert report.counts == {Outcome.ALREADY_OPENED: 4, Outcome.OPENED: 2}
        assert everywhere.tickets() == {str(number): 1 for number in range(1, 7)}


def test_a_run_opens_no_more_than_max_tickets_and_the_next_run_goes_on(everywhere: Deliveries) -> None:
    first = everywhere.many(rows(30), max_tickets=10)
    assert first.counts == {Outcome.OPENED: 10, Outcome.LEFT: 20}
    assert first.verdict() is None
    again = everywhere.many(rows(30), max_tickets=10)
    assert again.counts[Outcome.OPENED] == 0
    assert everywhere.many(rows(30), max_tickets=100, opts=night("2")).counts[Outcome.OPENED] == 20
    assert everywhere.tickets() == {str(number): 1 for number in range(1, 31)}


def test_a_backlog_that_is_seeded_is_never_sent(everywhere: Deliveries) -> None:
    seeded = everywhere.many([*rows(20), row(21, id=None)], seed=True)
    assert seeded.counts == {Outcome.SEEDED: 20, Outcome.REJECTED: 1}
    assert everywhere.many(rows(25), opts=night("2")).counts == {Outcome.ALREADY_OPENED: 20, Outcome.OPENED: 5}
    assert everywhere.posts() == 5
